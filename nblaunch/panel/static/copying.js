// Copies text to the clipboard, and downloads logs as files.
import { PAGE } from "./logview.js";
import { sizeInWords } from "./words.js";

/** @typedef {import("./log.js").Log} Log */
/** @typedef {import("./store.js").Store} Store */

// Bytes of a log; a longer one is not downloaded.
const MOST_DOWNLOADED = 200e6;
// Requests that are on their way at the same time.
const AT_ONCE = 4;

/**
 * @param {string} text
 * @param {HTMLElement} host  in the document
 */
async function copyText(text, host) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // a page without https has no clipboard, but can copy what is selected
    const focused = document.activeElement;
    const area = document.createElement("textarea");
    area.value = text;
    host.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
  }
}

/**
 * Downloads a whole log, also the parts that the page does not hold.
 * @param {Store} store
 * @param {Log} log
 * @param {string} name  of the file
 * @param {(text: string, stays?: boolean) => void} say  how far it is
 */
async function download(store, { id, size }, name, say) {
  if (size > MOST_DOWNLOADED) {
    say(`${name} has ${sizeInWords(size)}, too much to download here: it lies in ${store.run.log_dir}`, true);
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
        const got = await store.page(id, from, to, true);
        const skipped = from - got.chunk.offset;
        const part = got.bytes.subarray(Math.max(0, skipped), skipped + to - from);
        if (skipped < 0 || !part.length) throw new Error(`bytes ${from} to ${to} did not come`);
        bytes.set(part, from);
        from += part.length;
        done += part.length;
        say(`${name}: ${Math.floor((100 * done) / size)} % of ${sizeInWords(size)}`, true);
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  } catch (error) {
    next = size;
    say(`${name} could not be downloaded: ${error instanceof Error ? error.message : error}`, true);
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: "text/plain" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say(`${name}: ${sizeInWords(size)} downloaded`);
}

export { copyText, download };
