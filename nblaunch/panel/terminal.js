// What a terminal shows of the bytes of a log: lines of coloured text. No document, no dependency. The record does the
// same in terminal.py and folding.py. What ranks write is nobody's markup: control characters become visible.

/**
 * @typedef {{
 *   fg: number | string | null, bg: number | string | null, bold: boolean, dim: boolean, italic: boolean,
 *   underline: boolean, inverse: boolean, strike: boolean,
 * }} Style  colours are one of the 16 of a terminal, or "#rrggbb"
 * @typedef {{text: string, style: Style | null}} Span
 * @typedef {{log: string, offset: number, pieces: [rank: number, stream: number, length: number][]}} Chunk
 * @typedef {{kind: "line", line: Line} | {kind: "gap", from: number, to: number}} Row
 */

// Characters of a line; what is longer goes on in the next.
const LONGEST = 20000;
// Lines that a cursor goes up at most.
const REACH = 50;
// Characters of an escape sequence that has no end; more than that is none.
const LONGEST_ESCAPE = 4096;
const TOKEN =
  /\x1b\[([0-9;:?<=>]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[PX^_][^\x1b]*\x1b\\|\x1b[ -/]*[0-OQ-WYZ\\`-~]|[\r\n\b\t\x1b]/g;
// what may be the beginning of one
const BEGUN = /\x1b(?:\[[0-9;:?<=>]*[ -/]*|\][^\x07\x1b]*\x1b?|[PX^_][^\x1b]*\x1b?|[ -/]*)$/;
// C0 without those above, DEL, C1, and what turns the direction of writing or hides
const HARMFUL = /[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
/** @type {Style} */
const PLAIN = Object.freeze({
  ...{ fg: null, bg: null, bold: false, dim: false, italic: false, underline: false, inverse: false, strike: false },
});

/** @param {string} found */
function shown(found) {
  const code = found.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? "␡" : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

/** A line that can change until it is done, and its place in the log. */
export class Line {
  /** @type {Span[]} */
  #spans = [];
  /** @type {{character: string, style: Style | null}[] | null} */
  #cells = null;
  #length = 0;
  /** @type {string | null} */
  #text = null;
  version = 0;
  done = false;

  /**
   * @param {number} rank
   * @param {number} stream
   * @param {number} at  offset in the log at which it began
   */
  constructor(rank, stream, at) {
    this.rank = rank;
    this.stream = stream;
    this.at = at;
  }

  get text() {
    if (this.#text === null) this.#text = this.spans.map((span) => span.text).join("");
    return this.#text;
  }

  /** @returns {Span[]} */
  get spans() {
    if (this.#cells) {
      this.#spans = [];
      let last = null;
      for (const { character, style } of this.#cells) {
        if (last && last.style === style) last.text += character;
        else this.#spans.push((last = { text: character, style }));
      }
    }
    return this.#spans;
  }

  /**
   * @param {number} column
   * @param {string} text
   * @param {Style | null} style
   */
  put(column, text, style) {
    this.#changed();
    if (!this.#cells && column === this.#length) {
      const last = this.#spans[this.#spans.length - 1];
      if (last && last.style === style) last.text += text;
      else this.#spans.push({ text, style });
      this.#length += text.length;
      return;
    }
    const cells = this.#asCells();
    while (cells.length < column) cells.push({ character: " ", style: null });
    for (let i = 0; i < text.length; i++) cells[column + i] = { character: text[i] ?? "", style };
    this.#length = cells.length;
  }

  /**
   * @param {number} begin
   * @param {number} end
   */
  erase(begin, end) {
    this.#changed();
    const cells = this.#asCells();
    if (end >= cells.length) cells.length = Math.min(begin, cells.length);
    else for (let i = begin; i < end; i++) cells[i] = { character: " ", style: null };
    this.#length = cells.length;
  }

  #changed() {
    this.version++;
    this.#text = null;
  }

  #asCells() {
    if (!this.#cells) {
      this.#cells = [];
      for (const { text, style } of this.#spans) for (const character of text.split("")) this.#cells.push({ character, style });
    }
    return this.#cells;
  }
}

/** The screen of one stream. */
export class Terminal {
  #decoder = new TextDecoder("utf-8");
  #pending = "";
  #row = -1;
  #column = 0;
  /** @type {Style | null} */
  #style = null;
  #newlines = 0;

  /**
   * @param {{rank?: number, stream?: number, begun?: (line: Line, newlines: number) => void}} [options]
   *   begun is told of each line when it begins, and how many line ends of what was fed came before it
   */
  constructor({ rank = 0, stream = 1, begun } = {}) {
    this.rank = rank;
    this.stream = stream;
    this.begun = begun;
    /** @type {Line[]} */
    this.lines = [];
  }

  /** @param {Uint8Array | string} data */
  feed(data) {
    let text = this.#pending + (typeof data === "string" ? data : this.#decoder.decode(data, { stream: true }));
    this.#pending = "";
    this.#newlines = 0;
    if (text.includes("\x1b")) {
      const open = BEGUN.exec(text.slice(-LONGEST_ESCAPE));
      if (open) {
        this.#pending = open[0];
        text = text.slice(0, text.length - open[0].length);
      }
    }
    let position = 0;
    TOKEN.lastIndex = 0;
    for (let token = TOKEN.exec(text); token; token = TOKEN.exec(text)) {
      if (token.index > position) this.#write(text.slice(position, token.index));
      position = token.index + token[0].length;
      if (token[2]) this.#control(token[2], token[1] ?? "");
      else if (token[0].length === 1) this.#move(token[0]);
    }
    if (position < text.length) this.#write(text.slice(position));
  }

  /** Ends the last line: nothing more comes. */
  end() {
    const last = this.lines[this.lines.length - 1];
    if (last) last.done = true;
  }

  /** @returns {Line} */
  #line() {
    if (this.#row < 0) {
      this.#begin();
      this.#row = this.lines.length - 1;
    }
    return /** @type {Line} */ (this.lines[this.#row]);
  }

  #begin() {
    const line = new Line(this.rank, this.stream, 0);
    this.lines.push(line);
    if (!this.begun) return;
    this.begun(line, this.#newlines);
    // whoever is told keeps the lines; here only those that a cursor can come back to
    if (this.lines.length > 2 * REACH) {
      const gone = this.lines.length - REACH;
      this.lines.splice(0, gone);
      this.#row -= gone;
    }
  }

  /** @param {string} raw */
  #write(raw) {
    let text = raw.replace(HARMFUL, shown);
    while (text) {
      if (this.#column >= LONGEST) this.#nextLine();
      const part = text.slice(0, LONGEST - this.#column);
      this.#line().put(this.#column, part, this.#style);
      this.#column += part.length;
      text = text.slice(part.length);
    }
  }

  /** @param {string} character */
  #move(character) {
    if (character === "\n") {
      this.#line();
      this.#newlines++;
      this.#nextLine();
    } else if (character === "\r") this.#column = 0;
    else if (character === "\b") this.#column = Math.max(0, this.#column - 1);
    else if (character === "\t") this.#write(" ".repeat(8 - (this.#column % 8)));
    else this.#write("␛");
  }

  /** A line begins when something is written to it, so that the last line end is not followed by an empty line. */
  #nextLine() {
    const line = this.#line();
    if (!line.done) {
      line.done = true;
      line.version++;
    }
    this.#column = 0;
    if (this.#row + 1 < this.lines.length) this.#row++;
    else this.#row = -1;
  }

  /**
   * @param {string} final
   * @param {string} parameters
   */
  #control(final, parameters) {
    if (final === "m") {
      this.#style = styled(this.#style ?? PLAIN, parameters);
      return;
    }
    const first = parameters.split(";")[0] ?? "";
    const count = /^\d+$/.test(first) ? Math.max(1, Number(first)) : 1;
    if (final === "A") {
      // behind the last line end, the cursor is below the last line
      const row = this.#row < 0 ? this.lines.length : this.#row;
      if (this.lines.length) this.#row = Math.max(0, this.lines.length - REACH, row - count);
    } else if (final === "B") {
      if (this.#row >= 0) this.#row = Math.min(this.lines.length - 1, this.#row + count);
    } else if (final === "C") this.#column = Math.min(LONGEST, this.#column + count);
    else if (final === "D") this.#column = Math.max(0, this.#column - count);
    else if (final === "G") this.#column = Math.min(LONGEST, count) - 1;
    else if (final === "K" && this.#row >= 0) {
      const mode = first || "0";
      this.#line().erase(mode === "0" ? this.#column : 0, mode === "1" ? this.#column + 1 : Infinity);
    } else if (final === "J" && this.#row >= 0 && (first || "0") === "0") this.#line().erase(this.#column, Infinity);
  }
}

/** @type {Record<number, Partial<Style>>} */
const CODES = {
  ...{ 1: { bold: true }, 2: { dim: true }, 3: { italic: true }, 4: { underline: true }, 7: { inverse: true } },
  ...{ 9: { strike: true }, 22: { bold: false, dim: false }, 23: { italic: false }, 24: { underline: false } },
  ...{ 27: { inverse: false }, 29: { strike: false }, 39: { fg: null }, 49: { bg: null } },
};
/** @type {Map<string, Style>} */
const STYLES = new Map();

/**
 * @param {Style} before
 * @param {string} parameters
 * @returns {Style | null}
 */
function styled(before, parameters) {
  const numbers = parameters.split(/[;:]/).map((part) => (/^\d+$/.test(part) ? Number(part) : 0));
  let style = before;
  while (numbers.length) {
    const code = numbers.shift() ?? 0;
    if (code === 0) style = PLAIN;
    else if (CODES[code]) style = { ...style, ...CODES[code] };
    else if (code === 38) style = { ...style, fg: colour(numbers) };
    else if (code === 48) style = { ...style, bg: colour(numbers) };
    else if (code >= 30 && code < 38) style = { ...style, fg: code - 30 };
    else if (code >= 40 && code < 48) style = { ...style, bg: code - 40 };
    else if (code >= 90 && code < 98) style = { ...style, fg: code - 82 };
    else if (code >= 100 && code < 108) style = { ...style, bg: code - 92 };
  }
  const key = Object.values(style).join();
  if (key === PLAIN_KEY) return null;
  // one object for one style, so that neighbours can be compared
  const known = STYLES.get(key);
  if (known) return known;
  if (STYLES.size > 4096) STYLES.clear();
  STYLES.set(key, style);
  return style;
}
const PLAIN_KEY = Object.values(PLAIN).join();

/**
 * Takes one of 256 colours, or red, green and blue, from the front of the numbers.
 * @param {number[]} numbers
 * @returns {number | string | null}
 */
function colour(numbers) {
  /** @param {number[]} parts */
  const hex = (parts) => `#${parts.map((part) => Math.min(255, part).toString(16).padStart(2, "0")).join("")}`;
  const kind = numbers.shift();
  if (kind === 5 && numbers.length) {
    const number = Math.min(255, numbers.shift() ?? 0);
    if (number < 16) return number;
    if (number >= 232) return hex(Array(3).fill(8 + 10 * (number - 232)));
    const levels = [0, 95, 135, 175, 215, 255];
    const index = number - 16;
    return hex([Math.floor(index / 36), Math.floor(index / 6) % 6, index % 6].map((part) => levels[part] ?? 0));
  }
  if (kind === 2 && numbers.length >= 3) return hex(numbers.splice(0, 3));
  return null;
}

/** The text of a log as far as it is held: addressed by offsets, so that what comes twice or late finds its place. */
export class Log {
  /** @type {Map<string, Terminal>} */
  #terminals = new Map();
  #held = false;

  /** @param {{id: string, limit?: number}} options */
  constructor({ id, limit = 20000 }) {
    this.id = id;
    this.limit = limit;
    /** @type {Row[]} */
    this.rows = [];
    this.start = 0;
    this.end = 0;
    this.size = 0;
    this.version = 0;
  }

  /** @param {number} size  of the whole log */
  setSize(size) {
    if (size > this.size) {
      this.size = size;
      this.version++;
    }
  }

  /**
   * Appends; what is held already is passed over, what is missing in between becomes a gap.
   * @param {Chunk} chunk
   * @param {Uint8Array} bytes
   */
  add(chunk, bytes) {
    const end = chunk.offset + bytes.length;
    this.size = Math.max(this.size, end);
    if (!this.#held) {
      this.#held = true;
      this.start = this.end = chunk.offset;
    }
    if (chunk.offset > this.end) {
      this.#forget();
      this.rows.push({ kind: "gap", from: this.end, to: chunk.offset });
      this.end = chunk.offset;
    }
    if (end > this.end) {
      this.#parse(chunk, bytes, this.end, Infinity, this.#terminals, this.rows);
      this.end = end;
      this.#drop();
    }
    this.version++;
  }

  /**
   * Puts in older text: what lies before what is held, or in a gap.
   * @param {Chunk} chunk
   * @param {Uint8Array} bytes
   */
  fill(chunk, bytes) {
    const end = chunk.offset + bytes.length;
    if (!bytes.length) return;
    const index = this.rows.findIndex((row) => row.kind === "gap" && row.from < end && row.to > chunk.offset);
    const gap = this.rows[index];
    if (gap && gap.kind === "gap") {
      const from = Math.max(gap.from, chunk.offset);
      const to = Math.min(gap.to, end);
      /** @type {Row[]} */
      const rows = [];
      if (from > gap.from) rows.push({ kind: "gap", from: gap.from, to: from });
      this.#parseApart(chunk, bytes, from, to, rows);
      if (to < gap.to) rows.push({ kind: "gap", from: to, to: gap.to });
      this.rows.splice(index, 1, ...rows);
      this.version++;
    } else if (chunk.offset < this.start) this.prepend(chunk, bytes);
    this.limit = Math.max(this.limit, Math.min(200000, this.rows.length + 1000));
  }

  /**
   * Puts in what lies before what is held.
   * @param {Chunk} chunk
   * @param {Uint8Array} bytes
   */
  prepend(chunk, bytes) {
    const to = Math.min(chunk.offset + bytes.length, this.start);
    if (!this.#held || chunk.offset >= this.start) return;
    /** @type {Row[]} */
    const rows = [];
    this.#parseApart(chunk, bytes, chunk.offset, to, rows);
    if (to < this.start) rows.push({ kind: "gap", from: to, to: this.start });
    this.rows = rows.concat(this.rows);
    this.start = chunk.offset;
    this.limit = Math.max(this.limit, Math.min(200000, this.rows.length + 1000));
    this.version++;
  }

  #forget() {
    for (const terminal of this.#terminals.values()) terminal.end();
    this.#terminals.clear();
  }

  #drop() {
    const over = this.rows.length - this.limit;
    // many at a time: moving all the others costs the same for one
    if (over < Math.max(1000, this.limit / 10)) return;
    this.rows.splice(0, over);
    const first = this.rows[0];
    if (first) this.start = Math.max(this.start, first.kind === "gap" ? first.from : first.line.at);
  }

  /**
   * @param {Chunk} chunk
   * @param {Uint8Array} bytes
   * @param {number} from
   * @param {number} to
   * @param {Row[]} rows
   */
  #parseApart(chunk, bytes, from, to, rows) {
    /** @type {Map<string, Terminal>} */
    const terminals = new Map();
    this.#parse(chunk, bytes, from, to, terminals, rows);
    for (const terminal of terminals.values()) terminal.end();
  }

  /**
   * @param {Chunk} chunk
   * @param {Uint8Array} bytes
   * @param {number} from
   * @param {number} to
   * @param {Map<string, Terminal>} terminals
   * @param {Row[]} rows
   */
  #parse(chunk, bytes, from, to, terminals, rows) {
    let at = chunk.offset;
    for (const [rank, stream, length] of chunk.pieces) {
      const begin = Math.max(from, at);
      const end = Math.min(to, at + length);
      at += length;
      if (begin >= end) continue;
      const part = bytes.subarray(begin - chunk.offset, end - chunk.offset);
      const key = `${rank} ${stream}`;
      let terminal = terminals.get(key);
      if (!terminal) terminals.set(key, (terminal = new Terminal({ rank, stream })));
      // where the line ends are is needed for the offsets of the lines that begin behind them
      let seen = 0;
      let position = 0;
      terminal.begun = (line, newlines) => {
        for (; seen < newlines; seen++) position = part.indexOf(10, position) + 1;
        line.at = begin + position;
        rows.push({ kind: "line", line });
      };
      terminal.feed(part);
    }
  }
}

// Groups back that a line may still join.
const FOLDED_REACH = 200;

/** Folds lines as they come: one that several ranks wrote alike is there once, with its ranks. */
export class Folder {
  /** @type {Map<string, number[]>} */
  #latest = new Map();

  constructor() {
    /** @type {{line: Line, ranks: number[]}[]} */
    this.rows = [];
  }

  /**
   * It joins the latest group of the same text and stream that its rank is not in, at most 200 groups back.
   * @param {Line} line
   */
  add(line) {
    const key = `${line.stream} ${line.text}`;
    let alike = this.#latest.get(key);
    if (!alike) this.#latest.set(key, (alike = []));
    for (let i = alike.length - 1; i >= 0; i--) {
      const index = alike[i] ?? 0;
      const group = this.rows[index];
      if (!group || this.rows.length - index > FOLDED_REACH) break;
      if (!group.ranks.includes(line.rank)) {
        group.ranks.push(line.rank);
        return;
      }
    }
    alike.push(this.rows.length);
    if (alike.length > FOLDED_REACH) alike.shift();
    this.rows.push({ line, ranks: [line.rank] });
    if (this.#latest.size > 5000) this.#tidy();
  }

  #tidy() {
    const oldest = this.rows.length - FOLDED_REACH;
    for (const [key, indexes] of this.#latest) if ((indexes[indexes.length - 1] ?? 0) < oldest) this.#latest.delete(key);
  }
}

/**
 * @param {Iterable<Line>} lines
 * @returns {{line: Line, ranks: number[]}[]}
 */
export function fold(lines) {
  const folder = new Folder();
  for (const line of lines) folder.add(line);
  return folder.rows;
}

/**
 * Finds a text; capitals count only if it has some itself.
 * @param {ArrayLike<{kind: string, line?: Line}>} rows
 * @param {string} query
 * @returns {{row: number, from: number, to: number}[]}
 */
export function search(rows, query) {
  if (!query) return [];
  const exact = query !== query.toLowerCase();
  /** @type {{row: number, from: number, to: number}[]} */
  const found = [];
  for (let row = 0; row < rows.length; row++) {
    const line = rows[row]?.line;
    if (!line) continue;
    const text = exact ? line.text : line.text.toLowerCase();
    // a letter whose small form is longer would shift what follows
    if (text.length !== line.text.length) continue;
    for (let at = text.indexOf(query); at >= 0; at = text.indexOf(query, at + query.length)) {
      found.push({ row, from: at, to: at + query.length });
    }
  }
  return found;
}

/**
 * "0-2, 5"
 * @param {Iterable<number>} ranks
 */
export function nameRanks(ranks) {
  /** @type {[number, number][]} */
  const spans = [];
  for (const rank of [...ranks].sort((a, b) => a - b)) {
    const last = spans[spans.length - 1];
    if (last && rank === last[1] + 1) last[1] = rank;
    else spans.push([rank, rank]);
  }
  return spans.map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`)).join(", ");
}

/**
 * "12 MB": two or three digits, decimal units.
 * @param {number} bytes
 */
export function sizeInWords(bytes) {
  if (bytes < 1000) return `${Math.round(bytes)} B`;
  let size = bytes / 1000;
  let unit = "kB";
  for (const larger of ["MB", "GB", "TB"]) {
    if (size < 999.5) break;
    size /= 1000;
    unit = larger;
  }
  return size < 9.95 ? `${size.toFixed(1)} ${unit}` : `${Math.round(size)} ${unit}`;
}

/**
 * "0.4 s", "12 s", "3:05", "1:02:03"
 * @param {number} seconds
 */
export function secondsInWords(seconds) {
  if (seconds < 10) return Number.isInteger(seconds) ? `${seconds} s` : `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const whole = Math.floor(seconds);
  /** @param {number} number */
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
