// Whether the kernel of a run is still there, as far as this page can tell.

/** @typedef {import("@anywidget/types").AnyModel<any>} Model */

// Milliseconds without a message of the kernel until the panel says so. The kernel sends one every two seconds, even if
// nothing is new.
const SILENT_MS = 6000;
// States of a kernel that does not know of the run any more.
const GONE = ["restarting", "autorestarting", "dead"];

/** When the kernel was heard of last, and whether the frontend says that it is gone. */
class Presence {
  /** @param {() => void} changed  the frontend has news of the kernel: `look` finds out which */
  constructor(changed) {
    this.changed = changed;
    // the last message, by both clocks, and the milliseconds of silence since, while this page listened
    this.heardAt = performance.now();
    this.heardHour = Date.now();
    this.silence = 0;
    this.listenedAt = performance.now();
    /** Whether the kernel is known not to know of the run any more. */
    this.lost = false;
    /** @type {any} */
    this.kernel = null;
    this.kernelId = "";
  }

  get silent() {
    return this.silence > SILENT_MS;
  }

  /** Begins to count the silence. */
  listen() {
    this.listenedAt = performance.now();
  }

  /**
   * Counts the silence up to now.
   * @param {number} most  milliseconds that count at most: while a page sleeps, it does not listen
   */
  goOn(most) {
    const now = performance.now();
    this.silence += Math.min(now - this.listenedAt, most);
    this.listenedAt = now;
  }

  /** The kernel has said something. */
  hear() {
    this.silence = 0;
    this.heardAt = performance.now();
    this.heardHour = Date.now();
    this.lost = false;
  }

  /**
   * Finds out from the frontend whether the kernel of the run is gone; tells whether it has just been lost.
   * @param {Model} model
   */
  look(model) {
    const manager = /** @type {any} */ (model.widget_manager);
    if (this.lost || !manager || !("kernel" in manager)) return false;
    const { kernel } = manager;
    if (kernel) this.#heedStatus(kernel);
    const other = this.kernelId && kernel?.id !== this.kernelId;
    if (kernel && !this.kernelId) this.kernelId = kernel.id ?? "";
    this.lost = Boolean(other) || GONE.includes(kernel?.status);
    return this.lost;
  }

  /** Heeds no news of the frontend any more. */
  leave() {
    this.#heedStatus(null);
  }

  /** @param {any} kernel  null for none any more */
  #heedStatus(kernel) {
    if (kernel === this.kernel) return;
    this.kernel?.statusChanged?.disconnect?.(this.changed);
    this.kernel = kernel;
    kernel?.statusChanged?.connect?.(this.changed);
  }
}

export { Presence };
