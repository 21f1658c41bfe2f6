// What log.js holds of the log of one rank, or of all: run with `node --test`.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Log } from "../../nblaunch/panel/static/log.js";
import { Terminal } from "../../nblaunch/panel/static/screen.js";
import { Source, encoder, numbers, shown } from "./fed.js";

/** @typedef {import("./fed.js").Piece} Piece */

describe("a log", () => {
  const source = new Source([
    [0, 1, "one\ntwo\n"], [1, 2, "\x1b[31mthr"], [0, 1, "four"], [1, 2, "ee\x1b[0m\n"], [0, 1, " and more\nfü"],
    [0, 1, "nf\n"], [1, 1, "six\n"],
  ]);
  const whole = ["0.1 one", "0.1 two", "1.2 three", "0.1 four and more", "0.1 fünf", "1.1 six"];

  test("is read in one", () => {
    const log = new Log({ id: "all" });
    log.add(...source.cut(0));
    assert.deepEqual(shown(log), whole);
    assert.deepEqual([log.id, log.start, log.end, log.size], ["all", 0, source.length, source.length]);
  });

  test("is the same in two chunks, split anywhere", () => {
    for (let at = 0; at <= source.length; at++) {
      const log = new Log({ id: "all" });
      log.add(...source.cut(0, at));
      log.add(...source.cut(at));
      assert.deepEqual(shown(log), whole, `split at ${at}`);
    }
  });

  test("skips what it holds", () => {
    for (let at = 0; at <= source.length; at++) {
      const log = new Log({ id: "all" });
      log.add(...source.cut(0, at));
      log.add(...source.cut(Math.floor(at / 2), at));
      log.add(...source.cut(Math.floor(at / 2)));
      log.add(...source.cut(0));
      assert.deepEqual(shown(log), whole, `split at ${at}`);
    }
  });

  test("begins where the first chunk does, and takes in what comes before", () => {
    const log = new Log({ id: "all" });
    log.add(...source.cut(8));
    assert.deepEqual([log.start, shown(log)], [8, whole.slice(2)]);
    log.fill(...source.cut(4, 8));
    assert.deepEqual([log.start, shown(log)], [4, whole.slice(1)]);
    log.fill(...source.cut(0, 10));
    assert.deepEqual([log.start, shown(log)], [0, whole]);
  });

  test("has a gap where bytes are missing, which is filled from either side", () => {
    for (const order of [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]]) {
      const lines = new Source(Array.from("abcde", (letter) => /** @type {Piece} */ ([0, 1, `${letter}\n`])));
      const log = new Log({ id: "0" });
      log.add(...lines.cut(0, 2));
      log.add(...lines.cut(8));
      assert.deepEqual(shown(log), ["0.1 a", "2-8", "0.1 e"]);
      for (const part of order) log.fill(...lines.cut(2 + 2 * part, 4 + 2 * part));
      assert.deepEqual(shown(log), ["0.1 a", "0.1 b", "0.1 c", "0.1 d", "0.1 e"], `${order}`);
      assert.deepEqual([log.start, log.end], [0, 10]);
    }
  });

  test("takes one answer for two gaps", () => {
    const lines = new Source(Array.from("abcde", (letter) => /** @type {Piece} */ ([0, 1, `${letter}\n`])));
    const log = new Log({ id: "0" });
    for (const at of [0, 4, 8]) log.add(...lines.cut(at, at + 2));
    log.fill(...lines.cut(0));
    assert.deepEqual(shown(log), ["0.1 a", "0.1 b", "0.1 c", "0.1 d", "0.1 e"]);
  });

  test("puts lines together at both borders of a gap, wherever they are", () => {
    for (let from = 1; from < source.length; from++) {
      for (let to = from + 1; to < source.length; to++) {
        const log = new Log({ id: "all" });
        log.add(...source.cut(0, from));
        log.add(...source.cut(to));
        log.fill(...source.cut(from, to));
        assert.deepEqual(shown(log).sort(), [...whole].sort(), `gap ${from}-${to}`);
      }
    }
  });

  test("puts a line together that older text ends in the midst of", () => {
    for (let at = 1; at < source.length; at++) {
      const log = new Log({ id: "all" });
      log.add(...source.cut(at));
      log.fill(...source.cut(0, at));
      assert.deepEqual(shown(log).sort(), [...whole].sort(), `split at ${at}`);
    }
  });

  test("goes on with a line that older text begins", () => {
    const line = new Source([[0, 1, "one line\n"]]);
    const log = new Log({ id: "0" });
    log.add(...line.cut(2, 5));
    log.fill(...line.cut(0, 2));
    log.add(...line.cut(5));
    assert.deepEqual(shown(log), ["0.1 one line"]);
  });

  test("knows its size, which only grows", () => {
    const log = new Log({ id: "all" });
    log.setSize(1000);
    const { version } = log;
    log.setSize(500);
    assert.deepEqual([log.size, log.version], [1000, version]);
    log.setSize(1001);
    assert.notEqual(log.version, version);
    log.add(...source.cut(0));
    assert.equal(log.size, 1001);
  });

  test("has another version after each change", () => {
    const log = new Log({ id: "all" });
    const versions = [log.version];
    for (let at = 0; at < 20; at += 2) {
      log.add(...source.cut(at, at + 2));
      versions.push(log.version);
    }
    assert.equal(new Set(versions).size, versions.length);
  });

  test("has the same version after what changes nothing", () => {
    const log = new Log({ id: "all" });
    log.add(...source.cut(0));
    const { version } = log;
    log.add(...source.cut(0));
    log.fill(...source.cut(3, 9));
    assert.equal(log.version, version);
  });

  test("lets the oldest lines go, and gets them back when they are asked for", () => {
    const lines = new Source(Array.from({ length: 3000 }, (_, i) => /** @type {Piece} */ ([i % 2, 1, `line ${i}\n`])));
    const log = new Log({ id: "all", limit: 500 });
    for (let at = 0; at < lines.length; at += 1000) log.add(...lines.cut(at, Math.min(lines.length, at + 1000)));
    assert.ok(log.rows.length >= 500 && log.rows.length <= 2000, `${log.rows.length} rows`);
    const first = shown(log)[0];
    const number = Number(first.split(" ").pop());
    assert.equal(shown(log).at(-1), "1.1 line 2999");
    assert.equal(log.rows.length, 3000 - number);
    const held = log.rows.length;
    const [chunk, bytes] = lines.cut(0, log.start);
    log.fill(chunk, bytes);
    assert.deepEqual([log.start, log.rows.length], [0, 3000]);
    assert.equal(shown(log)[3000 - held], first);
    log.add({ log: "all", offset: lines.length, pieces: [[0, 1, 5]] }, encoder.encode("more\n"));
    assert.equal(log.rows.length, 3001, "what was asked for stays for a while");
  });

  test("shows a bar that goes on after its line was let go", () => {
    const log = new Log({ id: "all", limit: 100 });
    let at = 0;
    const add = (/** @type {number} */ rank, /** @type {string} */ text) => {
      log.add({ log: "all", offset: at, pieces: [[rank, 1, text.length]] }, encoder.encode(text));
      at += text.length;
    };
    add(0, "10%");
    for (let line = 0; line < 3000; line++) add(1, "other\n");
    add(0, "\r99%\n");
    assert.ok(shown(log).includes("0.1 99%"));
  });

  test("gets lines back whole that ended in turns with those of another stream", () => {
    const random = numbers(5);
    const below = (/** @type {number} */ most) => Math.floor(random() * most);
    for (let round = 0; round < 300; round++) {
      const unlike = round % 2 ? "é" : "";
      /** @type {[string, string]} */
      const left = ["", ""];
      for (let line = 0; line < 60; line++) {
        left[0] += `a${unlike}${line} ${"z".repeat(below(9))}\n`;
        left[1] += `b${unlike}${line} ${"z".repeat(below(9))}\n`;
      }
      /** @type {Piece[]} */
      const pieces = [];
      while (left[0] && left[1]) {
        const stream = pieces.length % 2 ? 1 : 0;
        const length = 1 + below(60);
        pieces.push([0, stream + 1, left[stream].slice(0, length)]);
        left[stream] = left[stream].slice(length);
      }
      const taking = new Source(pieces);
      const all = new Log({ id: "0" });
      all.add(...taking.cut(0));
      // enough that no line waits for its end so long that it is let go
      const log = new Log({ id: "0", limit: 40 });
      for (let at = 0; at < taking.length; at += 150) log.add(...taking.cut(at, Math.min(taking.length, at + 150)));
      const { start } = log;
      assert.ok(start > 0);
      log.add(...taking.cut(0, start));
      assert.equal(log.start, start, "what was let go stays away until it is asked for");
      log.fill(...taking.cut(Math.floor(start / 2), start));
      log.fill(...taking.cut(0, log.start));
      assert.deepEqual(shown(log), shown(all), `round ${round}`);
    }
  });

  test("holds not too many characters, but what was asked for", () => {
    const line = `${"x".repeat(999)}\n`;
    const lines = new Source(Array.from({ length: 400 }, () => /** @type {Piece} */ ([0, 1, line])));
    const log = new Log({ id: "0", characters: 100_000 });
    for (let at = 0; at < lines.length; at += 10_000) log.add(...lines.cut(at, at + 10_000));
    assert.ok(log.rows.length >= 70 && log.rows.length <= 111, `${log.rows.length} rows`);
    assert.equal(log.start, lines.length - 1000 * log.rows.length);
    log.fill(...lines.cut(0, log.start));
    log.add({ log: "0", offset: lines.length, pieces: [[0, 1, 1000]] }, encoder.encode(line));
    assert.equal(log.rows.length, 401);
  });

  test("lets nothing go for a bar, which is written often and is one line", () => {
    const log = new Log({ id: "0", characters: 10_000 });
    const text = `first\n${"\r50%|#####     |".repeat(10_000)}`;
    for (let at = 0; at < text.length; at += 1000) {
      const part = text.slice(at, at + 1000);
      log.add({ log: "0", offset: at, pieces: [[0, 1, part.length]] }, encoder.encode(part));
    }
    assert.deepEqual(shown(log), ["0.1 first", "0.1 50%|#####     |"]);
  });

  test("stands chunks that are not what they say", () => {
    const log = new Log({ id: "0" });
    log.add({ log: "0", offset: 0, pieces: [] }, new Uint8Array());
    log.add({ log: "0", offset: 0, pieces: [[0, 1, 0]] }, new Uint8Array());
    log.add({ log: "0", offset: 0, pieces: [[0, 1, 2]] }, encoder.encode("a\n"));
    assert.deepEqual(shown(log), ["0.1 a"]);
  });
});

describe("10 MB are read in little time", () => {
  /** @type {[name: string, unit: string][]} */
  const streams = [
    ["without an end of line", "x"],
    ["of lines", "a line of a usual length, with a number 12345 and some words in it\n"],
    ["of a progress bar", "\r 50%|#####     | 50/100 [00:10<00:10,  5.00it/s]"],
    ["of colours", "\x1b[32mok\x1b[0m "],
    ["of going back in a long line", `${"x".repeat(19_000)}${"\bx".repeat(40_000)}`],
    ["of an escape sequence without an end", "\x1b]0;title that does not end "],
    ["of parameters without an end", "\x1b[1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1"],
    ["of beginnings of escape sequences", "\x1b[\x1b]\x1bP"],
    ["of cursors that go up", "a\n\x1b[50A\r\x1b[50B"],
    ["of zeros", "\0"],
  ];
  for (const [name, unit] of streams) {
    test(name, (context) => {
      const bytes = encoder.encode(unit.repeat(Math.ceil(10e6 / unit.length)));
      const log = new Log({ id: "0" });
      const before = performance.now();
      for (let at = 0; at < bytes.length; at += 32_768) {
        const part = bytes.subarray(at, at + 32_768);
        log.add({ log: "0", offset: at, pieces: [[0, 1, part.length]] }, part);
      }
      const took = performance.now() - before;
      context.diagnostic(`${Math.round(took)} ms, ${log.rows.length} rows`);
      assert.ok(log.rows.length <= 25_000);
      // far more than it takes: what grows with the square of the length takes minutes
      assert.ok(took < 10_000, `${took} ms`);
      for (const row of log.rows) assert.ok(row.kind === "line" && row.line.text.length <= 60_000);
    });
  }

  test("byte by byte, in an escape sequence without an end", () => {
    const terminal = new Terminal();
    terminal.feed("\x1b]");
    const before = performance.now();
    for (let at = 0; at < 200_000; at++) terminal.feed("x");
    assert.ok(performance.now() - before < 10_000);
  });
});
