// How many ranks are in which state.
import { make, sign } from "./elements.js";
import { WERE, countStates, noteOf, saidOf } from "./ranks.js";
import { counted } from "./words.js";

/** @typedef {import("./ranks.js").Rank} Rank */

/** The states of the ranks, in words and as a bar of their shares. */
class Counts {
  constructor() {
    this.el = make("span", "counts");
    this.bar = make("div", "bar");
    this.bar.setAttribute("aria-hidden", "true");
    this.painted = "";
  }

  /**
   * @param {Rank[]} ranks
   * @param {boolean} lost  nobody knows any more what became of those that had not ended
   */
  paint(ranks, lost) {
    const counts = countStates(ranks);
    const present = [...counts.keys()];
    const notes = ranks.map(noteOf);
    const warned = notes.filter((note) => note?.shape === "warning").length;
    const asking = notes.filter((note) => note?.shape === "asks").length;
    const is = `${present.map((state) => `${state} ${counts.get(state)}`).join()} ${warned} ${asking} ${lost}`;
    if (is === this.painted) return;
    this.painted = is;
    const parts = present.map((state) => {
      const part = make("span", "", sign(state), `${counts.get(state)} ${lost ? WERE[state] ?? state : state}`);
      part.dataset.state = state;
      return part;
    });
    if (asking) parts.push(make("span", "asking", sign("asks"), `${asking} ${saidOf("asks", asking)}`));
    if (warned) parts.push(make("span", "warned", sign("warning"), counted(warned, "warning")));
    this.el.replaceChildren(...parts);
    this.bar.replaceChildren(
      ...present.map((state) => {
        const part = make("span");
        part.dataset.state = state;
        part.style.flexGrow = String(counts.get(state));
        return part;
      }),
    );
  }
}

export { Counts };
