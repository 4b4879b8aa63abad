// Requests ("questions") to the server. If one fails, its answer is an error message, as if the server had refused it.

export const NO_ANSWER = "The server did not answer; try again.";
export const SLOW_ANSWER = "The server has not answered yet; the sound stays as it is until it does.";
export const OVERDUE = 15_000; // ms after which the visitor is told that an answer is late
const LIMIT = 60_000; // ms after which a request is given up

/** `lost` marks a question without an answer from the server, as opposed to one that the server refused.
 * @typedef {{ error?: string, lost?: true, [name: string]: any }} Answer */
/** A function of the server. Gradio answers with undefined where the connection or the server failed.
 * @typedef {(request: any) => Promise<Answer | undefined>} ServerFunction */
/** @typedef {"idle" | "asking" | "behind" | "overdue" | "failed"} State */

/**
 * Asks once.
 * @param {ServerFunction} send
 * @param {unknown} request
 * @param {number} limit ms until it is given up
 * @returns {Promise<Answer>} with an "error" if anything went wrong; never rejects
 */
export async function ask(send, request, limit = LIMIT) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const timeout = new Promise((resolve) => { timer = setTimeout(resolve, limit); });
  try {
    const answer = await Promise.race([send(request), timeout]);
    if (answer !== null && typeof answer === "object") return answer;
  } catch { /* treated like no answer */
  } finally {
    clearTimeout(timer);
  }
  return { error: NO_ANSWER, lost: true };
}

/**
 * Sends the questions of a moving slider: one at a time; of those asked meanwhile only the newest is kept.
 *
 *     idle ──ask──> asking ──ask──> behind       behind: a newer question waits for the answer to the one on its way
 *       ^             │ answer        │ answer: the newer one sets out
 *       └─────────────┘ <─────────────┘
 *
 * The answer to an "overdue" question still counts, but a newer question no longer waits for it. A question that has
 * "failed" because it was lost stays the newest, so that the next one builds on it. Answers to questions from before
 * `discard` are ignored.
 * @template Question
 */
export class Asking {
  state = /** @type {State} */ ("idle");
  /** When the question on its way set out, in ms of `performance.now()`. */
  since = 0;
  /** The newest question that is not answered yet. @type {Question | null} */
  newest = null;
  /** Of the question on its way: an answer to an earlier one is outdated. */
  #turn = 0;
  #timer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);

  /**
   * @param {(question: Question) => Promise<Answer>} send never rejects, see `ask`
   * @param {(answer: Answer) => void} receive
   * @param {() => void} late told once of each question that is overdue
   * @param {number} overdue in ms
   */
  constructor(send, receive, late = () => {}, overdue = OVERDUE) {
    this.send = send;
    this.receive = receive;
    this.late = late;
    this.overdue = overdue;
  }

  /** @param {Question} question */
  ask(question) {
    this.newest = question;
    if (this.state === "asking" || this.state === "behind") this.state = "behind";
    else this.#setOut();
  }

  /** Ignores the answers to all questions so far, because something else is shown. */
  discard() {
    this.#turn++;
    this.#rest();
  }

  #rest() {
    clearTimeout(this.#timer);
    this.state = "idle";
    this.newest = null;
  }

  #fail() {
    clearTimeout(this.#timer);
    this.state = "failed";
  }

  async #setOut() {
    const turn = ++this.#turn;
    this.state = "asking";
    this.since = performance.now();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#giveUp(), this.overdue);
    const answer = await this.send(/** @type {Question} */ (this.newest));
    if (turn !== this.#turn) return;
    const state = /** @type {State} */ (this.state);
    if (state === "behind") this.#setOut(); // before this answer is drawn
    else if (answer.lost) this.#fail();
    else this.#rest();
    this.receive(answer);
  }

  #giveUp() {
    if (this.state === "behind") this.#setOut();
    else this.state = "overdue";
    this.late();
  }
}
