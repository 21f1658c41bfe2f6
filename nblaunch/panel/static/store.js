// What is known of a run, once per panel, and the messages to and from its kernel.
import { asBytes, bytesOf, cutUp } from "./chunks.js";
import { make } from "./elements.js";
import { ALL_RANKS, Log } from "./log.js";
import { leaveWord } from "./notebook.js";
import { countStates, newRank, noteOf } from "./ranks.js";
import { endOf, hourOf, secondsInWords } from "./words.js";

/** @typedef {import("@anywidget/types").AnyModel<any>} Model */
/** @typedef {import("./chunks.js").Chunk} Chunk */
/** @typedef {import("./ranks.js").Rank} Rank */
/** @typedef {import("./view.js").View} View */
/**
 * @typedef {{
 *   state: string, words?: string, elapsed?: number | null, cpu?: number, memory?: number, about?: boolean,
 *   samples?: number, log_dir?: string, sent?: string, over?: boolean, counts?: Record<string, number>,
 * }} Run
 */

// Time for reading text into lines per frame; the rest waits for the next one.
const FRAME_MS = 8;
// Milliseconds between two paints as long as more text waits than a frame can read.
const FLOODED_MS = 50;
// Hellos, 250 ms apart, that no answer has come to when another way of answering is asked for.
const UNANSWERED = 20;
const HISTORY = 60;
// Milliseconds between two looks at what has become of the kernel, and without a word of it until the panel says so. The
// kernel says something every two seconds, also where there is nothing new.
const BEAT_MS = 250;
const SILENT_MS = 6000;
// What a kernel is called that does not know of the run any more.
const GONE = ["restarting", "autorestarting", "dead"];
const KERNEL_GONE = "the kernel was restarted or has died";
// What a page leaves of each log when the kernel is gone.
const MOST_LAST_LINES = 40;
const MOST_LAST_CHARACTERS = 20_000;

/** What is known of a run. All views of a panel share one, and so do the messages to and from the kernel. */
class Store {
  /** @param {Model} model */
  constructor(model) {
    this.client = Math.random().toString(36).slice(2) + Date.now().toString(36);
    this.model = model;
    /** @type {Run} */
    this.run = { state: "starting" };
    /** @type {Rank[]} */
    this.ranks = Array.from({ length: Math.max(1, model.get("nprocs") || 1) }, (_, rank) => newRank(rank));
    /** @type {Map<string, Log>} */
    this.logs = new Map();
    /** @type {Map<View, Model>} */
    this.views = new Map();
    /** @type {({chunk: Chunk, bytes: Uint8Array} | {ack: number})[]} */
    this.queue = [];
    /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void, message: object, sent: number, tries: number}>} */
    this.asked = new Map();
    this.asks = 0;
    this.ack = -1;
    /** By which of the two ways messages get to the kernel, once that is known. @type {"" | "control" | "comm"} */
    this.channel = "";
    /** Whether binary buffers get here, as far as is known. */
    this.buffers = true;
    this.zero = performance.now();
    this.greeted = false;
    /** Whether the kernel has ever told of the run. */
    this.known = false;
    this.hellos = 0;
    this.said = 0;
    this.sequence = -1;
    // when the kernel was heard of last, by both clocks, and for how long it has been silent while this page listened
    this.heardAt = performance.now();
    this.heardHour = Date.now();
    this.silence = 0;
    this.beatAt = performance.now();
    /** Whether the kernel is known not to know of the run any more. */
    this.lost = false;
    /** @type {any} */
    this.kernel = null;
    this.kernelId = "";
    this.heed = () => this.#lookAtKernel();
    this.beats = 0;
    this.frame = 0;
    this.timer = 0;
    this.watched = "";
    this.painted = 0;
    this.receive = this.receive.bind(this);
    this.visibility = () => {
      this.watch();
      this.schedule();
    };
  }

  /**
   * @param {View} view
   * @param {Model} model  each view has its own face of the same model, which ends with it
   */
  join(view, model) {
    this.views.set(view, model);
    view.told(new Map(), true);
    if (this.views.size > 1) return this.watch();
    this.#listen(model);
    this.beatAt = performance.now();
    this.timer = window.setInterval(() => this.#beat(), BEAT_MS);
    document.addEventListener("visibilitychange", this.visibility);
    this.greeted = false;
    this.hellos = 0;
    this.#lookAtKernel();
    this.#hello();
  }

  /** @param {View} view */
  leave(view) {
    const model = this.views.get(view);
    if (!model) return;
    this.views.delete(view);
    const [next] = this.views.values();
    if (model === this.model) {
      model.off("msg:custom", this.receive);
      if (next) this.#listen(next);
    }
    if (next) return this.watch();
    // its output was cleared, or the page is closed: the record must not count on it
    if (!this.over && !this.lost) this.send({ kind: "gone" }, true);
    this.#heedStatus(null);
    clearInterval(this.timer);
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    document.removeEventListener("visibilitychange", this.visibility);
    for (const { reject } of this.asked.values()) reject(new Error("the panel was closed"));
    this.asked.clear();
  }

  /** @param {Model} model */
  #listen(model) {
    this.model = model;
    model.on("msg:custom", this.receive);
  }

  /** Seconds since the launch; they stand still where nobody knows whether the run goes on. */
  now() {
    return this.run.elapsed ?? Math.max(0, ((this.unheard ? this.heardAt : performance.now()) - this.zero) / 1000);
  }

  /** When the kernel was heard of last, in words, if it is not heard any more; otherwise nothing. */
  get unheard() {
    if (this.over) return "";
    if (this.lost) return `last heard from at ${hourOf(this.heardHour)}; ${KERNEL_GONE}`;
    return this.known && this.silence > SILENT_MS ? `not heard from since ${hourOf(this.heardHour)}` : "";
  }

  get over() {
    return Boolean(this.run.over);
  }

  /**
   * @param {object} message
   * @param {boolean} [surely]  by both ways, whichever is known to be heard; what comes twice is harmless
   */
  send(message, surely = false) {
    // numbered: over two channels, one that was overtaken could be taken for the last word
    const content = { client: this.client, n: ++this.said, ...message, ...(this.buffers ? {} : { buffers: false }) };
    if (surely || this.channel !== "control") {
      try {
        this.model.send(content);
      } catch {
        // the kernel is gone; the panel stays as it is
      }
    }
    if (surely || this.channel !== "comm") this.#sendControl(content);
  }

  /**
   * Also past a kernel whose main thread is busy with the cell: some answer only on the control channel.
   * @param {object} content
   */
  #sendControl(content) {
    // Voila's server takes no such message, and warns of each in its log
    if ("voila_finish" in window) return;
    const kernel = /** @type {any} */ (this.model.widget_manager)?.kernel;
    if (typeof kernel?.sendControlMessage !== "function") return;
    const header = {
      ...{ msg_id: crypto.randomUUID?.() ?? `${this.client}-${Math.random()}`, username: kernel.username ?? "" },
      ...{ session: kernel.clientId ?? this.client, date: new Date().toISOString() },
      ...{ msg_type: "nblaunch_request", version: "5.3" },
    };
    const widget = this.model.get("token");
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

  #hello() {
    if (this.greeted || this.lost || this.model.get("over")) return;
    this.hellos++;
    // perhaps the answers are lost with the buffers in them
    if (this.hellos > UNANSWERED) this.buffers = false;
    this.send({ kind: "hello", view: this.views.size });
    this.watched = "";
    this.watch();
  }

  #beat() {
    this.beats++;
    const now = performance.now();
    const before = this.unheard;
    // what a page has slept through, it has not listened to
    this.silence += Math.min(now - this.beatAt, 2 * BEAT_MS);
    this.beatAt = now;
    this.#lookAtKernel();
    if (this.unheard !== before) this.#tellSilence();
    // a kernel that does not answer for long is asked less often
    if (!this.greeted && (this.hellos < 40 || this.beats % 20 === 0)) this.#hello();
    for (const [id, ask] of this.asked) {
      if (performance.now() - ask.sent < 5000) continue;
      if (ask.tries++ < 3) {
        ask.sent = performance.now();
        this.send({ ...ask.message, again: true }, true);
      } else {
        this.asked.delete(id);
        ask.reject(new Error("the kernel does not answer"));
      }
    }
    for (const view of this.views.keys()) view.beat(this.beats);
  }

  /** Finds out whether the kernel that has told of the run is still there, where the frontend says so. */
  #lookAtKernel() {
    const manager = /** @type {any} */ (this.model.widget_manager);
    if (this.over || this.lost || !manager || !("kernel" in manager)) return;
    const { kernel } = manager;
    if (kernel) this.#heedStatus(kernel);
    const other = this.kernelId && kernel?.id !== this.kernelId;
    if (kernel && !this.kernelId) this.kernelId = kernel.id ?? "";
    if (!other && !GONE.includes(kernel?.status)) return;
    this.lost = true;
    for (const { reject } of this.asked.values()) reject(new Error(KERNEL_GONE));
    this.asked.clear();
    this.#tellSilence();
    const { html, text } = this.#lastWords();
    leaveWord(this.model, html, text);
  }

  /** @param {any} kernel  null for none any more */
  #heedStatus(kernel) {
    if (kernel === this.kernel) return;
    this.kernel?.statusChanged?.disconnect?.(this.heed);
    this.kernel = kernel;
    kernel?.statusChanged?.connect?.(this.heed);
  }

  #tellSilence() {
    for (const view of this.views.keys()) view.toldOfSilence(this.unheard);
  }

  /** What this page can leave of a run of which nobody else will tell. */
  #lastWords() {
    const title = String(this.model.get("title") ?? "");
    const counts = countStates(this.ranks, true);
    const states = [...counts].map(([state, count]) => `${count} ${state}`).join(", ");
    const where = this.run.log_dir ? `; logs in ${this.run.log_dir}` : "";
    const told = `${this.unheard} (${secondsInWords(Math.floor(this.now()))} after the launch): ${states}${where}`;
    const el = make("div");
    el.append(make("span", "", "■ "), Object.assign(document.createElement("b"), { textContent: title }), ` ${told}`);
    const texts = [`■ ${title}  ${told}`];
    let left = MOST_LAST_CHARACTERS;
    for (const [id, log] of [...this.logs].sort()) {
      const lines = log.rows.slice(-MOST_LAST_LINES).map((row) => (row.kind === "line" ? row.line.text : "…"));
      const text = endOf(lines.join("\n").trimEnd(), left);
      if (!text) continue;
      left = Math.max(1, left - text.length);
      const name = id === ALL_RANKS ? "all ranks" : `rank ${id}`;
      const fold = document.createElement("details");
      const summary = document.createElement("summary");
      summary.textContent = `last lines of ${name}`;
      fold.append(summary, Object.assign(document.createElement("pre"), { textContent: text }));
      el.append(fold);
      texts.push(`last lines of ${name}:`, text);
    }
    return { html: el.innerHTML, text: texts.join("\n") };
  }

  watch() {
    const wanted = this.#wanted();
    const is = wanted.join();
    if (is === this.watched) return;
    this.watched = is;
    this.send({ kind: "watch", logs: wanted });
  }

  /** The logs that are in sight. */
  #wanted() {
    const logs = new Set();
    for (const view of this.views.keys()) for (const id of view.watching()) logs.add(id);
    return [...logs].sort();
  }

  /**
   * Asks for bytes of a log.
   * @param {string} log
   * @param {number} from
   * @param {number} to
   * @param {boolean} [exact]  just these bytes, not up to the borders of lines
   * @returns {Promise<{chunk: Chunk, bytes: Uint8Array}>}
   */
  page(log, from, to, exact = false) {
    return this.#ask({ kind: "page", log, from, to, ...(exact ? { exact } : {}) });
  }

  /**
   * Asks where every rank is now.
   * @returns {Promise<string>}
   */
  stacks() {
    return this.#ask({ kind: "stacks" }, true);
  }

  /**
   * @param {object} question
   * @param {boolean} [surely]
   * @returns {Promise<any>}
   */
  #ask(question, surely = false) {
    if (this.lost) return Promise.reject(new Error(KERNEL_GONE));
    const id = ++this.asks;
    const message = { id, ...question };
    return new Promise((resolve, reject) => {
      this.asked.set(id, { resolve, reject, message, sent: performance.now(), tries: 0 });
      this.send(message, surely);
    });
  }

  /** @param {string} id */
  log(id) {
    let log = this.logs.get(id);
    if (!log) this.logs.set(id, (log = new Log({ id })));
    return log;
  }

  /**
   * @param {any} content
   * @param {ArrayLike<unknown>} [buffers]
   */
  receive(content, buffers) {
    buffers ??= [];
    const before = this.unheard;
    this.silence = 0;
    this.heardAt = performance.now();
    this.heardHour = Date.now();
    this.lost = false;
    if (before) this.#tellSilence();
    if (content?.kind === "tick") this.#tick(content, buffers);
    if (!["page", "stacks"].includes(content?.kind) || content.client !== this.client) return;
    const ask = this.asked.get(content.id);
    const bytes = content.chunk ? bytesOf(content.chunk, buffers[0]) : null;
    if (ask && content.chunk && !bytes && this.buffers) {
      this.#doWithoutBuffers();
      return this.send({ ...ask.message, again: true }, true);
    }
    this.asked.delete(content.id);
    if (typeof content.text === "string") ask?.resolve(content.text);
    else if (content.error || !bytes) ask?.reject(new Error(content.error || "no bytes came"));
    else ask?.resolve({ chunk: content.chunk, bytes });
  }

  /** Tells the kernel that buffers do not get here, and asks for everything once more. */
  #doWithoutBuffers() {
    this.buffers = false;
    this.greeted = false;
    this.#hello();
  }

  /**
   * @param {any} tick
   * @param {ArrayLike<unknown>} buffers
   */
  #tick(tick, buffers) {
    if (typeof tick.clock === "number") this.zero = performance.now() - tick.clock * 1000;
    // one that did not come, while the connection was lost, may have had what none will say again
    const missed = this.sequence >= 0 && tick.seq > this.sequence + 1 && !tick.full;
    this.sequence = tick.seq;
    if (tick.full) {
      this.greeted = this.known = true;
      this.ranks = this.ranks.map((rank) => ({ ...newRank(rank.rank), history: tick.history ? [] : rank.history }));
    }
    const sampled = !tick.full && tick.run?.samples !== undefined;
    if (tick.run) this.run = { ...this.run, ...tick.run };
    /** @type {Map<string, number[]>} */
    const news = new Map();
    for (const [id, values] of Object.entries(tick.history ?? {})) {
      const rank = this.ranks[Number(id)];
      if (rank) rank.history = values.slice(-HISTORY);
    }
    for (const [id, changes] of Object.entries(tick.ranks ?? {})) {
      const rank = this.ranks[Number(id)];
      if (!rank) continue;
      const before = rank.state;
      const last = noteOf(rank);
      const waited = rank.asks?.startsWith("waits");
      Object.assign(rank, changes);
      const note = noteOf(rank);
      // said once: where a debugger is now, or for how long a rank has done nothing, is on the screen
      const other = rank.asks && (rank.asks.startsWith("waits") ? !waited : note?.text !== last?.text);
      if (note && (note.shape !== last?.shape || other)) news.set(note.text, [...(news.get(note.text) ?? []), rank.rank]);
      if (rank.state !== before && ["finished", "failed", "stopped", "restarting"].includes(rank.state)) {
        const key = rank.collateral ? "ended with the others" : rank.state;
        news.set(key, [...(news.get(key) ?? []), rank.rank]);
      }
    }
    // with each look a step, whether it has found another figure or not
    for (const rank of sampled ? this.ranks : []) {
      if (rank.state !== "running" || !rank.memory) continue;
      rank.history.push(rank.memory);
      if (rank.history.length > HISTORY) rank.history.shift();
    }
    for (const [id, size] of Object.entries(tick.sizes ?? {})) this.log(id).setSize(Number(size));
    /** @type {Chunk[]} */
    const chunks = tick.chunks ?? [];
    const bytes = chunks.map((chunk, index) => bytesOf(chunk, buffers[index]));
    bytes.forEach((all, index) => {
      for (const [part, some] of all ? cutUp(chunks[index], all) : []) this.queue.push({ chunk: part, bytes: some });
    });
    this.channel = tick.heard?.[this.client] ?? this.channel;
    // only where it is asked for: each message makes the kernel say that it is busy, and then idle
    if (tick.ack) this.queue.push({ ack: tick.seq });
    for (const view of this.views.keys()) view.told(news, Boolean(tick.full));
    // the last buffer of the first message is a probe
    const probed = !tick.probe || asBytes(buffers[chunks.length], tick.probe)?.every((byte, index) => byte === index);
    if (this.buffers && (bytes.includes(null) || !probed)) this.#doWithoutBuffers();
    // without frames nothing would ever be acknowledged
    if (document.hidden) this.#work(Infinity);
    this.schedule();
    if (!missed) return;
    this.greeted = false;
    this.hellos = 0;
    this.#hello();
  }

  /** @param {number} until  by `performance.now` */
  #work(until) {
    let done = 0;
    for (; done < this.queue.length && performance.now() < until; done++) {
      const item = this.queue[done];
      if ("ack" in item) this.ack = item.ack;
      else this.log(item.chunk.log).add(item.chunk, item.bytes);
    }
    this.queue.splice(0, done);
    if (document.hidden) this.#acknowledge();
  }

  #acknowledge() {
    if (this.ack < 0) return;
    this.send({ kind: "ack", seq: this.ack, logs: this.#wanted() });
    this.ack = -1;
  }

  schedule() {
    if (this.frame || !this.views.size) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      const began = performance.now();
      this.#work(began + FRAME_MS);
      if (!this.queue.length || began - this.painted > FLOODED_MS) {
        this.painted = began;
        for (const view of this.views.keys()) view.paint();
      }
      this.#acknowledge();
      if (this.queue.length) this.schedule();
    });
  }
}

export { Store };
