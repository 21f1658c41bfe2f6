// Ranks as tiles: sign, numbers and curve of each, and the dense map of many.
import { SVG, make, put, reshape, sign } from "./elements.js";
import { elapsedInWords, fateInWords, noteOf } from "./ranks.js";
import { percentInWords, sizeInWords } from "./words.js";

/** @typedef {import("./ranks.js").Rank} Rank */

/** A small curve of the memory of a rank. */
class Curve {
  constructor() {
    this.el = document.createElementNS(SVG, "svg");
    this.el.setAttribute("viewBox", "0 0 59 16");
    this.el.setAttribute("preserveAspectRatio", "none");
    this.el.setAttribute("class", "nbl-curve");
    this.el.setAttribute("aria-hidden", "true");
    this.area = document.createElementNS(SVG, "path");
    this.path = document.createElementNS(SVG, "path");
    this.area.setAttribute("class", "nbl-area");
    this.el.append(this.area, this.path);
    this.drawn = "";
  }

  /** @param {number[]} values  the newest last */
  draw(values) {
    const shown = values.slice(-60);
    const most = Math.max(...shown, 1);
    // a steady memory is a line at the top, not noise blown up to the full height
    const least = Math.min(Math.min(...shown, most), most * 0.8);
    // the first few take the whole width: at its end they would look like a stray mark
    const step = 59 / Math.max(1, shown.length - 1);
    const points = shown.map((v, i) => `${(step * i).toFixed(1)} ${(14.5 - (13 * (v - least)) / (most - least)).toFixed(1)}`);
    const line = points.length > 1 ? `M${points.join("L")}` : "";
    if (line === this.drawn) return;
    this.drawn = line;
    this.path.setAttribute("d", line);
    this.area.setAttribute("d", line && `${line}L59 16L0 16Z`);
  }
}

/**
 * Marks an element of a rank that asks, or may hang.
 * @param {Element} el
 * @param {ReturnType<typeof noteOf>} note
 */
function mark(el, note) {
  el.classList.toggle("nbl-warned", note?.shape === "warning");
  el.classList.toggle("nbl-asking", note?.shape === "asks");
}

/** The numbers of a rank in one line: the head of its log, and the line of details below the map. */
class RankLine {
  /** @param {number} number */
  constructor(number) {
    this.number = number;
    this.sign = sign("starting");
    this.badge = make("span", `badge r${number % 8}`, String(number));
    this.pid = make("span", "pid");
    this.fate = make("span", "fate");
    this.note = sign("warning");
    this.note.classList.add("nbl-note");
    this.elapsed = make("span", "num elapsed");
    this.cpu = make("span", "num cpu");
    this.memory = make("span", "num memory");
    this.written = make("span", "num written");
    this.cpu.title = "CPU, of one core";
    this.memory.title = "memory";
    this.written.title = "bytes written";
    this.elapsed.title = "running for";
    this.curve = new Curve();
    this.el = make("div", "rankline", this.sign, this.badge, this.pid, this.note, this.fate, make("span", "space"));
    this.el.append(this.written, this.curve.el, this.memory, this.cpu, this.elapsed);
  }

  /**
   * @param {Rank} rank
   * @param {number} now
   */
  update(rank, now) {
    this.el.dataset.state = rank.state;
    const note = noteOf(rank);
    mark(this.el, note);
    if (note) reshape(this.note, note.shape);
    reshape(this.sign, rank.state);
    put(this.badge, String(rank.rank));
    if (rank.rank !== this.number) {
      this.number = rank.rank;
      this.badge.className = `nbl-badge nbl-r${rank.rank % 8}`;
    }
    put(this.pid, rank.pid ? `pid ${rank.pid}` : "");
    // the traceback below and the line above it say of what
    const fate = rank.root && rank.traceback ? rank.exit || rank.state : fateInWords(rank);
    put(this.fate, fate);
    this.fate.title = rank.collateral ? "ended because another rank had failed" : fate;
    const over = rank.ended !== null;
    put(this.cpu, rank.pid && !over ? percentInWords(rank.cpu) : "");
    put(this.memory, rank.memory ? sizeInWords(rank.memory) : "");
    put(this.written, rank.out + rank.err ? sizeInWords(rank.out + rank.err) : "");
    put(this.elapsed, elapsedInWords(rank, now));
    this.curve.draw(rank.history);
  }
}

/** Many ranks: a tile each, of which one is chosen with the mouse or the arrow keys. */
class RankMap {
  /**
   * @param {number} count
   * @param {{open: (rank: number) => void, look: (rank: number | null) => void}} actions
   *   `open`: chosen; `look`: under the mouse or focused
   */
  constructor(count, actions) {
    this.actions = actions;
    this.el = make("div", `map ${count > 64 ? "dots" : count > 16 ? "cells" : "tiles"}`);
    this.el.setAttribute("role", "listbox");
    this.el.setAttribute("aria-label", "ranks");
    this.chosen = 0;
    this.focused = 0;
    // a map that is cut off has a shade there
    const shade = () => this.el.classList.toggle("nbl-cut", this.el.scrollTop + this.el.clientHeight < this.el.scrollHeight - 2);
    this.el.addEventListener("scroll", shade, { passive: true });
    this.resizing = new ResizeObserver(shade);
    this.resizing.observe(this.el);
    /** @type {{el: HTMLElement, update: (rank: Rank, now: number) => void}[]} */
    this.tiles = [];
    for (let rank = 0; rank < count; rank++) this.tiles.push(this.#tile(rank, count > 16));
    this.el.append(...this.tiles.map((tile) => tile.el));
    this.tiles[0].el.tabIndex = 0;
    this.el.addEventListener("click", (event) => this.#with(event, (rank) => this.choose(rank)));
    this.el.addEventListener("pointerover", (event) => this.#with(event, (rank) => actions.look(rank)));
    this.el.addEventListener("pointerleave", () => actions.look(null));
    this.el.addEventListener("focusin", (event) => this.#with(event, (rank) => actions.look(rank)));
    this.el.addEventListener("focusout", () => actions.look(null));
    this.el.addEventListener("keydown", (event) => this.#key(event));
  }

  destroy() {
    this.resizing.disconnect();
  }

  /**
   * @param {number} number
   * @param {boolean} small
   */
  #tile(number, small) {
    const shape = sign("starting");
    const name = make("span", "name", String(number));
    const el = make("div", "tile", make("span", "tilehead", shape, name));
    el.setAttribute("role", "option");
    el.tabIndex = -1;
    el.dataset.rank = String(number);
    const cpu = make("span", "num cpu");
    const memory = make("span", "num memory");
    const last = make("span", "last");
    const curve = small ? null : new Curve();
    if (curve) {
      name.className = `nbl-badge nbl-r${number % 8}`;
      el.firstElementChild?.append(make("span", "space"), cpu);
      el.append(make("span", "tilehead", memory, curve.el), last);
    }
    return {
      el,
      /** @param {Rank} rank @param {number} now */
      update(rank, now) {
        const note = noteOf(rank);
        const fate = note ? fateInWords(rank) : "";
        const is = `rank ${number}, ${fate || rank.state}`;
        if (el.getAttribute("aria-label") !== is) {
          reshape(shape, note?.shape ?? rank.state);
          el.dataset.state = rank.state;
          el.setAttribute("aria-label", is);
          el.title = fate;
          mark(el, note);
        }
        el.classList.toggle("nbl-first", rank.root);
        el.classList.toggle("nbl-collateral", rank.collateral);
        const load = rank.state === "running" ? Math.min(10, Math.round(rank.cpu / 10)) : 0;
        if (el.dataset.load !== String(load)) {
          el.dataset.load = String(load);
          el.style.setProperty("--load", String(load / 10));
        }
        if (!curve) return;
        put(cpu, rank.state === "running" ? percentInWords(rank.cpu) : elapsedInWords(rank, now));
        put(memory, rank.memory ? sizeInWords(rank.memory) : "");
        put(last, rank.state === "failed" || note ? fateInWords(rank) : rank.line);
        curve.draw(rank.history);
      },
    };
  }

  /**
   * @param {Event} event
   * @param {(rank: number) => void} action
   */
  #with(event, action) {
    const tile = event.target instanceof Element ? event.target.closest("[data-rank]") : null;
    if (tile instanceof HTMLElement) action(Number(tile.dataset.rank));
  }

  /** @param {number} rank */
  mark(rank) {
    this.tiles[this.chosen].el.setAttribute("aria-selected", "false");
    this.chosen = rank;
    this.tiles[rank].el.setAttribute("aria-selected", "true");
    this.#reach(rank);
  }

  /** @param {number} rank */
  choose(rank) {
    this.mark(rank);
    this.actions.open(rank);
  }

  /** @param {number} rank */
  #reach(rank) {
    this.tiles[this.focused].el.tabIndex = -1;
    this.focused = rank;
    this.tiles[rank].el.tabIndex = 0;
  }

  #columns() {
    const { offsetTop } = this.tiles[0].el;
    const next = this.tiles.findIndex((tile) => tile.el.offsetTop !== offsetTop);
    return next < 0 ? this.tiles.length : next;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.tiles.length - 1;
    let to = this.focused;
    if (event.key === "Enter" || event.key === " ") this.choose(to);
    else if (event.key === "ArrowRight") to += 1;
    else if (event.key === "ArrowLeft") to -= 1;
    else if (event.key === "ArrowDown") to += this.#columns();
    else if (event.key === "ArrowUp") to -= this.#columns();
    else if (event.key === "Home") to = 0;
    else if (event.key === "End") to = last;
    else return;
    event.preventDefault();
    if (to < 0 || to > last) return;
    this.#reach(to);
    this.tiles[to].el.focus({ preventScroll: false });
  }
}

export { RankLine, RankMap };
