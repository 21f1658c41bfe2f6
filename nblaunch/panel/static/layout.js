// How high the rows of a log are, and where each begins.
import { hangOf, isWrapped, wrappedRows } from "./wrapping.js";

/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./line.js").Row} Row */
/** @typedef {import("./rows.js").Rows} Rows */
/** @typedef {import("./wrapping.js").Wrap} Wrap */

// Characters that a monospaced font may draw wider than one column.
const PERHAPS_WIDE = /[^\x20-\xff\u2010-\u22ff\u2500-\u25ff]/;
// Of other characters than these the browser may break a line elsewhere than at spaces.
const BREAKS_ANYWHERE = /[^\w ,.:;=]/;

/**
 * Where the rows of a log stand. A row that was never in sight has an estimated height: its text is looked at only once
 * it is about to be seen.
 */
class Layout {
  /**
   * @param {Rows} rows
   * @param {Wrap} wrap
   */
  constructor(rows, wrap) {
    this.rows = rows;
    this.wrap = wrap;
    /** @type {Map<Line, {key: string, height: number}>} */
    this.measured = new Map();
    /** @type {WeakMap<Line, {version: number, wrapped: boolean, rows: number}>} */
    this.estimated = new WeakMap();
    /** @type {number[]} */
    this.tops = [];
    // how many of them stay valid while rows only come at the new end and go at the old one
    this.laid = 0;
    this.laidAbove = 0;
    this.laidGone = 0;
    /** @type {ArrayLike<Row> | null} */
    this.laidRows = null;
    this.total = 0;
    this.rowHeight = 17;
    this.columnWidth = 7.8;
    this.columns = 80;
  }

  /** @param {Wrap} wrap */
  setWrap(wrap) {
    this.wrap = wrap;
    this.estimated = new WeakMap();
    this.measured.clear();
    this.laid = 0;
  }

  /**
   * Takes over how large the font is.
   * @param {{width: number, height: number}} probe  what 40 characters take; zeros if they are not in the document
   */
  setFont({ width, height }) {
    if (height && height !== this.rowHeight) {
      this.rowHeight = height;
      this.measured.clear();
      this.laid = 0;
    }
    if (width) this.columnWidth = width / 40;
  }

  /**
   * Where a row begins, in pixels.
   * @param {number} index
   */
  topOf(index) {
    return this.wrap !== "none" ? (this.tops[index] ?? this.total) : index * this.rowHeight;
  }

  /**
   * The index of the row at so many pixels.
   * @param {number} y
   */
  at(y) {
    if (this.wrap === "none") return Math.max(0, Math.floor(y / this.rowHeight));
    let low = 0;
    let high = Math.max(0, this.tops.length - 2);
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.tops[middle] <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /**
   * Finds out where each row begins.
   * @param {number} width  pixels in which they are shown
   * @param {number} height
   * @param {boolean} following  whether the last ones will be in sight
   */
  layOut(width, height, following) {
    const count = this.rows.count();
    if (this.wrap === "none") {
      this.total = count * this.rowHeight;
      return;
    }
    const columns = Math.max(10, Math.floor((width - 21) / this.columnWidth));
    if (columns !== this.columns) {
      this.estimated = new WeakMap();
      this.laid = 0;
    }
    this.columns = columns;
    this.#keepLaid();
    const { tops, laidAbove } = this;
    let index = this.laid && this.laid + laidAbove;
    let y = index ? tops[index] : 0;
    let settled = true;
    tops.length = count + 1;
    // rows from here on will be in sight, so that their text is looked at now
    const inSight = following ? count - Math.ceil(height / this.rowHeight) - 4 : count;
    for (; index < count; index++) {
      tops[index] = y;
      const row = this.rows.row(index);
      if (index >= inSight && row.kind === "line") this.wrapping(row.line, this.rows.prefix(row));
      y += row.kind === "line" ? this.#heightOf(row, columns) : this.rowHeight;
      settled &&= row.kind === "gap" || row.line.settled;
      if (settled) this.laid = index + 1 - laidAbove;
    }
    tops[count] = y;
    this.total = y;
  }

  /** Keeps the places of rows that are still the first ones and will not change: in a flood these are nearly all. */
  #keepLaid() {
    const { rows, log, folded } = this.rows;
    const above = this.rows.above();
    const { tops } = this;
    const gone = log.letGo - this.laidGone;
    if (folded || rows !== this.laidRows || above !== this.laidAbove || gone >= this.laid) this.laid = 0;
    else if (gone) {
      this.laid -= gone;
      const shift = tops[above + gone] - tops[above];
      for (let index = above; index <= above + this.laid; index++) tops[index] = tops[index + gone] - shift;
    }
    if (this.laid + above > this.rows.count()) this.laid = 0;
    this.laidRows = rows;
    this.laidAbove = above;
    this.laidGone = log.letGo;
  }

  /**
   * Returns how high a row is, as well as that is known: of a long one that was never in sight, by its length alone.
   * @param {Extract<Row, {kind: "line"}>} row
   * @param {number} columns
   */
  #heightOf(row, columns) {
    const { line } = row;
    const prefix = this.rows.prefix(row);
    if (this.measured.size) {
      const known = this.measured.get(line);
      if (known && known.key === `${line.version} ${columns}`) return known.height;
    }
    const over = line.length + prefix.length - columns;
    if (over <= 0) return this.rowHeight;
    const known = this.estimated.get(line);
    if (known?.version === line.version) return known.rows * this.rowHeight;
    if (line.redrawn && this.wrap === "some") return this.rowHeight;
    return (1 + Math.ceil(over / Math.max(4, columns - hangOf(prefix)))) * this.rowHeight;
  }

  /**
   * Whether a row is wrapped, and into how many lines; it has to look at the text.
   * @param {Line} line
   * @param {string} prefix
   */
  wrapping(line, prefix) {
    let known = this.estimated.get(line);
    if (!known || known.version !== line.version) {
      const { wrap, columns } = this;
      const wrapped = wrap === "all" || (wrap === "some" && isWrapped(line, columns - prefix.length));
      const rows = wrapped ? wrappedRows(prefix + line.text, columns, hangOf(prefix)) : 1;
      known = { version: line.version, wrapped, rows };
      this.estimated.set(line, known);
    }
    return known;
  }

  /**
   * Finds out how high the rows in sight are, from the browser where it knows better; tells whether one has another height
   * than was thought.
   * @param {[Line | string, Row][]} wanted
   * @param {number} first  index of the first of them
   * @param {Map<Line | string, HTMLElement>} elements
   */
  correct(wanted, first, elements) {
    if (this.measured.size > 2000) this.measured.clear();
    let wrong = false;
    for (const [offset, [key, row]] of wanted.entries()) {
      if (row.kind !== "line") continue;
      const { line } = row;
      const prefix = this.rows.prefix(row);
      const { wrapped, rows } = this.wrapping(line, prefix);
      let height = rows * this.rowHeight;
      const fits = line.length + prefix.length <= this.columns;
      if (wrapped && (fits ? PERHAPS_WIDE : BREAKS_ANYWHERE).test(line.text)) {
        const known = `${line.version} ${this.columns}`;
        const measured = this.measured.get(line);
        height = measured?.key === known ? measured.height : (elements.get(key)?.getBoundingClientRect().height ?? height);
        if (measured?.key !== known) this.measured.set(line, { key: known, height });
      }
      const index = first + offset;
      if (Math.abs(this.tops[index + 1] - this.tops[index] - height) <= 0.5) continue;
      wrong = true;
      this.laid = Math.min(this.laid, Math.max(0, index - this.laidAbove));
    }
    return wrong;
  }
}

export { Layout };
