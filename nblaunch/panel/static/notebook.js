// The document of the notebook, where the frontend lets a widget at it: JupyterLab and Notebook 7. What stands there is
// saved. What a kernel publishes does not get there once the page was reloaded or the kernel is restarted.

/** @typedef {import("@anywidget/types").AnyModel<any>} Model */
/** @typedef {import("./messages.js").Placed} Placed */

const VIEW = "application/vnd.jupyter.widget-view+json";

/**
 * @param {string} html
 * @param {string} text
 */
function output(html, text) {
  return { output_type: "display_data", metadata: {}, data: { "text/html": html, "text/plain": text } };
}

/**
 * Whether several people or the server write to the document.
 * @param {Model} model
 */
function isShared(model) {
  return Boolean(/** @type {any} */ (model.widget_manager)?.context?.model?.collaborative);
}

/**
 * The document, unless several people or the server write to it too: all of them would put the same thing there.
 * @param {Model} model
 */
function documentOf(model) {
  return isShared(model) ? null : /** @type {any} */ (model.widget_manager)?.context?.model;
}

/**
 * All outputs that have data. Long ones are not copied.
 * @param {Model} model
 */
function outputsOf(model) {
  const found = [];
  const cells = documentOf(model)?.cells;
  for (let number = 0; number < (cells?.length ?? 0); number++) {
    const { id, outputs } = cells.get(number);
    for (let index = 0; index < (outputs?.length ?? 0); index++) {
      const data = outputs.get(index)?.data ?? {};
      const html = data["text/html"] ?? "";
      found.push({ cell: id, outputs, index, view: data[VIEW]?.model_id, html: Array.isArray(html) ? html.join("") : String(html) });
    }
  }
  return found;
}

/**
 * How many pixels tall what the run before has left in the cell of this panel is, which the panel hides: see standing.py.
 * @param {Model} model
 */
function heightOfEarlier(model) {
  for (const earlier of document.getElementsByClassName("nblaunch-earlier")) {
    if (/** @type {HTMLElement} */ (earlier).dataset.cell === model.get("cell")) return earlier.clientHeight;
  }
  return 0;
}

/** @param {Model} model */
function noteOfRun(model) {
  return `nblaunch-note-${model.get("token")}`;
}

/**
 * Puts the record of a run that has ended where its widget stands, or into its cell if nothing of it is there: once, in
 * one of the pages.
 * @param {Model} model
 */
function placeRecord(model) {
  if (documentOf(model)?.cells) void putRecord(model);
}

/** @param {Model} model */
async function putRecord(model) {
  const record = model.get("record");
  if (!record) return;
  const found = outputsOf(model);
  let stands = found.some(({ html }) => html === record);
  for (const { outputs, index, view, html } of found) {
    if (view === model.get("token")) {
      outputs.set(index, stands ? output("", "") : output(record, model.get("text")));
      stands = true;
    } else if (html.includes(noteOfRun(model))) outputs.set(index, output("", ""));
  }
  // a person may have cleared it since, or have run the cell once more
  if (!stands && !model.get("placed") && !(await isShown(model))) {
    const { cells } = documentOf(model);
    for (let number = 0; number < cells.length; number++) {
      const { id, executionCount, outputs } = cells.get(number);
      if (id !== model.get("cell") || !outputs || executionCount > model.get("count")) continue;
      outputs.fromJSON([output(record, model.get("text")), ...outputs.toJSON()]);
      stands = true;
    }
  }
  /** @type {Placed} */
  const said = { kind: "placed" };
  if (stands && !model.get("placed")) model.send(said);
}

/**
 * Whether a view of the panel is on this page, though not in an output of the notebook: in a widget of the user's.
 * @param {Model} model
 */
async function isShown(model) {
  const own = await /** @type {any} */ (model.widget_manager).get_model(model.get("token"));
  return Object.keys(own?.views ?? {}).length > 0;
}

/**
 * Leaves word of a run whose kernel is gone, in the place of the note that the kernel has left, or below the widget.
 * @param {Model} model
 * @param {string} inner  HTML
 * @param {string} text
 */
function leaveWord(model, inner, text) {
  if (!documentOf(model)?.cells) return;
  const found = outputsOf(model);
  const word = output(`<div class="nblaunch-note ${noteOfRun(model)}" style="font-size: 85%">${inner}</div>`, text);
  const note = found.find(({ html }) => html.includes(noteOfRun(model)));
  const widget = found.find(({ view }) => view === model.get("token"));
  if (note) note.outputs.set(note.index, word);
  else widget?.outputs.add(word);
}

export { heightOfEarlier, isShared, leaveWord, placeRecord };
