// How folding.js folds lines that ranks wrote alike: run with `node --test`.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { Folder } from "../../nblaunch/panel/static/folding.js";
import { Terminal } from "../../nblaunch/panel/static/screen.js";

/** @typedef {import("./fed.js").Piece} Piece */

describe("folding", () => {
  /** @type {{name: string, lines: Piece[], groups: [number[], string][]}[]} */
  const cases = JSON.parse(readFileSync(new URL("./folding.json", import.meta.url), "utf8"));
  for (const { name, lines, groups } of cases) {
    test(name, () => {
      const all = lines.map(([rank, stream, text]) => {
        const terminal = new Terminal({ rank, stream });
        terminal.feed(`${text}\n`);
        return terminal.lines[0];
      });
      const folder = new Folder();
      for (const line of all) folder.add(line);
      assert.deepEqual(folder.rows.map(({ ranks, line }) => [[...ranks].sort((a, b) => a - b), line.text]), groups);
    });
  }

  test("tells when a line has changed that was folded, until the cursor cannot come back to it", () => {
    const terminal = new Terminal();
    terminal.feed("outer 0\n");
    const folder = new Folder();
    for (const line of terminal.lines) folder.add(line);
    assert.equal(folder.stale, false);
    terminal.feed("inner");
    assert.equal(folder.stale, false);
    terminal.feed("\x1b[A\router 1\n");
    assert.equal(folder.stale, true);
    terminal.feed("other\n".repeat(60));
    assert.equal(folder.stale, true);
    const again = new Folder();
    for (const line of terminal.lines) again.add(line);
    assert.deepEqual(again.rows.slice(0, 2).map(({ line }) => line.text), ["outer 1", "other"]);
  });
});
