// The line at the top of the panel: what runs, how it goes on, what it takes, and the buttons that ask and end the ranks.
import { make, put, reshape, sign } from "./elements.js";
import { fateInWords, noteOf } from "./ranks.js";
import { percentInWords, ranksInWords, secondsInWords, sizeInWords } from "./words.js";

/** @typedef {import("./ranks.js").Rank} Rank */
/** @typedef {import("./store.js").Store} Store */

// Which sign a state of the run has, where that is not a state of ranks as well.
const SHAPES = /** @type {Record<string, string>} */ ({
  "getting ready": "starting", silent: "starting", lost: "stopped", stopping: "stopped", interrupted: "stopped", "timed out": "failed",
});

class Header {
  /**
   * @param {Store} store
   * @param {HTMLElement} ask  the button that asks where the ranks are
   * @param {() => void} stop  ends the ranks
   */
  constructor(store, ask, stop) {
    this.store = store;
    this.ask = ask;
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
    this.stop.addEventListener("click", stop);
    const metrics = make("span", "metrics", this.memory, this.cpu, this.elapsed);
    this.el = make("header", "head", this.sign, this.title, this.words, metrics, ask, this.stop);
  }

  /**
   * @param {number} now  seconds since the launch
   * @param {boolean} stopAsked  the person has asked for the ranks to be stopped
   * @returns {{state: string, told: boolean, asked: boolean}} state of the run; whether there is more to say of it; whether
   *   ranks wait for an answer
   */
  paint(now, stopAsked) {
    const { run, ranks, unheard, lost } = this.store;
    const title = String(this.store.model.get("title") ?? "");
    put(this.title, title);
    this.title.title = title;
    const state = lost ? "lost" : unheard ? "silent" : run.state === "over" ? this.#outcome() : run.state;
    const asking = lost || run.state === "over" ? [] : ranks.filter((rank) => noteOf(rank)?.shape === "asks");
    const details = [run.words !== state ? run.words : "", this.#whoAsks(asking)].filter(Boolean).join("  \u00b7  ");
    const words = unheard || (details ? `${state}: ${details}` : state);
    put(this.words, words);
    this.words.title = words;
    reshape(this.sign, asking.length ? "asks" : (SHAPES[state] ?? state));
    this.#paintMetrics(now);
    this.#paintButtons(stopAsked);
    return { state, told: Boolean(unheard || details), asked: asking.length > 0 };
  }

  /** @param {number} now */
  #paintMetrics(now) {
    const { run, known, over } = this.store;
    put(this.elapsed, known || over ? secondsInWords(over ? now : Math.floor(now)) : "");
    // both are known at the first look, and stay from then on
    const looked = !over && Boolean(run.samples);
    put(this.cpu, looked ? `CPU ${percentInWords(run.cpu ?? 0)}` : "");
    put(this.memory, !looked || !run.memory ? "" : `${run.about ? "≈ " : ""}${sizeInWords(run.memory)}`);
  }

  /** @param {boolean} stopAsked */
  #paintButtons(stopAsked) {
    const { run, over, lost, unheard, isHeard } = this.store;
    const stopping = run.state === "stopping" || stopAsked;
    put(this.stop, stopping && !over ? "Kill" : "Stop");
    this.stop.classList.toggle("nbl-kill", stopping && !over);
    this.stop.title = stopping ? "end the ranks at once" : "interrupt the ranks; click again to kill them";
    // a page that is not heard while the cell blocks would stop nothing, and get no answer
    const unable = !isHeard && !over;
    this.stop.hidden = unable;
    this.stop.disabled = over || lost;
    if (lost) this.stop.title = unheard;
    this.ask.hidden = over || lost || unable;
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
}

export { Header };
