// A kernel made up in the page: runs by script, so that the panel can be looked at and measured without Jupyter.
import panel from "./panel.js";

const encoder = new TextEncoder();
const PER_TICK = 64 * 1024;

/** Bytes with addresses, and who wrote which. */
class Bytes {
  constructor() {
    this.buffer = new Uint8Array(1 << 16);
    this.length = 0;
    this.pieces = []; // [end, rank, stream]
  }

  append(rank, stream, bytes) {
    if (this.length + bytes.length > this.buffer.length) {
      const larger = new Uint8Array(2 * (this.length + bytes.length));
      larger.set(this.buffer.subarray(0, this.length));
      this.buffer = larger;
    }
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
    const last = this.pieces.at(-1);
    if (last && last[1] === rank && last[2] === stream) last[0] = this.length;
    else this.pieces.push([this.length, rank, stream]);
  }

  cut(log, from, to) {
    let low = 0;
    let high = this.pieces.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.pieces[middle][0] <= from) low = middle + 1;
      else high = middle;
    }
    const pieces = [];
    let at = from;
    for (; at < to && low < this.pieces.length; low++) {
      const end = Math.min(to, this.pieces[low][0]);
      pieces.push([this.pieces[low][1], this.pieces[low][2], end - at]);
      at = end;
    }
    return [{ log, offset: from, pieces }, this.buffer.slice(from, at)];
  }
}

export class Kernel {
  constructor(nprocs, title = `%%multiproc ${nprocs}`) {
    this.nprocs = nprocs;
    this.traits = { title, nprocs, token: Math.random().toString(36) };
    this.callbacks = new Set();
    this.sent = [];
    this.control = [];
    this.logs = { all: new Bytes() };
    this.ranks = {};
    this.changed = {};
    this.history = {};
    this.run = { state: "starting", words: "", cpu: 0, memory: 0, log_dir: "/tmp/nblaunch-7f3a/run-12", sent: "model 340 MB, data 1.2 GB", over: false };
    for (let rank = 0; rank < nprocs; rank++) {
      this.logs[rank] = new Bytes();
      this.ranks[rank] = { state: "starting", out: 0, err: 0, cpu: 0, memory: 0, line: "" };
      this.history[rank] = [];
    }
    this.watched = new Map();
    this.clock = 0;
    this.seq = 0;
    this.acked = -1;
    this.runChanged = true;
    this.pagesFail = "";
    // whether it says at once where ranks are, and how often it has
    this.answers = true;
    this.answered = 0;
    // whether ticks ask to be acknowledged, and by which way this kernel says that it hears its pages
    this.asks = true;
    this.hears = "comm";
    // what becomes of a message's buffers on their way to the page; null: the message does not come at all
    this.way = (buffers) => buffers;
    // the page has said that buffers do not reach it
    this.plain = false;
  }

  /** A face of the model, as each view gets one. */
  face() {
    const own = new Map();
    return {
      get: (name) => this.traits[name],
      set() {},
      save_changes() {},
      on: (name, callback) => {
        own.set(callback, true);
        if (name === "msg:custom") this.callbacks.add(callback);
      },
      off: (name, callback) => this.callbacks.delete(callback),
      send: (content) => this.#receive(structuredClone(content)),
      widget_manager: (this.manager ??= { kernel: { id: "kernel", status: "busy", clientId: "page", sendControlMessage: (message) => this.#control(message) } }),
    };
  }

  #control(message) {
    this.control.push(message);
    if (this.hears === "control") this.#receive(structuredClone(message.content));
  }

  #receive(message) {
    this.sent.push(message);
    this.client = message.client;
    this.plain ||= message.buffers === false;
    if (message.kind === "hello") {
      for (const id of this.watched.keys()) this.watched.set(id, Math.max(0, this.logs[id].length - PER_TICK));
      queueMicrotask(() => this.tick(true));
    }
    if (message.kind === "ack") this.acked = message.seq;
    if (message.kind === "stop") this.onstop?.();
    if (message.kind === "kill") this.onkill?.();
    if (message.kind === "watch") {
      for (const id of this.watched.keys()) if (!message.logs.includes(id)) this.watched.delete(id);
      for (const id of message.logs) {
        if (this.watched.has(id)) continue;
        this.watched.set(id, Math.max(0, this.logs[id].length - PER_TICK));
        queueMicrotask(() => this.tick());
      }
    }
    if (message.kind === "stacks" && this.answers) queueMicrotask(() => this.answer());
    if (message.kind === "page") {
      queueMicrotask(() => {
        const { id, client, log, from, to } = message;
        if (this.pagesFail) return this.#send({ kind: "page", id, client, error: this.pagesFail });
        const [chunk, bytes] = this.logs[log].cut(log, from, Math.min(to, this.logs[log].length));
        this.#send({ kind: "page", id, client, chunk }, [new DataView(bytes.buffer)]);
      });
    }
  }

  #send(content, buffers = []) {
    if (content.full && !this.plain) {
      const probe = Uint8Array.from({ length: 256 }, (_, index) => index);
      content.probe = probe.length;
      buffers = [...buffers, new DataView(probe.buffer)];
    }
    if (this.plain) {
      (content.chunks ?? [content.chunk]).forEach((chunk, index) => {
        if (chunk) chunk.base64 = btoa(Array.from(new Uint8Array(buffers[index].buffer), (byte) => String.fromCharCode(byte)).join(""));
      });
      buffers = [];
    }
    const arriving = buffers.length ? this.way(buffers) : buffers;
    if (arriving === null) return;
    for (const callback of [...this.callbacks]) callback(structuredClone(content), arriving);
  }

  /** Says only that it is there. */
  beat() {
    this.#send({ kind: "beat" });
  }

  /** Answers what pages have asked about the ranks. */
  answer(found = { text: STACKS }) {
    const open = this.sent.filter((message) => message.kind === "stacks").slice(this.answered);
    this.answered += open.length;
    for (const { id, client } of open) this.#send({ kind: "stacks", id, client, ...found });
  }

  change(rank, changes) {
    Object.assign(this.ranks[rank], changes);
    this.changed[rank] = { ...this.changed[rank], ...changes };
    if (changes.memory) this.history[rank] = [...this.history[rank], changes.memory].slice(-60);
  }

  setRun(changes) {
    if (changes.state) changes = { words: "", ...changes };
    Object.assign(this.run, changes);
    this.runChanged = true;
  }

  write(rank, text, stream = 1) {
    const bytes = typeof text === "string" ? encoder.encode(text) : text;
    this.logs[rank].append(rank, stream, bytes);
    this.logs.all.append(rank, stream, bytes);
    const { out, err } = this.ranks[rank];
    const name = stream === 1 ? "out" : "err";
    const lines = typeof text === "string" ? text.slice(-400).split(/[\r\n]+/).filter(Boolean) : [];
    // eslint-disable-next-line no-control-regex
    const line = (lines.at(-1) ?? this.ranks[rank].line).replace(/\x1b\[[0-9;]*m/g, "").slice(0, 200);
    this.change(rank, { [name]: (stream === 1 ? out : err) + bytes.length, line });
  }

  tick(full = false) {
    const chunks = [];
    const buffers = [];
    const sizes = {};
    for (const [id, at] of this.watched) {
      const log = this.logs[id];
      sizes[id] = log.length;
      // a kernel that has more than fits leaves a gap
      const from = Math.max(at, log.length - PER_TICK * (id === "all" ? 4 : 1));
      if (from >= log.length) continue;
      const [chunk, bytes] = log.cut(id, from, log.length);
      chunks.push(chunk);
      buffers.push(new DataView(bytes.buffer));
      this.watched.set(id, log.length);
    }
    const content = { kind: "tick", seq: this.seq++, clock: this.clock, sizes, chunks, ack: this.asks };
    if (this.hears) content.heard = { [this.client]: this.hears };
    if (full || this.runChanged) content.run = this.run;
    content.ranks = full ? this.ranks : this.changed;
    if (full) Object.assign(content, { full, history: this.history });
    if (!full) {
      this.runChanged = false;
      this.changed = {};
    }
    this.#send(content, buffers);
  }

  /** Samples of what ranks use, as they would come in a real run. */
  sample() {
    let cpu = 0;
    let memory = 0;
    for (let rank = 0; rank < this.nprocs; rank++) {
      const state = this.ranks[rank];
      if (state.state !== "running") continue;
      const wave = Math.sin(this.clock * 0.7 + rank * 1.9);
      const used = Math.round(86 + 13 * wave - (rank % 5 === 3 ? 45 : 0));
      const bytes = Math.round((310 + 6 * rank % 90 + 55 * Math.sin(this.clock / 3 + rank) + this.clock * 4) * 1e6);
      this.change(rank, { cpu: used, memory: bytes });
      cpu += used;
      memory += bytes;
    }
    this.setRun({ cpu, memory, samples: (this.run.samples ?? 0) + 1 });
  }
}

/** One rank's output of a training, second by second. */
function train(kernel, rank, second) {
  const step = second * 20;
  if (second === 0) {
    kernel.write(rank, `\x1b[2m10:02:1${rank % 10}\x1b[0m \x1b[32mINFO\x1b[0m  gloo: rank ${rank} of ${kernel.nprocs} connected\n`);
    kernel.write(rank, `model: 85.1 M parameters, 12 layers, \x1b[36mbfloat16\x1b[0m\n`);
    return;
  }
  const loss = (2.31 * Math.exp(-second / 9) + 0.11 + (rank % 7) / 300).toFixed(4);
  kernel.write(rank, `step ${String(step).padStart(5)}  loss \x1b[1m${loss}\x1b[0m  lr \x1b[35m3.0e-04\x1b[0m  ${(1180 + ((rank * 37 + second * 11) % 90)).toFixed(0)} tok/s\n`);
  if (second % 5 === 0) kernel.write(rank, `epoch ${second / 5} done\n`);
  if (second % 7 === 3 && rank % 3 === 1) {
    kernel.write(rank, `\x1b[33mUserWarning\x1b[0m: lr_scheduler.step() before optimizer.step()\n`, 2);
  }
  if (rank % 4 === 0 && second > 2) {
    const part = (second * 9) % 100;
    kernel.write(rank, `\rvalidating ${String(part).padStart(3)}% |${"█".repeat(part / 5)}${" ".repeat(20 - Math.floor(part / 5))}| ${part * 3}/300`, 2);
    if (part > 90) kernel.write(rank, "\n", 2);
  }
}

const TRACEBACK = [
  "\x1b[31m---------------------------------------------------------------------------\x1b[39m",
  "\x1b[31mValueError\x1b[39m                                Traceback (most recent call last)",
  "Cell \x1b[32mIn[12]\x1b[39m\x1b[32m, line 9\x1b[39m",
  "\x1b[32m      7\x1b[39m \x1b[38;5;28;01mfor\x1b[39;00m batch \x1b[38;5;129;01min\x1b[39;00m shard(data, rank, world_size):",
  "\x1b[32m      8\x1b[39m     loss = model(batch)",
  "\x1b[32m----> \x1b[39m\x1b[32m9\x1b[39m     check(loss)",
  "\x1b[32m     10\x1b[39m     loss.backward()",
  "",
  "Cell \x1b[32mIn[11]\x1b[39m\x1b[32m, line 4\x1b[39m, in \x1b[36mcheck\x1b[39m\x1b[34m(loss)\x1b[39m",
  "\x1b[32m      2\x1b[39m \x1b[38;5;28;01mdef\x1b[39;00m \x1b[34mcheck\x1b[39m(loss):",
  "\x1b[32m      3\x1b[39m     \x1b[38;5;28;01mif\x1b[39;00m loss.isnan():",
  "\x1b[32m----> \x1b[39m\x1b[32m4\x1b[39m         \x1b[38;5;28;01mraise\x1b[39;00m \x1b[38;5;167;01mValueError\x1b[39;00m(\x1b[33m\"loss is nan in shard 2\"\x1b[39m)",
  "",
  "\x1b[31mValueError\x1b[39m: loss is nan in shard 2",
].join("\n");

const STACKS = [
  "ranks 0-1, 3: waiting in recv, Cell In[12], line 9",
  "    File /usr/lib/python3.11/socket.py:706, in recv",
  "    File /opt/site-packages/torch/distributed/distributed_c10d.py:2501, in all_reduce",
  "    Cell In[11], line 4, in check",
  "    Cell In[12], line 9",
  "rank 2: running in load, Cell In[12], line 6",
  "    Cell In[10], line 2, in load",
  "    Cell In[12], line 6",
].join("\n");

export const NASTY = [
  "<script>window.hacked = 1</script>",
  "<img src=x onerror=\"window.hacked = 2\">",
  "\x1b]8;;javascript:window.hacked=3\x07click\x1b]8;;\x07 me",
  "\u202egnp.exe\u202c and \u2066isolated\u2069",
  "NUL \0 BEL \x07 VT \x0b DEL \x7f",
  "\x1b[38;2;1;2;3mnearly black\x1b[0m \x1b[38;2;250;250;250mnearly white\x1b[0m",
];

function palette(kernel) {
  let text = "";
  for (let colour = 0; colour < 16; colour++) {
    const code = colour < 8 ? 30 + colour : 82 + colour;
    text += `\x1b[${code}mcolour ${String(colour).padStart(2)}\x1b[0m \x1b[1;${code}mbold\x1b[0m \x1b[${code + 10}m on it \x1b[0m \x1b[7;${code}m inverse \x1b[0m\n`;
  }
  kernel.write(0, text);
  kernel.write(0, "\x1b[1mbold\x1b[0m \x1b[2mdim\x1b[0m \x1b[3mitalic\x1b[0m \x1b[4munderline\x1b[0m \x1b[9mstrike\x1b[0m \x1b[7minverse\x1b[0m\n");
  let many = "";
  for (let colour = 16; colour < 232; colour += 5) many += `\x1b[38;5;${colour}m${colour} \x1b[0m`;
  kernel.write(0, `${many}\n`);
  kernel.write(0, "日本語の行 — and a wide 🚀 one\n");
}

const UNBROKEN = "0123456789abcdef".repeat(320).slice(0, 5000);
const FRAME = [
  "                 timestamp  temperature_celsius  relative_humidity_percent  wind_speed_ms  wind_direction  pressure_hpa  station",
  ...Array.from({ length: 5 }, (_, row) =>
    `${row}  2026-11-0${row + 1} 10:00:00+00:00  ${`${(11.5 + row).toFixed(2)}`.padStart(17)}  ${String(61 + row).padStart(25)}  ` +
    `${`${(3.1 * row).toFixed(1)}`.padStart(13)}  ${"north-east".padStart(14)}  ${String(1013 + row).padStart(12)}  Zürich`),
].join("\n");

/** What is longer than a log is wide: text without a space, a table printed as text, a sentence. */
function writeLong(kernel, rank) {
  kernel.write(rank, `token ${UNBROKEN}\n`);
  kernel.write(rank, `${FRAME}\n`);
  kernel.write(rank, `reading /data/experiments/2026-11-29/${"shard/".repeat(40)}part-0000${rank}.parquet\n`);
  kernel.write(rank, `${"The optimizer has not improved the validation loss for a while, and goes on. ".repeat(3).trim()}\n`);
}

/** What tqdm writes: a bar at each level, of which the inner one is drawn over. */
function bars(kernel, rank) {
  const bar = (name, part, of, columns = 10) =>
    `${name}: ${String(Math.floor((100 * part) / of)).padStart(3)}%|${"█".repeat((columns * part) / of).padEnd(columns)}| ${part}/${of} [00:0${part % 10}<00:1${rank % 10}, 31.4it/s, loss=0.${317 + rank}]`;
  for (const name of ["epoch 1", "epoch 2"]) kernel.write(rank, `\r${bar(name, 0, 300)}\r${bar(name, 300, 300)}\n`, 2);
  kernel.write(rank, `\r${bar("epoch 3", 41 + ((53 * rank) % 250), 300)}`, 2);
}

/** Plays a run up to some second. */
function play(kernel, seconds, { failing = -1, over = false, stopped = false, lost = false, starting = 0, nasty = false, colours = false, warned = -1, asking = -1, restart = "", running = false, long = false, bar = false } = {}) {
  const { nprocs } = kernel;
  for (let rank = 0; rank < nprocs - starting; rank++) {
    kernel.change(rank, { state: "running", pid: 41_200 + rank * 3, began: 0.31 });
  }
  kernel.setRun({ state: starting ? "starting" : "running" });
  for (let second = 0; second <= seconds; second++) {
    kernel.clock = second;
    for (let rank = 0; rank < nprocs - starting; rank++) train(kernel, rank, second);
    kernel.sample();
  }
  for (let rank = 0; rank < nprocs; rank++) {
    if (long) writeLong(kernel, rank);
    if (bar) bars(kernel, rank);
  }
  if (colours) palette(kernel);
  if (nasty) for (const line of NASTY) kernel.write(0, `${line}\n`);
  if (warned >= 0) kernel.change(warned, { why: "has neither computed nor written for 60 s: waiting in recv (socket.py:706)" });
  if (asking >= 0) {
    kernel.change(asking, { asks: "asks", about: ": learning rate for this shard?", answer: "%multiproc debug " + asking, cpu: 0 });
    if (nprocs > 2) kernel.change(0, { asks: "waits in its debugger", about: ", Cell In[12], line 9", cpu: 0 });
  }
  if (restart) {
    kernel.setRun({ state: "running", words: restart, cpu: 0 });
    for (let rank = 0; rank < nprocs; rank++) kernel.change(rank, { state: "restarting", cpu: 0 });
  }
  if (failing >= 0) {
    for (let rank = 0; rank < nprocs; rank++) {
      const root = rank === failing;
      if (running && !root) continue;
      kernel.change(rank, {
        state: root ? "failed" : "stopped", root, collateral: !root, ended: seconds + (root ? 0.1 : 0.4), cpu: 0,
        ...(root ? { why: "ValueError: loss is nan in shard 2", exit: "exit code 1", traceback: TRACEBACK } : { exit: "SIGTERM" }),
      });
    }
    if (!running) kernel.setRun({ state: "over", words: "", over: true, elapsed: seconds + 0.42, cpu: 0 });
  } else if (over) {
    for (let rank = 0; rank < nprocs; rank++) kernel.change(rank, { state: "finished", ended: seconds + rank / 100, cpu: 0 });
    kernel.setRun({ state: "over", over: true, elapsed: seconds + 0.31, cpu: 0 });
  } else if (stopped) {
    for (let rank = 0; rank < nprocs; rank++) kernel.change(rank, { state: "stopped", ended: seconds + rank / 100, cpu: 0, exit: "interrupted" });
    kernel.setRun({ state: "over", words: "interrupted", over: true, elapsed: seconds + 0.31, cpu: 0 });
  }
  kernel.isLost = lost;
}

let closing = [];

/** Shows a run from its beginning to `seconds`; returns its kernel. */
function show({ nprocs = 4, seconds = 23, theme = "light", width = 1000, views = 1, before = 0, title, ...how } = {}) {
  close();
  document.documentElement.dataset.theme = theme;
  const cell = document.getElementById("cell");
  cell.style.width = `${width}px`;
  const kernel = new Kernel(nprocs, title);
  if (seconds >= 0) play(kernel, seconds, how);
  for (let line = 0; line < before; line++) kernel.write(0, `line ${line} of before\n`);
  for (let view = 0; view < views; view++) {
    const el = document.createElement("div");
    cell.append(el);
    const controller = new AbortController();
    panel.render({ model: kernel.face(), el, signal: controller.signal });
    closing.push(controller);
  }
  if (kernel.isLost) setTimeout(() => (kernel.manager.kernel.status = "dead"), 300);
  window.kernel = kernel;
  return kernel;
}

function close() {
  for (const controller of closing) controller.abort();
  closing = [];
  document.getElementById("cell").replaceChildren();
}

/** Waits until the panel has painted what it knows. */
async function settled(frames = 4) {
  for (let frame = 0; frame < frames; frame++) await new Promise(requestAnimationFrame);
}

/** Measures the longest gap between frames while `each` is called at 15 Hz. */
async function measure(seconds, each) {
  const gaps = [];
  const tasks = [];
  const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => Math.round(entry.duration))));
  observer.observe({ entryTypes: ["longtask"] });
  let last = performance.now();
  const began = last;
  let next = began;
  let ticks = 0;
  while (performance.now() - began < seconds * 1000) {
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    gaps.push(now - last);
    last = now;
    if (now >= next) {
      each(ticks++);
      next += 1000 / 15;
    }
  }
  observer.disconnect();
  gaps.sort((a, b) => b - a);
  return { longest: gaps.slice(0, 5).map(Math.round), median: Math.round(gaps[gaps.length >> 1]), tasks: tasks.sort((a, b) => b - a).slice(0, 5), ticks };
}

async function flood(nprocs, linesPerSecond, seconds, options = {}) {
  const kernel = show({ nprocs, seconds: 0, ...options });
  await settled();
  if (options.mode) document.querySelectorAll(".nbl-modes button").forEach((b) => b.textContent === options.mode && b.click());
  let line = 0;
  let ownTime = 0;
  const result = await measure(seconds, (tick) => {
    const began = performance.now();
    kernel.clock = tick / 15;
    const each = Math.max(1, Math.round(linesPerSecond / 15 / nprocs));
    for (let rank = 0; rank < nprocs; rank++) {
      if (linesPerSecond / 15 < nprocs && (rank + tick) % Math.ceil((nprocs * 15) / linesPerSecond) !== 0) continue;
      let text = "";
      for (let k = 0; k < each; k++) text += `rank ${rank} line ${line++} \x1b[3${line % 8}mof the flood\x1b[0m, 80 characters wide or so, like logs are\n`;
      kernel.write(rank, text);
    }
    if (tick % 8 === 0) kernel.sample();
    ownTime += performance.now() - began;
    kernel.tick();
  });
  const last = performance.now();
  while (kernel.acked < kernel.seq - 1 && performance.now() - last < 5000) await settled(1);
  return { ...result, caughtUp: Math.round(performance.now() - last), lines: line, ownTime: Math.round(ownTime) };
}

/** Names what lies outside of the panel or is cut, though no rank has written it, and buttons that are hard to hit. */
function cutOrSmall() {
  const panel = document.querySelector(".nbl-panel").getBoundingClientRect();
  const found = [];
  for (const el of document.querySelectorAll(".nbl-panel *")) {
    if (!el.checkVisibility({ opacityProperty: true })) continue;
    const { width, height, right, left } = el.getBoundingClientRect();
    const name = `${el.tagName} ${el.className.baseVal ?? el.className} ${el.textContent.slice(0, 30)}`;
    if (!el.closest(".nbl-log, .nbl-live") && (right > panel.right + 1 || left < panel.left - 1)) found.push(`outside: ${name}`);
    const wider = el.clientWidth && el.scrollWidth > el.clientWidth + 1;
    if (wider && el.closest(".nbl-tilehead, .nbl-modes, .nbl-metrics")) found.push(`cut: ${name}`);
    if (el.matches(".nbl-num") && right > el.closest(".nbl-tile")?.getBoundingClientRect().right) found.push(`cut: ${name}`);
    if (el.matches("button, select, input") && (width < 20 || height < 22) && !el.closest(".nbl-gap")) found.push(`small: ${name}`);
  }
  return found;
}

/** The least contrast of what is written, by the name of its element, as https://www.w3.org/TR/WCAG22/ has it. */
function contrasts() {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const asRgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((part, index) => part * a + below[index] * (1 - a));
  const brightness = (colour) => {
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const least = {};
  const texts = document.createTreeWalker(document.querySelector(".nbl-panel"), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const el = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !el.checkVisibility({ opacityProperty: true })) continue;
    // what cannot be chosen may be pale, and some are for screen readers only
    if (el.closest(":disabled, option, .nbl-live")) continue;
    let ground = [255, 255, 255];
    let opacity = 1;
    const above = [];
    for (let at = el; at; at = at.parentElement) above.unshift(getComputedStyle(at));
    for (const style of above) {
      ground = over(asRgba(style.backgroundColor), ground);
      opacity *= Number(style.opacity);
    }
    const [r, g, b, a] = asRgba(getComputedStyle(el).color);
    const [one, other] = [brightness(over([r, g, b, a * opacity], ground)), brightness(ground)];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const name = el.className || el.tagName;
    least[name] = Math.min(least[name] ?? Infinity, Math.round(10 * contrast) / 10);
  }
  return least;
}

window.harness = { Kernel, cutOrSmall, contrasts, show, close, settled, measure, flood, play, train, NASTY, TRACEBACK };
