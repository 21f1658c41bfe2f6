// What a page leaves in the notebook of a run whose kernel is gone, which cannot leave a record any more.
import { make } from "./elements.js";
import { ALL_RANKS } from "./log.js";
import { countStates } from "./ranks.js";
import { endOf } from "./words.js";

/** @typedef {import("./log.js").Log} Log */
/** @typedef {import("./ranks.js").Rank} Rank */

// Lines of each log, and characters of all logs together.
const MOST_LAST_LINES = 40;
const MOST_LAST_CHARACTERS = 20_000;

/**
 * As HTML and as text.
 * @param {{title: string, when: string, ranks: Rank[], folder: string, logs: Map<string, Log>}} known  `when`: until when
 *   the kernel was heard of, in words; `folder`: where the logs lie, if that is known
 */
function lastWords({ title, when, ranks, folder, logs }) {
  const states = [...countStates(ranks, true)].map(([state, count]) => `${count} ${state}`).join(", ");
  const told = `${when}: ${states}${folder ? `; logs in ${folder}` : ""}`;
  const el = make("div");
  el.append(make("span", "", "■ "), Object.assign(document.createElement("b"), { textContent: title }), ` ${told}`);
  const texts = [`■ ${title}  ${told}`];
  let left = MOST_LAST_CHARACTERS;
  for (const [id, log] of [...logs].sort()) {
    const lines = log.rows.slice(-MOST_LAST_LINES).map((row) => (row.kind === "line" ? row.line.text : "…"));
    const text = endOf(lines.join("\n").trimEnd(), left);
    if (!text) continue;
    left = Math.max(1, left - text.length);
    const name = id === ALL_RANKS ? "all ranks" : `rank ${id}`;
    const fold = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = `last lines of ${name}`;
    fold.append(summary, Object.assign(document.createElement("pre"), { textContent: text }));
    el.append(fold);
    texts.push(`last lines of ${name}:`, text);
  }
  return { html: el.innerHTML, text: texts.join("\n") };
}

export { lastWords };
