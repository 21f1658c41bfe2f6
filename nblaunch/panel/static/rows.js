// The rows of a log as they are shown.
import { Folder } from "./folding.js";
import { search } from "./search.js";
import { nameRanks, sizeInWords } from "./words.js";

/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./line.js").Row} Row */
/** @typedef {import("./log.js").Log} TextLog */
/** @typedef {{line: Line, from: number, to: number}} Match */

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
   * @param {boolean} [prefixed]  whether each is shown with the rank that has written it
   */
  constructor(log, folded, prefixed = false) {
    this.log = log;
    this.folded = folded;
    this.prefixed = prefixed;
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
    // Begin again if older text came in before the folded lines, if these are all gone, if ranks have cleared some of
    // them, or if there are far more of them than the log holds.
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

  /**
   * What stands before a row: the ranks that have written it.
   * @param {Row} row
   */
  prefix(row) {
    return this.prefixed && row.kind === "line" ? `[${row.ranks ? nameRanks(row.ranks) : row.line.rank}] ` : "";
  }

  /** Rows with the one that stands for what comes before all that is held. */
  count() {
    return this.rows.length + this.above();
  }

  above() {
    return this.log.start > 0 ? 1 : 0;
  }

  /**
   * @param {number} index
   * @returns {Row}
   */
  row(index) {
    if (!this.above()) return this.rows[index];
    return index === 0 ? { kind: "gap", from: 0, to: this.log.start } : this.rows[index - 1];
  }

  /** @param {Row} row */
  keyOf(row) {
    return row.kind === "line" ? row.line : `${row.from ? "gap" : "above"} ${row.from || ""}`;
  }

  /**
   * Where a row is now, which was at `guess` before rows came or went at either end.
   * @param {Line | string} key
   * @param {number} guess
   */
  locate(key, guess) {
    const count = this.count();
    for (let away = 0; away <= count; away++) {
      const below = guess - away;
      const beyond = guess + away;
      if (below >= 0 && below < count && this.keyOf(this.row(below)) === key) return below;
      if (beyond >= 0 && beyond < count && this.keyOf(this.row(beyond)) === key) return beyond;
    }
    return -1;
  }

  /** The text that is held, as it would be copied. */
  text() {
    const parts = [];
    for (let index = 0; index < this.rows.length; index++) {
      const row = this.rows[index];
      if (row.kind === "gap") parts.push(`… ${sizeInWords(row.to - row.from)} not shown …`);
      else parts.push(this.prefix(row) + row.line.text);
    }
    return parts.join("\n") + "\n";
  }

  /**
   * What a query finds in them.
   * @param {string} query
   * @returns {Match[]}
   */
  matches(query) {
    this.refresh();
    const { rows } = this;
    return search(rows, query).map(({ row, from, to }) => {
      const found = rows[row];
      return { line: /** @type {Extract<Row, {kind: "line"}>} */ (found).line, from, to };
    });
  }
}

export { Rows, isOpen };
