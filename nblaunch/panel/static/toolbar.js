// How the logs are shown: the buttons for that, with the field that searches them.
import { iconButton, make, sign } from "./elements.js";

/** @typedef {import("./wrapping.js").Wrap} Wrap */
/** @typedef {"grid" | "merged" | "folded" | "rank"} Mode */

// What the button for long lines says, and what a click on it makes of them.
/** @type {Record<Wrap, {next: Wrap, pressed: string, title: string}>} */
const WRAPPED = {
  some: { next: "all", pressed: "mixed", title: "long lines are wrapped, but no tables and progress bars; click to wrap these too" },
  all: { next: "none", pressed: "true", title: "all long lines are wrapped; click to wrap none" },
  none: { next: "some", pressed: "false", title: "no lines are wrapped; click to wrap long ones, but no tables and progress bars" },
};

class Toolbar {
  /**
   * @param {{
   *   count: number, map: boolean, searching: HTMLElement, show: (mode: Mode) => void, enlarge: (rank: number) => void,
   *   wrap: (wrap: Wrap) => void, follow: () => void,
   * }} options  `count`: of ranks; `map`: they are shown as a map; `searching`: the field; what the buttons do
   */
  constructor({ count, map, searching, show, enlarge, wrap, follow }) {
    /** @type {Mode} */
    this.mode = "grid";
    /** @type {Wrap} */
    this.wrap = "some";
    /** @type {Map<Mode, HTMLElement>} */
    this.modes = new Map();
    const modes = make("span", "modes");
    modes.setAttribute("role", "group");
    modes.setAttribute("aria-label", "view");
    for (const [mode, name, title] of /** @type {[Mode, string, string][]} */ ([
      map ? ["grid", "Map", "a tile for each rank, and the log of one"] : ["grid", "Grid", "the ranks side by side"],
      ["merged", "Merged", "all ranks in one log"],
      ["folded", "Folded", "all ranks in one log, lines alike shown once"],
    ])) {
      const button = make("button", "", name);
      button.title = title;
      button.addEventListener("click", () => show(mode));
      this.modes.set(mode, button);
      modes.append(button);
    }
    this.select = this.#select(count, enlarge);
    this.modes.set("rank", this.select);
    modes.append(make("span", "pick", this.select, sign("next")));
    modes.hidden = count === 1;
    this.wrapping = iconButton("wrap", "wrap long lines", () => {
      this.wrap = WRAPPED[this.wrap].next;
      this.#markWrap();
      wrap(this.wrap);
    });
    this.#markWrap();
    this.follow = iconButton("follow", "follow the end", follow);
    this.el = make("div", "tools", modes, make("span", "space"), searching, this.wrapping, this.follow);
    this.el.setAttribute("role", "toolbar");
    this.el.setAttribute("aria-label", "how the logs are shown");
  }

  /**
   * @param {number} count
   * @param {(rank: number) => void} enlarge
   */
  #select(count, enlarge) {
    const select = /** @type {HTMLSelectElement} */ (document.createElement("select"));
    select.setAttribute("aria-label", "one rank");
    select.title = "one rank";
    select.append(...Array.from({ length: count }, (_, rank) => new Option(`Rank ${rank}`, String(rank))));
    select.addEventListener("change", () => enlarge(Number(select.value)));
    // clicked as it stands, it opens the rank that it names
    select.addEventListener("pointerdown", (event) => {
      if (this.mode === "rank") return;
      event.preventDefault();
      enlarge(Number(select.value));
    });
    return select;
  }

  #markWrap() {
    this.wrapping.setAttribute("aria-pressed", WRAPPED[this.wrap].pressed);
    this.wrapping.title = WRAPPED[this.wrap].title;
  }

  /**
   * Says what is shown.
   * @param {Mode} mode
   * @param {number} rank  the one that is or would be shown alone
   */
  mark(mode, rank) {
    this.mode = mode;
    for (const [name, button] of this.modes) button.setAttribute("aria-pressed", String(name === mode));
    this.select.value = String(rank);
  }

  /** @param {"true" | "false" | "mixed"} some  whether the logs follow what is written */
  markFollowing(some) {
    this.follow.setAttribute("aria-pressed", some);
  }
}

export { Toolbar };
