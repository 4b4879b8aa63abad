import assert from "node:assert/strict";
import { test } from "node:test";

import { SLOW_ANSWER } from "../../explorer/ui/page/asking.js";
import { withOffset } from "../../explorer/ui/page/recipe.js";
import { Session, Undo } from "../../explorer/ui/page/session.js";

const settled = () => new Promise((resolve) => { setImmediate(resolve); });

/** What the server sends of a place. */
function sent(/** @type {Record<string, any>} */ fields = {}) {
  const place = { version: 1, model: "toy", seed: 1, seed_b: 2, t: 0, mix: {}, offsets: {}, label: null, ...fields };
  return { recipe: JSON.stringify(place), place, title: `seed ${place.seed}`, link: "?model=toy", formats: [], seconds: 1 };
}

/** A session with a player that shows nothing, and a server that answers when the test says so. */
function open() {
  const session = new Session(() => /** @type {any} */ ({ getItem: () => null, setItem() {} }));
  const [warned, shown, triggered] = /** @type {string[][]} */ ([[], [], []]);
  const asked = /** @type {Array<{ place: any, whole: boolean, answer: (answer: any) => void }>} */ ([]);
  const listen = (/** @type {boolean} */ whole) => (/** @type {string} */ recipe) => new Promise((answer) => {
    asked.push({ place: JSON.parse(recipe), whole, answer });
  });
  const props = /** @type {Record<string, any>} */ ({ value: {} });
  let changed = () => {};
  session.addEventListener("warn", (event) => warned.push(/** @type {CustomEvent} */ (event).detail));
  session.start(
    /** @type {any} */ ({
      props, server: { lead: listen(false), rest: listen(true) },
      trigger: (/** @type {string} */ name) => triggered.push(name),
      watch: (/** @type {string} */ _, /** @type {() => void} */ callback) => { changed = callback; },
    }),
    /** @type {any} */ ({}), async () => { shown.push(session.shown?.title ?? ""); });
  const receive = (/** @type {any} */ value) => { props.value = value; changed(); };
  return { session, warned, shown, triggered, asked, receive };
}

/** @typedef {import("../../explorer/ui/page/recipe.js").Place} Place */

/** The place that the next move builds on. */
const target = (/** @type {Session} */ session) => /** @type {Place} */ (session.target);

test("two sliders that move while an answer is pending both count", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { session, asked, receive } = open();
  receive(sent());
  session.drag(withOffset(target(session), "pc1", 1));
  session.drag(withOffset(target(session), "pc2", 2));
  asked[0].answer(sent({ offsets: { pc1: 1 } }));
  await settled();
  assert.deepEqual(asked[1].place.offsets, { pc1: 1, pc2: 2 });
});

test("a move whose request was lost is included in the next one", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { session, asked, receive, warned } = open();
  receive(sent());
  session.drag(withOffset(target(session), "pc1", 1));
  asked[0].answer(undefined);
  await settled();
  assert.match(warned.at(-1) ?? "", /did not answer/);
  assert.equal(session.shown?.title, "seed 1");
  session.drag(withOffset(target(session), "pc2", 2));
  assert.deepEqual(asked[1].place.offsets, { pc1: 1, pc2: 2 });
  asked[1].answer(sent({ offsets: { pc1: 1, pc2: 2 } }));
  await settled();
  assert.equal(warned.at(-1), "");
});

test("the answer to a gradio event discards earlier moves of sliders", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { session, asked, receive, shown } = open();
  receive(sent());
  session.drag(withOffset(target(session), "pc1", 1));
  receive(sent({ seed: 7 }));
  asked[0].answer(sent({ offsets: { pc1: 1 } }));
  await settled();
  assert.deepEqual(shown, ["seed 1", "seed 7"]);
  assert.deepEqual(target(session).offsets, {});
});

test("an event sends the newest place, and before the first sound the text it is given", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { session, receive } = open();
  assert.equal(session.sends("?model=toy"), "?model=toy");
  receive(sent());
  session.drag(withOffset(target(session), "pc1", 1));
  assert.deepEqual(JSON.parse(session.sends("")).offsets, { pc1: 1 });
});

test("a gradio event is reported as slow only if it gets no answer", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { session, receive, warned } = open();
  receive(sent());
  session.sends("");
  receive({ error: "" });
  t.mock.timers.tick(60_000);
  assert.ok(!warned.includes(SLOW_ANSWER));
  session.sends("");
  t.mock.timers.tick(60_000);
  assert.equal(warned.at(-1), SLOW_ANSWER);
});

test("an error keeps the sound and is cleared by the next answer", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { session, receive, warned } = open();
  receive(sent());
  receive({ error: "seed must be a whole number" });
  assert.equal(session.shown?.title, "seed 1");
  assert.equal(warned.at(-1), "seed must be a whole number");
  receive(sent({ seed: 2 }));
  assert.equal(warned.at(-1), "");
});

test("a place counts as visited once the pointer is up and no answer is pending", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { session, receive } = open();
  let settles = 0;
  session.addEventListener("settle", () => { settles++; });
  receive(sent());
  t.mock.timers.tick(0);
  assert.equal(settles, 1, "the first sound at once");
  session.held = true;
  receive(sent({ seed: 2 }));
  t.mock.timers.tick(2000);
  assert.equal(settles, 1);
  session.held = false;
  t.mock.timers.tick(400);
  assert.equal(settles, 2);
  assert.deepEqual(session.undo.places.length, 2);
});

test("at rest a draft is replaced by the sound itself before its place counts as visited", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { session, asked, receive } = open();
  receive(sent());
  t.mock.timers.tick(0);
  session.held = true;
  session.drag(withOffset(target(session), "pc1", 1));
  asked[0].answer({ ...sent({ offsets: { pc1: 1 } }), draft: true });
  await settled();
  t.mock.timers.tick(2000);
  assert.deepEqual(asked.map(({ whole }) => whole), [false]);
  session.held = false;
  t.mock.timers.tick(400);
  assert.deepEqual(asked.map(({ whole }) => whole), [false, true]);
  assert.deepEqual(asked[1].place.offsets, { pc1: 1 });
  assert.equal(session.undo.places.length, 1);
  asked[1].answer(sent({ offsets: { pc1: 1 } }));
  await settled();
  t.mock.timers.tick(400);
  assert.equal(session.undo.places.length, 2);
  session.drag(withOffset(target(session), "pc1", 2));
  assert.equal(asked[2].whole, false);
});

test("a draft whose sound does not come counts as visited nevertheless", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { session, asked, receive } = open();
  receive(sent());
  t.mock.timers.tick(0);
  session.drag(withOffset(target(session), "pc1", 1));
  asked[0].answer({ ...sent({ offsets: { pc1: 1 } }), draft: true });
  await settled();
  t.mock.timers.tick(400);
  asked[1].answer(undefined);
  await settled();
  t.mock.timers.tick(400);
  assert.equal(session.undo.places.length, 2);
  assert.equal(asked.length, 2);
});

test("a preview is shown but not counted as visited", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { session, receive, shown } = open();
  receive(sent());
  t.mock.timers.tick(0);
  session.preview(/** @type {any} */ (sent({ seed: 5 })));
  t.mock.timers.tick(5000);
  assert.equal(shown.at(-1), "seed 5");
  assert.equal(session.undo.places.length, 1);
});

test("go takes a recipe as text or as an object", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { session, triggered } = open();
  session.go("?model=toy&seed=4");
  assert.equal(session.sendsDestination(), "?model=toy&seed=4");
  session.go({ model: "toy", seed: 5 });
  assert.equal(session.sendsDestination(), "{\"model\":\"toy\",\"seed\":5}");
  assert.deepEqual(triggered, ["go", "go"]);
});

test("directions that are found while the visitor goes elsewhere do not lead back", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { session, triggered, asked, receive } = open();
  receive({ ...sent(), searching: true });
  session.go("?model=toy&seed=7");
  assert.equal(session.showFound(), false);
  receive(sent({ seed: 7 }));
  session.drag(withOffset(target(session), "pc1", 1));
  assert.equal(session.showFound(), false);
  asked[0].answer(sent({ seed: 7, offsets: { pc1: 1 } }));
  await settled();
  assert.deepEqual(triggered, ["go"]);
  assert.equal(session.showFound(), true);
  assert.deepEqual(JSON.parse(session.sendsDestination()).offsets, { pc1: 1 });
  receive(sent({ seed: 7, offsets: { pc1: 1 } }));
  assert.equal(session.showFound(), true);
  assert.deepEqual(triggered, ["go", "go"], "once");
});

test("a visit after an undo replaces what could be redone", () => {
  const undo = new Undo();
  for (const place of ["a", "b", "b", "c"]) undo.visit(place);
  assert.deepEqual(undo.places, ["a", "b", "c"]);
  assert.equal(undo.step(-1), "b");
  undo.visit("b");
  assert.ok(undo.redoPossible);
  undo.visit("d");
  assert.deepEqual(undo.places, ["a", "b", "d"]);
  assert.ok(!undo.redoPossible);
});

test("redo pressed again before the answer is there goes on to the next place", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { session, receive } = open();
  for (const seed of [1, 2, 3]) {
    receive(sent({ seed }));
    session.settle();
  }
  session.travel(-1);
  session.travel(-1);
  receive(sent({ seed: 1 }));
  assert.equal(session.undo.possible, false);
  session.travel(1);
  session.travel(1);
  assert.equal(JSON.parse(session.sendsDestination()).seed, 3);
  receive(sent({ seed: 3 }));
  session.settle();
  assert.equal(session.undo.redoPossible, false);
  session.travel(-1);
  assert.equal(JSON.parse(session.sendsDestination()).seed, 2);
});
