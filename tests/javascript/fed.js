// What tests feed to a terminal or to a log, and what is seen of it.
import { Terminal } from "../../nblaunch/panel/static/screen.js";

/** @typedef {import("../../nblaunch/panel/static/line.js").Line} Line */
/** @typedef {import("../../nblaunch/panel/static/chunks.js").Chunk} Chunk */
/** @typedef {import("../../nblaunch/panel/static/log.js").Log} Log */
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
   * @returns {[Chunk, Uint8Array]}
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

export { Source, asBytes, encoder, fed, numbers, shown, texts };
