// Lines that several ranks wrote alike, shown once.

/** @typedef {import("./line.js").Line} Line */

// How many groups back a line may still join one.
const FOLD_REACH = 200;

/**
 * Lines that several ranks wrote alike, shown once with the ranks named; `folding.py` does the same.
 *
 * A line joins the latest group of the same text and stream that its rank is not in, at most 200 groups back; else it
 * begins one. So the order of each rank's lines is nearly kept, and what all write is there once.
 */
class Folder {
  constructor() {
    /** @type {{ranks: number[], line: Line}[]} */
    this.rows = [];
  }

  /** @type {Map<string, number[]>} */
  #latest = new Map();
  /** Lines that may still change, with their versions when they were folded. @type {[line: Line, version: number][]} */
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

  /** Drops texts whose groups are too far back for a line to join. */
  #forget() {
    for (const [key, alike] of this.#latest) {
      if (this.rows.length - alike[alike.length - 1] > FOLD_REACH) this.#latest.delete(key);
    }
  }
}

export { Folder };
