// How questions.js asks, and asks again: run with `node --test`.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Questions } from "../../nblaunch/panel/static/questions.js";

/** @typedef {import("../../nblaunch/panel/static/sending.js").Word} Word */

describe("a question", () => {
  /** @param {{mock: {method: Function}}} context */
  const asking = (context) => {
    let now = 0;
    context.mock.method(performance, "now", () => now);
    /** @type {[Word, boolean][]} */
    const sent = [];
    const questions = new Questions((message, surely) => sent.push([message, surely]));
    return { questions, sent, after: (/** @type {number} */ ms) => ((now += ms), questions.repeatLate()) };
  };

  test("is answered by its number", async (context) => {
    const { questions, sent } = asking(context);
    const [one, two] = [questions.ask({ kind: "stacks" }, true), questions.ask({ kind: "page", log: "0", from: 0, to: 9 })];
    assert.deepEqual(sent, [[{ id: 1, kind: "stacks" }, true], [{ id: 2, kind: "page", log: "0", from: 0, to: 9 }, false]]);
    questions.answer(2, "second");
    questions.answer(2, "once more");
    questions.answer(7, "of nobody");
    questions.answer(1, new Error("no"));
    assert.equal(await two, "second");
    await assert.rejects(one, { message: "no" });
  });

  test("is asked again by both ways, three times, and then given up", async (context) => {
    const { questions, sent, after } = asking(context);
    const answer = questions.ask({ kind: "stacks" });
    after(4999);
    assert.equal(sent.length, 1);
    for (let tries = 1; tries <= 3; tries++) {
      after(tries === 1 ? 1 : 5000);
      assert.deepEqual(sent.slice(tries), [[{ id: 1, kind: "stacks", again: true }, true]]);
    }
    after(5000);
    await assert.rejects(answer, { message: "the kernel does not answer" });
    assert.equal(sent.length, 4);
  });

  test("that came back without its bytes is asked once more, if it is still open", (context) => {
    const { questions, sent } = asking(context);
    void questions.ask({ kind: "page", log: "0", from: 0, to: 9 });
    assert.deepEqual([questions.repeat(1), questions.repeat(2)], [true, false]);
    assert.equal(sent.length, 2);
  });

  test("has no answer where the kernel is gone", async (context) => {
    const { questions } = asking(context);
    const answers = [questions.ask({ kind: "stacks" }), questions.ask({ kind: "stacks" })];
    questions.giveUp("the kernel is gone");
    for (const answer of answers) await assert.rejects(answer, { message: "the kernel is gone" });
    assert.equal(questions.open.size, 0);
  });
});
