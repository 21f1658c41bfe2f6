// The field that searches the logs in sight.
import { iconButton, make, put, sign } from "./elements.js";

/** @typedef {import("./logview.js").LogView} LogView */
/** @typedef {import("./rows.js").Match} Match */

/** A field with the number of matches, and buttons that go from one to the next. */
class Finder {
  /** @param {() => LogView[]} logs  those that are in sight */
  constructor(logs) {
    this.logs = logs;
    /** Where the person has gone to. @type {{log: LogView, match: Match} | null} */
    this.found = null;
    this.field = /** @type {HTMLInputElement} */ (make("input", "field"));
    this.field.type = "search";
    this.field.placeholder = "Find";
    this.field.setAttribute("aria-label", "search the text that is here");
    this.field.spellcheck = false;
    this.field.addEventListener("input", () => this.search());
    this.hits = make("span", "num hits");
    this.hits.setAttribute("role", "status");
    this.el = make("span", "searching", sign("search"), this.field, this.hits);
    this.el.append(
      iconButton("previous", "previous match (Shift+Enter)", () => this.next(-1)),
      iconButton("next", "next match (Enter)", () => this.next(1)),
    );
  }

  /** What is searched for; nothing if it is empty. */
  get query() {
    return this.field.value;
  }

  focus() {
    this.field.focus();
    this.field.select();
  }

  clear() {
    this.field.value = "";
    this.search();
  }

  /** Searches anew: for something else, or in other logs. */
  search() {
    this.found = null;
    for (const log of this.logs()) log.find(this.query);
    this.count();
  }

  /** Says how many matches there are now. */
  count(matches = this.#matches()) {
    const at = this.#indexIn(matches);
    this.el.classList.toggle("nbl-active", Boolean(this.query));
    put(this.hits, this.query ? `${at < 0 ? "" : `${at + 1}/`}${matches.length}` : "");
  }

  /**
   * Goes to another match.
   * @param {number} step
   */
  next(step) {
    const matches = this.#matches();
    const { found } = this;
    const at = this.#indexIn(matches);
    // the newest first: it is what is in sight
    const to = matches[at < 0 ? matches.length - 1 : (at + step + matches.length) % matches.length];
    if (found && to?.log !== found.log) found.log.show(null);
    this.found = to ?? null;
    to?.log.show(to.match);
    this.count(matches);
  }

  #matches() {
    return this.logs().flatMap((log) => log.matches().map((match) => ({ log, match })));
  }

  /** @param {{match: Match}[]} matches */
  #indexIn(matches) {
    const { found } = this;
    return found ? matches.findIndex(({ match }) => match.line === found.match.line && match.from === found.match.from) : -1;
  }
}

export { Finder };
