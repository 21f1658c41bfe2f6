// One log with a line of numbers above it, and what a failed rank has to say.
import { iconButton, make } from "./elements.js";
import { ALL_RANKS } from "./log.js";
import { LogView } from "./logview.js";
import { paintLine } from "./painting.js";
import { Rows } from "./rows.js";
import { Terminal } from "./screen.js";
import { RankLine } from "./tiles.js";
import { endOf } from "./words.js";

/** @typedef {import("./ranks.js").Rank} Rank */
/** @typedef {import("./view.js").View} View */

/** A log with a line of numbers above it, and what a failed rank has to say. */
class Pane {
  /**
   * @param {View} view
   * @param {number | null} rank  null for all of them
   * @param {boolean} [folded]
   */
  constructor(view, rank, folded = false) {
    this.rank = rank;
    this.id = rank === null ? ALL_RANKS : String(rank);
    const { store } = view;
    const name = rank === null ? "all ranks" : `rank ${rank}`;
    this.line = rank === null ? null : new RankLine(rank);
    const words = folded ? "lines that several ranks wrote are shown once" : "in the order in which the ranks wrote";
    const head = this.line?.el ?? make("div", "rankline", make("span", "fate", words));
    this.tools = make("span", "panetools");
    this.tools.append(
      ...(rank !== null && view.store.ranks.length > 1
        ? [iconButton("larger", `only ${name}, large`, () => view.enlarge(rank))]
        : []),
      iconButton("copy", `copy the text of ${name} that is here`, () => void view.copy(this)),
      iconButton("download", `download the whole log of ${name}`, () => void view.download(this)),
    );
    head.append(this.tools);
    /** @type {LogView} */
    this.log = new LogView({
      rows: new Rows(store.log(this.id), folded, rank === null),
      label: `log of ${name}`,
      wrap: view.toolbar.wrap,
      request: async (log, from, to) => {
        const { chunk, bytes } = await store.page(log.id, from, to);
        log.fill(chunk, bytes);
      },
      changed: () => store.schedule(),
      silent: () => store.ranks.every((other) => (rank !== null && other.rank !== rank) || !(other.out + other.err)),
    });
    // not a pre: Jupyter has styles of its own for those
    this.trace = make("div", "trace");
    this.trace.tabIndex = 0;
    this.trace.setAttribute("role", "group");
    this.trace.setAttribute("aria-label", `traceback of ${name}`);
    this.trace.hidden = true;
    this.told = "";
    // the error itself stands last, and stays in sight unless the person has scrolled up
    this.atEnd = true;
    this.trace.addEventListener("scroll", () => {
      const { scrollTop, scrollHeight, clientHeight } = this.trace;
      this.atEnd = scrollTop + clientHeight >= scrollHeight - 4;
    });
    this.resizing = new ResizeObserver(() => this.#toTheEnd());
    this.resizing.observe(this.trace);
    this.el = make("section", "pane", head, this.trace, this.log.el);
    this.el.setAttribute("aria-label", name);
  }

  destroy() {
    this.resizing.disconnect();
    this.log.destroy();
  }

  #toTheEnd() {
    if (!this.atEnd) return;
    const { style, clientHeight, scrollHeight } = this.trace;
    const { lineHeight, paddingTop } = getComputedStyle(this.trace);
    // whole lines only, as in a log: what is too much for them goes below the last one
    const beyond = scrollHeight > clientHeight ? (clientHeight - parseFloat(paddingTop)) % parseFloat(lineHeight) : 0;
    style.paddingBottom = `${parseFloat(paddingTop) + (beyond || 0)}px`;
    this.trace.scrollTop = this.trace.scrollHeight;
  }

  /**
   * @param {Rank} rank
   * @param {number} now
   */
  update(rank, now) {
    this.line?.update(rank, now);
    this.el.classList.toggle("nbl-first", rank.root);
    this.el.classList.toggle("nbl-collateral", rank.collateral);
    const text = rank.collateral ? "" : rank.traceback;
    if (text === this.told) return;
    this.told = text;
    this.trace.hidden = !text;
    this.trace.textContent = "";
    const terminal = new Terminal({ rank: rank.rank, stream: 2 });
    terminal.feed(endOf(text, 100_000));
    for (const line of terminal.lines) {
      const row = make("div");
      paintLine(row, line);
      if (!line.text) row.append("\n");
      this.trace.append(row);
    }
    this.atEnd = true;
    requestAnimationFrame(() => this.#toTheEnd());
  }
}

export { Pane };
