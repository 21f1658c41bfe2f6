// What words.js calls numbers, ranks and times: run with `node --test`.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { endOf, nameRanks, secondsInWords, sizeInWords } from "../../nblaunch/panel/static/words.js";

describe("words", () => {
  /** @type {[ranks: number[], words: string][]} */
  const ranks = [[[], ""], [[3], "3"], [[0, 1, 2, 5], "0-2, 5"], [[5, 1, 0], "0-1, 5"], [[0, 2, 4], "0, 2, 4"]];
  for (const [numbers, words] of ranks) test(`ranks ${words}`, () => assert.equal(nameRanks(numbers), words));

  // as wording.py has them, halves included
  /** @type {[bytes: number, words: string][]} */
  const sizes = [
    [0, "0 B"], [999, "999 B"], [1000, "1.0 kB"], [1250, "1.2 kB"], [1750, "1.8 kB"], [9949, "9.9 kB"], [9950, "10 kB"],
    [12_500, "12 kB"], [13_500, "14 kB"], [999_499, "999 kB"], [999_500, "1.0 MB"], [12e6, "12 MB"], [1.5e9, "1.5 GB"],
    [2e12, "2.0 TB"], [5e15, "5000 TB"],
  ];
  for (const [bytes, words] of sizes) test(`${bytes} bytes`, () => assert.equal(sizeInWords(bytes), words));

  /** @type {[seconds: number, words: string][]} */
  const seconds = [
    [0.4, "0.4 s"], [3, "3 s"], [9.94, "9.9 s"], [9.99, "10 s"], [12, "12 s"], [59, "59 s"], [60, "1:00"], [185, "3:05"],
    [3600, "1:00:00"], [3723, "1:02:03"],
  ];
  for (const [number, words] of seconds) test(`${number} seconds`, () => assert.equal(secondsInWords(number), words));
});

test("the end of a text that is longer has a mark", () => {
  assert.equal(endOf("abc", 3), "abc");
  assert.equal(endOf("abcd", 3), "…bcd");
  // an emoji is two units long
  assert.equal(endOf("ab🙂", 1), "…");
  assert.equal(endOf("ab🙂", 2), "…🙂");
});
