// A page without a document, for test_page_contract.py: the real store of the panel, spoken to by lines of JSON.
//
// What comes in: {message, buffers} as from the kernel, or {call, args} of one of the actions below. What goes out:
// {said, channel} as to the kernel, {answered} of what was asked, or {known} of what the page knows.
import { createInterface } from "node:readline";

import panel from "../../nblaunch/panel/static/panel.js";
import resting from "../../nblaunch/panel/static/resting.js";
import { Store } from "../../nblaunch/panel/static/store.js";

/** @typedef {import("@anywidget/types").AnyModel<any>} Model */
/** @typedef {import("../../nblaunch/panel/static/view.js").View} View */

Object.assign(globalThis, {
  window: globalThis,
  document: { hidden: false, addEventListener() {}, removeEventListener() {} },
  requestAnimationFrame: (/** @type {() => void} */ paint) => setTimeout(paint),
  cancelAnimationFrame: clearTimeout,
});

/** @param {object} line */
const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const [token, nprocs] = process.argv.slice(2);
/** @type {Record<string, unknown>} */
const traits = { token, nprocs: Number(nprocs), title: "a run", over: false };
/** @type {(content: any, buffers: DataView[]) => void} */
let receive = () => {};
const model = /** @type {Model} */ (/** @type {unknown} */ ({
  get: (/** @type {string} */ name) => traits[name],
  on: (/** @type {string} */ _name, /** @type {typeof receive} */ callback) => (receive = callback),
  off() {},
  send: (/** @type {object} */ said) => tell({ said, channel: "comm" }),
  widget_manager: {
    kernel: {
      id: "kernel",
      status: "busy",
      sendControlMessage: (/** @type {{content: object}} */ message) => tell({ said: message.content, channel: "control" }),
    },
  },
}));

const view = /** @type {View} */ (/** @type {unknown} */ ({
  watching: () => Array.from({ length: Number(nprocs) }, (_, rank) => String(rank)),
  told() {},
  toldOfSilence() {},
  beat() {},
  paint: () => tell({ known: known() }),
}));
const store = new Store(model);

function known() {
  const { run, ranks, isHeard, sender } = store;
  const logs = Array.from(store.logs, ([id, log]) => [
    id,
    { size: log.size, lines: log.rows.map((row) => (row.kind === "line" ? row.line.text : "…")) },
  ]);
  return { run, ranks, logs: Object.fromEntries(logs), isHeard, buffers: sender.buffers };
}

/**
 * @param {string} question
 * @param {Promise<any>} answer
 */
const answered = (question, answer) =>
  void answer.then(
    (found) => tell({ answered: question, found: found.bytes ? new TextDecoder().decode(found.bytes) : found }),
    (error) => tell({ answered: question, error: error.message }),
  );

/** @type {Record<string, (...args: any[]) => void>} */
const ACTIONS = {
  initialize: () => void panel.initialize({ model }),
  join: () => store.join(view, model),
  page: (log, from, to, exact) => answered("page", store.page(log, from, to, exact)),
  stacks: () => answered("stacks", store.stacks()),
  stop: () => store.send({ kind: "stop" }, true),
  kill: () => store.send({ kind: "kill" }, true),
  leave: () => store.leave(view),
  rest: (record) => {
    const cell = { id: "cell", outputs: { length: 1, get: () => ({ data: { "text/html": record } }) } };
    const context = { model: { cells: { length: 1, get: () => cell } } };
    const its = { ...traits, record };
    const get = (/** @type {keyof typeof its} */ name) => its[name];
    resting.initialize({ model: /** @type {Model} */ (/** @type {unknown} */ ({ ...model, get, widget_manager: { context } })) });
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { call, args = [], message, buffers = [] } = JSON.parse(line);
  if (call) ACTIONS[call](...args);
  else receive(message, buffers.map((/** @type {string} */ text) => {
    const bytes = Uint8Array.from(Buffer.from(text, "base64"));
    return new DataView(bytes.buffer);
  }));
}
// its clock would keep it from ending
process.exit();
