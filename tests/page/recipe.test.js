import assert from "node:assert/strict";
import { test } from "node:test";

import {
  addressQuery, identity, isMix, seedAlone, withLabel, withMix, withNumber, withOffset, without, withT,
} from "../../explorer/ui/page/recipe.js";

/** @type {import("../../explorer/ui/page/recipe.js").Place} */
const PLACE = Object.freeze({
  version: 1, model: "words", weights: "0123456789ab", seed: 3, seed_b: 9, t: 0.25, path: "arc", mix: {}, truncation: 1,
  offsets: Object.freeze({ pc1: 1.5 }), label: "yes", label_b: "no", blend: 0, settings: { inversion: "vocoder" },
});

test("a change returns a new place and leaves the old one as it was", () => {
  const before = identity(PLACE);
  withOffset(PLACE, "pc1", 2);
  withMix(PLACE, [[3, 1]]);
  withT(PLACE, 1);
  withLabel(PLACE, "no");
  assert.equal(identity(PLACE), before);
});

test("an offset is added to the others, and an offset of 0 is removed", () => {
  assert.deepEqual(withOffset(PLACE, "pc2", -1).offsets, { pc1: 1.5, pc2: -1 });
  assert.deepEqual(withOffset(PLACE, "pc1", 0).offsets, {});
  assert.deepEqual(withOffset(PLACE, "pc2", 0).offsets, { pc1: 1.5 });
});

test("weights of one seed are added, rounded to four digits, and left out where they cancel", () => {
  assert.deepEqual(withMix(PLACE, [[3, 0.1], [9, 0.33333333], [3, 0.2]]).mix, { 3: 0.3, 9: 0.3333 });
  assert.deepEqual(withMix(PLACE, [[3, 1], [9, 1], [3, -1]]).mix, { 9: 1 });
});

test("setting t removes a mix", () => {
  const mixed = withMix(PLACE, [[3, 1], [9, 1]]);
  assert.ok(isMix(mixed));
  assert.ok(!isMix(withT(mixed, 0.5)));
  assert.equal(withT(mixed, 0.5).t, 0.5);
});

test("setting a label or a number changes no other field", () => {
  assert.deepEqual(withLabel(PLACE, "no"), { ...PLACE, label: "no" });
  assert.deepEqual(withNumber(PLACE, "truncation", 0.5), { ...PLACE, truncation: 0.5 });
});

test("a seed alone keeps label, truncation and settings, but no morph, mix or offsets", () => {
  assert.deepEqual(seedAlone(withMix(PLACE, [[1, 1]]), 9), {
    version: 1, model: "words", weights: "0123456789ab", seed: 9, truncation: 1, label: "yes", label_b: "no", blend: 0,
    settings: { inversion: "vocoder" },
  });
});

test("equal recipes have one identity, whatever the order of their fields", () => {
  const reversed = Object.fromEntries(Object.entries(PLACE).reverse());
  assert.notEqual(JSON.stringify(reversed), JSON.stringify(PLACE));
  assert.equal(identity(reversed), identity(PLACE));
  assert.equal(identity({ ...PLACE, offsets: { b: 1, a: 2 } }), identity({ ...PLACE, offsets: { a: 2, b: 1 } }));
  assert.notEqual(identity({ ...PLACE, seed: 4 }), identity(PLACE));
  assert.notEqual(identity({ ...PLACE, seed_b: null }), identity(without(PLACE, "seed_b")));
});

test("an identity is itself a recipe in JSON", () => {
  assert.deepEqual(JSON.parse(identity(PLACE)), PLACE);
});

test("the address of a place keeps gradio's parameters and drops those of the last place", () => {
  assert.equal(addressQuery("?model=toy&seed=4", "?model=words&seed=3&__theme=dark"), "?model=toy&seed=4&__theme=dark");
  assert.equal(addressQuery("?model=toy", ""), "?model=toy");
});
