// Finds text in the rows of a log.

/** @typedef {import("./line.js").Row} Row */

const MOST_MATCHES = 100_000;

/**
 * Finds plain text; a capital in the query makes capitals count.
 * @param {ArrayLike<Row>} rows
 * @param {string} query
 * @returns {{row: number, from: number, to: number}[]}
 */
function search(rows, query) {
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

export { search };
