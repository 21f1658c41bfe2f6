// What search.js finds: run with `node --test`.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { search } from "../../nblaunch/panel/static/search.js";
import { fed } from "./fed.js";

/** @typedef {import("../../nblaunch/panel/static/line.js").Row} Row */

describe("searching", () => {
  /** @type {Row} */
  const gap = { kind: "gap", from: 0, to: 9 };
  const rows = fed("Epoch 1, epoch 2\nnothing\nİstanbul: a.b*c EPOCH\n").map((line) => ({ kind: /** @type {const} */ ("line"), line }));
  /** @type {[query: string, found: [number, string][]][]} */
  const queries = [
    ["", []],
    ["epoch", [[0, "Epoch"], [0, "epoch"], [2, "EPOCH"]]],
    ["Epoch", [[0, "Epoch"]]],
    ["a.b*c", [[2, "a.b*c"]]],
    ["a?b", []],
    ["[", []],
  ];
  for (const [query, expected] of queries) {
    test(query || "nothing", () => {
      const found = search([gap, ...rows], query);
      assert.deepEqual(found.map(({ row, from, to }) => [row - 1, rows[row - 1].line.text.slice(from, to)]), expected);
    });
  }
});
