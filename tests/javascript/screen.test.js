// What screen.js makes of bytes: run with `node --test`.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { Terminal } from "../../nblaunch/panel/static/screen.js";
import { asBytes, encoder, fed, numbers, texts } from "./fed.js";

/** @typedef {import("../../nblaunch/panel/static/line.js").Line} Line */
/** @typedef {import("../../nblaunch/panel/static/styles.js").Style} Style */

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
