// What comes of a log in one message: bytes, and who wrote which of them.

/** @typedef {import("./messages.js").Chunk} Chunk */

const PIECE = 16 * 1024;

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
 * @param {Chunk} chunk
 * @param {unknown} buffer
 */
function bytesOf(chunk, buffer) {
  if (typeof chunk.base64 === "string") return Uint8Array.from(atob(chunk.base64), (character) => character.charCodeAt(0));
  return asBytes(buffer, chunk.pieces.reduce((sum, [, , length]) => sum + length, 0));
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
 * The pieces of a part of a chunk.
 * @param {Chunk["pieces"]} pieces
 * @param {number} from
 * @param {number} to
 * @returns {Chunk["pieces"]}
 */
function cutPieces(pieces, from, to) {
  /** @type {Chunk["pieces"]} */
  const cut = [];
  let at = 0;
  for (const [rank, stream, length] of pieces) {
    const kept = Math.min(to, at + length) - Math.max(from, at);
    if (kept > 0) cut.push([rank, stream, kept]);
    at += length;
  }
  return cut;
}

export { asBytes, bytesOf, cutPieces, cutUp };
