// The live panel: what the kernel tells of a run, kept once per panel and shown in each of its views.
import { heightOfEarlier, isShared } from "./notebook.js";
import { Store } from "./store.js";
import { View } from "./view.js";

/** @typedef {import("@anywidget/types").AnyModel<any>} Model */

/** @type {WeakMap<object, Map<string, Store>>} */
const stores = new WeakMap();

/**
 * The store of a panel. Each view gets an object of its own for the same model, so the token identifies the model.
 * @param {Model} model
 */
function storeOf(model) {
  const token = model.get("token");
  const owner = token && model.widget_manager ? model.widget_manager : model;
  let known = stores.get(owner);
  if (!known) stores.set(owner, (known = new Map()));
  let store = known.get(token ?? "");
  if (!store) known.set(token ?? "", (store = new Store(model)));
  return store;
}

const panel = {
  /**
   * Tells the kernel that there is a page, even if the panel never comes in sight.
   * @param {{model: Model}} context
   */
  initialize({ model }) {
    if (!model.get("over")) storeOf(model).send({ kind: "here", shared: isShared(model) }, true);
  },
  /** @param {{model: Model, el: HTMLElement, signal?: AbortSignal}} context */
  render({ model, el, signal }) {
    const store = storeOf(model);
    const view = new View(store, el, heightOfEarlier(model));
    store.join(view, model);
    const destroy = () => view.destroy();
    signal?.addEventListener("abort", destroy, { once: true });
    return destroy;
  },
};

export default panel;
