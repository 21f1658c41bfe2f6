// One place where the panel is shown.
import { iconButton, make, put, reshape, sign } from "./elements.js";
import { PAGE } from "./logview.js";
import { Pane } from "./pane.js";
import { WERE, countStates, fateInWords, noteOf, saidOf } from "./ranks.js";
import { StacksView } from "./stacks.js";
import { RankLine, RankMap } from "./tiles.js";
import { counted, percentInWords, ranksInWords, secondsInWords, sizeInWords } from "./words.js";

/** @typedef {import("./ranks.js").Rank} Rank */
/** @typedef {import("./store.js").Store} Store */
/** @typedef {"grid" | "merged" | "folded" | "rank"} Mode */

const MOST_PANES = 8;
const MOST_DOWNLOADED = 200e6;
const AT_ONCE = 4;
// Rows that a log has room for before anything is written.
const LEAST_ROWS = 3;

// What the button for long lines says, and what a click on it makes of them.
/** @type {Record<import("./logview.js").Wrap, {next: import("./logview.js").Wrap, pressed: string, title: string}>} */
const WRAPPED = {
  some: { next: "all", pressed: "mixed", title: "long lines are wrapped, but no tables and progress bars; click to wrap these too" },
  all: { next: "none", pressed: "true", title: "all long lines are wrapped; click to wrap none" },
  none: { next: "some", pressed: "false", title: "no lines are wrapped; click to wrap long ones, but no tables and progress bars" },
};

/**
 * What the line above a log does without when it is at most so wide.
 * @type {[number, string][]}
 */
const LEFT_OUT = [[520, "written"], [420, "pid"], [330, "curve"], [230, "memory"]];

/** One place where the panel is shown. */
class View {
  /**
   * @param {Store} store
   * @param {HTMLElement} host
   * @param {number} before  pixels that have stood in its place
   */
  constructor(store, host, before) {
    this.store = store;
    const count = store.ranks.length;
    /** @type {Mode} */
    this.mode = count === 1 ? "rank" : "grid";
    this.chosen = 0;
    /** @type {import("./logview.js").Wrap} */
    this.wrap = "some";
    this.visible = true;
    this.stale = true;
    this.root = -1;
    this.stopAsked = 0;
    /** Pixels that all that is shown has taken so far. */
    this.content = before;
    /** @type {Map<string, Pane>} */
    this.panes = new Map();
    /** @type {Pane[]} */
    this.shown = [];
    /** @type {{pane: Pane, match: import("./logview.js").Match} | null} */
    this.found = null;
    this.counted = "";

    this.sign = sign("starting");
    this.title = make("span", "title");
    this.words = make("span", "words");
    this.elapsed = make("span", "num elapsed");
    this.cpu = make("span", "num cpu");
    this.memory = make("span", "num memory");
    this.elapsed.title = "since the launch";
    this.cpu.title = "CPU of all ranks together; 100 % is one core";
    this.memory.title = "memory of all ranks together";
    this.stop = /** @type {HTMLButtonElement} */ (make("button", "stop", make("span", "", "Stop")));
    this.stop.addEventListener("click", () => this.#stop());
    const metrics = make("span", "metrics", this.memory, this.cpu, this.elapsed);
    this.stacks = new StacksView({
      ask: () => store.stacks(),
      copy: (text, what) => void this.copyText(text, what),
      when: () => secondsInWords(store.now()),
      say: (text) => put(this.live, text),
    });
    const head = make("header", "head", this.sign, this.title, this.words, metrics, this.stacks.button, this.stop);

    this.bar = make("div", "bar");
    this.bar.setAttribute("aria-hidden", "true");

    const tools = this.#tools(count);
    this.causeText = make("span", "causetext");
    this.cause = make("button", "cause", sign("failed"), this.causeText);
    this.cause.hidden = true;
    this.cause.addEventListener("click", () => this.#jump());
    this.body = make("div", "body");
    this.map = count > MOST_PANES ? this.#map(count) : null;
    this.hovered = new RankLine(0);
    this.hovered.el.append(make("span", "last"));
    this.key = make("div", "key");
    this.look = make("div", "look", this.hovered.el, this.key);
    this.counts = make("span", "counts");
    this.where = make("span", "where");
    this.foot = make("footer", "foot", this.counts, this.where);
    this.live = make("div", "live");
    this.live.setAttribute("role", "status");
    this.live.setAttribute("aria-live", "polite");

    const size = [1, 2, 4, 8, 16, 64].find((most) => count <= most) ?? "many";
    this.panel = make("section", `panel of-${size}`, head, this.bar, tools, this.cause);
    if (before) this.panel.style.setProperty("--content", `${before}px`);
    this.panel.append(this.stacks.el, this.body, this.foot, this.live);
    this.el = make("div", "root", this.panel);
    // keys pressed in here are not Jupyter's: with focus on a log, "d d" would delete the cell
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
    this.fitting = new ResizeObserver(() => this.#fit());
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
  #tools(count) {
    /** @type {Map<Mode, HTMLElement>} */
    this.modes = new Map();
    const modes = make("span", "modes");
    modes.setAttribute("role", "group");
    modes.setAttribute("aria-label", "view");
    for (const [mode, name, title] of /** @type {[Mode, string, string][]} */ ([
      count > MOST_PANES ? ["grid", "Map", "a tile for each rank, and the log of one"] : ["grid", "Grid", "the ranks side by side"],
      ["merged", "Merged", "all ranks in one log"],
      ["folded", "Folded", "all ranks in one log, lines alike shown once"],
    ])) {
      const button = make("button", "", name);
      button.title = title;
      button.addEventListener("click", () => this.show(mode));
      this.modes.set(mode, button);
      modes.append(button);
    }
    this.select = /** @type {HTMLSelectElement} */ (document.createElement("select"));
    this.select.setAttribute("aria-label", "one rank");
    this.select.title = "one rank";
    this.select.append(...this.store.ranks.map(({ rank }) => new Option(`Rank ${rank}`, String(rank))));
    this.select.addEventListener("change", () => this.enlarge(Number(this.select?.value)));
    // clicked as it stands, it opens the rank that it names
    this.select.addEventListener("pointerdown", (event) => {
      if (this.mode === "rank") return;
      event.preventDefault();
      this.enlarge(this.chosen);
    });
    this.modes.set("rank", this.select);
    modes.append(make("span", "pick", this.select, sign("next")));
    modes.hidden = count === 1;
    const wrap = iconButton("wrap", "wrap long lines", () => {
      this.wrap = WRAPPED[this.wrap].next;
      show();
      for (const pane of this.panes.values()) pane.log.setWrap(this.wrap);
    });
    const show = () => {
      wrap.setAttribute("aria-pressed", WRAPPED[this.wrap].pressed);
      wrap.title = WRAPPED[this.wrap].title;
    };
    show();
    this.follow = iconButton("follow", "follow the end", () => {
      const follow = !this.#following();
      for (const { log } of this.shown) {
        log.following = follow;
        log.touch();
      }
    });
    this.field = /** @type {HTMLInputElement} */ (make("input", "field"));
    this.field.type = "search";
    this.field.placeholder = "Find";
    this.field.setAttribute("aria-label", "search the text that is here");
    this.field.spellcheck = false;
    this.field.addEventListener("input", () => this.#search());
    this.hits = make("span", "num hits");
    this.hits.setAttribute("role", "status");
    const searching = make("span", "searching", sign("search"), this.field, this.hits);
    searching.append(
      iconButton("previous", "previous match (Shift+Enter)", () => this.#next(-1)),
      iconButton("next", "next match (Enter)", () => this.#next(1)),
    );
    this.searching = searching;
    const tools = make("div", "tools", modes, make("span", "space"), searching, wrap, this.follow);
    tools.setAttribute("role", "toolbar");
    tools.setAttribute("aria-label", "how the logs are shown");
    return tools;
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
    if (grid) this.#layOut(panes, this.shown.length - (rooted ? 1 : 0), rooted);
    panes.append(...this.shown.map((pane) => pane.el));
    this.fitting?.disconnect();
    for (const pane of this.shown) this.fitting?.observe(pane.el);
    this.body.replaceChildren(...(map && mode === "grid" ? [map.el, this.look] : []), panes);
    map?.mark(chosen);
    this.panel.dataset.mode = mode;
    for (const [name, button] of this.modes ?? []) button.setAttribute("aria-pressed", String(name === mode));
    if (this.select) this.select.value = String(chosen);
    for (const pane of this.shown) {
      pane.log.height = 0;
      pane.log.dirty = true;
    }
    if (this.field?.value) this.#search();
    this.store.watch();
    this.touch();
  }

  /**
   * Says how many panes stand side by side in panels of every width; the last one fills its row.
   * @param {HTMLElement} panes
   * @param {number} count
   * @param {boolean} below  they stand below another one
   */
  #layOut(panes, count, below) {
    const half = Math.ceil(count / 2);
    const wide = below ? (count <= 4 ? count : half) : count <= 2 ? count : Math.max(2, half);
    const columnsOf = {
      slim: count <= 4 && !below ? 1 : 2,
      narrow: count === 2 && !below ? 1 : 2,
      middle: below ? wide : 2,
      wide,
      widest: count <= 4 ? count : wide,
    };
    for (const [name, columns] of Object.entries(columnsOf)) {
      const most = Math.max(1, Math.min(columns, count));
      panes.style.setProperty(`--${name}`, String(most));
      panes.style.setProperty(`--${name}-last`, String(most - ((count - 1) % most)));
    }
  }

  /** Leaves out of the lines above the logs what has no room in the narrowest of them: they shall be alike. */
  #fit() {
    // the one that failed first has a row of its own
    const like = this.shown.filter((pane) => pane.rank !== this.root || this.shown.length === 1);
    const widths = like.map((pane) => pane.el.clientWidth).filter(Boolean);
    const width = widths.length ? Math.min(...widths) : 0;
    for (const pane of this.shown) {
      const own = like.includes(pane) ? width : pane.el.clientWidth;
      const hidden = LEFT_OUT.filter(([most]) => own && own <= most).map(([, name]) => name);
      if (pane.el.dataset.without !== hidden.join(" ")) pane.el.dataset.without = hidden.join(" ");
    }
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
    if (beats % 4 === 0 && this.field?.value) this.#count();
  }

  paint() {
    if (!this.visible || document.hidden) return;
    if (this.stale) this.#paintState();
    this.stale = false;
    for (const pane of this.shown) pane.log.paint();
    this.#grow();
    const some = !this.#following() && this.shown.some((pane) => pane.log.following);
    this.follow?.setAttribute("aria-pressed", some ? "mixed" : String(this.#following()));
  }

  /** Makes room for what was written: the panel never shrinks, so that what stands below moves as little as can be. */
  #grow() {
    let wanted = Infinity;
    // a map, what a failed rank has to say, and stacks take all that there is
    if (!this.map && this.root < 0 && this.stacks.el.hidden) {
      const [{ el, log }] = this.shown;
      const columns = Math.max(1, Math.round((el.parentElement?.clientWidth ?? 0) / Math.max(1, el.clientWidth)));
      const rows = Math.ceil(this.shown.length / columns);
      const text = Math.max(LEAST_ROWS * log.rowHeight, ...this.shown.map((pane) => pane.log.total));
      const head = el.clientHeight - log.el.clientHeight;
      // a bar to scroll sideways may lie below the text
      wanted = this.panel.clientHeight - this.body.clientHeight + rows * (head + text + 14);
    }
    if (wanted <= this.content) return;
    this.content = wanted;
    this.panel.style.setProperty("--content", wanted === Infinity ? "9999px" : `${Math.ceil(wanted)}px`);
    // in the same frame: somebody may scroll in the next one
    for (const { log } of this.shown) {
      log.height = 0;
      log.dirty = true;
      log.paint();
    }
  }

  #following() {
    return this.shown.every((pane) => pane.log.following);
  }

  #paintState() {
    const { run, ranks } = this.store;
    const now = this.store.now();
    const shapes = /** @type {Record<string, string>} */ ({
      "getting ready": "starting", silent: "starting", lost: "stopped", stopping: "stopped", interrupted: "stopped", "timed out": "failed",
    });
    const title = String(this.store.model.get("title") ?? "");
    put(this.title, title);
    this.title.title = title;
    const { unheard, lost } = this.store;
    const state = lost ? "lost" : unheard ? "silent" : run.state === "over" ? this.#outcome() : run.state;
    const asking = lost || run.state === "over" ? [] : ranks.filter((rank) => noteOf(rank)?.shape === "asks");
    const details = [run.words !== state ? run.words : "", this.#whoAsks(asking)].filter(Boolean).join("  \u00b7  ");
    const words = unheard || (details ? `${state}: ${details}` : state);
    put(this.words, words);
    this.words.title = words;
    this.panel.classList.toggle("nbl-told", Boolean(unheard || details));
    this.panel.dataset.state = state.replace(" ", "-");
    reshape(this.sign, asking.length ? "asks" : (shapes[state] ?? state));
    this.panel.classList.toggle("nbl-asked", asking.length > 0);
    this.el.classList.toggle("nbl-unheard", Boolean(unheard));
    this.el.classList.toggle("nbl-lost", lost);
    put(this.elapsed, this.store.known || this.store.over ? secondsInWords(this.store.over ? now : Math.floor(now)) : "");
    // both are known at the first look, and stay from then on
    const looked = !this.store.over && Boolean(run.samples);
    put(this.cpu, looked ? `CPU ${percentInWords(run.cpu ?? 0)}` : "");
    put(this.memory, !looked || !run.memory ? "" : `${run.about ? "≈ " : ""}${sizeInWords(run.memory)}`);
    const stopping = run.state === "stopping" || this.stopAsked > 0;
    put(this.stop, stopping && !this.store.over ? "Kill" : "Stop");
    this.stop.classList.toggle("nbl-kill", stopping && !this.store.over);
    this.stop.title = stopping ? "end the ranks at once" : "interrupt the ranks; click again to kill them";
    // a page that is not heard while the cell blocks would stop nothing, and get no answer
    const unable = !this.store.channel && !this.store.over;
    this.stop.hidden = unable;
    this.stop.disabled = this.store.over || lost;
    if (lost) this.stop.title = unheard;
    this.stacks.button.hidden = this.store.over || lost || unable;
    this.#paintCounts();
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

  /** @param {Rank[]} asking */
  #whoAsks(asking) {
    if (asking.length === 1 && this.store.ranks.length > 1) return `rank ${asking[0].rank} ${fateInWords(asking[0])}`;
    if (asking.length === 1) return fateInWords(asking[0]);
    const names = ranksInWords(asking.map(({ rank }) => rank));
    const how = asking.some(({ answer }) => answer) ? " (%multiproc debug RANK)" : "";
    return asking.length ? `${names} wait for an answer${how}` : "";
  }

  /** What became of a run that is over, as long as nobody has said it in words. */
  #outcome() {
    const { ranks } = this.store;
    if (ranks.some((rank) => rank.state === "failed")) return "failed";
    return ranks.some((rank) => rank.state === "stopped") ? "stopped" : "finished";
  }

  #paintCounts() {
    const { run, ranks } = this.store;
    const { lost } = this.store;
    const counts = countStates(ranks);
    const present = [...counts.keys()];
    const notes = ranks.map(noteOf);
    const warned = notes.filter((note) => note?.shape === "warning").length;
    const asking = notes.filter((note) => note?.shape === "asks").length;
    const is = `${present.map((state) => `${state} ${counts.get(state)}`).join()} ${warned} ${asking} ${lost}`;
    if (is !== this.counted) {
      this.counted = is;
      const parts = present.map((state) => {
        const part = make("span", "", sign(state), `${counts.get(state)} ${lost ? WERE[state] ?? state : state}`);
        part.dataset.state = state;
        return part;
      });
      if (asking) parts.push(make("span", "asking", sign("asks"), `${asking} ${saidOf("asks", asking)}`));
      if (warned) parts.push(make("span", "warned", sign("warning"), counted(warned, "warning")));
      this.counts.replaceChildren(...parts);
      this.bar.replaceChildren(
        ...present.map((state) => {
          const part = make("span");
          part.dataset.state = state;
          part.style.flexGrow = String(counts.get(state));
          return part;
        }),
      );
      put(this.key, "fuller colour: more CPU; arrow keys move, Enter opens a log");
    }
    const where = [run.sent ? `sent to each rank: ${run.sent}` : "", run.log_dir ?? ""].filter(Boolean).join("  ·  ");
    if (!this.noticed) put(this.where, where);
    this.where.title = where;
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
      this.field?.focus();
      this.field?.select();
    } else if (accel && event.key.toLowerCase() === "s") {
      // saving the notebook stays Jupyter's, wherever the focus is
      delete this.el.dataset.lmSuppressShortcuts;
      setTimeout(() => (this.el.dataset.lmSuppressShortcuts = "true"));
      return;
    } else if (event.target === this.field && event.key === "Enter") {
      this.#next(event.shiftKey ? -1 : 1);
      event.preventDefault();
    } else if (event.key === "Escape" && this.stacks.holds(event.target)) {
      this.stacks.close();
    } else if (event.key === "Escape" && this.field?.value) {
      this.field.value = "";
      this.#search();
      this.shown[0]?.log.scroller.focus({ preventScroll: true });
    }
    event.stopPropagation();
  }

  #search() {
    this.found = null;
    for (const { log } of this.shown) log.find(this.field?.value ?? "");
    this.#count();
  }

  #matches() {
    return this.shown.flatMap((pane) => pane.log.matches().map((match) => ({ pane, match })));
  }

  #count(matches = this.#matches()) {
    if (!this.hits) return;
    const { found } = this;
    const at = found ? matches.findIndex(({ match }) => match.line === found.match.line && match.from === found.match.from) : -1;
    this.searching?.classList.toggle("nbl-active", Boolean(this.field?.value));
    put(this.hits, this.field?.value ? `${at < 0 ? "" : `${at + 1}/`}${matches.length}` : "");
  }

  /** @param {number} step */
  #next(step) {
    const matches = this.#matches();
    const { found } = this;
    let at = found ? matches.findIndex(({ match }) => match.line === found.match.line && match.from === found.match.from) : -1;
    // the newest first: it is what is in sight
    at = at < 0 ? matches.length - 1 : (at + step + matches.length) % matches.length;
    if (found && matches[at]?.pane !== found.pane) found.pane.log.show(null);
    this.found = matches[at] ?? null;
    this.found?.pane.log.show(this.found.match);
    this.#count(matches);
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
    await this.copyText(pane.log.text(), counted(pane.log.rows.rows.length, "line"));
  }

  /**
   * @param {string} text
   * @param {string} what  the same in words
   */
  async copyText(text, what) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // a page without https has no clipboard, but can copy what is selected
      const focused = document.activeElement;
      const area = document.createElement("textarea");
      area.value = text;
      this.el.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
    }
    this.notice(`copied ${what}`);
  }

  /** @param {Pane} pane */
  async download(pane) {
    const name = pane.rank === null ? "all-ranks.log" : `rank-${pane.rank}.log`;
    const { size } = pane.log.rows.log;
    if (size > MOST_DOWNLOADED) {
      this.notice(`${name} has ${sizeInWords(size)}, too much to download here: it lies in ${this.store.run.log_dir}`, true);
      return;
    }
    const bytes = new Uint8Array(size);
    let next = 0;
    let done = 0;
    const worker = async () => {
      while (next < size) {
        let from = next;
        const to = (next = Math.min(size, from + PAGE));
        while (from < to) {
          const got = await this.store.page(pane.id, from, to, true);
          const skipped = from - got.chunk.offset;
          const part = got.bytes.subarray(Math.max(0, skipped), skipped + to - from);
          if (skipped < 0 || !part.length) throw new Error(`bytes ${from} to ${to} did not come`);
          bytes.set(part, from);
          from += part.length;
          done += part.length;
          this.notice(`${name}: ${Math.floor((100 * done) / size)} % of ${sizeInWords(size)}`, true);
        }
      }
    };
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
    } catch (error) {
      next = size;
      this.notice(`${name} could not be downloaded: ${error instanceof Error ? error.message : error}`, true);
      return;
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes], { type: "text/plain" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    this.notice(`${name}: ${sizeInWords(size)} downloaded`);
  }
}

export { View };
