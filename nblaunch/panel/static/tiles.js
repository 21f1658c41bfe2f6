// Ranks as tiles: sign, numbers and curve of each, and the dense map of many.
import { secondsInWords, sizeInWords } from "./terminal.js";
import { make, put } from "./logview.js";

/**
 * @typedef {{
 *   rank: number, state: string, pid?: number | null, began?: number | null, ended?: number | null,
 *   cpu: number, memory: number, out: number, err: number, line: string, exit: string, why: string,
 *   traceback: string, collateral: boolean, root: boolean, history: number[], asks: string, about: string,
 *   answer: string,
 * }} Rank
 */

const SVG = "http://www.w3.org/2000/svg";
// Each state has its own shape, so that nobody has to tell them by colour.
const SIGNS = /** @type {Record<string, string>} */ ({
  starting: "M6 1.9a4.1 4.1 0 1 0 0 8.2a4.1 4.1 0 1 0 0-8.2z",
  running: "M6 2a4 4 0 1 0 0 8a4 4 0 1 0 0-8z",
  finished: "M2 6.6l2.7 2.7L10 3.4",
  failed: "M2.6 2.6l6.8 6.8M9.4 2.6l-6.8 6.8",
  stopped: "M2.6 2.6h6.8v6.8H2.6z",
  warning: "M6 1.6L11 10.4H1zM6 4.8v2.4M6 8.9v.1",
  asks: "M3.6 4.2a2.4 2.4 0 1 1 3.7 2c-.8.5-1.3.9-1.3 1.8M6 10.3v.1",
  restarting: "M10 6.2a4 4 0 1 1-1.3-3.1M9 .9v2.5H6.5",
  wrap: "M1.5 3h9M1.5 6h6.7a1.6 1.6 0 0 1 0 3.4H6M7.3 8L5.8 9.4l1.5 1.4M1.5 9.4h2",
  follow: "M1.5 2.5h9M1.5 5.5h4.5M1.5 8.5h4.5M9 5v5.2M7 8.3l2 2 2-2",
  copy: "M4.2 4.2h6.3v6.6H4.2zM7.6 4V1.4H1.5V8H4",
  download: "M6 1v6.2M3.4 4.9L6 7.5l2.6-2.6M1.5 8.3v2.5h9V8.3",
  previous: "M2.5 7.8L6 4.3l3.5 3.5",
  next: "M2.5 4.2L6 7.7l3.5-3.5",
  stacks: "M6 1.4L10.9 3.9L6 6.4L1.1 3.9zM1.1 6.3L6 8.8l4.9-2.5M1.1 8.7L6 11.2l4.9-2.5",
  close: "M3 3l6 6M9 3l-6 6",
  search: "M5 1.6a3.4 3.4 0 1 0 0 6.8a3.4 3.4 0 1 0 0-6.8zM7.6 7.6l3 3",
  larger: "M7.2 1.5h3.3v3.3M10.3 1.7L7 5M4.8 10.5H1.5V7.2M1.7 10.3L5 7",
});

/** @param {string} shape */
export function sign(shape) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("class", "nbl-sign");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  svg.append(path);
  reshape(svg, shape);
  return svg;
}

/**
 * @param {SVGElement} svg
 * @param {string} shape
 */
export function reshape(svg, shape) {
  if (svg.dataset.shape === shape) return;
  svg.dataset.shape = shape;
  svg.firstElementChild?.setAttribute("d", SIGNS[shape] ?? SIGNS.starting);
}

/**
 * @param {string} shape
 * @param {string} label
 * @param {() => void} action
 */
export function iconButton(shape, label, action) {
  const button = make("button", "icon", sign(shape));
  button.title = label;
  button.setAttribute("aria-label", label);
  button.addEventListener("click", action);
  return button;
}

/** A small curve of the memory of a rank. */
export class Curve {
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

/** @param {number} percent */
export function percentInWords(percent) {
  return percent < 999.5 ? `${Math.round(percent)} %` : `${Math.round(percent / 100)} cores`;
}

/**
 * How long a rank has been running.
 * @param {Rank} rank
 * @param {number} now  seconds since the launch
 */
export function elapsedInWords(rank, now) {
  if (rank.began === null || rank.began === undefined) return "";
  if (rank.ended !== null && rank.ended !== undefined) return secondsInWords(Math.max(0, rank.ended - rank.began));
  return secondsInWords(Math.max(0, Math.floor(now - rank.began)));
}

/**
 * What a person may want to know of a rank that goes on: that it asks somebody, or hangs, perhaps.
 * @param {Rank} rank
 * @returns {{shape: "asks" | "warning", text: string} | null}
 */
export function noteOf(rank) {
  if (rank.state !== "running") return null;
  if (rank.asks) return { shape: "asks", text: rank.asks + rank.about };
  return rank.why ? { shape: "warning", text: rank.why } : null;
}

/**
 * The same, for as many ranks: "rank 1 waits for it", "ranks 1-2 wait for it".
 * @param {string} words
 * @param {number} count
 */
export function saidOf(words, count) {
  if (count === 1) return words;
  return words.replace(/^(has|asks|waits)\b/, (verb) => (verb === "has" ? "have" : verb.slice(0, -1)));
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

/**
 * @param {Rank} rank
 */
export function fateInWords(rank) {
  if (rank.collateral) return "stopped";
  // the command before what may be long
  if (noteOf(rank)?.shape === "asks") return `${rank.asks}${rank.answer && ` (${rank.answer})`}${rank.about}`;
  return rank.why || rank.exit || (rank.state === "running" ? "" : rank.state);
}

/** The numbers of a rank in one line: the head of its log, and the line of details below the map. */
export class RankLine {
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
    const over = rank.ended !== null && rank.ended !== undefined;
    put(this.cpu, rank.pid && !over ? percentInWords(rank.cpu) : "");
    put(this.memory, rank.memory ? sizeInWords(rank.memory) : "");
    put(this.written, rank.out + rank.err ? sizeInWords(rank.out + rank.err) : "");
    put(this.elapsed, elapsedInWords(rank, now));
    this.curve.draw(rank.history);
  }
}

/** Many ranks: a tile each, of which one is chosen with the mouse or the arrow keys. */
export class RankMap {
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
