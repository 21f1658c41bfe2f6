// One place where the panel is shown.
import { layOutPanes, leaveOut } from "./columns.js";
import { copyText, download } from "./copying.js";
import { Counts } from "./counts.js";
import { make, put, sign } from "./elements.js";
import { Finder } from "./finding.js";
import { Header } from "./header.js";
import { Pane } from "./pane.js";
import { saidOf } from "./ranks.js";
import { StacksView } from "./stacks.js";
import { RankLine, RankMap } from "./tiles.js";
import { Toolbar } from "./toolbar.js";
import { counted, ranksInWords, secondsInWords } from "./words.js";

/** @typedef {import("./ranks.js").Rank} Rank */
/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./toolbar.js").Mode} Mode */

const MOST_PANES = 8;
// Rows of an empty log.
const LEAST_ROWS = 3;

/** One place where the panel is shown. */
class View {
  /**
   * @param {Store} store
   * @param {HTMLElement} host
   * @param {number} before  height, in pixels, of the earlier output in its place
   */
  constructor(store, host, before) {
    this.store = store;
    const count = store.ranks.length;
    /** @type {Mode} */
    this.mode = count === 1 ? "rank" : "grid";
    this.chosen = 0;
    this.visible = true;
    this.stale = true;
    this.root = -1;
    this.stopAsked = 0;
    /** The largest height of the content so far, in pixels. */
    this.content = before;
    /** @type {Map<string, Pane>} */
    this.panes = new Map();
    /** @type {Pane[]} */
    this.shown = [];
    this.stacks = new StacksView({
      ask: () => store.stacks(),
      copy: (text, what) => void this.copyText(text, what),
      when: () => secondsInWords(store.now()),
      say: (text) => put(this.live, text),
    });
    this.header = new Header(store, this.stacks.button, () => this.#stop());
    this.counts = new Counts();
    this.finder = new Finder(() => this.shown.map((pane) => pane.log));
    this.toolbar = new Toolbar({
      count,
      map: count > MOST_PANES,
      searching: this.finder.el,
      show: (mode) => this.show(mode),
      enlarge: (rank) => this.enlarge(rank),
      wrap: (wrap) => {
        for (const { log } of this.panes.values()) log.setWrap(wrap);
      },
      follow: () => this.#follow(!this.#following()),
    });
    this.causeText = make("span", "causetext");
    this.cause = make("button", "cause", sign("failed"), this.causeText);
    this.cause.hidden = true;
    this.cause.addEventListener("click", () => this.#jump());
    this.body = make("div", "body");
    this.map = count > MOST_PANES ? this.#map(count) : null;
    this.hovered = new RankLine(0);
    this.hovered.el.append(make("span", "last"));
    this.key = make("div", "key", "fuller colour: more CPU; arrow keys move, Enter opens a log");
    this.look = make("div", "look", this.hovered.el, this.key);
    this.where = make("span", "where");
    this.foot = make("footer", "foot", this.counts.el, this.where);
    this.live = make("div", "live");
    this.live.setAttribute("role", "status");
    this.live.setAttribute("aria-live", "polite");

    const size = [1, 2, 4, 8, 16, 64].find((most) => count <= most) ?? "many";
    this.panel = make("section", `panel of-${size}`, this.header.el, this.counts.bar, this.toolbar.el, this.cause);
    if (before) this.panel.style.setProperty("--content", `${before}px`);
    this.panel.append(this.stacks.el, this.body, this.foot, this.live);
    this.el = make("div", "root", this.panel);
    // Jupyter must not handle keys that are pressed in here: with the focus on a log, "d d" would delete the cell
    this.el.dataset.lmSuppressShortcuts = "true";
    // the browser's own menu, with Copy in it
    this.el.dataset.jpSuppressContextMenu = "true";
    this.el.addEventListener("keydown", (event) => this.#keydown(event));
    for (const kind of ["keyup", "keypress"]) this.el.addEventListener(kind, (event) => event.stopPropagation());
    this.watcher = new IntersectionObserver(
      ([entry]) => {
        this.visible = entry.isIntersecting;
        this.store.watch();
        this.touch();
      },
      { rootMargin: "400px" },
    );
    this.watcher.observe(this.el);
    this.fitting = new ResizeObserver(() => leaveOut(this.shown, this.root));
    this.#arrange();
    host.append(this.el);
  }

  destroy() {
    this.watcher.disconnect();
    this.fitting?.disconnect();
    this.map?.destroy();
    for (const pane of this.panes.values()) pane.destroy();
    this.store.leave(this);
    this.el.remove();
  }

  /** @param {number} count */
  #map(count) {
    return new RankMap(count, {
      open: (rank) => {
        this.chosen = rank;
        this.#arrange();
      },
      look: (rank) => {
        this.looked = rank;
        this.touch();
      },
    });
  }

  /** The ids of the logs whose text is needed. */
  watching() {
    return this.visible ? this.shown.map((pane) => pane.id) : [];
  }

  touch() {
    this.stale = true;
    this.store.schedule();
  }

  /** @param {Mode} mode */
  show(mode) {
    this.mode = mode;
    this.#arrange();
  }

  /** @param {number} rank */
  enlarge(rank) {
    this.chosen = rank;
    this.show("rank");
  }

  /**
   * @param {number | null} rank
   * @param {boolean} [folded]
   */
  #pane(rank, folded = false) {
    const key = folded ? "folded" : String(rank);
    let pane = this.panes.get(key);
    if (!pane) this.panes.set(key, (pane = new Pane(this, rank, folded)));
    return pane;
  }

  /** Puts into the body what the mode asks for. */
  #arrange() {
    const { mode, map, chosen } = this;
    const ranks = this.store.ranks.map((rank) => rank.rank);
    if (mode === "merged" || mode === "folded") this.shown = [this.#pane(null, mode === "folded")];
    else if (mode === "rank" || map) this.shown = [this.#pane(chosen)];
    else {
      // the rank that failed first comes first
      const order = this.root < 0 ? ranks : [this.root, ...ranks.filter((rank) => rank !== this.root)];
      this.shown = order.map((rank) => this.#pane(rank));
    }
    const grid = mode === "grid" && !map;
    const rooted = grid && this.root >= 0;
    const panes = make("div", `panes${rooted ? " rooted" : ""}`);
    if (grid) layOutPanes(panes, this.shown.length - (rooted ? 1 : 0), rooted);
    panes.append(...this.shown.map((pane) => pane.el));
    this.fitting?.disconnect();
    for (const pane of this.shown) this.fitting?.observe(pane.el);
    this.body.replaceChildren(...(map && mode === "grid" ? [map.el, this.look] : []), panes);
    map?.mark(chosen);
    this.panel.dataset.mode = mode;
    this.toolbar.mark(mode, chosen);
    for (const pane of this.shown) {
      pane.log.height = 0;
      pane.log.dirty = true;
    }
    if (this.finder.query) this.finder.search();
    this.store.watch();
    this.touch();
  }

  /**
   * Takes note of news, and says those that matter aloud.
   * @param {Map<string, number[]>} news
   * @param {boolean} quiet
   */
  told(news, quiet) {
    this.stale = true;
    const root = this.store.ranks.findIndex((rank) => rank.root);
    if (root !== this.root) {
      this.root = root;
      if (root >= 0 && this.mode !== "rank") this.chosen = root;
      this.#arrange();
    }
    if (quiet || !news.size) return;
    const said = [...news].map(([what, ranks]) => `${ranksInWords(ranks)} ${saidOf(what, ranks.length)}`);
    put(this.live, said.join("; "));
  }

  /** @param {string} unheard  in words; empty when the kernel is heard again */
  toldOfSilence(unheard) {
    put(this.live, unheard || "heard from again");
    this.touch();
  }

  /** @param {number} beats */
  beat(beats) {
    if (!this.visible || document.hidden) return;
    if (!this.store.over && !this.store.unheard) this.touch();
    if (beats % 4 === 0 && this.finder.query) this.finder.count();
  }

  paint() {
    if (!this.visible || document.hidden) return;
    if (this.stale) this.#paintState();
    this.stale = false;
    for (const pane of this.shown) pane.log.paint();
    this.#grow();
    const some = !this.#following() && this.shown.some((pane) => pane.log.following);
    this.toolbar.markFollowing(some ? "mixed" : this.#following() ? "true" : "false");
  }

  /** Makes room for what was written. The panel never shrinks, so that what is below it moves as little as possible. */
  #grow() {
    let wanted = Infinity;
    // a map, the traceback of a failed rank, and stacks take the full height
    if (!this.map && this.root < 0 && this.stacks.el.hidden) {
      const [{ el, log }] = this.shown;
      const columns = Math.max(1, Math.round((el.parentElement?.clientWidth ?? 0) / Math.max(1, el.clientWidth)));
      const rows = Math.ceil(this.shown.length / columns);
      const text = Math.max(LEAST_ROWS * log.layout.rowHeight, ...this.shown.map((pane) => pane.log.layout.total));
      const head = el.clientHeight - log.el.clientHeight;
      // 14 pixels: a horizontal scroll bar may be below the text
      wanted = this.panel.clientHeight - this.body.clientHeight + rows * (head + text + 14);
    }
    if (wanted <= this.content) return;
    this.content = wanted;
    this.panel.style.setProperty("--content", wanted === Infinity ? "9999px" : `${Math.ceil(wanted)}px`);
    // in the same frame, because a person may scroll in the next one
    for (const { log } of this.shown) {
      log.height = 0;
      log.dirty = true;
      log.paint();
    }
  }

  /** @param {boolean} follow */
  #follow(follow) {
    for (const { log } of this.shown) {
      log.following = follow;
      log.touch();
    }
  }

  #following() {
    return this.shown.every((pane) => pane.log.following);
  }

  #paintState() {
    const { run, ranks, unheard, lost } = this.store;
    const now = this.store.now();
    const { state, told, asked } = this.header.paint(now, this.stopAsked > 0);
    this.panel.dataset.state = state.replace(" ", "-");
    this.panel.classList.toggle("nbl-told", told);
    this.panel.classList.toggle("nbl-asked", asked);
    this.el.classList.toggle("nbl-unheard", Boolean(unheard));
    this.el.classList.toggle("nbl-lost", lost);
    this.counts.paint(ranks, lost);
    const where = [run.sent ? `sent to each rank: ${run.sent}` : "", run.log_dir ?? ""].filter(Boolean).join("  ·  ");
    if (!this.noticed) put(this.where, where);
    this.where.title = where;
    this.#paintCause();
    for (const pane of this.shown) if (pane.rank !== null) pane.update(ranks[pane.rank], now);
    if (!this.map || this.mode !== "grid") return;
    this.map.tiles.forEach((tile, rank) => tile.update(ranks[rank], now));
    const pointed = this.looked === null || this.looked === undefined ? null : ranks[this.looked];
    this.hovered.el.hidden = !pointed;
    this.key.hidden = Boolean(pointed);
    if (!pointed) return;
    this.hovered.update(pointed, now);
    if (this.hovered.el.lastElementChild instanceof HTMLElement) put(this.hovered.el.lastElementChild, pointed.line);
  }

  #paintCause() {
    const { ranks } = this.store;
    const root = ranks[this.root];
    this.cause.hidden = !root;
    if (!root) return;
    const others = ranks.filter((rank) => rank.state === "failed" && !rank.root && !rank.collateral);
    const ended = ranks.filter((rank) => rank.collateral);
    const parts = [`rank ${root.rank} failed${ranks.length > 1 ? " first" : ""}: ${root.why || root.exit || "no reason given"}`];
    /** @param {Rank[]} some */
    const names = (some) => ranksInWords(some.map(({ rank }) => rank));
    if (others.length) parts.push(`${names(others)} failed too`);
    if (ended.length) parts.push(`${names(ended)} ended because of rank ${root.rank}`);
    const text = parts.join("  ·  ");
    put(this.causeText, text);
    this.cause.title = text;
  }

  #jump() {
    if (this.root < 0) return;
    this.chosen = this.root;
    if (this.mode === "merged" || this.mode === "folded") this.show(this.store.ranks.length > 1 ? "grid" : "rank");
    else this.#arrange();
    this.#pane(this.root).trace.focus();
  }

  #stop() {
    const kill = this.stopAsked > 0 || this.store.run.state === "stopping";
    this.stopAsked++;
    this.store.send({ kind: kill ? "kill" : "stop" }, true);
    this.touch();
  }

  /** @param {KeyboardEvent} event */
  #keydown(event) {
    const accel = event.ctrlKey || event.metaKey;
    if (accel && event.key.toLowerCase() === "f") {
      event.preventDefault();
      this.finder.focus();
    } else if (accel && event.key.toLowerCase() === "s") {
      // Jupyter saves the notebook, wherever the focus is
      delete this.el.dataset.lmSuppressShortcuts;
      setTimeout(() => (this.el.dataset.lmSuppressShortcuts = "true"));
      return;
    } else if (event.target === this.finder.field && event.key === "Enter") {
      this.finder.next(event.shiftKey ? -1 : 1);
      event.preventDefault();
    } else if (event.key === "Escape" && this.stacks.holds(event.target)) {
      this.stacks.close();
    } else if (event.key === "Escape" && this.finder.query) {
      this.finder.clear();
      this.shown[0]?.log.scroller.focus({ preventScroll: true });
    }
    event.stopPropagation();
  }

  /**
   * Says something in the footer, for a moment or until the next such thing.
   * @param {string} text
   * @param {boolean} [stays]
   */
  notice(text, stays = false) {
    clearTimeout(this.noticed);
    this.noticed = window.setTimeout(
      () => {
        this.noticed = 0;
        this.foot.classList.remove("nbl-noticing");
        this.touch();
      },
      stays ? 600_000 : 4000,
    );
    this.foot.classList.add("nbl-noticing");
    put(this.where, text);
  }

  /** @param {Pane} pane */
  async copy(pane) {
    await this.copyText(pane.log.rows.text(), counted(pane.log.rows.rows.length, "line"));
  }

  /**
   * @param {string} text
   * @param {string} what  the same in words
   */
  async copyText(text, what) {
    await copyText(text, this.el);
    this.notice(`copied ${what}`);
  }

  /** @param {Pane} pane */
  async download(pane) {
    const name = pane.rank === null ? "all-ranks.log" : `rank-${pane.rank}.log`;
    await download(this.store, pane.log.rows.log, name, (text, stays) => this.notice(text, stays));
  }
}

export { View };
