// One line of styled text.
import { looksAlike } from "./styles.js";

/** @typedef {import("./styles.js").Style} Style */
/** @typedef {{text: string, style: Style | null}} Span */
/** @typedef {{kind: "line", line: Line, ranks?: number[]} | {kind: "gap", from: number, to: number}} Row */

/** One line. Its object stays the same while its text changes, and `version` tells of that. */
class Line {
  /**
   * @param {number} rank
   * @param {number} stream  1: stdout, 2: stderr
   * @param {number} offset  of its first byte in the log, as well as that is known
   * @param {boolean} continued  the line before was too long, and goes on here
   */
  constructor(rank, stream, offset = 0, continued = false) {
    this.rank = rank;
    this.stream = stream;
    this.offset = offset;
    this.continued = continued;
    this.version = 0;
    /** Ended by a line feed or by its length, and the cursor has not come back. */
    this.done = false;
    /** Where it ended in the log, if it has; of a long line as well as that is known. @type {number | null} */
    this.end = null;
    /** Out of the cursor's reach. */
    this.settled = false;
    /** Its rank has cleared it: it is not to be seen any more. */
    this.gone = false;
    /** Drawn in place, as progress bars are: the cursor had come back to its beginning. */
    this.redrawn = false;
    /** Characters, as people count them: those outside of the basic plane are one as well. */
    this.length = 0;
  }

  /** @type {Span[]} */
  #spans = [];
  // Made when somebody goes back in the line, as progress bars do; spans are made of them when asked for.
  /** @type {string[] | null} */
  #characters = null;
  /** @type {(Style | null)[]} */
  #styles = [];
  /** @type {string | null} */
  #text = "";
  #fresh = true;

  /** @returns {Span[]} */
  get spans() {
    if (this.#characters && !this.#fresh) {
      this.#spans = [];
      let from = 0;
      for (let at = 1; at <= this.length; at++) {
        if (at < this.length && looksAlike(this.#styles[at], this.#styles[from])) continue;
        this.#spans.push({ text: this.#characters.slice(from, at).join(""), style: this.#styles[from] });
        from = at;
      }
    }
    this.#fresh = true;
    return this.#spans;
  }

  get text() {
    this.#text ??= this.spans.map(({ text }) => text).join("");
    return this.#text;
  }

  /** Whether nothing is to be seen of it: a bar that was cleared, and that the next one may be written over. */
  get cleared() {
    return !this.done && !/\S/.test(this.text);
  }

  /** Whether it has nothing but blanks. */
  get blank() {
    if (this.#characters) return !this.#characters.some((character) => character !== " ");
    return !this.#spans.some(({ text }) => /[^ ]/.test(text));
  }

  /** Nobody will go back in it any more. */
  settle() {
    this.settled = true;
    if (!this.#characters) return;
    this.#spans = this.spans;
    this.#characters = null;
    this.#styles = [];
  }

  /**
   * @param {number} column
   * @param {string} text
   * @param {Style | null} style
   * @param {number} length  characters of the text
   */
  put(column, text, style, length) {
    this.#changed();
    if (column === this.length && !this.#characters) {
      const last = this.#spans.at(-1);
      if (last && looksAlike(last.style, style)) last.text += text;
      else this.#spans.push({ text, style });
      this.length += length;
      return;
    }
    const characters = this.#asCharacters();
    while (characters.length < column) {
      characters.push(" ");
      this.#styles.push(null);
    }
    let at = column;
    for (const character of text) {
      characters[at] = character;
      this.#styles[at++] = style;
    }
    this.length = characters.length;
  }

  /**
   * @param {number} from
   * @param {number} to  Infinity: the rest
   */
  erase(from, to = Infinity) {
    if (from >= this.length) return;
    this.#changed();
    if (from === 0 && to >= this.length) {
      this.#spans = [];
      this.#characters = null;
      this.#styles = [];
      this.length = 0;
      return;
    }
    const characters = this.#asCharacters();
    if (to === Infinity) {
      characters.length = from;
      this.#styles.length = from;
      this.length = from;
    } else {
      characters.fill(" ", from, to);
      this.#styles.fill(null, from, to);
    }
  }

  #changed() {
    this.version++;
    this.#text = null;
    this.#fresh = false;
  }

  #asCharacters() {
    if (!this.#characters) {
      this.#characters = [];
      this.#styles = [];
      for (const { text, style } of this.#spans) {
        for (const character of text) {
          this.#characters.push(character);
          this.#styles.push(style);
        }
      }
    }
    return this.#characters;
  }
}

export { Line };
