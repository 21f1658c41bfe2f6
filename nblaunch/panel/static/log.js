// The part of one log that the page holds.
import { cutPieces } from "./chunks.js";
import { LONGEST_HEAD, Stretch, isGone } from "./stretch.js";

/** @typedef {import("./chunks.js").Chunk} Chunk */
/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./line.js").Row} Row */
/** @typedef {import("./screen.js").Terminal} Terminal */

// The log of all ranks; those of one are called by its number.
const ALL_RANKS = "all";
// Characters that a log holds, unless older text is asked for: lines may be long.
const MOST_CHARACTERS = 8_000_000;

/** The part of a log that the page holds: stretches of it, as rows of lines, with rows for the gaps between them. */
class Log {
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
    /** How many rows have been dropped at the old end. */
    this.letGo = 0;
    /** How often lines were removed because ranks have cleared them. */
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
    // A rank clears both of its streams. In the log of one rank, nothing before that is shown.
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
   * Takes bytes that a rank has just written: those that are held already, or were dropped, are skipped.
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
    // a person is reading there, so the next bytes must not push this text out
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
    // again, for the terminals of the stretch that it was joined with
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
   * Joins two stretches; the border may be in the middle of lines.
   * @param {Stretch} one
   * @param {Stretch} other
   * @param {number} border  index of the other's first row
   */
  #join(one, other, border) {
    // unfinished lines of the first stretch are its last rows
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
   * Moves the lines that are still written to to the end of a stretch.
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

  /** Removes the lines that their ranks have cleared, also when dropped text comes back later. */
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
    // rows are in the order in which lines were finished; lines that are held may have begun before
    const start = first?.kind === "line" ? Math.min(last, stretch.end) : stretch.end;
    if (start > stretch.start) {
      stretch.start = start;
      stretch.heads = new Map(Array.from(stretch.terminals.keys(), (key) => [key, { bytes: null, size: 0, done: true }]));
    }
    this.version++;
  }
}

export { ALL_RANKS, Log };
