import assert from "node:assert/strict";
import { test } from "node:test";

import {
  chokes, cleared, essential, isOn, PADS, silencedBy, STEPS, struckAt, toggled, toQuery, withChoke, withKit, withPad,
} from "../../explorer/ui/page/kit.js";
import { played, struckBy } from "../../explorer/ui/page/midi_in.js";
import { addressQuery } from "../../explorer/ui/page/recipe.js";
import { audible, onset, Sequencer } from "../../explorer/ui/page/sequencer.js";

/** @type {import("../../explorer/ui/page/kit.js").Kit} */
const KIT = Object.freeze({
  version: 1, model: "words", weights: "0123456789ab", beat: "82800808aaa800020000000000000000", tempo: 120, swing: 50,
  choke: "", pads: Array.from({ length: PADS }, (_, seed) => ({ seed, label: "yes" })),
});

const row = (/** @type {import("../../explorer/ui/page/kit.js").Kit} */ kit, /** @type {number} */ pad) => (
  Array.from({ length: STEPS }, (_, step) => (isOn(kit, pad, step) ? "x" : ".")).join(""));

test("the highest bit of a row is its first step", () => {
  assert.deepEqual([0, 1, 2, 3].map((pad) => row(KIT, pad)),
    ["x.....x.x.......", "....x.......x...", "x.x.x.x.x.x.x...", "..............x."]);
});

test("a step is switched on and off, and no other changes", () => {
  for (const [pad, step] of [[0, 0], [3, 15], [7, 7]]) {
    const once = toggled(KIT, pad, step);
    assert.equal(isOn(once, pad, step), !isOn(KIT, pad, step));
    assert.deepEqual(toggled(once, pad, step), KIT);
    assert.equal(once.beat.length, KIT.beat.length);
  }
  assert.ok(!/[1-9a-f]/.test(cleared(KIT).beat));
});

test("pads of the choke group silence each other, and of those struck at one step only the first sounds", () => {
  const kit = withChoke(withChoke(KIT, 3), 2), both = toggled(kit, 3, 0);
  assert.equal(kit.choke, "34");
  assert.deepEqual([silencedBy(kit, 3), silencedBy(kit, 0)], [[2, 3], [0]]);
  assert.deepEqual(struckAt(both, 0), [0, 2]);
  assert.deepEqual(struckAt(both, 14), [3]);
  assert.ok(!chokes(withChoke(kit, 2), 2));
});

test("a link holds the kit and replaces the one before it", () => {
  const offset = { seed: 5, label: "a&b", offsets: { "pitch only": -1.5 }, path: null };
  const kit = withPad(KIT, 1, { version: 1, model: "words", weights: "0", ...offset });
  const fields = new URLSearchParams(toQuery(kit));
  assert.equal(fields.get("kit.2.label"), "a&b");
  assert.equal(fields.get("kit.2.offsets.pitch only"), "-1.5");
  assert.ok(!fields.has("kit.2.model") && !fields.has("kit.2.path"));
  const link = withKit("?model=words&seed=3&__theme=dark", KIT);
  assert.equal(withKit(link, null), "?model=words&seed=3&__theme=dark");
  assert.equal(withKit(link, kit), withKit("?model=words&seed=3&__theme=dark", kit));
});

test("the address keeps the kit from place to place of one checkpoint only", () => {
  const address = withKit("?model=words&seed=3", KIT);
  assert.equal(addressQuery("?model=words&seed=4", address), withKit("?model=words&seed=4", KIT));
  assert.equal(addressQuery("?model=toy&seed=4", address), "?model=toy&seed=4");
});

test("a place on a pad keeps only what is heard", () => {
  const place = /** @type {any} */ ({
    version: 1, model: "words", seed: 3, seed_b: 9, t: 0, path: "arc", mix: {}, truncation: 1, offsets: { pc1: 1 },
    label: "yes", label_b: "no", blend: 0, settings: {},
  });
  const kept = { version: 1, model: "words", seed: 3, truncation: 1, offsets: { pc1: 1 }, label: "yes", settings: {} };
  assert.deepEqual(essential(place), kept);
  assert.deepEqual(essential({ ...place, t: 0.5 }), { ...kept, seed_b: 9, t: 0.5, path: "arc" });
  assert.deepEqual(essential({ ...place, blend: 0.2 }), { ...kept, label_b: "no", blend: 0.2 });
  assert.deepEqual(essential({ ...place, mix: { 3: 1 } }), { ...kept, mix: { 3: 1 } });
});

test("at 120 beats a minute steps are an eighth of a second apart, and swing delays every second one", () => {
  assert.deepEqual([0, 1, 2, 16].map((step) => onset({ tempo: 120, swing: 50 }, step)), [0, 0.125, 0.25, 2]);
  assert.deepEqual([0, 1, 2, 17].map((step) => onset({ tempo: 120, swing: 75 }, step)), [0, 0.1875, 0.25, 2.1875]);
});

/** What a sequencer strikes when its timer comes at some times. */
function run(/** @type {Partial<import("../../explorer/ui/page/kit.js").Kit>} */ change, /** @type {number[]} */ ticks,
  ahead = 0.1) {
  const struck = /** @type {Array<[pad: number, when: number]>} */ ([]);
  const sequencer = new Sequencer(1, { ...KIT, ...change }, (pad, when) => struck.push([pad, when]));
  for (const now of ticks) sequencer.advance(now, now + ahead);
  return { struck, sequencer };
}

const EVERY_STEP = `ffff${"0".repeat(28)}`;

test("steps have their exact times however irregular the timer is, and none is struck twice", () => {
  const ticks = [];
  for (let now = 0.9, i = 0; now < 9; now += [0.025, 0.04, 0.019, 0.08][i++ % 4]) ticks.push(now);
  const { struck } = run({ beat: EVERY_STEP, tempo: 133, swing: 61 }, ticks);
  assert.ok(struck.length > 64);
  struck.forEach(([pad, when], step) => {
    assert.equal(pad, 0);
    assert.ok(Math.abs(when - 1 - onset({ tempo: 133, swing: 61 }, step)) < 1e-12);
  });
});

test("after a pause of the page the beat goes on in time, without the steps that it has missed", () => {
  const { struck } = run({ beat: EVERY_STEP }, [1, 1.05, 2.06]);
  assert.deepEqual(struck.map(([, when]) => when), [1, 1.125, 2.125]);
});

test("another tempo counts from the next step, which keeps its time", () => {
  const { struck, sequencer } = run({ beat: EVERY_STEP }, [1]);
  sequencer.change({ ...KIT, beat: EVERY_STEP, tempo: 60 });
  sequencer.advance(1.05, 1.9);
  assert.deepEqual(struck.map(([, when]) => when), [1, 1.125, 1.375, 1.625, 1.875]);
});

test("a hit begins where a sound is less than 40 dB below its peak", () => {
  assert.deepEqual([...audible(Float32Array.of(0, 0.001, 0.25, -0.5, 0))], [0.25, -0.5, 0]);
  assert.equal(audible(new Float32Array(3)).length, 3);
});

test("the first eight notes of a pad controller are the pads, and so is every further bank of eight", () => {
  assert.deepEqual(struckBy([0x99, 36, 127]), { pad: 0, level: 1 });
  assert.equal(struckBy([0x90, 43, 64])?.pad, 7);
  assert.equal(struckBy([0x90, 44, 64])?.pad, 0);
  assert.equal(struckBy([0x90, 0, 64])?.pad, 4);
  assert.ok((struckBy([0x90, 36, 32])?.level ?? 1) < (struckBy([0x90, 36, 64])?.level ?? 0));
});

test("a MIDI message that is no struck note is no hit", () => {
  for (const data of [null, [], [0x90, 36], [0x90, 36, 0], [0x80, 36, 64], [0xb0, 7, 127], [0xf8]]) {
    assert.equal(struckBy(data), null);
  }
});

test("a MIDI keyboard's keys and pedal are understood on any channel", () => {
  assert.deepEqual(played([0x93, 60, 99]), { note: 60, velocity: 99 });
  assert.deepEqual(played([0x80, 60, 64]), { note: 60, velocity: 0 });
  assert.deepEqual(played([0x90, 60, 0]), { note: 60, velocity: 0 });
  assert.deepEqual([[0xb1, 64, 64], [0xb0, 64, 63]].map(played), [{ pedal: true }, { pedal: false }]);
  for (const data of [null, [], [0x90, 60], [0xb0, 1, 99], [0xe0, 0, 64]]) assert.equal(played(data), null);
});
