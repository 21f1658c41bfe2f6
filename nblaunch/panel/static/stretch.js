// Bytes of a log that follow each other, and the lines that they have become.
import { CURSOR_REACH, Terminal } from "./screen.js";

/** @typedef {import("./chunks.js").Chunk} Chunk */
/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./line.js").Row} Row */
/**
 * The first line of a stream in a stretch, as bytes; null where there were too many.
 * @typedef {{bytes: Uint8Array[] | null, size: number, done: boolean}} Head
 */

// Bytes of a first line that are kept, to put it together once the text before it comes.
const LONGEST_HEAD = 64 * 1024;

/**
 * Whether a line's rank has cleared it.
 * @param {Line} line
 * @param {{rank: number, stream: number, clearedTo: number}} terminal
 */
function isGone(line, { rank, stream, clearedTo }) {
  return line.gone || (line.offset < clearedTo && line.rank === rank && line.stream === stream);
}

/** Bytes of a log that follow each other, up to the next gap. */
class Stretch {
  /** @param {number} start */
  constructor(start) {
    this.start = start;
    this.end = start;
    /** @type {Map<string, Terminal>} */
    this.terminals = new Map();
    /** @type {Map<string, Head>} */
    this.heads = new Map();
    /** Lines of each stream that are still written to. @type {Map<string, Line[]>} */
    this.open = new Map();
    /** How many of those have a row; they are its last. */
    this.placed = 0;
  }

  /**
   * Reads bytes that follow those read so far.
   * @param {Chunk["pieces"]} pieces
   * @param {Uint8Array} bytes
   * @returns {{done: Line[], reopened: Line[]}} lines in the order in which they were finished, and those that had been
   */
  read(pieces, bytes) {
    /** @type {Line[]} */
    let done = [];
    /** @type {Line[]} */
    const reopened = [];
    let at = 0;
    for (const [rank, stream, length] of pieces) {
      const part = bytes.subarray(at, at + length);
      if (!part.length) continue;
      const key = `${rank} ${stream}`;
      let terminal = this.terminals.get(key);
      if (!terminal) this.terminals.set(key, (terminal = new Terminal({ rank, stream, keep: CURSOR_REACH })));
      if (this.start > 0) this.#keepHead(key, part);
      const { clearedTo } = terminal;
      terminal.feed(part, this.end);
      const { begun, open } = terminal;
      let before = this.open.get(key) ?? [];
      if (terminal.clearedTo !== clearedTo) {
        const cleared = terminal;
        before = before.filter((line) => !line.gone);
        done = done.filter((line) => !isGone(line, cleared));
      }
      for (const line of before) if (!open.includes(line)) done.push(line);
      for (const line of begun) if (line.done || !open.includes(line)) done.push(line);
      for (const line of open) {
        if (before.includes(line) || begun.includes(line)) continue;
        const index = done.lastIndexOf(line);
        if (index < 0) reopened.push(line);
        else done.splice(index, 1);
      }
      this.open.set(key, open);
      terminal.begun = [];
      at += part.length;
      this.end += part.length;
    }
    return { done, reopened };
  }

  /**
   * Puts what was read behind the rows so far. Lines that are still written to come below all others, as in a terminal: a
   * progress bar stays in sight while more is printed.
   * @param {Row[]} rows  of which the last are this stretch's
   * @param {{done: Line[], reopened: Line[]}} read
   */
  place(rows, { done, reopened }) {
    rows.length -= this.placed;
    for (const line of reopened) {
      let at = rows.length - 1;
      for (; at >= 0; at--) {
        const row = rows[at];
        if (row.kind === "line" && row.line === line) break;
      }
      if (at >= 0) rows.splice(at, 1);
    }
    for (const line of done) rows.push({ kind: "line", line });
    this.placed = 0;
    for (const lines of this.open.values()) {
      for (const line of lines) rows.push({ kind: "line", line });
      this.placed += lines.length;
    }
  }

  /** @param {Line} line  that is forgotten, with its row */
  release(line) {
    const key = `${line.rank} ${line.stream}`;
    this.terminals.get(key)?.release(line);
    const open = this.open.get(key);
    if (!open?.includes(line)) return;
    this.open.set(key, open.filter((other) => other !== line));
    this.placed--;
  }

  /**
   * @param {string} key
   * @param {Uint8Array} part
   */
  #keepHead(key, part) {
    let head = this.heads.get(key);
    if (!head) this.heads.set(key, (head = { bytes: [], size: 0, done: false }));
    if (head.done || !head.bytes) return;
    const end = part.indexOf(10) + 1;
    const kept = part.slice(0, end || part.length);
    head.done = end > 0;
    head.size += kept.length;
    if (head.size > LONGEST_HEAD) head.bytes = null;
    else head.bytes.push(kept);
  }
}

export { LONGEST_HEAD, Stretch, isGone };
