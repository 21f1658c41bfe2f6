// One log on the screen. Only the rows in sight are in the document, so that its length costs nothing.
import { make, put } from "./elements.js";
import { Layout } from "./layout.js";
import { paintRow } from "./painting.js";
import { isOpen } from "./rows.js";
import { counted, sizeInWords } from "./words.js";

/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./line.js").Row} Row */
/** @typedef {import("./log.js").Log} TextLog */
/** @typedef {import("./rows.js").Rows} Rows */
/** @typedef {import("./wrapping.js").Wrap} Wrap */
/** @typedef {import("./rows.js").Match} Match */
/** @typedef {import("./painting.js").RowElement} RowElement */

/** Bytes that one request asks for. */
const PAGE = 256 * 1024;
const SELECTED_ROWS = 3000;

/** A log that is scrolled through. */
class LogView {
  /**
   * @param {{
   *   rows: Rows, label: string, wrap: Wrap,
   *   request: (log: TextLog, from: number, to: number) => Promise<void>,
   *   changed: () => void, silent: () => boolean,
   * }} options  `request` brings bytes in; `changed` asks for `paint` to be called in the next frame; `silent` tells
   *   whether nothing has been written to the log
   */
  constructor({ rows, label, wrap, request, changed, silent }) {
    this.rows = rows;
    this.layout = new Layout(rows, wrap);
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
    this.top = 0;
    this.height = 0;
    this.spare = 0;
    this.width = 0;
    /** @type {{key: Line | string, index: number, into: number} | null} */
    this.anchor = null;
    /** @type {Line | null} */
    this.seen = null;
    /** @type {Selection | null} */
    this.selection = null;
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
      event.clipboardData?.setData("text/plain", this.rows.text());
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
    this.layout.setWrap(wrap);
    this.height = 0;
    this.touch();
  }

  /** @param {string} query */
  find(query) {
    this.query = query;
    this.match = null;
    this.touch();
  }

  /** What was searched for, where it is now. */
  matches() {
    return this.rows.matches(this.query);
  }

  /** @param {Match | null} match */
  show(match) {
    this.match = match;
    if (match) {
      const index = this.rows.locate(match.line, this.rows.count() - 1);
      if (index >= 0) {
        this.following = false;
        this.anchor = { key: match.line, index, into: -Math.round(this.height / 2 - this.layout.rowHeight) };
        this.#sideways = true;
      }
    }
    this.touch();
  }

  #sideways = false;

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
    if (down && scrollTop + this.height >= this.layout.total - this.layout.rowHeight / 2) this.following = true;
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
    if (!this.rows.count()) return;
    let index = Math.min(this.layout.at(this.top), this.rows.count() - 1);
    // one that is still written to goes down with what is printed, and would take the view along
    while (index > 0 && isOpen(this.rows.row(index))) index--;
    this.anchor = { key: this.rows.keyOf(this.rows.row(index)), index, into: this.top - this.layout.topOf(index) };
  }

  #measure() {
    this.layout.setFont(this.probe.getBoundingClientRect());
    // whole rows only: half a row at the top would look torn
    const bar = this.scroller.offsetHeight - this.scroller.clientHeight;
    this.spare = (this.el.clientHeight - bar) % this.layout.rowHeight;
    this.scroller.style.top = `${this.spare}px`;
    this.height = this.scroller.clientHeight;
    this.width = this.scroller.clientWidth;
    this.window.style.setProperty("--room", `${this.width}px`);
  }

  /** Brings the screen up to what is known; cheap if nothing has changed. */
  paint() {
    const changed = this.rows.refresh();
    if (!changed && !this.dirty) return;
    // an element that was out of the document in between has lost its scroll position
    const measured = !this.height;
    if (measured) this.#measure();
    if (!this.height) return;
    this.dirty = false;
    const selected = this.#selected();
    if (selected && changed) this.following = false;
    // heights of wrapped rows are estimated until they are in sight, which may bring others into sight
    for (let tries = 0, wrong = true; wrong && tries < 4; tries++) {
      this.layout.layOut(this.width, this.height, this.following);
      this.sizer.style.height = `${this.layout.total}px`;
      const most = Math.max(0, this.layout.total - this.height);
      let top = most;
      if (!this.following) {
        if (!this.anchor) this.#dropAnchor();
        const { anchor } = this;
        if (anchor) {
          const index = this.rows.locate(anchor.key, anchor.index);
          if (index >= 0) anchor.index = index;
          top = Math.min(most, Math.max(0, this.layout.topOf(anchor.index) + anchor.into));
        }
      }
      if (top !== this.top || changed || measured) {
        this.top = top;
        this.scroller.scrollTop = top;
      }
      wrong = this.#fill(selected);
    }
    // if the text fits, the remainder of less than a row is below it, not above
    const shift = this.layout.total <= this.height && this.spare ? `translateY(${-this.spare}px)` : "";
    if (this.scroller.style.transform !== shift) this.scroller.style.transform = shift;
    this.#sayWhatIsNew();
    this.empty.hidden = this.rows.count() > 0;
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
    const count = this.rows.count();
    let first = Math.max(0, this.layout.at(this.top) - 2);
    let last = Math.min(count, this.layout.at(this.top + this.height) + 3);
    for (const key of selected ?? []) {
      const index = this.rows.locate(key, first);
      if (index < 0 || index < first - SELECTED_ROWS || index > last + SELECTED_ROWS) continue;
      first = Math.min(first, index);
      last = Math.max(last, index + 1);
    }
    /** @type {[Line | string, Row][]} */
    const wanted = [];
    for (let index = first; index < last; index++) {
      const row = this.rows.row(index);
      wanted.push([this.rows.keyOf(row), row]);
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
    this.window.style.transform = `translateY(${this.layout.topOf(first)}px)`;
    const wrong = this.layout.wrap !== "none" && this.layout.correct(wanted, first, this.elements);
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
    const { line } = row;
    const current = this.match?.line === line ? this.match.from : -1;
    const prefix = this.rows.prefix(row);
    const { wrapped } = this.layout.wrapping(line, prefix);
    paintRow(element, row, { prefix, wrapped, query: this.query, current });
  }

  #sayWhatIsNew() {
    let count = this.rows.count();
    // those still written to are always the last
    while (count > 0 && isOpen(this.rows.row(count - 1))) count--;
    const last = count ? this.rows.row(count - 1) : null;
    if (this.following || !this.rows.count()) {
      this.seen = last?.kind === "line" ? last.line : null;
      this.pill.hidden = true;
      return;
    }
    let fresh = 0;
    while (fresh < count && this.rows.keyOf(this.rows.row(count - 1 - fresh)) !== this.seen) fresh++;
    this.pill.hidden = false;
    put(this.pill, fresh ? `↓ ${counted(fresh, "new line")}` : "↓ to the end");
  }

  /** Asks for older text near its top, and for small gaps in sight; large gaps have a button. */
  #fetchWhatIsInSight() {
    // after a failure, only the button asks again
    if (this.fetching || this.failed) return;
    const { start } = this.rows.log;
    if (start > 0 && this.top < this.height) void this.#fetch(Math.max(0, start - PAGE), start);
    for (let index = this.layout.at(this.top); index < Math.min(this.rows.count(), this.layout.at(this.top + this.height)); index++) {
      const row = this.rows.row(index);
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
