// What is known of a rank, and how it is said.
import { secondsInWords } from "./words.js";

/** @typedef {Required<import("./messages.js").RankNews> & {rank: number, history: number[]}} Rank */

/**
 * @param {number} rank
 * @returns {Rank}
 */
function newRank(rank) {
  return {
    ...{ rank, state: "starting", pid: null, began: null, ended: null, cpu: 0, memory: 0, out: 0, err: 0, line: "" },
    ...{ exit: "", why: "", traceback: "", collateral: false, root: false, history: [], asks: "", about: "", answer: "" },
  };
}

// How the state of a rank reads when nobody knows any more what became of it.
const WERE = /** @type {Record<string, string>} */ ({
  running: "were running", starting: "were starting", restarting: "were restarting",
});

/**
 * How many ranks are in which state, those first that matter most.
 * @param {Rank[]} ranks
 * @param {boolean} [past]
 */
function countStates(ranks, past = false) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const state of ["failed", "stopped", "finished", "running", "restarting", "starting"]) {
    const count = ranks.filter((rank) => rank.state === state).length;
    if (count) counts.set((past && WERE[state]) || state, count);
  }
  return counts;
}

/**
 * How long a rank has been running.
 * @param {Rank} rank
 * @param {number} now  seconds since the launch
 */
function elapsedInWords(rank, now) {
  if (rank.began === null) return "";
  if (rank.ended !== null) return secondsInWords(Math.max(0, rank.ended - rank.began));
  return secondsInWords(Math.max(0, Math.floor(now - rank.began)));
}

/**
 * What a person may want to know of a rank that goes on: that it asks somebody, or hangs, perhaps.
 * @param {Rank} rank
 * @returns {{shape: "asks" | "warning", text: string} | null}
 */
function noteOf(rank) {
  if (rank.state !== "running") return null;
  if (rank.asks) return { shape: "asks", text: rank.asks + rank.about };
  return rank.why ? { shape: "warning", text: rank.why } : null;
}

/**
 * The same, for as many ranks: "rank 1 waits for it", "ranks 1-2 wait for it".
 * @param {string} words
 * @param {number} count
 */
function saidOf(words, count) {
  if (count === 1) return words;
  return words.replace(/^(has|asks|waits)\b/, (verb) => (verb === "has" ? "have" : verb.slice(0, -1)));
}

/**
 * @param {Rank} rank
 */
function fateInWords(rank) {
  if (rank.collateral) return "stopped";
  // the command comes before `about`, which may be long
  if (noteOf(rank)?.shape === "asks") return `${rank.asks}${rank.answer && ` (${rank.answer})`}${rank.about}`;
  return rank.why || rank.exit || (rank.state === "running" ? "" : rank.state);
}

export { WERE, countStates, elapsedInWords, fateInWords, newRank, noteOf, saidOf };
