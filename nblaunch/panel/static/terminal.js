// Bytes of logs become lines of styled text, as a terminal shows them. Nothing in here knows of a document.

/**
 * Colours are a number of the 16 that a terminal has, or "#rrggbb".
 * @typedef {{
 *   fg: number | string | null, bg: number | string | null, bold: boolean, dim: boolean, italic: boolean,
 *   underline: boolean, inverse: boolean, strike: boolean,
 * }} Style
 */
/** @typedef {{text: string, style: Style | null}} Span */
/** @typedef {{log: string, offset: number, pieces: [rank: number, stream: number, length: number][]}} Chunk */
/** @typedef {{kind: "line", line: Line, ranks?: number[]} | {kind: "gap", from: number, to: number}} Row */

// Characters of one line; what is longer goes on in the next.
const LONGEST_LINE = 20_000;
// Lines that a cursor goes up at most.
const CURSOR_REACH = 50;
// How many groups back a line may still join one.
const FOLD_REACH = 200;
// Bytes of a first line that are kept, to put it together once the text before it comes.
const LONGEST_HEAD = 64 * 1024;
const MOST_MATCHES = 100_000;
// The log of all ranks; those of one are called by its number.
const ALL_RANKS = "all";
// Characters that a log holds, unless older text is asked for: lines may be long.
const MOST_CHARACTERS = 8_000_000;

const MOVES = /[\x1b\r\n\b\t]/g;
// CSI, and other escapes. Limited, so that a terminal keeps no more than this while it waits for the end of one.
const ESCAPE = /\x1b(?:\[([0-9;:?<=>]{0,200})([ -/]{0,8})([@-~])|[ -/]{0,8}([0-~]))/y;
const BEGUN_ESCAPE = /\x1b(?:\[[0-9;:?<=>]{0,200}[ -/]{0,8}|[ -/]{0,8})$/y;
// What clear_output() of a rank leaves in its log, see clearing.py: at once, and when something is written next.
const CLEARED = "?8801";
const CLEARED_BY_NEXT = "?8802";
// OSC, DCS, SOS, PM, APC: a text up to BEL or ST follows, which is not for people.
const BEGINS_STRING = /[\]PX^_]/;
const ENDS_STRING = /[\x07\x1b\n]/g;
// C0 without the moves, DEL, C1, and what turns the direction of writing or hides.
const HARMFUL = /[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const SURROGATE = /[\ud800-\udfff]/;

/** @param {string} character */
function asVisible(character) {
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? "␡" : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

/**
 * @param {Style | null} one
 * @param {Style | null} other
 */
function looksAlike(one, other) {
  if (one === other) return true;
  if (!one || !other || one.fg !== other.fg || one.bg !== other.bg || one.bold !== other.bold) return false;
  if (one.dim !== other.dim || one.italic !== other.italic || one.underline !== other.underline) return false;
  return one.inverse === other.inverse && one.strike === other.strike;
}

/** One line. Its object stays the same while its text changes, and `version` tells of that. */
export class Line {
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

/** The screen of one stream. */
export class Terminal {
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
  // the cursor may stand in a line that has nothing yet, and only then is not there
  #rows = 1;
  #column = 0;
  // it has come back to the beginning of this line, or up to it
  #returned = false;
  /** @type {Style | null} */
  #style = null;
  /** @type {Map<string, {before: Style | null, after: Style | null}>} */
  #styles = new Map();
  #continues = false;
  // where the bytes and the text are that are being read, for the offsets of lines
  /** @type {Uint8Array | null} */
  #bytes = null;
  #offset = 0;
  #exact = false;
  #lineFeeds = 0;
  #found = 0;
  #foundAt = 0;
  #position = 0;
  // it ended in the midst of a character
  #halfway = false;
  // what comes next clears what is there
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
   * Takes over what the rank has asked before: what was read here may have cleared what was read there.
   * @param {Terminal} before
   * @param {number} start  where this one begins
   */
  comesAfter(before, start) {
    // what it ended in the midst of will be read once more, and clears then
    if (!before.#clears || before.#rest) return;
    if (this.lines.length && !this.clearedTo) this.clearedTo = start;
    else if (!this.lines.length) this.#clears = true;
  }

  /** Takes away what is there, as the rank has asked. */
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
   * The cursor passes lines upwards, as it does for nested bars, or leaves them again.
   * @param {number} from
   * @param {number} to
   * @param {boolean} done
   */
  #reopen(from, to, done) {
    for (let row = from; row < to; row++) {
      const line = this.lines[row];
      // what has never been ended has not been finished by passing it
      if (!line || line.end === null || line.done === done) continue;
      line.done = done;
      line.version++;
    }
  }
}

/**
 * Whether a line's rank has cleared it.
 * @param {Line} line
 * @param {{rank: number, stream: number, clearedTo: number}} terminal
 */
function isGone(line, { rank, stream, clearedTo }) {
  return line.gone || (line.offset < clearedTo && line.rank === rank && line.stream === stream);
}

/**
 * Whether bytes end in the midst of a character.
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

/** @type {Style} */
const PLAIN = {
  fg: null, bg: null, bold: false, dim: false, italic: false, underline: false, inverse: false, strike: false,
};
/** @type {Record<number, Partial<Style>>} */
const FLAGS = {
  ...{ 1: { bold: true }, 2: { dim: true }, 3: { italic: true }, 4: { underline: true }, 7: { inverse: true } },
  ...{ 9: { strike: true }, 22: { bold: false, dim: false }, 23: { italic: false }, 24: { underline: false } },
  ...{ 27: { inverse: false }, 29: { strike: false }, 39: { fg: null }, 49: { bg: null } },
};

/**
 * @param {Style | null} before
 * @param {string} parameters
 * @returns {Style | null}
 */
function restyled(before, parameters) {
  if (parameters === "" || parameters === "0") return null;
  let style = { ...(before ?? PLAIN) };
  const groups = parameters.split(";").map((part) => part.split(":").map(Number));
  for (let at = 0; at < groups.length; at++) {
    const [number, ...details] = groups[at];
    if (number === 38 || number === 48 || number === 58) {
      let numbers = details;
      // "38:2::r:g:b" names a colour space too
      if (details[0] === 2 && details.length > 4) numbers = [2, ...details.slice(2)];
      if (!details.length) {
        numbers = groups.slice(at + 1, at + 5).map(([first]) => first);
        at += numbers[0] === 5 ? 2 : numbers[0] === 2 ? 4 : 1;
      }
      if (number === 38) style.fg = colourOf(numbers);
      else if (number === 48) style.bg = colourOf(numbers);
    } else if (number === 0) style = { ...PLAIN };
    // "4:0" is no underline, "4:3" a curly one
    else if (number === 4 && details[0] === 0) style.underline = false;
    else if (number in FLAGS) Object.assign(style, FLAGS[number]);
    else if (number >= 30 && number <= 37) style.fg = number - 30;
    else if (number >= 40 && number <= 47) style.bg = number - 40;
    else if (number >= 90 && number <= 97) style.fg = number - 82;
    else if (number >= 100 && number <= 107) style.bg = number - 92;
  }
  return looksAlike(style, PLAIN) ? null : style;
}

/**
 * One of 256 colours, or red, green and blue.
 * @param {number[]} numbers
 * @returns {number | string | null}
 */
function colourOf([kind, ...numbers]) {
  const hex = (/** @type {number[]} */ ...parts) =>
    `#${parts.map((part) => Math.min(255, part).toString(16).padStart(2, "0")).join("")}`;
  if (kind === 2 && numbers.length >= 3) return hex(numbers[0], numbers[1], numbers[2]);
  if (kind !== 5 || !numbers.length) return null;
  const number = Math.min(255, numbers[0]);
  if (number < 16) return number;
  if (number >= 232) return hex(8 + 10 * (number - 232), 8 + 10 * (number - 232), 8 + 10 * (number - 232));
  const levels = [0, 95, 135, 175, 215, 255];
  const cube = number - 16;
  return hex(levels[Math.floor(cube / 36)], levels[Math.floor(cube / 6) % 6], levels[cube % 6]);
}

/**
 * The first line of a stream in a stretch, as bytes; null where there were too many.
 * @typedef {{bytes: Uint8Array[] | null, size: number, done: boolean}} Head
 */

/** Bytes of a log that follow each other, up to the next gap. */
class Stretch {
  /** @param {number} start */
  constructor(start) {
    this.start = start;
    this.end = start;
    /** @type {Map<string, Terminal>} */
    this.terminals = new Map();
    /** @type {Map<string, Head>} */
    this.heads = new Map();
    /** Lines of each stream that are still written to. @type {Map<string, Line[]>} */
    this.open = new Map();
    /** How many of those have a row; they are its last. */
    this.placed = 0;
  }

  /**
   * Reads bytes that follow those read so far.
   * @param {Chunk["pieces"]} pieces
   * @param {Uint8Array} bytes
   * @returns {{done: Line[], reopened: Line[]}} lines in the order in which they were finished, and those that had been
   */
  read(pieces, bytes) {
    /** @type {Line[]} */
    let done = [];
    /** @type {Line[]} */
    const reopened = [];
    let at = 0;
    for (const [rank, stream, length] of pieces) {
      const part = bytes.subarray(at, at + length);
      if (!part.length) continue;
      const key = `${rank} ${stream}`;
      let terminal = this.terminals.get(key);
      if (!terminal) this.terminals.set(key, (terminal = new Terminal({ rank, stream, keep: CURSOR_REACH })));
      if (this.start > 0) this.#keepHead(key, part);
      const { clearedTo } = terminal;
      terminal.feed(part, this.end);
      const { begun, open } = terminal;
      let before = this.open.get(key) ?? [];
      if (terminal.clearedTo !== clearedTo) {
        const cleared = terminal;
        before = before.filter((line) => !line.gone);
        done = done.filter((line) => !isGone(line, cleared));
      }
      for (const line of before) if (!open.includes(line)) done.push(line);
      for (const line of begun) if (line.done || !open.includes(line)) done.push(line);
      for (const line of open) {
        if (before.includes(line) || begun.includes(line)) continue;
        const index = done.lastIndexOf(line);
        if (index < 0) reopened.push(line);
        else done.splice(index, 1);
      }
      this.open.set(key, open);
      terminal.begun = [];
      at += part.length;
      this.end += part.length;
    }
    return { done, reopened };
  }

  /**
   * Puts what was read behind the rows so far. Lines that are still written to come below all others, as in a terminal: a
   * progress bar stays in sight while more is printed.
   * @param {Row[]} rows  of which the last are this stretch's
   * @param {{done: Line[], reopened: Line[]}} read
   */
  place(rows, { done, reopened }) {
    rows.length -= this.placed;
    for (const line of reopened) {
      let at = rows.length - 1;
      for (; at >= 0; at--) {
        const row = rows[at];
        if (row.kind === "line" && row.line === line) break;
      }
      if (at >= 0) rows.splice(at, 1);
    }
    for (const line of done) rows.push({ kind: "line", line });
    this.placed = 0;
    for (const lines of this.open.values()) {
      for (const line of lines) rows.push({ kind: "line", line });
      this.placed += lines.length;
    }
  }

  /** @param {Line} line  that is forgotten, with its row */
  release(line) {
    const key = `${line.rank} ${line.stream}`;
    this.terminals.get(key)?.release(line);
    const open = this.open.get(key);
    if (!open?.includes(line)) return;
    this.open.set(key, open.filter((other) => other !== line));
    this.placed--;
  }

  /**
   * @param {string} key
   * @param {Uint8Array} part
   */
  #keepHead(key, part) {
    let head = this.heads.get(key);
    if (!head) this.heads.set(key, (head = { bytes: [], size: 0, done: false }));
    if (head.done || !head.bytes) return;
    const end = part.indexOf(10) + 1;
    const kept = part.slice(0, end || part.length);
    head.done = end > 0;
    head.size += kept.length;
    if (head.size > LONGEST_HEAD) head.bytes = null;
    else head.bytes.push(kept);
  }
}

/** What is held of a log: stretches of it, as rows of lines with rows for the gaps between. */
export class Log {
  /**
   * @param {{id: string, limit?: number, characters?: number}} options  limit, characters: how much is held, unless older
   *   text is asked for
   */
  constructor({ id, limit = 20_000, characters = MOST_CHARACTERS }) {
    this.id = id;
    this.limit = limit;
    this.characters = characters;
    this.#room = characters;
    this.version = 0;
    this.size = 0;
    /**
     * In order, those still written to at the end; another array after text came in before other text.
     * @type {Row[]}
     */
    this.rows = [];
    /** How many rows have been let go at the old end. */
    this.letGo = 0;
    /** How often lines have gone that ranks have cleared. */
    this.clearings = 0;
  }

  /** @type {Stretch[]} */
  #stretches = [];
  /** Up to where each stream has been cleared. @type {Map<string, {rank: number, stream: number, clearedTo: number}>} */
  #cleared = new Map();
  // bytes that can come before the characters have to be counted again
  #room = 0;

  /** Offset up to which older text is missing. Lines that are held begin there, or a little before. */
  get start() {
    const start = this.#stretches[0]?.start ?? 0;
    // a rank clears both of its streams: of one that is alone here nothing is to be seen before that
    const cleared = this.id === ALL_RANKS ? [] : [...this.#cleared.values()];
    return cleared.some(({ clearedTo }) => clearedTo >= start) ? 0 : start;
  }

  /** Offset after the last byte held. */
  get end() {
    return this.#stretches.at(-1)?.end ?? 0;
  }

  /**
   * Logs only grow.
   * @param {number} size
   */
  setSize(size) {
    if (!(size > this.size)) return;
    this.size = size;
    this.version++;
  }

  /**
   * Takes bytes that a rank has written now: what is held already is skipped, what was let go stays away.
   * @param {Chunk} chunk
   * @param {Uint8Array} bytes
   */
  add(chunk, bytes) {
    this.#take(chunk, bytes, this.#stretches[0]?.start ?? 0);
    this.#room -= bytes.length;
    const surplus = Math.max(this.rows.length - this.limit, this.#room < 0 ? this.#overweight() : 0);
    if (surplus > 0) this.#letGo(surplus);
  }

  /**
   * Takes bytes that were asked for, wherever they belong.
   * @param {Chunk} chunk
   * @param {Uint8Array} bytes
   */
  fill(chunk, bytes) {
    const before = this.rows.length;
    this.#take(chunk, bytes, 0);
    // who asked is reading there: the next bytes to come must not push it out
    if (this.rows.length > before) this.limit = Math.max(this.limit, this.rows.length + before);
    this.characters = Math.max(this.characters, 2 * this.#weight());
    this.#room = this.characters / 2;
  }

  /**
   * @param {Chunk} chunk
   * @param {Uint8Array} bytes
   * @param {number} least
   */
  #take(chunk, bytes, least) {
    const end = chunk.offset + bytes.length;
    this.setSize(end);
    let from = Math.max(chunk.offset, least);
    while (from < end) {
      const index = this.#stretches.findIndex((stretch) => stretch.end > from);
      const next = index < 0 ? null : this.#stretches[index];
      if (next && next.start <= from) {
        from = next.end;
        continue;
      }
      const to = next ? Math.min(end, next.start) : end;
      const skipped = from - chunk.offset;
      const pieces = cutPieces(chunk.pieces, skipped, to - chunk.offset);
      this.#insert(index < 0 ? this.#stretches.length : index, from, pieces, bytes.subarray(skipped, to - chunk.offset));
      from = to;
    }
  }

  /**
   * Puts bytes before the stretch of this index, where none of them are held.
   * @param {number} index
   * @param {number} from
   * @param {Chunk["pieces"]} pieces
   * @param {Uint8Array} bytes
   */
  #insert(index, from, pieces, bytes) {
    const before = this.#stretches[index - 1];
    const joins = before?.end === from;
    const stretch = joins ? before : new Stretch(from);
    const read = stretch.read(pieces, bytes);
    if (stretch.end === from) return;
    this.version++;
    for (const terminal of stretch.terminals.values()) this.#noteCleared(terminal);
    this.#place(index, from, stretch, joins, read);
    // those of the one that it was joined with
    for (const terminal of stretch.terminals.values()) this.#noteCleared(terminal);
    if (this.#cleared.size) this.#dropCleared();
  }

  /**
   * Puts the lines of a stretch where they belong.
   * @param {number} index
   * @param {number} from
   * @param {Stretch} stretch
   * @param {boolean} joins  it is the one before
   * @param {{done: Line[], reopened: Line[]}} read
   */
  #place(index, from, stretch, joins, read) {
    const stretches = this.#stretches;
    const before = stretches[index - 1];
    const after = stretches[index];
    if (!joins) stretches.splice(index, 0, stretch);
    if (!after) {
      if (before && !joins) this.rows.push({ kind: "gap", from: before.end, to: from });
      stretch.place(this.rows, read);
      return;
    }
    const gap = before ? this.rows.findIndex((row) => row.kind === "gap" && row.to === after.start) : 0;
    const rows = this.rows.slice(0, gap);
    if (before && !joins) rows.push({ kind: "gap", from: before.end, to: from });
    stretch.place(rows, read);
    if (stretch.end < after.start) rows.push({ kind: "gap", from: stretch.end, to: after.start });
    const border = rows.length;
    for (let at = before ? gap + 1 : 0; at < this.rows.length; at++) rows.push(this.rows[at]);
    this.rows = rows;
    if (stretch.end === after.start) this.#join(stretch, after, border);
  }

  /**
   * Makes one stretch of two, where the border may be in the midst of lines.
   * @param {Stretch} one
   * @param {Stretch} other
   * @param {number} border  index of the other's first row
   */
  #join(one, other, border) {
    // lines that the first one ends in the midst of are its last rows
    border -= one.placed;
    this.rows.splice(border, one.placed);
    for (const [key, terminal] of one.terminals) {
      const theirs = other.terminals.get(key);
      if (!theirs) {
        other.terminals.set(key, terminal);
        continue;
      }
      theirs.comesAfter(terminal, other.start);
      // nothing of what came before is to be seen
      if (theirs.clearedTo) continue;
      const head = other.heads.get(key);
      /** @type {Row[]} */
      const rows = terminal.open.map((line) => ({ kind: "line", line }));
      const { rank, stream } = terminal;
      const isTheirs = (/** @type {Row} */ row) => row.kind === "line" && row.line.rank === rank && row.line.stream === stream;
      let at = border;
      while (at < this.rows.length && this.rows[at].kind === "line" && !isTheirs(this.rows[at])) at++;
      if (terminal.atLineStart || !head?.bytes) {
        const first = this.rows[at];
        // a line that is held as a whole has begun before what was let go had ended
        if (first?.kind === "line" && first.line.offset < other.start) continue;
        this.rows.splice(border, 0, ...rows);
        border += rows.length;
        continue;
      }
      // their first line is the end of our last
      let beyond = at;
      for (; beyond < this.rows.length; beyond++) {
        const row = this.rows[beyond];
        if (row.kind === "gap" || (beyond > at && !row.line.continued) || !isTheirs(row)) break;
        theirs.release(row.line);
      }
      for (const part of head.bytes) terminal.feed(part, other.start);
      // the mark itself may have been in two parts
      this.#noteCleared(terminal);
      for (const line of terminal.begun) rows.push({ kind: "line", line });
      terminal.begun = [];
      this.rows.splice(at, beyond - at, ...rows);
      if (!head.done) other.terminals.set(key, terminal);
    }
    for (const [key, head] of other.heads) {
      const ours = one.heads.get(key);
      if (!ours) one.heads.set(key, head);
      else if (!ours.done && ours.bytes) {
        ours.size += head.size;
        ours.bytes = head.bytes && ours.size <= LONGEST_HEAD ? [...ours.bytes, ...head.bytes] : null;
        ours.done = head.done;
      }
    }
    one.terminals = other.terminals;
    one.end = other.end;
    this.#stretches.splice(this.#stretches.indexOf(other), 1);
    this.#sink(one, border);
  }

  /**
   * Has the lines that are still written to be the last rows of a stretch.
   * @param {Stretch} stretch
   * @param {number} from  index of a row of it, before which no such line has one
   */
  #sink(stretch, from) {
    stretch.open = new Map(Array.from(stretch.terminals, ([key, { open }]) => [key, open]));
    const open = new Set([...stretch.open.values()].flat());
    let to = from;
    while (to < this.rows.length && this.rows[to].kind === "line") to++;
    const rows = this.rows.slice(from, to).filter((row) => row.kind === "line" && !open.has(row.line));
    stretch.placed = 0;
    stretch.place(rows, { done: [], reopened: [] });
    this.rows.splice(from, to - from, ...rows);
  }

  /** @param {Terminal} terminal */
  #noteCleared({ rank, stream, clearedTo }) {
    const key = `${rank} ${stream}`;
    if (clearedTo > (this.#cleared.get(key)?.clearedTo ?? 0)) this.#cleared.set(key, { rank, stream, clearedTo });
  }

  /** Takes away the lines that their ranks have cleared; what was let go and comes back later has gone too. */
  #dropCleared() {
    const isCleared = (/** @type {Line} */ line) => {
      const cleared = this.#cleared.get(`${line.rank} ${line.stream}`);
      return cleared !== undefined && isGone(line, cleared);
    };
    for (const stretch of this.#stretches) {
      for (const lines of [...stretch.open.values()]) {
        for (const line of lines.filter(isCleared)) stretch.release(line);
      }
    }
    const rows = this.rows.filter((row) => row.kind === "gap" || !isCleared(row.line));
    if (rows.length === this.rows.length) return;
    this.clearings++;
    this.version++;
    // of a rank that is alone here, all that was left out before has been cleared with it
    while (this.id !== ALL_RANKS && rows[0]?.kind === "gap" && this.#stretches.length > 1) {
      rows.shift();
      this.#stretches.shift();
    }
    this.rows = rows;
  }

  #weight() {
    return this.rows.reduce((sum, row) => sum + (row.kind === "line" ? row.line.length : 0), 0);
  }

  /** How many rows have to go so that the others are not too many characters. */
  #overweight() {
    let weight = this.#weight();
    let count = 0;
    if (weight > this.characters) {
      // more than has to be, so that they need not be counted at once again
      for (; weight > 0.75 * this.characters && count < this.rows.length - 1; count++) {
        const row = this.rows[count];
        if (row.kind === "line") weight -= row.line.length;
      }
    }
    this.#room = this.characters - weight;
    return count;
  }

  /** @param {number} count  of rows at the old end */
  #letGo(count) {
    let most = count;
    // nothing begins with a gap
    while (this.rows[most]?.kind === "gap") most++;
    const gone = this.rows.splice(0, most);
    this.letGo += gone.length;
    let last = 0;
    for (const row of gone) {
      if (row.kind === "gap") {
        this.#stretches.shift();
        continue;
      }
      const { line } = row;
      last = Math.max(last, line.end ?? 0);
      // a line that is still written to goes on as a new one, in sight
      if (!line.settled) this.#stretches[0].release(line);
    }
    const first = this.rows[0];
    if (this.#stretches.length > 1 && first?.kind === "line" && first.line.offset >= this.#stretches[1].start) {
      this.#stretches.shift();
    }
    const stretch = this.#stretches[0];
    // they were finished in this order; lines that are held may have begun before
    const start = first?.kind === "line" ? Math.min(last, stretch.end) : stretch.end;
    if (start > stretch.start) {
      stretch.start = start;
      stretch.heads = new Map(Array.from(stretch.terminals.keys(), (key) => [key, { bytes: null, size: 0, done: true }]));
    }
    this.version++;
  }
}

/**
 * The pieces of a part of a chunk.
 * @param {Chunk["pieces"]} pieces
 * @param {number} from
 * @param {number} to
 * @returns {Chunk["pieces"]}
 */
function cutPieces(pieces, from, to) {
  /** @type {Chunk["pieces"]} */
  const cut = [];
  let at = 0;
  for (const [rank, stream, length] of pieces) {
    const kept = Math.min(to, at + length) - Math.max(from, at);
    if (kept > 0) cut.push([rank, stream, kept]);
    at += length;
  }
  return cut;
}

/**
 * Lines that several ranks wrote alike, shown once with the ranks named; `folding.py` does the same.
 *
 * A line joins the latest group of the same text and stream that its rank is not in, at most 200 groups back; else it
 * begins one. So the order of each rank's lines is nearly kept, and what all write is there once.
 */
export class Folder {
  constructor() {
    /** @type {{ranks: number[], line: Line}[]} */
    this.rows = [];
  }

  /** @type {Map<string, number[]>} */
  #latest = new Map();
  /** Those that may still change, and what they were. @type {[line: Line, version: number][]} */
  #loose = [];
  #stale = false;
  #most = 1000;

  /** Whether a line has changed since it was folded, as one of nested bars does: then all has to be folded again. */
  get stale() {
    this.#loose = this.#loose.filter(([line, version]) => {
      if (line.version !== version) this.#stale = true;
      return !line.settled;
    });
    this.#most = 2 * this.#loose.length + 1000;
    return this.#stale;
  }

  /** @param {Line} line */
  add(line) {
    if (!line.settled) this.#loose.push([line, line.version]);
    if (this.#loose.length > this.#most) void this.stale;
    const key = `${line.stream} ${line.text}`;
    let alike = this.#latest.get(key);
    if (!alike) this.#latest.set(key, (alike = []));
    const count = this.rows.length;
    for (let at = alike.length - 1; at >= 0 && count - alike[at] <= FOLD_REACH; at--) {
      const { ranks } = this.rows[alike[at]];
      if (ranks.includes(line.rank)) continue;
      ranks.push(line.rank);
      ranks.sort((one, other) => one - other);
      return;
    }
    alike.push(count);
    if (alike.length > FOLD_REACH) alike.shift();
    this.rows.push({ ranks: [line.rank], line });
    if (count % 1000 === 999) this.#forget();
  }

  /** What no line can join any more need not be found. */
  #forget() {
    for (const [key, alike] of this.#latest) {
      if (this.rows.length - alike[alike.length - 1] > FOLD_REACH) this.#latest.delete(key);
    }
  }
}

/**
 * Ranks as people write them: "0-2, 5".
 * @param {number[]} ranks
 */
export function nameRanks(ranks) {
  const ordered = [...new Set(ranks)].sort((one, other) => one - other);
  const parts = [];
  for (let at = 0; at < ordered.length; at++) {
    const from = at;
    while (ordered[at + 1] === ordered[at] + 1) at++;
    parts.push(from === at ? `${ordered[from]}` : `${ordered[from]}-${ordered[at]}`);
  }
  return parts.join(", ");
}

/**
 * The last so many characters of a text, with a mark before them if there are more.
 * @param {string} text
 * @param {number} count
 */
export function endOf(text, count) {
  if (text.length <= count) return text;
  // not from the middle of a character
  return `…${text.slice(-count).replace(/^[\udc00-\udfff]/, "")}`;
}

/**
 * Two or three digits, decimal units, as `wording.py` has it.
 * @param {number} bytes
 */
export function sizeInWords(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  let size = bytes / 1000;
  let unit = "kB";
  for (const larger of ["MB", "GB", "TB"]) {
    if (size >= 999.5) [size, unit] = [size / 1000, larger];
  }
  // halves go to the even digit, as in Python; toFixed always takes them up
  if (size < 9.95) return `${size % 1 === 0.25 ? Math.floor(size) + 0.2 : size.toFixed(1)} ${unit}`;
  return `${size % 2 === 0.5 ? Math.floor(size) : size.toFixed(0)} ${unit}`;
}

/**
 * "0.4 s", "12 s", "3:05", "1:02:03".
 * @param {number} seconds
 */
export function secondsInWords(seconds) {
  if (seconds < 9.95) return `${Number.isInteger(seconds) ? seconds : seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

/**
 * Finds plain text; a capital in the query makes capitals count.
 * @param {ArrayLike<Row>} rows
 * @param {string} query
 * @returns {{row: number, from: number, to: number}[]}
 */
export function search(rows, query) {
  /** @type {{row: number, from: number, to: number}[]} */
  const found = [];
  if (!query) return found;
  const pattern = new RegExp(query.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"), /\p{Lu}/u.test(query) ? "g" : "gi");
  for (let index = 0; index < rows.length; index++) {
    const row = rows[index];
    if (row.kind !== "line") continue;
    for (const match of row.line.text.matchAll(pattern)) {
      found.push({ row: index, from: match.index, to: match.index + match[0].length });
      if (found.length === MOST_MATCHES) return found;
    }
  }
  return found;
}
