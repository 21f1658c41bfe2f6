// One log on the screen: of all its rows only those in sight are in the document, so that its length costs nothing.
import { make, put } from "./elements.js";
import { paintLine } from "./painting.js";
import { isOpen } from "./rows.js";
import { search } from "./search.js";
import { counted, nameRanks, sizeInWords } from "./words.js";
import { hangOf, isWrapped, wrappedRows } from "./wrapping.js";

/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./line.js").Row} Row */
/** @typedef {import("./log.js").Log} TextLog */
/** @typedef {import("./rows.js").Rows} Rows */
/** @typedef {import("./wrapping.js").Wrap} Wrap */
/** @typedef {{line: Line, from: number, to: number}} Match */
/** @typedef {HTMLElement & {painted?: string}} RowElement */

/** Bytes that one request asks for. */
const PAGE = 256 * 1024;
// Unwrapped, nobody reads further to the right, and the browser would shape all of it at each repaint.
const LONGEST_UNWRAPPED = 4000;
// Characters that a monospaced font may draw wider than one column.
const PERHAPS_WIDE = /[^\x20-\xff\u2010-\u22ff\u2500-\u25ff]/;
// Of other characters than these the browser may break a line elsewhere than at spaces.
const BREAKS_ANYWHERE = /[^\w ,.:;=]/;
const SELECTED_ROWS = 3000;

/** A log that is scrolled through. */
class LogView {
  /**
   * @param {{
   *   rows: Rows, label: string, prefixed: boolean, wrap: Wrap,
   *   request: (log: TextLog, from: number, to: number) => Promise<void>,
   *   changed: () => void, silent: () => boolean,
   * }} options  `request` brings bytes in; `changed` asks for `paint` to be called in the next frame; `silent` tells
   *   whether nothing has been written to the log
   */
  constructor({ rows, label, prefixed, wrap, request, changed, silent }) {
    this.rows = rows;
    this.prefixed = prefixed;
    this.wrap = wrap;
    this.request = request;
    this.changed = changed;
    this.silent = silent;
    this.following = true;
    this.dirty = true;
    this.everything = false;
    this.query = "";
    /** @type {Match | null} */
    this.match = null;
    /** @type {Map<Line | string, RowElement>} */
    this.elements = new Map();
    /** @type {Map<Line, {key: string, height: number}>} */
    this.measured = new Map();
    /** @type {WeakMap<Line, {version: number, wrapped: boolean, rows: number}>} */
    this.estimated = new WeakMap();
    /** @type {number[]} */
    this.tops = [];
    // what of them holds as long as rows only come at the new end and go at the old one
    this.laid = 0;
    this.laidAbove = 0;
    this.laidGone = 0;
    /** @type {ArrayLike<Row> | null} */
    this.laidRows = null;
    this.top = 0;
    this.height = 0;
    this.spare = 0;
    this.width = 0;
    this.total = 0;
    this.rowHeight = 17;
    this.columnWidth = 7.8;
    /** @type {{key: Line | string, index: number, into: number} | null} */
    this.anchor = null;
    /** @type {Line | null} */
    this.seen = null;
    /** @type {Selection | null} */
    this.selection = null;
    this.columns = 80;
    this.fetching = false;
    this.failed = "";

    this.probe = make("span", "probe", "0".repeat(40));
    this.window = make("div", "window");
    this.sizer = make("div", "sizer", this.window);
    this.scroller = make("div", "log", this.probe, this.sizer);
    this.scroller.tabIndex = 0;
    this.scroller.setAttribute("role", "log");
    this.scroller.setAttribute("aria-live", "off");
    this.scroller.setAttribute("aria-label", label);
    this.empty = make("div", "empty");
    this.pill = make("button", "pill");
    this.pill.hidden = true;
    this.el = make("div", "logbox", this.scroller, this.empty, this.pill);
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.scroller.addEventListener("keydown", (event) => this.#key(event));
    this.scroller.addEventListener("pointerdown", () => (this.everything = false));
    this.scroller.addEventListener("copy", (event) => {
      if (!this.everything) return;
      event.clipboardData?.setData("text/plain", this.text());
      event.preventDefault();
    });
    this.pill.addEventListener("click", () => {
      this.follow();
      this.scroller.focus({ preventScroll: true });
    });
    this.window.addEventListener("click", (event) => {
      const button = event.target instanceof Element ? event.target.closest("button") : null;
      if (button?.dataset.from) void this.#fetch(Number(button.dataset.from), Number(button.dataset.to));
    });
    this.resizing = new ResizeObserver(() => {
      this.height = 0;
      this.touch();
    });
    this.resizing.observe(this.el);
    // another theme may have another font, in which rows have another height
    this.resizing.observe(this.probe);
    this.selecting = () => {
      const selection = getSelection();
      this.selection = selection && !selection.isCollapsed && this.window.contains(selection.anchorNode) ? selection : null;
    };
    document.addEventListener("selectionchange", this.selecting);
  }

  destroy() {
    this.resizing.disconnect();
    document.removeEventListener("selectionchange", this.selecting);
  }

  touch() {
    this.dirty = true;
    this.changed();
  }

  follow() {
    this.following = true;
    this.touch();
  }

  /** @param {Wrap} wrap */
  setWrap(wrap) {
    this.wrap = wrap;
    this.estimated = new WeakMap();
    this.measured.clear();
    this.laid = 0;
    this.height = 0;
    this.touch();
  }

  /** The text that is held, as it would be copied. */
  text() {
    const parts = [];
    for (let index = 0; index < this.rows.rows.length; index++) {
      const row = this.rows.rows[index];
      if (row.kind === "gap") parts.push(`… ${sizeInWords(row.to - row.from)} not shown …`);
      else parts.push(this.#prefix(row) + row.line.text);
    }
    return parts.join("\n") + "\n";
  }

  /** @param {string} query */
  find(query) {
    this.query = query;
    this.match = null;
    this.touch();
    return this.matches();
  }

  /** @returns {Match[]} */
  matches() {
    this.rows.refresh();
    const rows = this.rows.rows;
    return search(rows, this.query).map(({ row, from, to }) => {
      const found = rows[row];
      return { line: /** @type {Extract<Row, {kind: "line"}>} */ (found).line, from, to };
    });
  }

  /** @param {Match | null} match */
  show(match) {
    this.match = match;
    if (match) {
      const index = this.#locate(match.line, this.#count() - 1);
      if (index >= 0) {
        this.following = false;
        this.anchor = { key: match.line, index, into: -Math.round(this.height / 2 - this.rowHeight) };
        this.#sideways = true;
      }
    }
    this.touch();
  }

  #sideways = false;

  /** @param {Row} row */
  #prefix(row) {
    return this.prefixed && row.kind === "line" ? `[${row.ranks ? nameRanks(row.ranks) : row.line.rank}] ` : "";
  }

  /** Rows with the one that stands for what comes before all that is held. */
  #count() {
    return this.rows.rows.length + this.#above();
  }

  #above() {
    return this.rows.log.start > 0 ? 1 : 0;
  }

  /**
   * @param {number} index
   * @returns {Row}
   */
  #row(index) {
    if (!this.#above()) return this.rows.rows[index];
    return index === 0 ? { kind: "gap", from: 0, to: this.rows.log.start } : this.rows.rows[index - 1];
  }

  /** @param {Row} row */
  #keyOf(row) {
    return row.kind === "line" ? row.line : `${row.from ? "gap" : "above"} ${row.from || ""}`;
  }

  /**
   * Where a row is now, which was at `guess` before rows came or went at either end.
   * @param {Line | string} key
   * @param {number} guess
   */
  #locate(key, guess) {
    const count = this.#count();
    for (let away = 0; away <= count; away++) {
      const below = guess - away;
      const beyond = guess + away;
      if (below >= 0 && below < count && this.#keyOf(this.#row(below)) === key) return below;
      if (beyond >= 0 && beyond < count && this.#keyOf(this.#row(beyond)) === key) return beyond;
    }
    return -1;
  }

  #scrolled() {
    const { scrollTop } = this.scroller;
    // our own doing, or the browser's when the size changed
    if (Math.abs(scrollTop - this.top) < 1 || !this.height) return;
    if (this.scroller.clientHeight !== this.height || this.scroller.clientWidth !== this.width) {
      this.height = 0;
      this.touch();
      return;
    }
    const down = scrollTop > this.top;
    this.top = scrollTop;
    if (down && scrollTop + this.height >= this.total - this.rowHeight / 2) this.following = true;
    else if (!down) this.following = false;
    this.#dropAnchor();
    this.touch();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === "End") this.follow();
    else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "a") {
      getSelection()?.selectAllChildren(this.window);
      this.everything = true;
    } else return;
    event.preventDefault();
  }

  #dropAnchor() {
    if (!this.#count()) return;
    let index = Math.min(this.#at(this.top), this.#count() - 1);
    // one that is still written to goes down with what is printed, and would take the view along
    while (index > 0 && isOpen(this.#row(index))) index--;
    this.anchor = { key: this.#keyOf(this.#row(index)), index, into: this.top - this.#topOf(index) };
  }

  /** @param {number} index */
  #topOf(index) {
    return this.wrap !== "none" ? (this.tops[index] ?? this.total) : index * this.rowHeight;
  }

  /** @param {number} y */
  #at(y) {
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

  #measure() {
    const probe = this.probe.getBoundingClientRect();
    if (probe.height && probe.height !== this.rowHeight) {
      this.rowHeight = probe.height;
      this.measured.clear();
      this.laid = 0;
    }
    if (probe.width) this.columnWidth = probe.width / 40;
    // whole rows only: half a row at the top would look torn
    const bar = this.scroller.offsetHeight - this.scroller.clientHeight;
    this.spare = (this.el.clientHeight - bar) % this.rowHeight;
    this.scroller.style.top = `${this.spare}px`;
    this.height = this.scroller.clientHeight;
    this.width = this.scroller.clientWidth;
    this.window.style.setProperty("--room", `${this.width}px`);
  }

  #layOut() {
    const count = this.#count();
    if (this.wrap === "none") {
      this.total = count * this.rowHeight;
      return;
    }
    const columns = Math.max(10, Math.floor((this.width - 21) / this.columnWidth));
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
    // these will be in sight: once is enough
    const inSight = this.following ? count - Math.ceil(this.height / this.rowHeight) - 4 : count;
    for (; index < count; index++) {
      tops[index] = y;
      const row = this.#row(index);
      if (index >= inSight && row.kind === "line") this.#wrapping(row.line, this.#prefix(row));
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
    const above = this.#above();
    const { tops } = this;
    const gone = log.letGo - this.laidGone;
    if (folded || rows !== this.laidRows || above !== this.laidAbove || gone >= this.laid) this.laid = 0;
    else if (gone) {
      this.laid -= gone;
      const shift = tops[above + gone] - tops[above];
      for (let index = above; index <= above + this.laid; index++) tops[index] = tops[index + gone] - shift;
    }
    if (this.laid + above > this.#count()) this.laid = 0;
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
    const prefix = this.#prefix(row);
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
  #wrapping(line, prefix) {
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

  /** Brings the screen up to what is known; cheap if nothing has changed. */
  paint() {
    const changed = this.rows.refresh();
    if (!changed && !this.dirty) return;
    // who was out of the document in between has lost the place that it was scrolled to
    const measured = !this.height;
    if (measured) this.#measure();
    if (!this.height) return;
    this.dirty = false;
    const selected = this.#selected();
    if (selected && changed) this.following = false;
    // heights of wrapped rows are estimated until they are in sight, which may bring others into sight
    for (let tries = 0, wrong = true; wrong && tries < 4; tries++) {
      this.#layOut();
      this.sizer.style.height = `${this.total}px`;
      const most = Math.max(0, this.total - this.height);
      let top = most;
      if (!this.following) {
        if (!this.anchor) this.#dropAnchor();
        const { anchor } = this;
        if (anchor) {
          const index = this.#locate(anchor.key, anchor.index);
          if (index >= 0) anchor.index = index;
          top = Math.min(most, Math.max(0, this.#topOf(anchor.index) + anchor.into));
        }
      }
      if (top !== this.top || changed || measured) {
        this.top = top;
        this.scroller.scrollTop = top;
      }
      wrong = this.#fill(selected);
    }
    // what is less than a row stays below a text that has room, not above it
    const shift = this.total <= this.height && this.spare ? `translateY(${-this.spare}px)` : "";
    if (this.scroller.style.transform !== shift) this.scroller.style.transform = shift;
    this.#sayWhatIsNew();
    this.empty.hidden = this.#count() > 0;
    if (!this.empty.hidden) put(this.empty, this.silent() ? "nothing written yet" : "…");
    if (!this.following) this.#fetchWhatIsInSight();
  }

  /** Which rows a selection of the person touches, so that they stay in the document. */
  #selected() {
    const { selection } = this;
    if (!selection || !this.window.contains(selection.focusNode)) return null;
    const keys = [];
    for (const [key, element] of this.elements) {
      if (element.contains(selection.anchorNode) || element.contains(selection.focusNode)) keys.push(key);
    }
    return keys.length ? keys : null;
  }

  /** @param {(Line | string)[] | null} selected */
  #fill(selected) {
    const count = this.#count();
    let first = Math.max(0, this.#at(this.top) - 2);
    let last = Math.min(count, this.#at(this.top + this.height) + 3);
    for (const key of selected ?? []) {
      const index = this.#locate(key, first);
      if (index < 0 || index < first - SELECTED_ROWS || index > last + SELECTED_ROWS) continue;
      first = Math.min(first, index);
      last = Math.max(last, index + 1);
    }
    /** @type {[Line | string, Row][]} */
    const wanted = [];
    for (let index = first; index < last; index++) {
      const row = this.#row(index);
      wanted.push([this.#keyOf(row), row]);
    }
    const keys = new Set(wanted.map(([key]) => key));
    for (const [key, element] of this.elements) {
      if (keys.has(key)) continue;
      element.remove();
      this.elements.delete(key);
    }
    let node = this.window.firstChild;
    for (const [key, row] of wanted) {
      let element = this.elements.get(key);
      if (!element) {
        element = document.createElement("div");
        this.elements.set(key, element);
      }
      if (element === node) node = node.nextSibling;
      else this.window.insertBefore(element, node);
      this.#paintRow(element, row);
    }
    this.window.style.transform = `translateY(${this.#topOf(first)}px)`;
    const wrong = this.wrap !== "none" && this.#correct(wanted, first);
    if (this.#sideways) {
      this.#sideways = false;
      // scrolls sideways to it; up and down it is there already
      const mark = this.window.querySelector(".nbl-now");
      if (mark instanceof HTMLElement) {
        const beyond = mark.getBoundingClientRect().right - this.scroller.getBoundingClientRect().right;
        if (beyond > 0 || mark.offsetLeft < this.scroller.scrollLeft) this.scroller.scrollLeft += beyond + 40;
      }
    }
    return wrong;
  }

  /**
   * @param {RowElement} element
   * @param {Row} row
   */
  #paintRow(element, row) {
    if (row.kind === "gap") {
      const { from, to } = row;
      const words = this.failed || (row.from ? "not shown" : "earlier");
      const is = `${from} ${to} ${words} ${this.fetching}`;
      if (element.painted === is) return;
      element.painted = is;
      element.className = "nbl-row nbl-gap";
      const button = make("button", "", `… ${sizeInWords(to - from)} ${words} …`);
      button.dataset.from = String(Math.max(from, to - PAGE));
      button.dataset.to = String(to);
      element.replaceChildren(button);
      return;
    }
    const { line, ranks } = row;
    const current = this.match?.line === line ? this.match.from : -1;
    const prefix = this.#prefix(row);
    const { wrapped } = this.#wrapping(line, prefix);
    const is = `${line.version} ${wrapped} ${this.query} ${current} ${ranks?.length}`;
    if (element.painted === is) return;
    element.painted = is;
    element.className = `nbl-row${line.stream === 2 && !line.redrawn ? " nbl-err" : ""}${wrapped ? " nbl-wrapped" : ""}`;
    element.textContent = "";
    if (this.prefixed) {
      const rank = ranks && ranks.length > 1 ? "many" : (ranks?.[0] ?? line.rank) % 8;
      element.append(make("span", `prefix r${rank}`, prefix));
    }
    element.style.setProperty("--hang", `${hangOf(prefix)}ch`);
    /** @type {{from: number, to: number, current: boolean}[]} */
    const marks = this.query
      ? search([{ kind: "line", line }], this.query).map(({ from, to }) => ({ from, to, current: from === current }))
      : [];
    const most = wrapped ? Infinity : Math.max(LONGEST_UNWRAPPED, current + 200);
    paintLine(element, line, marks, most);
    if (line.text.length > most) {
      element.append(make("span", "more", ` … ${counted(line.text.length - most, "more character")}; wrapped, all show`));
    }
  }

  /**
   * Finds out how high the rows in sight are, from the browser where it knows better; tells whether one has another height
   * than was thought.
   * @param {[Line | string, Row][]} wanted
   * @param {number} first  index of the first of them
   */
  #correct(wanted, first) {
    if (this.measured.size > 2000) this.measured.clear();
    let wrong = false;
    for (const [offset, [key, row]] of wanted.entries()) {
      if (row.kind !== "line") continue;
      const { line } = row;
      const prefix = this.#prefix(row);
      const { wrapped, rows } = this.#wrapping(line, prefix);
      let height = rows * this.rowHeight;
      const fits = line.length + prefix.length <= this.columns;
      if (wrapped && (fits ? PERHAPS_WIDE : BREAKS_ANYWHERE).test(line.text)) {
        const known = `${line.version} ${this.columns}`;
        const measured = this.measured.get(line);
        height = measured?.key === known ? measured.height : (this.elements.get(key)?.getBoundingClientRect().height ?? height);
        if (measured?.key !== known) this.measured.set(line, { key: known, height });
      }
      const index = first + offset;
      if (Math.abs(this.tops[index + 1] - this.tops[index] - height) <= 0.5) continue;
      wrong = true;
      this.laid = Math.min(this.laid, Math.max(0, index - this.laidAbove));
    }
    return wrong;
  }

  #sayWhatIsNew() {
    let count = this.#count();
    // those still written to are always the last
    while (count > 0 && isOpen(this.#row(count - 1))) count--;
    const last = count ? this.#row(count - 1) : null;
    if (this.following || !this.#count()) {
      this.seen = last?.kind === "line" ? last.line : null;
      this.pill.hidden = true;
      return;
    }
    let fresh = 0;
    while (fresh < count && this.#keyOf(this.#row(count - 1 - fresh)) !== this.seen) fresh++;
    this.pill.hidden = false;
    put(this.pill, fresh ? `↓ ${counted(fresh, "new line")}` : "↓ to the end");
  }

  /** Older text comes in as the top comes near; what a flood has left out if it is little, else when asked for. */
  #fetchWhatIsInSight() {
    // what could not be read is not asked for again and again
    if (this.fetching || this.failed) return;
    const { start } = this.rows.log;
    if (start > 0 && this.top < this.height) void this.#fetch(Math.max(0, start - PAGE), start);
    for (let index = this.#at(this.top); index < Math.min(this.#count(), this.#at(this.top + this.height)); index++) {
      const row = this.#row(index);
      if (row.kind === "gap" && row.from && row.to - row.from <= PAGE) void this.#fetch(row.from, row.to);
    }
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  async #fetch(from, to) {
    if (this.fetching) return;
    this.fetching = true;
    try {
      await this.request(this.rows.log, from, to);
      this.failed = "";
    } catch (error) {
      this.failed = `could not be read: ${error instanceof Error ? error.message : error}`;
    }
    this.fetching = false;
    this.touch();
  }
}

export { LogView, PAGE };
