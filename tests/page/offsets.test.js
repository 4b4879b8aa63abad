import assert from "node:assert/strict";
import { test } from "node:test";

import { inUnits, signed } from "../../explorer/ui/page/offsets.js";
import { isAnother } from "../../explorer/ui/page/recipe.js";

test("a number is told with its sign and two significant figures", () => {
  assert.deepEqual([0, 9.04, -0.1234, 0.073 * 1.5, -1234].map(signed), ["0", "+9", "−0.12", "+0.11", "−1200"]);
});

test("an offset is told in the unit of what it changes, or else in steps", () => {
  const register = { title: "Register", step: 4.6, unit: "semitones", strength: 2 };
  assert.equal(inUnits(2, register), "+9.2 semitones");
  assert.equal(inUnits(0, register), "0");
  assert.equal(inUnits(1.5, { ...register, step: null }), "+1.5");
  assert.equal(inUnits(-0.5), "−0.5");
});

test("a moved slider or pad is the same sound, another model, label or seed is not", () => {
  const place = /** @type {any} */ ({ model: "m", label: "0", seed: 1, seed_b: 2, t: 0, mix: {}, offsets: {} });
  const another = (/** @type {object} */ changes, before = place) => isAnother(before, { ...place, ...changes });
  assert.equal(another({ offsets: { pc1: 1 } }), false);
  assert.equal(another({ t: 1 }), false);
  assert.equal(another({ seed_b: 5 }), false, "B is not heard");
  assert.equal(another({ mix: { 1: 0.5, 2: 0.5 } }), false);
  assert.equal(another({ mix: { 4: 1 } }, { ...place, mix: { 1: 0.5, 4: 0.5 } }), false);
  assert.equal(another({ model: "n" }), true);
  assert.equal(another({ label: "1" }), true);
  assert.equal(another({ seed: 7 }), true);
  assert.equal(another({ seed: 7, seed_b: 8 }, { ...place, mix: { 1: 0.5, 2: 0.5 } }), true);
});
