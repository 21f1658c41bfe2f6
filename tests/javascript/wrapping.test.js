// What wrapping.js wraps: run with `node --test`.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Terminal } from "../../nblaunch/panel/static/screen.js";
import { isWrapped, wrappedRows } from "../../nblaunch/panel/static/wrapping.js";

describe("a wrapped row takes as many lines as", () => {
  /** @type {[text: string, rows: number][]} */
  const cases = [
    ["", 1], ["0123456789", 1], ["0123456789a", 2], ["words of a line", 2], ["012345 0123456 a", 3], ["0123456789 ", 1],
    ["0123456789    01234567", 2], ["0123456789012345678901234", 3], ["   01234567890", 3],
  ];
  for (const [text, rows] of cases) test(JSON.stringify(text), () => assert.equal(wrappedRows(text, 10, 2), rows));
});

describe("a line that is too long", () => {
  /** @type {[text: string, wrapped: boolean][]} */
  const cases = [
    ["x".repeat(100), true],
    ["words and more words ".repeat(5), true],
    ["    indented words and more words ".repeat(1) + "and more", true],
    ["2026-11-29  INFO  loader  " + "a message of many words ".repeat(4), true],
    ["a|b|c|".repeat(20), true],
    // tables of pandas, of Markdown, drawn ones, rulers
    ["   timestamp  temperature  humidity", false],
    ["0       11.5         61.2      12.1", false],
    ["                             value  ", true],
    ["      temperature         humidity", false],
    ["| name | value | another one | last |", false],
    ["name\tvalue\tanother one\tthe last one", false],
    ["│ name │ value │ another one │ last │", false],
    ["+------+-------+-------------+------+", false],
    ["=".repeat(100), false],
  ];
  for (const [text, wrapped] of cases) {
    test(`is ${wrapped ? "" : "not "}wrapped: ${JSON.stringify(text)}`, () => {
      const terminal = new Terminal();
      terminal.feed(text);
      assert.equal(isWrapped(terminal.lines[0], 20), wrapped);
    });
  }
  test("is not wrapped where it is a bar that is drawn again", () => {
    const terminal = new Terminal();
    terminal.feed(`\repoch 1:   0%|${" ".repeat(40)}| 0/9\repoch 1:  10%|#`);
    assert.equal(isWrapped(terminal.lines[0], 20), false);
  });
});
