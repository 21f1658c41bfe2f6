// How text looks that a terminal shows: what its escape sequences make of it.

/**
 * Colours are a number of the 16 that a terminal has, or "#rrggbb".
 * @typedef {{
 *   fg: number | string | null, bg: number | string | null, bold: boolean, dim: boolean, italic: boolean,
 *   underline: boolean, inverse: boolean, strike: boolean,
 * }} Style
 */

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
 * @param {Style | null} one
 * @param {Style | null} other
 */
function looksAlike(one, other) {
  if (one === other) return true;
  if (!one || !other || one.fg !== other.fg || one.bg !== other.bg || one.bold !== other.bold) return false;
  if (one.dim !== other.dim || one.italic !== other.italic || one.underline !== other.underline) return false;
  return one.inverse === other.inverse && one.strike === other.strike;
}

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

export { looksAlike, restyled };
