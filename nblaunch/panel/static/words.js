// Numbers, ranks and times as people write them.

// Spans of ranks that are named one by one; of more, only their number is told.
const MOST_SPANS = 4;

/**
 * Ranks as people write them: "0-2, 5".
 * @param {number[]} ranks
 */
function nameRanks(ranks) {
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
 * "rank 3", "ranks 0-2, 5", "200 ranks".
 * @param {number[]} ranks
 */
function ranksInWords(ranks) {
  const names = nameRanks(ranks);
  if (names.split(",").length > MOST_SPANS) return `${ranks.length} ranks`;
  return `rank${ranks.length > 1 ? "s" : ""} ${names}`;
}

/**
 * The last so many characters of a text, with a mark before them if there are more.
 * @param {string} text
 * @param {number} count
 */
function endOf(text, count) {
  if (text.length <= count) return text;
  // not from the middle of a character
  return `…${text.slice(-count).replace(/^[\udc00-\udfff]/, "")}`;
}

/**
 * @param {number} count
 * @param {string} noun
 */
function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * Two or three digits, decimal units, as `wording.py` has it.
 * @param {number} bytes
 */
function sizeInWords(bytes) {
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

/** @param {number} percent */
function percentInWords(percent) {
  return percent < 999.5 ? `${Math.round(percent)} %` : `${Math.round(percent / 100)} cores`;
}

/**
 * "0.4 s", "12 s", "3:05", "1:02:03".
 * @param {number} seconds
 */
function secondsInWords(seconds) {
  if (seconds < 9.95) return `${Number.isInteger(seconds) ? seconds : seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

/** @param {number} at  by `Date.now` */
function hourOf(at) {
  return new Date(at).toLocaleTimeString("en-GB");
}

export { counted, endOf, hourOf, nameRanks, percentInWords, ranksInWords, secondsInWords, sizeInWords };
