// What is seen in a log of lines that ranks have cleared, and of those that are still written to: run with `node --test`.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Log } from "../../nblaunch/panel/static/log.js";
import { Rows } from "../../nblaunch/panel/static/rows.js";
import { Source, encoder, shown } from "./fed.js";

/** @typedef {import("./fed.js").Piece} Piece */

describe("a log that ranks clear", () => {
  const CLEAR = "\x1b[?8801J";
  const NEXT = "\x1b[?8802J";
  const source = new Source([
    [0, 1, "old é\nmore\n"], [0, 2, "warning\n50%"], [1, 1, "other\n"], [0, 1, NEXT], [0, 2, NEXT], [0, 1, "new ü"],
    [0, 2, CLEAR], [0, 1, "\n"], [1, 1, "other 2\n"], [0, 2, "bar 1\n"],
  ]);
  const whole = ["1.1 other", "0.1 new ü", "1.1 other 2", "0.2 bar 1"];

  test("shows nothing of it, wherever it is split, and leaves the lines of other ranks", () => {
    for (let at = 0; at <= source.length; at++) {
      const log = new Log({ id: "all" });
      log.add(...source.cut(0, at));
      log.add(...source.cut(at));
      assert.deepEqual(shown(log), whole, `split at ${at}`);
    }
  });

  test("does so in whatever order the parts come", () => {
    for (let one = 1; one < source.length; one += 3) {
      for (let other = one + 1; other < source.length; other += 5) {
        const log = new Log({ id: "all" });
        log.add(...source.cut(0, one));
        log.add(...source.cut(other));
        log.fill(...source.cut(one, other));
        assert.deepEqual(shown(log).sort(), [...whole].sort(), `${one}, ${other}`);
        log.add(...source.cut(0));
        assert.deepEqual(shown(log).sort(), [...whole].sort(), `${one}, ${other}, again`);
      }
    }
  });

  test("keeps what waits to be cleared", () => {
    const lines = new Source([[0, 1, `a\n${NEXT}`], [0, 1, "b\n"]]);
    const log = new Log({ id: "0" });
    log.add(...lines.cut(0, 10));
    assert.deepEqual(shown(log), ["0.1 a"]);
    log.add(...lines.cut(10));
    assert.deepEqual(shown(log), ["0.1 b"]);
  });

  test("has no gap above, and nothing older to be asked for, if one rank is alone there", () => {
    const lines = new Source([[0, 1, "a\nb\nc\nd\n"], [0, 1, `${CLEAR}e\n`]]);
    const log = new Log({ id: "0" });
    log.add(...lines.cut(0, 2));
    log.add(...lines.cut(6));
    assert.deepEqual(shown(log), ["0.1 e"]);
    assert.equal(log.start, 0);
    log.add(...new Source([[0, 1, `a\nb\nc\nd\n${CLEAR}e\nf\n`]]).cut(18));
    assert.deepEqual(shown(log), ["0.1 e", "0.1 f"]);
  });

  test("can be cleared ten thousand times, with more lines than are held", () => {
    const lines = new Source(Array.from({ length: 10_000 }, (_, at) => [0, 1, `${NEXT}${`step ${at}\n`.repeat(3)}`]));
    const log = new Log({ id: "all", limit: 100 });
    for (let at = 0; at < lines.length; at += 50_000) log.add(...lines.cut(at, Math.min(lines.length, at + 50_000)));
    assert.deepEqual(shown(log), Array(3).fill("0.1 step 9999"));
  });

  test("is folded anew", () => {
    const lines = new Source([[0, 1, "a\nb\n"], [1, 1, "a\nb\n"], [0, 1, `${CLEAR}c\n`], [1, 1, "d\n"]]);
    const log = new Log({ id: "all" });
    const rows = new Rows(log, true);
    const seen = () => {
      rows.refresh();
      return Array.from(rows.rows, (row) => (row.kind === "line" ? `${row.ranks} ${row.line.text}` : ""));
    };
    log.add(...lines.cut(0, 8));
    assert.deepEqual(seen(), ["0,1 a", "0,1 b"]);
    log.add(...lines.cut(8));
    assert.deepEqual(seen(), ["1 a", "1 b", "0 c", "1 d"]);
  });
});

describe("lines that are still written to", () => {
  const bars = new Source([
    [0, 2, "\repoch 1:  0%"], [0, 1, "one\n"], [1, 2, "\repoch 1:  5%"], [0, 2, "\repoch 1: 50%"], [0, 1, "two\n"],
    [1, 1, "two\n"], [0, 2, "\repoch 1: 90%"], [1, 1, "unfinished"],
  ]);
  const clear = `\r${" ".repeat(12)}\r`;

  test("stand below all others, in the order in which they began", () => {
    for (let at = 0; at <= bars.length; at++) {
      const log = new Log({ id: "all" });
      log.add(...bars.cut(0, at));
      log.add(...bars.cut(at));
      const expected = ["0.1 one", "0.1 two", "1.1 two", "0.2 epoch 1: 90%", "1.2 epoch 1:  5%", "1.1 unfinished"];
      assert.deepEqual(shown(log), expected, `split at ${at}`);
    }
  });

  test("stay where they were when they were finished", () => {
    const log = new Log({ id: "0" });
    log.add(...new Source([[0, 2, "\r 5%"], [0, 1, "one\n"], [0, 2, "\r99%\n"], [0, 1, "two\n"], [0, 2, "\r 1%"]]).cut(0));
    assert.deepEqual(shown(log), ["0.1 one", "0.2 99%", "0.1 two", "0.2  1%"]);
  });

  test("come down again when the cursor comes back to them, as it does for nested bars", () => {
    const pieces = /** @type {Piece[]} */ ([
      [0, 2, "outer 0\n\rinner 0\x1b[A"], [0, 1, "one\n"], [0, 2, "\router 1\n"], [0, 1, "two\n"], [0, 2, "\rinner 1\x1b[A"],
      [0, 1, "three\n"],
    ]);
    const nested = new Source(pieces);
    for (let at = 0; at <= nested.length; at++) {
      const log = new Log({ id: "0" });
      log.add(...nested.cut(0, at));
      log.add(...nested.cut(at));
      assert.deepEqual(shown(log), ["0.1 one", "0.1 two", "0.1 three", "0.2 outer 1", "0.2 inner 1"], `split at ${at}`);
    }
  });

  test("are put together when a gap before them is filled", () => {
    const log = new Log({ id: "all" });
    log.add(...bars.cut(0, 30));
    log.add(...bars.cut(50));
    log.fill(...bars.cut(30, 50));
    const all = new Log({ id: "all" });
    all.add(...bars.cut(0));
    assert.deepEqual(shown(log).slice(0, 3), shown(all).slice(0, 3));
    assert.deepEqual(shown(log).sort(), shown(all).sort());
  });

  for (const folded of [false, true]) {
    test(`leave no empty line when they are cleared${folded ? ", folded" : ""}`, () => {
      const log = new Log({ id: "0" });
      const rows = new Rows(log, folded);
      const texts = () => {
        rows.refresh();
        return Array.from(rows.rows, (row) => (row.kind === "line" ? row.line.text : "gap"));
      };
      let at = 0;
      const add = (/** @type {number} */ stream, /** @type {string} */ text) => {
        log.add({ log: "0", offset: at, pieces: [[0, stream, text.length]] }, encoder.encode(text));
        at += text.length;
        return texts();
      };
      assert.deepEqual(add(2, "\repoch 1: 10%"), ["epoch 1: 10%"]);
      assert.deepEqual(add(1, "one\n"), ["one", "epoch 1: 10%"]);
      assert.deepEqual(add(2, clear), ["one"]);
      assert.deepEqual(add(1, "\n"), ["one", ""], "what is printed empty stays");
      assert.deepEqual(add(2, "\repoch 2: 10%"), ["one", "", "epoch 2: 10%"]);
      assert.deepEqual(add(1, "two\n"), ["one", "", "two", "epoch 2: 10%"]);
      assert.deepEqual(add(2, "\n"), ["one", "", "two", "epoch 2: 10%"]);
      assert.deepEqual(add(1, "three\n"), ["one", "", "two", "epoch 2: 10%", "three"]);
    });
  }
});
