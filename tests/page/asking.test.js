import assert from "node:assert/strict";
import { test } from "node:test";

import { ask, Asking, NO_ANSWER } from "../../explorer/ui/page/asking.js";

/** A server that answers when the test says so, in any order. */
function heldServer() {
  /** @type {Array<{ question: any, answer: (answer: any) => void }>} */
  const sent = [];
  const send = (/** @type {any} */ question) => new Promise((answer) => { sent.push({ question, answer }); });
  return { sent, send };
}

/** Waits until the callbacks of all resolved promises have run. */
const settled = () => new Promise((resolve) => { setImmediate(resolve); });

function hand(overdue = 60_000) {
  const { sent, send } = heldServer(), received = /** @type {any[]} */ ([]), late = /** @type {string[]} */ ([]);
  /** @type {Asking<any>} */
  const asking = new Asking(send, (value) => received.push(value), () => late.push(asking.state), overdue);
  const answer = async (/** @type {number} */ i, /** @type {any} */ value) => {
    sent[i].answer(value);
    await settled();
  };
  const questions = () => sent.map(({ question }) => question);
  return { asking, sent, received, late, answer, questions };
}

test("while a question is pending, only the newest of the later ones is asked next", async () => {
  const { asking, answer, questions, received } = hand();
  for (const question of [1, 2, 3, 4]) asking.ask(question);
  assert.equal(asking.state, "behind");
  assert.deepEqual(questions(), [1]);
  await answer(0, { of: 1 });
  assert.deepEqual(questions(), [1, 4]);
  assert.equal(asking.state, "asking");
  await answer(1, { of: 4 });
  assert.deepEqual(received, [{ of: 1 }, { of: 4 }]);
  assert.equal(asking.state, "idle");
});

test("the next question is sent before the answer to the last is drawn", async () => {
  const { sent, send } = heldServer();
  /** @type {number[]} */
  const sentWhenDrawn = [];
  const asking = new Asking(send, () => sentWhenDrawn.push(sent.length));
  asking.ask(1);
  asking.ask(2);
  sent[0].answer({});
  await settled();
  assert.deepEqual(sentWhenDrawn, [2]);
  sent[1].answer({});
});

test("the answer to a discarded question is dropped", async () => {
  const { asking, answer, received } = hand();
  asking.ask(1);
  asking.discard();
  assert.equal(asking.newest, null);
  await answer(0, { of: 1 });
  assert.deepEqual(received, []);
});

test("an outdated answer that arrives last changes nothing and sends nothing", async () => {
  const { asking, answer, questions, received } = hand();
  asking.ask(1);
  asking.discard();
  asking.ask(2);
  assert.deepEqual(questions(), [1, 2]);
  await answer(1, { of: 2 });
  asking.ask(3);
  await answer(0, { of: 1 });
  assert.deepEqual(received, [{ of: 2 }]);
  assert.deepEqual(questions(), [1, 2, 3]);
  await answer(2, { of: 3 });
  assert.deepEqual(received, [{ of: 2 }, { of: 3 }]);
});

test("a lost question stays the newest, so that the next one builds on it", async () => {
  const { asking, answer, received } = hand();
  asking.ask("lost");
  await answer(0, { error: NO_ANSWER, lost: true });
  assert.equal(asking.state, "failed");
  assert.equal(asking.newest, "lost");
  assert.equal(received[0].error, NO_ANSWER);
  asking.ask("again");
  await answer(1, {});
  assert.equal(asking.state, "idle");
  assert.equal(asking.newest, null);
});

test("a refused question is forgotten", async () => {
  const { asking, answer } = hand();
  asking.ask("refused");
  await answer(0, { error: "t must be between 0 and 1" });
  assert.equal(asking.newest, null);
  assert.equal(asking.state, "idle");
});

test("an overdue answer is reported, and counts when it arrives", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { asking, sent, late, received } = hand(1000);
  asking.ask(1);
  t.mock.timers.tick(999);
  assert.deepEqual(late, []);
  t.mock.timers.tick(1);
  assert.deepEqual(late, ["overdue"]);
  sent[0].answer({ of: 1 });
  await settled();
  assert.deepEqual(received, [{ of: 1 }]);
  assert.equal(asking.state, "idle");
});

test("a newer question does not wait for an overdue answer, which is dropped", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  for (const before of [true, false]) {
    const { asking, sent, received, questions } = hand(1000);
    asking.ask(1);
    if (before) asking.ask(2);
    t.mock.timers.tick(1000);
    if (!before) asking.ask(2);
    assert.deepEqual(questions(), [1, 2]);
    sent[0].answer({ of: 1 });
    await settled();
    assert.deepEqual(received, []);
    sent[1].answer({ of: 2 });
    await settled();
    assert.deepEqual(received, [{ of: 2 }]);
    assert.equal(asking.state, "idle");
  }
});

for (const [name, send] of /** @type {const} */ ([
  ["a dropped connection", async () => { throw new TypeError("Failed to fetch"); }],
  ["a server that failed, of which gradio says undefined", async () => undefined],
  ["an answer that is no object", async () => "<html>502 Bad Gateway</html>"],
  ["a null", async () => null],
])) {
  test(`${name} is answered with one sentence`, async () => {
    assert.deepEqual(await ask(/** @type {any} */ (send), {}), { error: NO_ANSWER, lost: true });
  });
}

test("a request without an answer ends after the limit", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const answer = ask(() => new Promise(() => {}), {}, 5000);
  t.mock.timers.tick(5000);
  assert.deepEqual(await answer, { error: NO_ANSWER, lost: true });
});

test("the error message of a refused request is passed on", async () => {
  assert.deepEqual(await ask(async () => ({ error: "no such place" }), {}), { error: "no such place" });
});
