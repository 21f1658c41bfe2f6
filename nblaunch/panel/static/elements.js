// Elements of the document, and the signs on buttons and ranks.

const SVG = "http://www.w3.org/2000/svg";

// Each state has its own shape, so that nobody has to tell them by colour.
const SIGNS = /** @type {Record<string, string>} */ ({
  starting: "M6 1.9a4.1 4.1 0 1 0 0 8.2a4.1 4.1 0 1 0 0-8.2z",
  running: "M6 2a4 4 0 1 0 0 8a4 4 0 1 0 0-8z",
  finished: "M2 6.6l2.7 2.7L10 3.4",
  failed: "M2.6 2.6l6.8 6.8M9.4 2.6l-6.8 6.8",
  stopped: "M2.6 2.6h6.8v6.8H2.6z",
  warning: "M6 1.6L11 10.4H1zM6 4.8v2.4M6 8.9v.1",
  asks: "M3.6 4.2a2.4 2.4 0 1 1 3.7 2c-.8.5-1.3.9-1.3 1.8M6 10.3v.1",
  restarting: "M10 6.2a4 4 0 1 1-1.3-3.1M9 .9v2.5H6.5",
  wrap: "M1.5 3h9M1.5 6h6.7a1.6 1.6 0 0 1 0 3.4H6M7.3 8L5.8 9.4l1.5 1.4M1.5 9.4h2",
  follow: "M1.5 2.5h9M1.5 5.5h4.5M1.5 8.5h4.5M9 5v5.2M7 8.3l2 2 2-2",
  copy: "M4.2 4.2h6.3v6.6H4.2zM7.6 4V1.4H1.5V8H4",
  download: "M6 1v6.2M3.4 4.9L6 7.5l2.6-2.6M1.5 8.3v2.5h9V8.3",
  previous: "M2.5 7.8L6 4.3l3.5 3.5",
  next: "M2.5 4.2L6 7.7l3.5-3.5",
  stacks: "M6 1.4L10.9 3.9L6 6.4L1.1 3.9zM1.1 6.3L6 8.8l4.9-2.5M1.1 8.7L6 11.2l4.9-2.5",
  close: "M3 3l6 6M9 3l-6 6",
  search: "M5 1.6a3.4 3.4 0 1 0 0 6.8a3.4 3.4 0 1 0 0-6.8zM7.6 7.6l3 3",
  larger: "M7.2 1.5h3.3v3.3M10.3 1.7L7 5M4.8 10.5H1.5V7.2M1.7 10.3L5 7",
});

/**
 * Makes an element; whatever comes from ranks gets in as text only.
 * @param {string} tag
 * @param {string} [name]
 * @param {(Node | string)[]} children
 * @returns {HTMLElement}
 */
function make(tag, name = "", ...children) {
  const element = document.createElement(tag);
  if (name) element.className = name.replace(/(^| )(?=\S)/g, "$1nbl-");
  element.append(...children);
  return element;
}

/**
 * Sets a text, without touching the document where it is there already.
 * @param {HTMLElement} element
 * @param {string} text
 */
function put(element, text) {
  const node = element.firstChild;
  if (node instanceof Text && !node.nextSibling) {
    if (node.data !== text) node.data = text;
  } else {
    element.textContent = text;
  }
}

/** @param {string} shape */
function sign(shape) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("class", "nbl-sign");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  svg.append(path);
  reshape(svg, shape);
  return svg;
}

/**
 * @param {SVGElement} svg
 * @param {string} shape
 */
function reshape(svg, shape) {
  if (svg.dataset.shape === shape) return;
  svg.dataset.shape = shape;
  svg.firstElementChild?.setAttribute("d", SIGNS[shape] ?? SIGNS.starting);
}

/**
 * @param {string} shape
 * @param {string} label
 * @param {() => void} action
 */
function iconButton(shape, label, action) {
  const button = make("button", "icon", sign(shape));
  button.title = label;
  button.setAttribute("aria-label", label);
  button.addEventListener("click", action);
  return button;
}

export { SVG, iconButton, make, put, reshape, sign };
