// Turns the bytes of one stream into lines of styled text, as a terminal shows them.
import { Line } from "./line.js";
import { restyled } from "./styles.js";

/** @typedef {import("./styles.js").Style} Style */

// Characters of one line; what is longer goes on in the next.
const LONGEST_LINE = 20_000;
// Lines that a cursor goes up at most.
const CURSOR_REACH = 50;

const MOVES = /[\x1b\r\n\b\t]/g;
// CSI, and other escapes. Their length is limited, because an unfinished one is kept until its end comes.
const ESCAPE = /\x1b(?:\[([0-9;:?<=>]{0,200})([ -/]{0,8})([@-~])|[ -/]{0,8}([0-~]))/y;
const BEGUN_ESCAPE = /\x1b(?:\[[0-9;:?<=>]{0,200}[ -/]{0,8}|[ -/]{0,8})$/y;
// What clear_output() of a rank leaves in its log, see clearing.py: at once, and when something is written next.
const CLEARED = "?8801";
const CLEARED_BY_NEXT = "?8802";
// OSC, DCS, SOS, PM, APC: a text up to BEL or ST follows, which is not for people.
const BEGINS_STRING = /[\]PX^_]/;
const ENDS_STRING = /[\x07\x1b\n]/g;
// C0 without the moves, DEL, C1, and characters that change the direction of writing or are invisible.
const HARMFUL = /[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const SURROGATE = /[\ud800-\udfff]/;

/** @param {string} character */
function asVisible(character) {
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? "␡" : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

/**
 * Whether bytes end in the middle of a character.
 * @param {Uint8Array} bytes
 * @param {boolean} before  what came before them did
 */
function endsHalfway(bytes, before) {
  for (let back = 1; back <= 3; back++) {
    if (back > bytes.length) return before;
    const byte = bytes[bytes.length - back];
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2);
    if (byte < 0x80) return false;
  }
  return false;
}

/** The screen of one stream. */
class Terminal {
  /** @param {{rank?: number, stream?: number, keep?: number}} [options]  keep: lines that stay in `lines`, at least 50 */
  constructor({ rank = 0, stream = 1, keep = Infinity } = {}) {
    this.rank = rank;
    this.stream = stream;
    this.keep = Math.max(CURSOR_REACH, keep);
    /** @type {Line[]} */
    this.lines = [];
    /** Lines begun since somebody last took them from here. Only filled where not all lines are kept. @type {Line[]} */
    this.begun = [];
    /** Offset up to which the rank has cleared what it had written. */
    this.clearedTo = 0;
  }

  #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  // what may be the beginning of an escape sequence
  #rest = "";
  #inString = false;
  #row = 0;
  // may be one more than there are lines: the cursor's line is only made when something is written to it
  #rows = 1;
  #column = 0;
  // whether the cursor has come back to the beginning of this line, or up to it
  #returned = false;
  /** @type {Style | null} */
  #style = null;
  /** @type {Map<string, {before: Style | null, after: Style | null}>} */
  #styles = new Map();
  #continues = false;
  // the bytes that are being read, and the position in them, for the offsets of lines
  /** @type {Uint8Array | null} */
  #bytes = null;
  #offset = 0;
  #exact = false;
  #lineFeeds = 0;
  #found = 0;
  #foundAt = 0;
  #position = 0;
  // whether the bytes before ended in the middle of a character
  #halfway = false;
  // whether the next text clears the lines before it
  #clears = false;

  /** Whether what comes next begins a line. */
  get atLineStart() {
    return this.#row >= this.lines.length && !this.#rest && !this.#inString && !this.#halfway;
  }

  /** Lines that are still written to; those after one are too. @type {Line[]} */
  get open() {
    let from = this.lines.length;
    while (from > 0 && !this.lines[from - 1].done) from--;
    return this.lines.slice(from);
  }

  /**
   * @param {Uint8Array | string} data
   * @param {number} offset  of the data in the log
   */
  feed(data, offset = 0) {
    let text = data;
    this.#exact = false;
    this.#bytes = null;
    if (typeof text !== "string") {
      this.#bytes = /** @type {Uint8Array} */ (data);
      text = this.#decoder.decode(this.#bytes, { stream: true });
      this.#exact = text.length === this.#bytes.length && !this.#rest && !this.#halfway;
      if (this.#bytes.length) this.#halfway = endsHalfway(this.#bytes, this.#halfway);
    }
    this.#offset = offset;
    this.#lineFeeds = this.#found = this.#foundAt = 0;
    if (this.#rest) {
      text = this.#rest + text;
      this.#rest = "";
    }
    this.#read(text);
    this.#bytes = null;
    if (this.lines.length > 2 * this.keep) this.#letGo(this.lines.length - this.keep);
  }

  /**
   * Forgets a line, which is then not written to any more.
   * @param {Line} line
   */
  release(line) {
    const index = this.lines.indexOf(line);
    if (index < 0) return;
    this.lines.splice(index, 1);
    if (this.#row > index) {
      this.#row--;
      this.#rows--;
    } else if (this.#row === index) {
      this.#row = this.lines.length;
      this.#rows = this.#row + 1;
    } else {
      this.#rows--;
    }
  }

  /** @param {string} text */
  #read(text) {
    let at = 0;
    while (at < text.length) {
      if (this.#inString) {
        at = this.#skipString(text, at);
        continue;
      }
      MOVES.lastIndex = at;
      const move = MOVES.exec(text);
      const end = move ? move.index : text.length;
      if (end > at) {
        this.#position = at;
        const part = at === 0 && end === text.length ? text : text.slice(at, end);
        this.#write(part.replace(HARMFUL, asVisible));
      }
      if (!move) return;
      this.#position = at = end;
      switch (move[0]) {
        case "\n": {
          if (this.#clears) this.#clear();
          const line = this.#line();
          this.#lineFeeds++;
          this.#end(line, 1);
          this.#nextLine(false);
          break;
        }
        case "\r":
          this.#column = 0;
          this.#returned = text[at + 1] !== "\n";
          break;
        case "\b":
          this.#column = Math.max(0, this.#column - 1);
          break;
        case "\t":
          this.#write(" ".repeat(8 - (this.#column % 8)));
          break;
        default: {
          BEGUN_ESCAPE.lastIndex = ESCAPE.lastIndex = at;
          const escape = ESCAPE.exec(text);
          // "[" alone would be an escape too, were it not the beginning of a longer one
          if ((!escape || escape[4] === "[") && BEGUN_ESCAPE.test(text)) {
            this.#rest = text.slice(at);
            return;
          }
          if (!escape) {
            this.#write("␛");
            break;
          }
          const [whole, parameters, between, final, other] = escape;
          if (final && !between && !/[?<=>]/.test(parameters)) this.#control(final, parameters);
          else if (final === "J" && parameters === CLEARED) this.#clear();
          else if (final === "J" && parameters === CLEARED_BY_NEXT) this.#clears = true;
          this.#inString = whole.length === 2 && other !== undefined && BEGINS_STRING.test(other);
          at += whole.length - 1;
        }
      }
      at++;
    }
  }

  /**
   * Passes over a text that is not for people; a line feed ends it too, lest one stray escape takes away all that follows.
   * @param {string} text
   * @param {number} at
   */
  #skipString(text, at) {
    ENDS_STRING.lastIndex = at;
    const end = ENDS_STRING.exec(text);
    if (!end) return text.length;
    if (end[0] === "\x1b" && end.index + 1 === text.length) {
      this.#rest = "\x1b";
      return text.length;
    }
    this.#inString = false;
    if (end[0] === "\x07") return end.index + 1;
    return text[end.index + 1] === "\\" && end[0] === "\x1b" ? end.index + 2 : end.index;
  }

  /**
   * Takes over a clearing that waits in the terminal of the text before: the text here comes next.
   * @param {Terminal} before
   * @param {number} start  where this one begins
   */
  comesAfter(before, start) {
    // if that ended within an escape sequence, it will be read again, and clears then
    if (!before.#clears || before.#rest) return;
    if (this.lines.length && !this.clearedTo) this.clearedTo = start;
    else if (!this.lines.length) this.#clears = true;
  }

  /** Removes all lines, as the rank has asked. */
  #clear() {
    this.#clears = false;
    for (const line of [...this.lines, ...this.begun]) line.gone = true;
    this.lines = [];
    this.begun = [];
    this.#row = this.#column = 0;
    this.#rows = 1;
    this.#continues = false;
    this.clearedTo = this.#where();
  }

  /** @param {string} text */
  #write(text) {
    if (this.#clears) this.#clear();
    const wide = SURROGATE.test(text);
    /** @type {string[] | null} */
    const characters = wide ? Array.from(text) : null;
    const length = characters ? characters.length : text.length;
    const from = this.#position;
    let at = 0;
    while (at < length) {
      let room = LONGEST_LINE - this.#column;
      if (room <= 0) {
        this.#position = from + at;
        this.#end(this.#line(), 0);
        this.#nextLine(true);
        room = LONGEST_LINE;
      }
      this.#position = from + at;
      const count = Math.min(room, length - at);
      const part = characters ? characters.slice(at, at + count).join("") : count === length ? text : text.slice(at, at + count);
      const line = this.#line();
      if (this.#returned) {
        // what is written over a bar that was cleared is a line of its own, such as a warning
        line.redrawn = line.length === 0 || !line.blank;
        this.#returned = false;
      }
      line.put(this.#column, part, this.#style, count);
      this.#column += count;
      at += count;
    }
  }

  /**
   * @param {Line} line
   * @param {number} length  of what ends it
   */
  #end(line, length) {
    line.done = true;
    line.end = this.#where() + (this.#exact ? length : 0);
    line.version++;
  }

  /** The line that the cursor is in. */
  #line() {
    while (this.lines.length <= this.#row) {
      const line = new Line(this.rank, this.stream, this.#where(), this.#continues);
      this.#continues = false;
      this.lines.push(line);
      if (this.keep !== Infinity) this.begun.push(line);
      const beyond = this.lines[this.lines.length - 1 - CURSOR_REACH];
      if (beyond) beyond.settle();
    }
    return this.lines[this.#row];
  }

  /** @param {boolean} continues */
  #nextLine(continues) {
    this.#row++;
    this.#column = 0;
    this.#returned = this.#row < this.#rows;
    if (this.#returned) return;
    this.#rows++;
    this.#continues = continues;
    if (this.lines.length > 8 * this.keep) this.#letGo(this.lines.length - this.keep);
  }

  /** @param {number} count */
  #letGo(count) {
    const most = Math.min(count, this.#row);
    for (const line of this.lines.splice(0, most)) line.settle();
    this.#row -= most;
    this.#rows -= most;
  }

  /** The offset in the log of what is being read: of this character, or else of its line. */
  #where() {
    if (this.#exact) return this.#offset + this.#position;
    while (this.#bytes && this.#found < this.#lineFeeds) {
      this.#foundAt = this.#bytes.indexOf(10, this.#foundAt) + 1;
      this.#found++;
    }
    return this.#offset + this.#foundAt;
  }

  /**
   * @param {string} final
   * @param {string} parameters
   */
  #control(final, parameters) {
    if (final === "m") {
      // the same few changes come again and again
      const known = this.#styles.get(parameters);
      if (known && known.before === this.#style) this.#style = known.after;
      else {
        const before = this.#style;
        this.#style = restyled(before, parameters);
        if (this.#styles.size >= 256) this.#styles.clear();
        this.#styles.set(parameters, { before, after: this.#style });
      }
      return;
    }
    const first = parameters.split(/[;:]/, 1)[0];
    const count = Math.max(1, Number(first) || 0);
    if (final === "A") {
      const top = Math.min(this.#row, Math.max(0, this.#rows - CURSOR_REACH, this.#row - count));
      this.#reopen(top, this.#row, false);
      this.#row = top;
      this.#returned = true;
    } else if (final === "B") {
      const bottom = Math.min(this.#rows - 1, this.#row + count);
      this.#reopen(this.#row, bottom, true);
      this.#row = bottom;
    }
    else if (final === "C") this.#column = Math.min(LONGEST_LINE, this.#column + count);
    else if (final === "D") this.#column = Math.max(0, this.#column - count);
    else if (final === "G") this.#column = Math.min(LONGEST_LINE, count) - 1;
    else if (final === "K") {
      const line = this.lines[this.#row];
      const mode = Number(first) || 0;
      line?.erase(mode === 0 ? this.#column : 0, mode === 1 ? this.#column + 1 : Infinity);
    } else if (final === "J" && !Number(first)) {
      this.lines[this.#row]?.erase(this.#column);
      for (let row = this.#row + 1; row < this.lines.length; row++) this.lines[row].erase(0);
    }
  }

  /**
   * Marks lines as not done when the cursor moves up over them, as for nested bars, and as done when it comes back.
   * @param {number} from
   * @param {number} to
   * @param {boolean} done
   */
  #reopen(from, to, done) {
    for (let row = from; row < to; row++) {
      const line = this.lines[row];
      // a line that was never ended is not done because the cursor has passed it
      if (!line || line.end === null || line.done === done) continue;
      line.done = done;
      line.version++;
    }
  }
}

export { CURSOR_REACH, Terminal };
