// A line of styled text as elements.
import { make } from "./elements.js";
import { search } from "./search.js";
import { counted } from "./words.js";
import { hangOf } from "./wrapping.js";

/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./line.js").Row} Row */
/** @typedef {import("./styles.js").Style} Style */
/** @typedef {HTMLElement & {painted?: string}} RowElement  with what it shows */

// Unwrapped, nobody reads further to the right, and the browser would shape all of it at each repaint.
const LONGEST_UNWRAPPED = 4000;

/**
 * @param {Style} style
 * @param {string} text
 */
function styledSpan(style, text) {
  const span = document.createElement("span");
  let { fg, bg } = style;
  if (style.inverse) [fg, bg] = [bg ?? "bg", fg ?? "fg"];
  const names = [];
  for (const [what, colour] of [["f", fg], ["b", bg]]) {
    if (colour === null || colour === undefined) continue;
    if (typeof colour === "string" && colour[0] === "#") {
      names.push(`nbl-${what}x`);
      span.style.setProperty(`--${what}`, colour);
    } else {
      names.push(`nbl-${what}${colour}`);
    }
  }
  for (const flag of /** @type {const} */ (["bold", "dim", "italic", "underline", "strike"])) {
    if (style[flag]) names.push(`nbl-${flag}`);
  }
  span.className = names.join(" ");
  span.textContent = text;
  return span;
}

/**
 * Writes a line's spans into an element, with what was searched for marked.
 * @param {HTMLElement} element
 * @param {Line} line
 * @param {{from: number, to: number, current?: boolean}[]} marks  in order, not overlapping
 * @param {number} most  characters
 */
function paintLine(element, line, marks = [], most = Infinity) {
  let at = 0;
  let next = 0;
  for (const { text: whole, style } of line.spans) {
    let text = at + whole.length > most ? whole.slice(0, most - at) : whole;
    while (text) {
      const mark = marks[next];
      const inside = mark !== undefined && at >= mark.from;
      const end = mark === undefined ? Infinity : inside ? mark.to : mark.from;
      const part = text.slice(0, end - at);
      text = text.slice(part.length);
      at += part.length;
      const node = style ? styledSpan(style, part) : part;
      element.append(inside ? make("mark", mark.current ? "hit now" : "hit", node) : node);
      if (inside && at >= mark.to) next++;
    }
    if (at >= most) break;
  }
}

/**
 * Writes a line of a log into its row, unless that shows it already.
 * @param {RowElement} element
 * @param {Extract<Row, {kind: "line"}>} row
 * @param {{prefix: string, wrapped: boolean, query: string, current: number}} how  `current`: where in the line the match
 *   is that the person has gone to, or -1
 */
function paintRow(element, { line, ranks }, { prefix, wrapped, query, current }) {
  const is = `${line.version} ${wrapped} ${query} ${current} ${ranks?.length}`;
  if (element.painted === is) return;
  element.painted = is;
  element.className = `nbl-row${line.stream === 2 && !line.redrawn ? " nbl-err" : ""}${wrapped ? " nbl-wrapped" : ""}`;
  element.textContent = "";
  if (prefix) {
    const rank = ranks && ranks.length > 1 ? "many" : (ranks?.[0] ?? line.rank) % 8;
    element.append(make("span", `prefix r${rank}`, prefix));
  }
  element.style.setProperty("--hang", `${hangOf(prefix)}ch`);
  /** @type {{from: number, to: number, current: boolean}[]} */
  const marks = query
    ? search([{ kind: "line", line }], query).map(({ from, to }) => ({ from, to, current: from === current }))
    : [];
  const most = wrapped ? Infinity : Math.max(LONGEST_UNWRAPPED, current + 200);
  paintLine(element, line, marks, most);
  if (line.text.length > most) {
    element.append(make("span", "more", ` … ${counted(line.text.length - most, "more character")}; wrapped, all show`));
  }
}

export { paintLine, paintRow };
