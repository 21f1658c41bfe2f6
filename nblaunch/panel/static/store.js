// What is known of a run, once per panel, and the messages to and from its kernel.
import { asBytes, bytesOf, cutUp } from "./chunks.js";
import { lastWords } from "./last_words.js";
import { Log } from "./log.js";
import { leaveWord } from "./notebook.js";
import { Presence } from "./presence.js";
import { Questions } from "./questions.js";
import { newRank, noteOf } from "./ranks.js";
import { Sender } from "./sending.js";
import { hourOf, secondsInWords } from "./words.js";

/** @typedef {import("@anywidget/types").AnyModel<any>} Model */
/** @typedef {import("./chunks.js").Chunk} Chunk */
/** @typedef {import("./ranks.js").Rank} Rank */
/** @typedef {import("./view.js").View} View */
/** @typedef {import("./messages.js").Page} Page */
/** @typedef {import("./messages.js").Tick} Tick */
/** @typedef {import("./messages.js").ToPage} ToPage */
/** @typedef {import("./messages.js").RunNews & {state: string}} Run */
/** @typedef {import("./sending.js").Word} Word */

// Time for reading text into lines per frame; the rest waits for the next one.
const FRAME_MS = 8;
// Milliseconds between two paints as long as more text waits than a frame can read.
const FLOODED_MS = 50;
// Hellos, 250 ms apart, that no answer has come to when another way of answering is asked for.
const UNANSWERED = 20;
const HISTORY = 60;
// Milliseconds between two looks at what has become of the kernel.
const BEAT_MS = 250;
const KERNEL_GONE = "the kernel was restarted or has died";

/** What is known of a run. All views of a panel share one, and so do the messages to and from the kernel. */
class Store {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.sender = new Sender();
    this.questions = new Questions((message, surely) => this.send(message, surely));
    this.presence = new Presence(() => this.#lookAtKernel());
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
    this.ack = -1;
    this.zero = performance.now();
    this.greeted = false;
    /** Whether the kernel has ever told of the run. */
    this.known = false;
    this.hellos = 0;
    this.sequence = -1;
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
    this.presence.listen();
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
    this.presence.leave();
    clearInterval(this.timer);
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    document.removeEventListener("visibilitychange", this.visibility);
    this.questions.giveUp("the panel was closed");
  }

  /** @param {Model} model */
  #listen(model) {
    this.model = model;
    model.on("msg:custom", this.receive);
  }

  /** Seconds since the launch; they stand still where nobody knows whether the run goes on. */
  now() {
    return this.run.elapsed ?? Math.max(0, ((this.unheard ? this.presence.heardAt : performance.now()) - this.zero) / 1000);
  }

  /** When the kernel was heard of last, in words, if it is not heard any more; otherwise nothing. */
  get unheard() {
    if (this.over) return "";
    const { heardHour, silent } = this.presence;
    if (this.lost) return `last heard from at ${hourOf(heardHour)}; ${KERNEL_GONE}`;
    return this.known && silent ? `not heard from since ${hourOf(heardHour)}` : "";
  }

  /** Whether the kernel is known not to know of the run any more. */
  get lost() {
    return this.presence.lost;
  }

  /** Whether the kernel is known to hear this page. */
  get isHeard() {
    return this.sender.channel !== "";
  }

  get over() {
    return Boolean(this.run.over);
  }

  /**
   * @param {Word} message
   * @param {boolean} [surely]  see `Sender.send`
   */
  send(message, surely = false) {
    this.sender.send(this.model, message, surely);
  }

  #hello() {
    if (this.greeted || this.lost || this.model.get("over")) return;
    this.hellos++;
    // perhaps the answers are lost with the buffers in them
    if (this.hellos > UNANSWERED) this.sender.buffers = false;
    this.send({ kind: "hello" });
    this.watched = "";
    this.watch();
  }

  #beat() {
    this.beats++;
    const before = this.unheard;
    this.presence.goOn(2 * BEAT_MS);
    this.#lookAtKernel();
    if (this.unheard !== before) this.#tellSilence();
    // a kernel that does not answer for long is asked less often
    if (!this.greeted && (this.hellos < 40 || this.beats % 20 === 0)) this.#hello();
    this.questions.repeatLate();
    for (const view of this.views.keys()) view.beat(this.beats);
  }

  #lookAtKernel() {
    if (this.over || !this.presence.look(this.model)) return;
    this.questions.giveUp(KERNEL_GONE);
    this.#tellSilence();
    const { html, text } = lastWords({
      title: String(this.model.get("title") ?? ""),
      when: `${this.unheard} (${secondsInWords(Math.floor(this.now()))} after the launch)`,
      ranks: this.ranks,
      folder: this.run.log_dir ?? "",
      logs: this.logs,
    });
    leaveWord(this.model, html, text);
  }

  #tellSilence() {
    for (const view of this.views.keys()) view.toldOfSilence(this.unheard);
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
    /** @type {Set<string>} */
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
   * @param {Parameters<Questions["ask"]>[0]} question
   * @param {boolean} [surely]
   * @returns {Promise<any>}
   */
  #ask(question, surely = false) {
    return this.lost ? Promise.reject(new Error(KERNEL_GONE)) : this.questions.ask(question, surely);
  }

  /** @param {string} id */
  log(id) {
    let log = this.logs.get(id);
    if (!log) this.logs.set(id, (log = new Log({ id })));
    return log;
  }

  /**
   * @param {ToPage} content
   * @param {ArrayLike<unknown>} [buffers]
   */
  receive(content, buffers) {
    buffers ??= [];
    const before = this.unheard;
    this.presence.hear();
    if (before) this.#tellSilence();
    if (content.kind === "tick") this.#tick(content, buffers);
    // answers are for whoever has asked
    else if (content.kind === "beat" || content.client !== this.sender.client) return;
    else if (content.kind === "stacks") this.questions.answer(content.id, content.text ?? new Error(content.error));
    else this.#takePage(content, buffers);
  }

  /**
   * @param {Page} content
   * @param {ArrayLike<unknown>} buffers
   */
  #takePage({ id, error, chunk }, buffers) {
    const bytes = chunk ? bytesOf(chunk, buffers[0]) : null;
    if (chunk && !bytes && this.sender.buffers && this.questions.open.has(id)) {
      this.#doWithoutBuffers();
      this.questions.repeat(id);
    } else this.questions.answer(id, bytes ? { chunk, bytes } : new Error(error || "no bytes came"));
  }

  /** Tells the kernel that buffers do not get here, and asks for everything once more. */
  #doWithoutBuffers() {
    this.sender.buffers = false;
    this.greeted = false;
    this.#hello();
  }

  /**
   * @param {Tick} tick
   * @param {ArrayLike<unknown>} buffers
   */
  #tick(tick, buffers) {
    this.zero = performance.now() - tick.clock * 1000;
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
      const waited = rank.asks.startsWith("waits");
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
    for (const [id, size] of Object.entries(tick.sizes)) this.log(id).setSize(size);
    const { chunks } = tick;
    const bytes = chunks.map((chunk, index) => bytesOf(chunk, buffers[index]));
    bytes.forEach((all, index) => {
      for (const [part, some] of all ? cutUp(chunks[index], all) : []) this.queue.push({ chunk: part, bytes: some });
    });
    this.sender.channel = tick.heard?.[this.sender.client] ?? this.sender.channel;
    // only where it is asked for: each message makes the kernel say that it is busy, and then idle
    if (tick.ack) this.queue.push({ ack: tick.seq });
    for (const view of this.views.keys()) view.told(news, Boolean(tick.full));
    // the last buffer of the first message is a probe
    const probed = !tick.probe || asBytes(buffers[chunks.length], tick.probe)?.every((byte, index) => byte === index);
    if (this.sender.buffers && (bytes.includes(null) || !probed)) this.#doWithoutBuffers();
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
