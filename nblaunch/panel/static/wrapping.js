// Which of the lines that are too long are wrapped, and how many rows they take.

/** @typedef {import("./line.js").Line} Line */
/** @typedef {"some" | "all" | "none"} Wrap  which lines are wrapped that are too long: those that `isWrapped` names, all, none */

// Separators of columns in a table that is printed as text.
const BETWEEN_COLUMNS = / {2,}| \| |\t/;
// What frames and rulers are drawn with, and nothing else.
const DRAWN = /^[-=_+|*#~.:\s\u2500-\u259f]*$/;
const FRAMED = /[\u2500-\u257f]/;

/**
 * Columns that the lines of a wrapped row are indented by, after its first.
 * @param {string} prefix
 */
function hangOf(prefix) {
  return Math.min(12, prefix.length + 2);
}

/**
 * How many lines a row takes that is wrapped at spaces where there are some, as the browser does it.
 * @param {string} text
 * @param {number} columns
 * @param {number} hang
 */
function wrappedRows(text, columns, hang) {
  let rows = 1;
  for (let from = 0, room = columns; text.length - from > room; room = Math.max(4, columns - hang)) {
    // spaces at the end of a line take no room
    let to = text.lastIndexOf(" ", from + room) + 1;
    if (to <= from) to = from + room;
    while (text[to] === " ") to++;
    if (to >= text.length) break;
    from = to;
    rows++;
  }
  return rows;
}

/**
 * Whether a line that is too long is wrapped by itself. Tables, rulers and progress bars are not: in pieces nobody could
 * read them.
 * @param {Line} line
 * @param {number} columns
 */
function isWrapped(line, columns) {
  if (line.redrawn) return false;
  const { text } = line;
  if (FRAMED.test(text) || DRAWN.test(text)) return false;
  if (!BETWEEN_COLUMNS.test(text)) return true;
  const cells = text.trimEnd().split(BETWEEN_COLUMNS);
  // wrapped if a cell alone is too long, as the message in a line of a log
  return cells.length < 3 || cells.some((cell) => cell.length > columns);
}

export { hangOf, isWrapped, wrappedRows };
