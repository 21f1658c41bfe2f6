// The live panel: what the kernel tells of a run, kept once per panel and shown in each of its views.
import { Log, Terminal, endOf, nameRanks, secondsInWords, sizeInWords } from "./terminal.js";
import { LogView, PAGE, Rows, counted, make, paintLine, put } from "./logview.js";
import { RankLine, RankMap, fateInWords, iconButton, noteOf, percentInWords, reshape, saidOf, sign } from "./tiles.js";
import { StacksView } from "./stacks.js";
import { heightOfEarlier, isShared, leaveWord } from "./notebook.js";

/** @typedef {import("@anywidget/types").AnyModel<any>} Model */
/** @typedef {import("./terminal.js").Chunk} Chunk */
/** @typedef {import("./tiles.js").Rank} Rank */
/**
 * @typedef {{
 *   state: string, words?: string, elapsed?: number | null, cpu?: number, memory?: number, about?: boolean,
 *   samples?: number, log_dir?: string, sent?: string, over?: boolean, counts?: Record<string, number>,
 * }} Run
 */
/** @typedef {"grid" | "merged" | "folded" | "rank"} Mode */

// Time for reading text into lines per frame; the rest waits for the next one.
const FRAME_MS = 8;
const PIECE = 16 * 1024;
// Milliseconds between two paints as long as more text waits than a frame can read.
const FLOODED_MS = 50;
const MOST_PANES = 8;
const MOST_DOWNLOADED = 200e6;
const AT_ONCE = 4;
// Hellos, 250 ms apart, that no answer has come to when another way of answering is asked for.
const UNANSWERED = 20;
const HISTORY = 60;
// Rows that a log has room for before anything is written.
const LEAST_ROWS = 3;
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
// Spans of ranks that are named one by one; of more, only their number is told.
const MOST_SPANS = 4;
// What the button for long lines says, and what a click on it makes of them.
/** @type {Record<import("./logview.js").Wrap, {next: import("./logview.js").Wrap, pressed: string, title: string}>} */
const WRAPPED = {
  some: { next: "all", pressed: "mixed", title: "long lines are wrapped, but no tables and progress bars; click to wrap these too" },
  all: { next: "none", pressed: "true", title: "all long lines are wrapped; click to wrap none" },
  none: { next: "some", pressed: "false", title: "no lines are wrapped; click to wrap long ones, but no tables and progress bars" },
};
/**
 * What the line above a log does without when it is at most so wide.
 * @type {[number, string][]}
 */
const LEFT_OUT = [[520, "written"], [420, "pid"], [330, "curve"], [230, "memory"]];

/**
 * The bytes of a buffer, or null if it did not come as it was sent: some frontends lose or change buffers on their way.
 * @param {unknown} buffer
 * @param {number} length
 */
function asBytes(buffer, length) {
  let bytes = null;
  if (ArrayBuffer.isView(buffer)) bytes = new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  // of whichever window
  else if (Object.prototype.toString.call(buffer) === "[object ArrayBuffer]") {
    bytes = new Uint8Array(/** @type {ArrayBuffer} */ (buffer));
  }
  return bytes?.length === length ? bytes : null;
}

/**
 * The bytes of a chunk, which are in its message where buffers do not arrive; null if they are lost.
 * @param {Chunk & {base64?: string}} chunk
 * @param {unknown} buffer
 */
function bytesOf(chunk, buffer) {
  if (typeof chunk.base64 === "string") return Uint8Array.from(atob(chunk.base64), (character) => character.charCodeAt(0));
  return asBytes(buffer, chunk.pieces.reduce((sum, [, , length]) => sum + length, 0));
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

/** @param {number} at  by `Date.now` */
function hourOf(at) {
  return new Date(at).toLocaleTimeString("en-GB");
}

/**
 * Cuts a chunk into smaller ones, so that no single one outlasts a frame.
 * @param {Chunk} chunk
 * @param {Uint8Array} bytes
 * @returns {[Chunk, Uint8Array][]}
 */
function cutUp(chunk, bytes) {
  /** @type {[Chunk, Uint8Array][]} */
  const parts = [];
  let at = 0;
  /** @type {Chunk["pieces"]} */
  let pieces = [];
  let began = 0;
  const flush = () => {
    if (at > began) parts.push([{ log: chunk.log, offset: chunk.offset + began, pieces }, bytes.subarray(began, at)]);
    pieces = [];
    began = at;
  };
  for (const [rank, stream, length] of chunk.pieces) {
    let left = length;
    while (left > 0) {
      const taken = Math.min(left, PIECE - (at - began));
      pieces.push([rank, stream, taken]);
      at += taken;
      left -= taken;
      if (at - began >= PIECE) flush();
    }
  }
  flush();
  return parts;
}

/**
 * @param {number} rank
 * @returns {Rank}
 */
function newRank(rank) {
  return {
    ...{ rank, state: "starting", cpu: 0, memory: 0, out: 0, err: 0, line: "", exit: "", why: "", traceback: "" },
    ...{ collateral: false, root: false, history: [], asks: "", about: "", answer: "" },
  };
}

// How the state of a rank reads when nobody knows any more what became of it.
const WERE = /** @type {Record<string, string>} */ ({
  running: "were running", starting: "were starting", restarting: "were restarting",
});

/**
 * How many ranks are in which state, those first that matter most.
 * @param {Rank[]} ranks
 * @param {boolean} [past]
 */
function countStates(ranks, past = false) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const state of ["failed", "stopped", "finished", "running", "restarting", "starting"]) {
    const count = ranks.filter((rank) => rank.state === state).length;
    if (count) counts.set((past && WERE[state]) || state, count);
  }
  return counts;
}

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
      const name = id === "all" ? "all ranks" : `rank ${id}`;
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

/** @type {WeakMap<object, Map<string, Store>>} */
const stores = new WeakMap();

/**
 * The store of a panel. Views get different faces of one model, so its token tells that it is the same.
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

/** A log with a line of numbers above it, and what a failed rank has to say. */
class Pane {
  /**
   * @param {View} view
   * @param {number | null} rank  null for all of them
   * @param {boolean} [folded]
   */
  constructor(view, rank, folded = false) {
    this.rank = rank;
    this.id = rank === null ? "all" : String(rank);
    const { store } = view;
    const name = rank === null ? "all ranks" : `rank ${rank}`;
    this.line = rank === null ? null : new RankLine(rank);
    const words = folded ? "lines that several ranks wrote are shown once" : "in the order in which the ranks wrote";
    const head = this.line?.el ?? make("div", "rankline", make("span", "fate", words));
    this.tools = make("span", "panetools");
    this.tools.append(
      ...(rank !== null && view.store.ranks.length > 1
        ? [iconButton("larger", `only ${name}, large`, () => view.enlarge(rank))]
        : []),
      iconButton("copy", `copy the text of ${name} that is here`, () => void view.copy(this)),
      iconButton("download", `download the whole log of ${name}`, () => void view.download(this)),
    );
    head.append(this.tools);
    this.log = new LogView({
      rows: new Rows(store.log(this.id), folded),
      label: `log of ${name}`,
      prefixed: rank === null,
      wrap: view.wrap,
      request: async (log, from, to) => {
        const { chunk, bytes } = await store.page(log.id, from, to);
        log.fill(chunk, bytes);
      },
      changed: () => store.schedule(),
      silent: () => store.ranks.every((other) => (rank !== null && other.rank !== rank) || !(other.out + other.err)),
    });
    // not a pre: Jupyter has styles of its own for those
    this.trace = make("div", "trace");
    this.trace.tabIndex = 0;
    this.trace.setAttribute("role", "group");
    this.trace.setAttribute("aria-label", `traceback of ${name}`);
    this.trace.hidden = true;
    this.told = "";
    // the error itself stands last, and stays in sight unless the person has scrolled up
    this.atEnd = true;
    this.trace.addEventListener("scroll", () => {
      const { scrollTop, scrollHeight, clientHeight } = this.trace;
      this.atEnd = scrollTop + clientHeight >= scrollHeight - 4;
    });
    this.resizing = new ResizeObserver(() => this.#toTheEnd());
    this.resizing.observe(this.trace);
    this.el = make("section", "pane", head, this.trace, this.log.el);
    this.el.setAttribute("aria-label", name);
  }

  destroy() {
    this.resizing.disconnect();
    this.log.destroy();
  }

  #toTheEnd() {
    if (!this.atEnd) return;
    const { style, clientHeight, scrollHeight } = this.trace;
    const { lineHeight, paddingTop } = getComputedStyle(this.trace);
    // whole lines only, as in a log: what is too much for them goes below the last one
    const beyond = scrollHeight > clientHeight ? (clientHeight - parseFloat(paddingTop)) % parseFloat(lineHeight) : 0;
    style.paddingBottom = `${parseFloat(paddingTop) + (beyond || 0)}px`;
    this.trace.scrollTop = this.trace.scrollHeight;
  }

  /**
   * @param {Rank} rank
   * @param {number} now
   */
  update(rank, now) {
    this.line?.update(rank, now);
    this.el.classList.toggle("nbl-first", rank.root);
    this.el.classList.toggle("nbl-collateral", rank.collateral);
    const text = rank.collateral ? "" : rank.traceback;
    if (text === this.told) return;
    this.told = text;
    this.trace.hidden = !text;
    this.trace.textContent = "";
    const terminal = new Terminal({ rank: rank.rank, stream: 2 });
    terminal.feed(endOf(text, 100_000));
    for (const line of terminal.lines) {
      const row = make("div");
      paintLine(row, line);
      if (!line.text) row.append("\n");
      this.trace.append(row);
    }
    this.atEnd = true;
    requestAnimationFrame(() => this.#toTheEnd());
  }
}

/** One place where the panel is shown. */
class View {
  /**
   * @param {Store} store
   * @param {HTMLElement} host
   * @param {number} before  pixels that have stood in its place
   */
  constructor(store, host, before) {
    this.store = store;
    const count = store.ranks.length;
    /** @type {Mode} */
    this.mode = count === 1 ? "rank" : "grid";
    this.chosen = 0;
    /** @type {import("./logview.js").Wrap} */
    this.wrap = "some";
    this.visible = true;
    this.stale = true;
    this.root = -1;
    this.stopAsked = 0;
    /** Pixels that all that is shown has taken so far. */
    this.content = before;
    /** @type {Map<string, Pane>} */
    this.panes = new Map();
    /** @type {Pane[]} */
    this.shown = [];
    /** @type {{pane: Pane, match: import("./logview.js").Match} | null} */
    this.found = null;
    this.counted = "";

    this.sign = sign("starting");
    this.title = make("span", "title");
    this.words = make("span", "words");
    this.elapsed = make("span", "num elapsed");
    this.cpu = make("span", "num cpu");
    this.memory = make("span", "num memory");
    this.elapsed.title = "since the launch";
    this.cpu.title = "CPU of all ranks together; 100 % is one core";
    this.memory.title = "memory of all ranks together";
    this.stop = /** @type {HTMLButtonElement} */ (make("button", "stop", make("span", "", "Stop")));
    this.stop.addEventListener("click", () => this.#stop());
    const metrics = make("span", "metrics", this.memory, this.cpu, this.elapsed);
    this.stacks = new StacksView({
      ask: () => store.stacks(),
      copy: (text, what) => void this.copyText(text, what),
      when: () => secondsInWords(store.now()),
      say: (text) => put(this.live, text),
    });
    const head = make("header", "head", this.sign, this.title, this.words, metrics, this.stacks.button, this.stop);

    this.bar = make("div", "bar");
    this.bar.setAttribute("aria-hidden", "true");

    const tools = this.#tools(count);
    this.causeText = make("span", "causetext");
    this.cause = make("button", "cause", sign("failed"), this.causeText);
    this.cause.hidden = true;
    this.cause.addEventListener("click", () => this.#jump());
    this.body = make("div", "body");
    this.map = count > MOST_PANES ? this.#map(count) : null;
    this.hovered = new RankLine(0);
    this.hovered.el.append(make("span", "last"));
    this.key = make("div", "key");
    this.look = make("div", "look", this.hovered.el, this.key);
    this.counts = make("span", "counts");
    this.where = make("span", "where");
    this.foot = make("footer", "foot", this.counts, this.where);
    this.live = make("div", "live");
    this.live.setAttribute("role", "status");
    this.live.setAttribute("aria-live", "polite");

    const size = [1, 2, 4, 8, 16, 64].find((most) => count <= most) ?? "many";
    this.panel = make("section", `panel of-${size}`, head, this.bar, tools, this.cause);
    if (before) this.panel.style.setProperty("--content", `${before}px`);
    this.panel.append(this.stacks.el, this.body, this.foot, this.live);
    this.el = make("div", "root", this.panel);
    // keys pressed in here are not Jupyter's: with focus on a log, "d d" would delete the cell
    this.el.dataset.lmSuppressShortcuts = "true";
    // the browser's own menu, with Copy in it
    this.el.dataset.jpSuppressContextMenu = "true";
    this.el.addEventListener("keydown", (event) => this.#keydown(event));
    for (const kind of ["keyup", "keypress"]) this.el.addEventListener(kind, (event) => event.stopPropagation());
    this.watcher = new IntersectionObserver(
      ([entry]) => {
        this.visible = entry.isIntersecting;
        this.store.watch();
        this.touch();
      },
      { rootMargin: "400px" },
    );
    this.watcher.observe(this.el);
    this.fitting = new ResizeObserver(() => this.#fit());
    this.#arrange();
    host.append(this.el);
  }

  destroy() {
    this.watcher.disconnect();
    this.fitting?.disconnect();
    this.map?.destroy();
    for (const pane of this.panes.values()) pane.destroy();
    this.store.leave(this);
    this.el.remove();
  }

  /** @param {number} count */
  #tools(count) {
    /** @type {Map<Mode, HTMLElement>} */
    this.modes = new Map();
    const modes = make("span", "modes");
    modes.setAttribute("role", "group");
    modes.setAttribute("aria-label", "view");
    for (const [mode, name, title] of /** @type {[Mode, string, string][]} */ ([
      count > MOST_PANES ? ["grid", "Map", "a tile for each rank, and the log of one"] : ["grid", "Grid", "the ranks side by side"],
      ["merged", "Merged", "all ranks in one log"],
      ["folded", "Folded", "all ranks in one log, lines alike shown once"],
    ])) {
      const button = make("button", "", name);
      button.title = title;
      button.addEventListener("click", () => this.show(mode));
      this.modes.set(mode, button);
      modes.append(button);
    }
    this.select = /** @type {HTMLSelectElement} */ (document.createElement("select"));
    this.select.setAttribute("aria-label", "one rank");
    this.select.title = "one rank";
    this.select.append(...this.store.ranks.map(({ rank }) => new Option(`Rank ${rank}`, String(rank))));
    this.select.addEventListener("change", () => this.enlarge(Number(this.select?.value)));
    // clicked as it stands, it opens the rank that it names
    this.select.addEventListener("pointerdown", (event) => {
      if (this.mode === "rank") return;
      event.preventDefault();
      this.enlarge(this.chosen);
    });
    this.modes.set("rank", this.select);
    modes.append(make("span", "pick", this.select, sign("next")));
    modes.hidden = count === 1;
    const wrap = iconButton("wrap", "wrap long lines", () => {
      this.wrap = WRAPPED[this.wrap].next;
      show();
      for (const pane of this.panes.values()) pane.log.setWrap(this.wrap);
    });
    const show = () => {
      wrap.setAttribute("aria-pressed", WRAPPED[this.wrap].pressed);
      wrap.title = WRAPPED[this.wrap].title;
    };
    show();
    this.follow = iconButton("follow", "follow the end", () => {
      const follow = !this.#following();
      for (const { log } of this.shown) {
        log.following = follow;
        log.touch();
      }
    });
    this.field = /** @type {HTMLInputElement} */ (make("input", "field"));
    this.field.type = "search";
    this.field.placeholder = "Find";
    this.field.setAttribute("aria-label", "search the text that is here");
    this.field.spellcheck = false;
    this.field.addEventListener("input", () => this.#search());
    this.hits = make("span", "num hits");
    this.hits.setAttribute("role", "status");
    const searching = make("span", "searching", sign("search"), this.field, this.hits);
    searching.append(
      iconButton("previous", "previous match (Shift+Enter)", () => this.#next(-1)),
      iconButton("next", "next match (Enter)", () => this.#next(1)),
    );
    this.searching = searching;
    const tools = make("div", "tools", modes, make("span", "space"), searching, wrap, this.follow);
    tools.setAttribute("role", "toolbar");
    tools.setAttribute("aria-label", "how the logs are shown");
    return tools;
  }

  /** @param {number} count */
  #map(count) {
    return new RankMap(count, {
      open: (rank) => {
        this.chosen = rank;
        this.#arrange();
      },
      look: (rank) => {
        this.looked = rank;
        this.touch();
      },
    });
  }

  /** The ids of the logs whose text is needed. */
  watching() {
    return this.visible ? this.shown.map((pane) => pane.id) : [];
  }

  touch() {
    this.stale = true;
    this.store.schedule();
  }

  /** @param {Mode} mode */
  show(mode) {
    this.mode = mode;
    this.#arrange();
  }

  /** @param {number} rank */
  enlarge(rank) {
    this.chosen = rank;
    this.show("rank");
  }

  /**
   * @param {number | null} rank
   * @param {boolean} [folded]
   */
  #pane(rank, folded = false) {
    const key = folded ? "folded" : String(rank);
    let pane = this.panes.get(key);
    if (!pane) this.panes.set(key, (pane = new Pane(this, rank, folded)));
    return pane;
  }

  /** Puts into the body what the mode asks for. */
  #arrange() {
    const { mode, map, chosen } = this;
    const ranks = this.store.ranks.map((rank) => rank.rank);
    if (mode === "merged" || mode === "folded") this.shown = [this.#pane(null, mode === "folded")];
    else if (mode === "rank" || map) this.shown = [this.#pane(chosen)];
    else {
      // the rank that failed first comes first
      const order = this.root < 0 ? ranks : [this.root, ...ranks.filter((rank) => rank !== this.root)];
      this.shown = order.map((rank) => this.#pane(rank));
    }
    const grid = mode === "grid" && !map;
    const rooted = grid && this.root >= 0;
    const panes = make("div", `panes${rooted ? " rooted" : ""}`);
    if (grid) this.#layOut(panes, this.shown.length - (rooted ? 1 : 0), rooted);
    panes.append(...this.shown.map((pane) => pane.el));
    this.fitting?.disconnect();
    for (const pane of this.shown) this.fitting?.observe(pane.el);
    this.body.replaceChildren(...(map && mode === "grid" ? [map.el, this.look] : []), panes);
    map?.mark(chosen);
    this.panel.dataset.mode = mode;
    for (const [name, button] of this.modes ?? []) button.setAttribute("aria-pressed", String(name === mode));
    if (this.select) this.select.value = String(chosen);
    for (const pane of this.shown) {
      pane.log.height = 0;
      pane.log.dirty = true;
    }
    if (this.field?.value) this.#search();
    this.store.watch();
    this.touch();
  }

  /**
   * Says how many panes stand side by side in panels of every width; the last one fills its row.
   * @param {HTMLElement} panes
   * @param {number} count
   * @param {boolean} below  they stand below another one
   */
  #layOut(panes, count, below) {
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

  /** Leaves out of the lines above the logs what has no room in the narrowest of them: they shall be alike. */
  #fit() {
    // the one that failed first has a row of its own
    const like = this.shown.filter((pane) => pane.rank !== this.root || this.shown.length === 1);
    const widths = like.map((pane) => pane.el.clientWidth).filter(Boolean);
    const width = widths.length ? Math.min(...widths) : 0;
    for (const pane of this.shown) {
      const own = like.includes(pane) ? width : pane.el.clientWidth;
      const hidden = LEFT_OUT.filter(([most]) => own && own <= most).map(([, name]) => name);
      if (pane.el.dataset.without !== hidden.join(" ")) pane.el.dataset.without = hidden.join(" ");
    }
  }

  /**
   * Takes note of news, and says those that matter aloud.
   * @param {Map<string, number[]>} news
   * @param {boolean} quiet
   */
  told(news, quiet) {
    this.stale = true;
    const root = this.store.ranks.findIndex((rank) => rank.root);
    if (root !== this.root) {
      this.root = root;
      if (root >= 0 && this.mode !== "rank") this.chosen = root;
      this.#arrange();
    }
    if (quiet || !news.size) return;
    const said = [...news].map(([what, ranks]) => `${ranksInWords(ranks)} ${saidOf(what, ranks.length)}`);
    put(this.live, said.join("; "));
  }

  /** @param {string} unheard  in words; empty when the kernel is heard again */
  toldOfSilence(unheard) {
    put(this.live, unheard || "heard from again");
    this.touch();
  }

  /** @param {number} beats */
  beat(beats) {
    if (!this.visible || document.hidden) return;
    if (!this.store.over && !this.store.unheard) this.touch();
    if (beats % 4 === 0 && this.field?.value) this.#count();
  }

  paint() {
    if (!this.visible || document.hidden) return;
    if (this.stale) this.#paintState();
    this.stale = false;
    for (const pane of this.shown) pane.log.paint();
    this.#grow();
    const some = !this.#following() && this.shown.some((pane) => pane.log.following);
    this.follow?.setAttribute("aria-pressed", some ? "mixed" : String(this.#following()));
  }

  /** Makes room for what was written: the panel never shrinks, so that what stands below moves as little as can be. */
  #grow() {
    let wanted = Infinity;
    // a map, what a failed rank has to say, and stacks take all that there is
    if (!this.map && this.root < 0 && this.stacks.el.hidden) {
      const [{ el, log }] = this.shown;
      const columns = Math.max(1, Math.round((el.parentElement?.clientWidth ?? 0) / Math.max(1, el.clientWidth)));
      const rows = Math.ceil(this.shown.length / columns);
      const text = Math.max(LEAST_ROWS * log.rowHeight, ...this.shown.map((pane) => pane.log.total));
      const head = el.clientHeight - log.el.clientHeight;
      // a bar to scroll sideways may lie below the text
      wanted = this.panel.clientHeight - this.body.clientHeight + rows * (head + text + 14);
    }
    if (wanted <= this.content) return;
    this.content = wanted;
    this.panel.style.setProperty("--content", wanted === Infinity ? "9999px" : `${Math.ceil(wanted)}px`);
    // in the same frame: somebody may scroll in the next one
    for (const { log } of this.shown) {
      log.height = 0;
      log.dirty = true;
      log.paint();
    }
  }

  #following() {
    return this.shown.every((pane) => pane.log.following);
  }

  #paintState() {
    const { run, ranks } = this.store;
    const now = this.store.now();
    const shapes = /** @type {Record<string, string>} */ ({
      "getting ready": "starting", silent: "starting", lost: "stopped", stopping: "stopped", interrupted: "stopped", "timed out": "failed",
    });
    const title = String(this.store.model.get("title") ?? "");
    put(this.title, title);
    this.title.title = title;
    const { unheard, lost } = this.store;
    const state = lost ? "lost" : unheard ? "silent" : run.state === "over" ? this.#outcome() : run.state;
    const asking = lost || run.state === "over" ? [] : ranks.filter((rank) => noteOf(rank)?.shape === "asks");
    const details = [run.words !== state ? run.words : "", this.#whoAsks(asking)].filter(Boolean).join("  \u00b7  ");
    const words = unheard || (details ? `${state}: ${details}` : state);
    put(this.words, words);
    this.words.title = words;
    this.panel.classList.toggle("nbl-told", Boolean(unheard || details));
    this.panel.dataset.state = state.replace(" ", "-");
    reshape(this.sign, asking.length ? "asks" : (shapes[state] ?? state));
    this.panel.classList.toggle("nbl-asked", asking.length > 0);
    this.el.classList.toggle("nbl-unheard", Boolean(unheard));
    this.el.classList.toggle("nbl-lost", lost);
    put(this.elapsed, this.store.known || this.store.over ? secondsInWords(this.store.over ? now : Math.floor(now)) : "");
    // both are known at the first look, and stay from then on
    const looked = !this.store.over && Boolean(run.samples);
    put(this.cpu, looked ? `CPU ${percentInWords(run.cpu ?? 0)}` : "");
    put(this.memory, !looked || !run.memory ? "" : `${run.about ? "≈ " : ""}${sizeInWords(run.memory)}`);
    const stopping = run.state === "stopping" || this.stopAsked > 0;
    put(this.stop, stopping && !this.store.over ? "Kill" : "Stop");
    this.stop.classList.toggle("nbl-kill", stopping && !this.store.over);
    this.stop.title = stopping ? "end the ranks at once" : "interrupt the ranks; click again to kill them";
    // a page that is not heard while the cell blocks would stop nothing, and get no answer
    const unable = !this.store.channel && !this.store.over;
    this.stop.hidden = unable;
    this.stop.disabled = this.store.over || lost;
    if (lost) this.stop.title = unheard;
    this.stacks.button.hidden = this.store.over || lost || unable;
    this.#paintCounts();
    this.#paintCause();
    for (const pane of this.shown) if (pane.rank !== null) pane.update(ranks[pane.rank], now);
    if (!this.map || this.mode !== "grid") return;
    this.map.tiles.forEach((tile, rank) => tile.update(ranks[rank], now));
    const pointed = this.looked === null || this.looked === undefined ? null : ranks[this.looked];
    this.hovered.el.hidden = !pointed;
    this.key.hidden = Boolean(pointed);
    if (!pointed) return;
    this.hovered.update(pointed, now);
    if (this.hovered.el.lastElementChild instanceof HTMLElement) put(this.hovered.el.lastElementChild, pointed.line);
  }

  /** @param {Rank[]} asking */
  #whoAsks(asking) {
    if (asking.length === 1 && this.store.ranks.length > 1) return `rank ${asking[0].rank} ${fateInWords(asking[0])}`;
    if (asking.length === 1) return fateInWords(asking[0]);
    const names = ranksInWords(asking.map(({ rank }) => rank));
    const how = asking.some(({ answer }) => answer) ? " (%multiproc debug RANK)" : "";
    return asking.length ? `${names} wait for an answer${how}` : "";
  }

  /** What became of a run that is over, as long as nobody has said it in words. */
  #outcome() {
    const { ranks } = this.store;
    if (ranks.some((rank) => rank.state === "failed")) return "failed";
    return ranks.some((rank) => rank.state === "stopped") ? "stopped" : "finished";
  }

  #paintCounts() {
    const { run, ranks } = this.store;
    const { lost } = this.store;
    const counts = countStates(ranks);
    const present = [...counts.keys()];
    const notes = ranks.map(noteOf);
    const warned = notes.filter((note) => note?.shape === "warning").length;
    const asking = notes.filter((note) => note?.shape === "asks").length;
    const is = `${present.map((state) => `${state} ${counts.get(state)}`).join()} ${warned} ${asking} ${lost}`;
    if (is !== this.counted) {
      this.counted = is;
      const parts = present.map((state) => {
        const part = make("span", "", sign(state), `${counts.get(state)} ${lost ? WERE[state] ?? state : state}`);
        part.dataset.state = state;
        return part;
      });
      if (asking) parts.push(make("span", "asking", sign("asks"), `${asking} ${saidOf("asks", asking)}`));
      if (warned) parts.push(make("span", "warned", sign("warning"), counted(warned, "warning")));
      this.counts.replaceChildren(...parts);
      this.bar.replaceChildren(
        ...present.map((state) => {
          const part = make("span");
          part.dataset.state = state;
          part.style.flexGrow = String(counts.get(state));
          return part;
        }),
      );
      put(this.key, "fuller colour: more CPU; arrow keys move, Enter opens a log");
    }
    const where = [run.sent ? `sent to each rank: ${run.sent}` : "", run.log_dir ?? ""].filter(Boolean).join("  ·  ");
    if (!this.noticed) put(this.where, where);
    this.where.title = where;
  }

  #paintCause() {
    const { ranks } = this.store;
    const root = ranks[this.root];
    this.cause.hidden = !root;
    if (!root) return;
    const others = ranks.filter((rank) => rank.state === "failed" && !rank.root && !rank.collateral);
    const ended = ranks.filter((rank) => rank.collateral);
    const parts = [`rank ${root.rank} failed${ranks.length > 1 ? " first" : ""}: ${root.why || root.exit || "no reason given"}`];
    /** @param {Rank[]} some */
    const names = (some) => ranksInWords(some.map(({ rank }) => rank));
    if (others.length) parts.push(`${names(others)} failed too`);
    if (ended.length) parts.push(`${names(ended)} ended because of rank ${root.rank}`);
    const text = parts.join("  ·  ");
    put(this.causeText, text);
    this.cause.title = text;
  }

  #jump() {
    if (this.root < 0) return;
    this.chosen = this.root;
    if (this.mode === "merged" || this.mode === "folded") this.show(this.store.ranks.length > 1 ? "grid" : "rank");
    else this.#arrange();
    this.#pane(this.root).trace.focus();
  }

  #stop() {
    const kill = this.stopAsked > 0 || this.store.run.state === "stopping";
    this.stopAsked++;
    this.store.send({ kind: kill ? "kill" : "stop" }, true);
    this.touch();
  }

  /** @param {KeyboardEvent} event */
  #keydown(event) {
    const accel = event.ctrlKey || event.metaKey;
    if (accel && event.key.toLowerCase() === "f") {
      event.preventDefault();
      this.field?.focus();
      this.field?.select();
    } else if (accel && event.key.toLowerCase() === "s") {
      // saving the notebook stays Jupyter's, wherever the focus is
      delete this.el.dataset.lmSuppressShortcuts;
      setTimeout(() => (this.el.dataset.lmSuppressShortcuts = "true"));
      return;
    } else if (event.target === this.field && event.key === "Enter") {
      this.#next(event.shiftKey ? -1 : 1);
      event.preventDefault();
    } else if (event.key === "Escape" && this.stacks.holds(event.target)) {
      this.stacks.close();
    } else if (event.key === "Escape" && this.field?.value) {
      this.field.value = "";
      this.#search();
      this.shown[0]?.log.scroller.focus({ preventScroll: true });
    }
    event.stopPropagation();
  }

  #search() {
    this.found = null;
    for (const { log } of this.shown) log.find(this.field?.value ?? "");
    this.#count();
  }

  #matches() {
    return this.shown.flatMap((pane) => pane.log.matches().map((match) => ({ pane, match })));
  }

  #count(matches = this.#matches()) {
    if (!this.hits) return;
    const { found } = this;
    const at = found ? matches.findIndex(({ match }) => match.line === found.match.line && match.from === found.match.from) : -1;
    this.searching?.classList.toggle("nbl-active", Boolean(this.field?.value));
    put(this.hits, this.field?.value ? `${at < 0 ? "" : `${at + 1}/`}${matches.length}` : "");
  }

  /** @param {number} step */
  #next(step) {
    const matches = this.#matches();
    const { found } = this;
    let at = found ? matches.findIndex(({ match }) => match.line === found.match.line && match.from === found.match.from) : -1;
    // the newest first: it is what is in sight
    at = at < 0 ? matches.length - 1 : (at + step + matches.length) % matches.length;
    if (found && matches[at]?.pane !== found.pane) found.pane.log.show(null);
    this.found = matches[at] ?? null;
    this.found?.pane.log.show(this.found.match);
    this.#count(matches);
  }

  /**
   * Says something in the footer, for a moment or until the next such thing.
   * @param {string} text
   * @param {boolean} [stays]
   */
  notice(text, stays = false) {
    clearTimeout(this.noticed);
    this.noticed = window.setTimeout(
      () => {
        this.noticed = 0;
        this.foot.classList.remove("nbl-noticing");
        this.touch();
      },
      stays ? 600_000 : 4000,
    );
    this.foot.classList.add("nbl-noticing");
    put(this.where, text);
  }

  /** @param {Pane} pane */
  async copy(pane) {
    await this.copyText(pane.log.text(), counted(pane.log.rows.rows.length, "line"));
  }

  /**
   * @param {string} text
   * @param {string} what  the same in words
   */
  async copyText(text, what) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // a page without https has no clipboard, but can copy what is selected
      const focused = document.activeElement;
      const area = document.createElement("textarea");
      area.value = text;
      this.el.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
    }
    this.notice(`copied ${what}`);
  }

  /** @param {Pane} pane */
  async download(pane) {
    const name = pane.rank === null ? "all-ranks.log" : `rank-${pane.rank}.log`;
    const { size } = pane.log.rows.log;
    if (size > MOST_DOWNLOADED) {
      this.notice(`${name} has ${sizeInWords(size)}, too much to download here: it lies in ${this.store.run.log_dir}`, true);
      return;
    }
    const bytes = new Uint8Array(size);
    let next = 0;
    let done = 0;
    const worker = async () => {
      while (next < size) {
        let from = next;
        const to = (next = Math.min(size, from + PAGE));
        while (from < to) {
          const got = await this.store.page(pane.id, from, to, true);
          const skipped = from - got.chunk.offset;
          const part = got.bytes.subarray(Math.max(0, skipped), skipped + to - from);
          if (skipped < 0 || !part.length) throw new Error(`bytes ${from} to ${to} did not come`);
          bytes.set(part, from);
          from += part.length;
          done += part.length;
          this.notice(`${name}: ${Math.floor((100 * done) / size)} % of ${sizeInWords(size)}`, true);
        }
      }
    };
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
    } catch (error) {
      next = size;
      this.notice(`${name} could not be downloaded: ${error instanceof Error ? error.message : error}`, true);
      return;
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes], { type: "text/plain" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    this.notice(`${name}: ${sizeInWords(size)} downloaded`);
  }
}

export default {
  /**
   * Says that there is a page, before the panel is in sight or even if it never will be.
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
