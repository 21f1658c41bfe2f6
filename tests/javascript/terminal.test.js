// What terminal.js makes of bytes: run with `node --test`.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import {
  Folder, Log, Terminal, endOf, nameRanks, search, secondsInWords, sizeInWords,
} from "../../nblaunch/panel/static/terminal.js";
import { Rows, isWrapped, wrappedRows } from "../../nblaunch/panel/static/logview.js";

/** @typedef {import("../../nblaunch/panel/static/terminal.js").Line} Line */
/** @typedef {import("../../nblaunch/panel/static/terminal.js").Style} Style */
/** @typedef {[rank: number, stream: number, text: string]} Piece */

const encoder = new TextEncoder();

/** @param {string | Uint8Array} data */
const asBytes = (data) => (typeof data === "string" ? encoder.encode(data) : data);

/** @param {(string | Uint8Array)[]} parts */
function fed(...parts) {
  const terminal = new Terminal({ rank: 0, stream: 1 });
  for (const part of parts) terminal.feed(asBytes(part));
  return terminal.lines;
}

/** @param {Line[]} lines */
const texts = (lines) => lines.map((line) => line.text);

/** @param {Line[]} lines */
const looks = (lines) => lines.map(({ spans, done }) => ({ spans, done }));

/** @type {Style} */
const PLAIN = {
  fg: null, bg: null, bold: false, dim: false, italic: false, underline: false, inverse: false, strike: false,
};

/** @type {[name: string, data: string | Uint8Array, lines: string[]][]} */
const SCREENS = [
  ["nothing", "", []],
  ["a line without its end", "a\nb", ["a", "b"]],
  ["empty lines", "a\n\nb\n", ["a", "", "b"]],
  ["CR LF", "a\r\nb\r\n", ["a", "b"]],
  ["CR", "10%\r20%\r100%\n", ["100%"]],
  ["CR before something shorter", "longer\rab", ["abnger"]],
  ["CR, erase", "longer\r\x1b[Kab", ["ab"]],
  ["BS", "abc\b\bX", ["aXc"]],
  ["BS at the beginning", "\b\bX", ["X"]],
  ["TAB", "a\tb", ["a       b"]],
  ["cursor back", "abc\x1b[2DX", ["aXc"]],
  ["cursor to a column", "abc\x1b[1GX", ["Xbc"]],
  ["cursor forward", "a\x1b[3Cb", ["a   b"]],
  ["erase up to the cursor", "abcdef\x1b[3D\x1b[1K", ["    ef"]],
  ["erase the line", "abcdef\x1b[2K\rx", ["x"]],
  ["erase below", "a\nb\nc\x1b[2A\r\x1b[JX", ["X", "", ""]],
  ["nested bars of tqdm", "outer 0\n\rinner 0\x1b[A\router 1\n\rinner 1\n", ["outer 1", "inner 1"]],
  ["three bars", "a0\n\rb0\n\rc0\x1b[A\x1b[A\ra1\n\rb1\n\rc1\x1b[A\x1b[A\n\n\nend\n", ["a1", "b1", "c1", "end"]],
  ["up from below the last line end", "a\nb\n\x1b[2A\rX\n", ["X", "b"]],
  ["up and down again", "a\nb\n\x1b[2AX\x1b[2B\rnew\n", ["X", "b", "new"]],
  ["down beyond the end", "a\x1b[9B!\n", ["a!"]],
  ["hyperlinks", "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", ["link"]],
  ["a title", "\x1b]0;title\x07x", ["x"]],
  ["a device control string", "\x1bPq#0;2;0\x1b\\x", ["x"]],
  ["private modes", "\x1b[?25lx\x1b[?25h", ["x"]],
  ["charsets and keypads", "\x1b(Bx\x1b=y", ["xy"]],
  ["NUL and BEL", "a\0b\x07", ["a␀b␇"]],
  ["bidi controls", "a\u202eb\u2066c\u200fd", ["a⟨U+202E⟩b⟨U+2066⟩c⟨U+200F⟩d"]],
  ["C1 and DEL", "\u0085x\u007f\u009b31m", ["⟨U+0085⟩x␡⟨U+009B⟩31m"]],
  ["an escape that is none", "\x1b\u00e9x", ["␛éx"]],
  ["invalid UTF-8", Uint8Array.of(0xff, 0xfe, 0x61, 0xe2, 0x82, 0x0a, 0x62), ["\ufffd\ufffda\ufffd", "b"]],
  ["letters of two, three and four bytes", "é€😀\rx€\n", ["x€😀"]],
  ["a bar with characters of four bytes", "😀😀😀\r😀x\n", ["😀x😀"]],
  ["colours", "\x1b[31mred \x1b[1;38;5;208mbold\x1b[0m \x1b[48;2;1;2;3mbg\x1b[m\n", ["red bold bg"]],
  ["what was cleared", "a\nb\n50%\x1b[?8801Jc\nd", ["c", "d"]],
  ["all of it cleared", "a\nb\x1b[?8801J", []],
  ["cleared by what comes next", "a\nb\x1b[?8802J\x1b[?8802Jc\n", ["c"]],
  ["cleared by an empty line", "a\n\x1b[?8802J\n", [""]],
  ["nothing came that clears", "a\nbé\x1b[?8802J\x1b[0m", ["a", "bé"]],
  ["cleared at each step", "0\n\x1b[?8802J1\n\x1b[?8802J2\n", ["2"]],
  ["markup is text", "<img src=x onerror=alert(1)>&amp;\n", ["<img src=x onerror=alert(1)>&amp;"]],
];

describe("the screen", () => {
  for (const [name, data, lines] of SCREENS) {
    test(name, () => assert.deepEqual(texts(fed(data)), lines));
  }
});

describe("is the same wherever the bytes are split", () => {
  for (const [name, data] of SCREENS) {
    test(name, () => {
      const bytes = asBytes(data);
      const whole = looks(fed(bytes));
      for (let at = 0; at <= bytes.length; at++) {
        assert.deepEqual(looks(fed(bytes.subarray(0, at), bytes.subarray(at))), whole, `split at ${at}`);
      }
      assert.deepEqual(looks(fed(...Array.from(bytes, (byte) => Uint8Array.of(byte)))), whole, "byte by byte");
    });
  }
});

/**
 * Numbers below 1 that are the same in each run.
 * @param {number} seed
 */
function numbers(seed) {
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
}

/** @param {Uint8Array[]} parts */
function joined(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

test("anything is the same however the bytes are split", () => {
  const words = [
    "a", "word ", "é", "€", "😀", "\n", "\n", "\r", "\r\n", "\b", "\t", "\x1b[A", "\x1b[2A", "\x1b[B", "\x1b[3C",
    "\x1b[2D", "\x1b[5G", "\x1b[K", "\x1b[1K", "\x1b[2K", "\x1b[J", "\x1b[31m", "\x1b[0m", "\x1b[1;38;5;200m",
    "\x1b]8;;http://x\x1b\\", "\x1b]0;t\x07", "\x1b]", "\x1b", "\x1b[", "\0", "\u202e", "\x9b", "\x1b(B", "\x1bP", "\x1b\\",
    "\x1b[?8801J", "\x1b[?8802J",
  ];
  const random = numbers(1);
  const below = (/** @type {number} */ most) => Math.floor(random() * most);
  for (let round = 0; round < 3000; round++) {
    const broken = () => Uint8Array.from({ length: 1 + below(3) }, () => 128 + below(128));
    const word = () => (random() < 0.1 ? broken() : encoder.encode(words[below(words.length)]));
    const bytes = joined(Array.from({ length: 1 + below(40) }, word));
    /** @type {Uint8Array[]} */
    const parts = [];
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + 1 + below(5));
      parts.push(part);
      at += part.length;
    }
    assert.deepEqual(looks(fed(...parts)), looks(fed(bytes)), JSON.stringify(String.fromCharCode(...bytes)));
  }
});

describe("bars as tqdm writes them", () => {
  /** @type {{name: string, written: string, lines: string[]}[]} */
  const cases = JSON.parse(readFileSync(new URL("./tqdm.json", import.meta.url), "utf8"));
  for (const { name, written, lines } of cases) {
    test(name, () => assert.deepEqual(texts(fed(written)).map((text) => text.trimEnd()), lines));
  }

  test("leave no line that is done while the cursor may come back to it", () => {
    const terminal = new Terminal();
    terminal.feed("outer 0\n\rinner 0\x1b[A\router 1");
    assert.deepEqual(terminal.lines.map(({ done }) => done), [false, false]);
    terminal.feed("\n\rinner 1\n");
    assert.deepEqual(terminal.lines.map(({ done }) => done), [true, true]);
    terminal.feed("\x1b[2A");
    assert.deepEqual(terminal.lines.map(({ done }) => done), [false, false]);
    terminal.feed("\x1b[2B");
    assert.deepEqual(terminal.lines.map(({ done }) => done), [true, true]);
  });
});

describe("a line counts as redrawn", () => {
  for (const [name, data, redrawn] of /** @type {[string, string, boolean[]][]} */ ([
    ["if a carriage return came before its text, as with tqdm", "\r 10%\r100%\nplain\n", [true, false]],
    ["if it was erased and drawn again, as by rich", "10%\nbusy\r\x1b[2K\x1b[1A\x1b[2K100%\nidle\n", [true, true]],
    ["but not if the carriage return belongs to its end", "one\r\ntwo\r\r\n", [false, false]],
    ["and not if a bar that was cleared had been there", "\r 10%\r    \rcareful\n\r 20%", [false, true]],
  ])) test(name, () => assert.deepEqual(fed(data).map((line) => line.redrawn), redrawn));
});

describe("styles", () => {
  /** @type {[codes: string, style: Partial<Style> | null][]} */
  const styles = [
    ["31", { fg: 1 }],
    ["1;92;44", { fg: 10, bg: 4, bold: true }],
    ["38;5;9", { fg: 9 }],
    ["38;5;16", { fg: "#000000" }],
    ["38;5;231", { fg: "#ffffff" }],
    ["38;5;244", { fg: "#808080" }],
    ["48;2;1;2;255", { bg: "#0102ff" }],
    ["38;2;300;0;0", { fg: "#ff0000" }],
    ["2;3;4;7;9", { dim: true, italic: true, underline: true, inverse: true, strike: true }],
    ["1;22", null],
    ["4;24;7;27", null],
    ["31;39", null],
    ["31;0", null],
    ["", null],
    ["38", null],
    ["999", null],
  ];
  for (const [codes, style] of styles) {
    test(codes || "none", () => {
      const [line] = fed(`\x1b[${codes}mx`);
      assert.deepEqual(line.spans, [{ text: "x", style: style && { ...PLAIN, ...style } }]);
    });
  }

  test("go on in the next line until they are reset", () => {
    const red = { ...PLAIN, fg: 1 };
    const [first, second] = fed("a\x1b[31mb\nc\x1b[0md");
    assert.deepEqual(first.spans, [{ text: "a", style: null }, { text: "b", style: red }]);
    assert.deepEqual(second.spans, [{ text: "c", style: red }, { text: "d", style: null }]);
  });

  test("of text that is written over are the new ones", () => {
    const [line] = fed("abc\r\x1b[31mX");
    assert.deepEqual(line.spans, [{ text: "X", style: { ...PLAIN, fg: 1 } }, { text: "bc", style: null }]);
  });
});

describe("a line", () => {
  test("stays the same object while it changes, and its version tells", () => {
    const terminal = new Terminal({ rank: 3, stream: 2 });
    terminal.feed(encoder.encode("10%"));
    const [line] = terminal.lines;
    const { version } = line;
    assert.deepEqual([line.rank, line.stream, line.done], [3, 2, false]);
    terminal.feed(encoder.encode("\r20%"));
    assert.equal(terminal.lines[0], line);
    assert.equal(line.text, "20%");
    assert.notEqual(line.version, version);
    terminal.feed(encoder.encode("\n"));
    assert.equal(line.done, true);
  });

  test("that is too long goes on in the next", () => {
    assert.deepEqual(fed("x".repeat(50_000)).map((line) => line.text.length), [20_000, 20_000, 10_000]);
  });

  test("of which the last character was the last that fits is not followed by an empty one", () => {
    assert.deepEqual(fed("x".repeat(20_000) + "\nb\n").map((line) => line.text.length), [20_000, 1]);
  });

  test("is not cut in the midst of a character", () => {
    for (const line of fed("x" + "😀".repeat(25_000))) assert.doesNotMatch(line.text, /[\ud800-\udfff]/u);
  });

  test("further up than 50 lines is out of the cursor's reach", () => {
    const lines = texts(fed("line\n".repeat(100) + "\x1b[99A\rX"));
    assert.ok(lines.indexOf("Xine") >= 50);
  });
});

/** A log that a kernel has, with which a page's log is filled. */
class Source {
  /** @param {Piece[]} pieces */
  constructor(pieces) {
    this.pieces = pieces.map(([rank, stream, text]) => ({ rank, stream, bytes: encoder.encode(text) }));
    this.length = this.pieces.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  /**
   * @param {number} from
   * @param {number} to
   * @returns {[import("../../nblaunch/panel/static/terminal.js").Chunk, Uint8Array]}
   */
  cut(from, to = this.length) {
    /** @type {[number, number, number][]} */
    const pieces = [];
    /** @type {number[]} */
    const kept = [];
    let at = 0;
    for (const { rank, stream, bytes } of this.pieces) {
      const part = bytes.subarray(Math.max(0, from - at), Math.max(0, to - at));
      if (part.length) pieces.push([rank, stream, part.length]);
      kept.push(...part);
      at += bytes.length;
    }
    return [{ log: "all", offset: from, pieces }, Uint8Array.from(kept)];
  }
}

/** @param {Log} log */
function shown(log) {
  return Array.from(log.rows, (row) =>
    row.kind === "gap" ? `${row.from}-${row.to}` : `${row.line.rank}.${row.line.stream} ${row.line.text}`);
}

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

describe("words", () => {
  /** @type {[ranks: number[], words: string][]} */
  const ranks = [[[], ""], [[3], "3"], [[0, 1, 2, 5], "0-2, 5"], [[5, 1, 0], "0-1, 5"], [[0, 2, 4], "0, 2, 4"]];
  for (const [numbers, words] of ranks) test(`ranks ${words}`, () => assert.equal(nameRanks(numbers), words));

  // as wording.py has them, halves included
  /** @type {[bytes: number, words: string][]} */
  const sizes = [
    [0, "0 B"], [999, "999 B"], [1000, "1.0 kB"], [1250, "1.2 kB"], [1750, "1.8 kB"], [9949, "9.9 kB"], [9950, "10 kB"],
    [12_500, "12 kB"], [13_500, "14 kB"], [999_499, "999 kB"], [999_500, "1.0 MB"], [12e6, "12 MB"], [1.5e9, "1.5 GB"],
    [2e12, "2.0 TB"], [5e15, "5000 TB"],
  ];
  for (const [bytes, words] of sizes) test(`${bytes} bytes`, () => assert.equal(sizeInWords(bytes), words));

  /** @type {[seconds: number, words: string][]} */
  const seconds = [
    [0.4, "0.4 s"], [3, "3 s"], [9.94, "9.9 s"], [9.99, "10 s"], [12, "12 s"], [59, "59 s"], [60, "1:00"], [185, "3:05"],
    [3600, "1:00:00"], [3723, "1:02:03"],
  ];
  for (const [number, words] of seconds) test(`${number} seconds`, () => assert.equal(secondsInWords(number), words));
});

describe("searching", () => {
  /** @type {import("../../nblaunch/panel/static/terminal.js").Row} */
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

test("the end of a text that is longer has a mark", () => {
  assert.equal(endOf("abc", 3), "abc");
  assert.equal(endOf("abcd", 3), "…bcd");
  // an emoji is two units long
  assert.equal(endOf("ab🙂", 1), "…");
  assert.equal(endOf("ab🙂", 2), "…🙂");
});

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
