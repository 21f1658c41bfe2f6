// Messages from this page to the kernel of a run.

/** @typedef {import("@anywidget/types").AnyModel<any>} Model */
/** @typedef {import("./messages.js").FromPage} FromPage */
/** @typedef {import("./messages.js").Word & {again?: boolean}} Word  without what is in every message */

/** Sends over two channels, until it is known which of them works. */
class Sender {
  constructor() {
    /** Name of this page in its messages. */
    this.client = Math.random().toString(36).slice(2) + Date.now().toString(36);
    /** The channel over which messages get to the kernel, once that is known. @type {"" | "control" | "comm"} */
    this.channel = "";
    /** Whether binary buffers get here, as far as is known. */
    this.buffers = true;
    this.said = 0;
  }

  /**
   * @param {Model} model
   * @param {Word} message
   * @param {boolean} [surely]  over both channels, even if one is known to work; a message may come twice
   */
  send(model, message, surely = false) {
    // numbered, because over two channels an earlier message may come after a later one
    /** @type {FromPage} */
    const content = { client: this.client, n: ++this.said, ...message, ...(this.buffers ? {} : { buffers: false }) };
    if (surely || this.channel !== "control") {
      try {
        model.send(content);
      } catch {
        // the kernel is gone; the panel stays as it is
      }
    }
    if (surely || this.channel !== "comm") this.#sendControl(model, content);
  }

  /**
   * Sends over the control channel: some kernels read only that while their main thread is busy with the cell.
   * @param {Model} model
   * @param {FromPage} content
   */
  #sendControl(model, content) {
    // Voila's server takes no such message, and warns of each in its log
    if ("voila_finish" in window) return;
    const kernel = /** @type {any} */ (model.widget_manager)?.kernel;
    if (typeof kernel?.sendControlMessage !== "function") return;
    const header = {
      ...{ msg_id: crypto.randomUUID?.() ?? `${this.client}-${Math.random()}`, username: kernel.username ?? "" },
      ...{ session: kernel.clientId ?? this.client, date: new Date().toISOString() },
      ...{ msg_type: "nblaunch_request", version: "5.3" },
    };
    const widget = model.get("token");
    try {
      // no reply is waited for: what asks for an answer gets it as a message of the widget
      const future = kernel.sendControlMessage(
        { header, parent_header: {}, metadata: {}, channel: "control", content: { widget, ...content }, buffers: [] },
        false,
        true,
      );
      future?.done?.catch?.(() => {});
    } catch {
      // not connected; the same went over the widget's own channel
    }
  }
}

export { Sender };
