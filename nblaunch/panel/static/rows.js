// The rows of a log as they are shown.
import { Folder } from "./folding.js";

/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./line.js").Row} Row */
/** @typedef {import("./log.js").Log} TextLog */

/** @param {Row} row */
function isOpen(row) {
  return row.kind === "line" && !row.line.done;
}

/** @param {Row} row */
function isCleared(row) {
  return row.kind === "line" && row.line.cleared;
}

/** The rows of a log as they are shown: as they are, or those alike folded into one. */
class Rows {
  /**
   * @param {TextLog} log
   * @param {boolean} folded
   */
  constructor(log, folded) {
    this.log = log;
    this.folded = folded;
    this.version = -1;
    /** @type {ArrayLike<Row>} */
    this.rows = [];
    this.folder = new Folder();
    this.start = log.start;
    this.clearings = log.clearings;
    /** @type {Line | null} */
    this.last = null;
    /** @type {Row[]} */
    this.shown = [];
    this.settled = 0;
  }

  /** Takes over what has changed; tells whether anything has. */
  refresh() {
    if (this.version === this.log.version) return false;
    this.version = this.log.version;
    const rows = this.log.rows;
    let end = rows.length;
    let cleared = false;
    for (; end > 0 && isOpen(rows[end - 1]); end--) cleared ||= isCleared(rows[end - 1]);
    if (this.folded) this.rows = this.#fold(rows, end);
    else this.rows = cleared ? rows.filter((row, index) => index < end || !isCleared(row)) : rows;
    return true;
  }

  /**
   * @param {Row[]} rows
   * @param {number} end  of those that are not written to any more
   * @returns {Row[]}
   */
  #fold(rows, end) {
    let from = end;
    for (; from > 0; from--) {
      const row = rows[from - 1];
      if (row.kind === "line" && row.line === this.last) break;
    }
    // older text came in before what was folded, or all of it has gone: begin again
    // or what was folded has grown far beyond what is held
    // or ranks have cleared lines that were
    const cleared = this.log.clearings !== this.clearings;
    const grown = this.folder.rows.length > 2 * this.log.limit;
    if (from === 0 || cleared || this.log.start < this.start || this.folder.stale || grown) {
      this.folder = new Folder();
      this.start = this.log.start;
      this.clearings = this.log.clearings;
      this.shown = [];
      this.settled = 0;
      from = 0;
    }
    for (let index = from; index < end; index++) {
      const row = rows[index];
      if (row.kind === "line") this.folder.add((this.last = row.line));
    }
    // what was made before stays: a group that another rank joins changes by itself
    const { shown, folder } = this;
    shown.length = this.settled;
    for (; this.settled < folder.rows.length; this.settled++) shown.push({ kind: "line", ...folder.rows[this.settled] });
    for (let index = end; index < rows.length; index++) {
      const row = rows[index];
      // a line that still changes, as a progress bar does, is not folded until it is what it will be
      if (row.kind === "line" && !row.line.cleared) shown.push({ kind: "line", line: row.line, ranks: [row.line.rank] });
    }
    return shown;
  }
}

export { Rows, isOpen };
