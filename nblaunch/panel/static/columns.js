// How many panes stand side by side, and what has room in the lines above their logs.

/** @typedef {import("./pane.js").Pane} Pane */

/**
 * Parts of the line above a log that are hidden when it is at most so many pixels wide.
 * @type {[number, string][]}
 */
const LEFT_OUT = [[520, "written"], [420, "pid"], [330, "curve"], [230, "memory"]];

/**
 * Says how many panes stand side by side in panels of every width; the last one fills its row.
 * @param {HTMLElement} panes
 * @param {number} count
 * @param {boolean} below  they stand below another one
 */
function layOutPanes(panes, count, below) {
  const half = Math.ceil(count / 2);
  const wide = below ? (count <= 4 ? count : half) : count <= 2 ? count : Math.max(2, half);
  const columnsOf = {
    slim: count <= 4 && !below ? 1 : 2,
    narrow: count === 2 && !below ? 1 : 2,
    middle: below ? wide : 2,
    wide,
    widest: count <= 4 ? count : wide,
  };
  for (const [name, columns] of Object.entries(columnsOf)) {
    const most = Math.max(1, Math.min(columns, count));
    panes.style.setProperty(`--${name}`, String(most));
    panes.style.setProperty(`--${name}-last`, String(most - ((count - 1) % most)));
  }
}

/**
 * Hides, in all lines above logs alike, the parts that have no room in the narrowest one.
 * @param {Pane[]} panes
 * @param {number} root  the rank that failed first, or -1: it has a row of its own
 */
function leaveOut(panes, root) {
  const like = panes.filter((pane) => pane.rank !== root || panes.length === 1);
  const widths = like.map((pane) => pane.el.clientWidth).filter(Boolean);
  const width = widths.length ? Math.min(...widths) : 0;
  for (const pane of panes) {
    const own = like.includes(pane) ? width : pane.el.clientWidth;
    const hidden = LEFT_OUT.filter(([most]) => own && own <= most).map(([, name]) => name);
    if (pane.el.dataset.without !== hidden.join(" ")) pane.el.dataset.without = hidden.join(" ");
  }
}

export { layOutPanes, leaveOut };
