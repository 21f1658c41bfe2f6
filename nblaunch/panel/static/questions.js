// The questions of this page that the kernel has not answered yet.

/** @typedef {import("./messages.js").AskPage} AskPage */
/** @typedef {import("./messages.js").AskStacks} AskStacks */
/** @typedef {import("./sending.js").Word} Word */

// Milliseconds after which a question is asked once more, and how often.
const UNANSWERED_MS = 5000;
const MOST_TRIES = 3;

/** Questions by their number; each is asked again until its answer comes, or too often. */
class Questions {
  /** @param {(message: Word, surely: boolean) => void} send */
  constructor(send) {
    this.send = send;
    this.count = 0;
    /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void, message: AskPage | AskStacks, sent: number, tries: number}>} */
    this.open = new Map();
  }

  /**
   * @param {Omit<AskPage, "id"> | Omit<AskStacks, "id">} question
   * @param {boolean} [surely]  see `Sender.send`
   * @returns {Promise<any>}
   */
  ask(question, surely = false) {
    const id = ++this.count;
    const message = { id, ...question };
    return new Promise((resolve, reject) => {
      this.open.set(id, { resolve, reject, message, sent: performance.now(), tries: 0 });
      this.send(message, surely);
    });
  }

  /**
   * Takes the answer to a question; it is ignored if the question is not open any more.
   * @param {number} id
   * @param {any} answer  an error if there is none
   */
  answer(id, answer) {
    const question = this.open.get(id);
    this.open.delete(id);
    if (answer instanceof Error) question?.reject(answer);
    else question?.resolve(answer);
  }

  /**
   * Asks once more, because the answer did not come as it was sent; tells whether there is such a question.
   * @param {number} id
   */
  repeat(id) {
    const question = this.open.get(id);
    if (question) this.send({ ...question.message, again: true }, true);
    return question !== undefined;
  }

  /** Asks once more what has had no answer for long. */
  repeatLate() {
    for (const [id, question] of this.open) {
      if (performance.now() - question.sent < UNANSWERED_MS) continue;
      if (question.tries++ < MOST_TRIES) {
        question.sent = performance.now();
        this.repeat(id);
      } else this.answer(id, new Error("the kernel does not answer"));
    }
  }

  /**
   * Nothing will be answered any more.
   * @param {string} why
   */
  giveUp(why) {
    for (const { reject } of this.open.values()) reject(new Error(why));
    this.open.clear();
  }
}

export { Questions };
