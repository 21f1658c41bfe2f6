// A line of styled text as elements.
import { make } from "./elements.js";

/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./styles.js").Style} Style */

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

export { paintLine };
