import assert from "node:assert/strict";
import { test } from "node:test";

import { distances } from "../../explorer/ui/page/divergence.js";
import { nextStep } from "../../explorer/ui/page/morph_player.js";
import { cornerWeights, pointOf } from "../../explorer/ui/page/pad.js";

const SEEDS = /** @type {import("../../explorer/ui/page/pad.js").Seeds} */ ([3, 9, 2, 40]);
const place = (/** @type {Record<string, number>} */ mix, t = 0) => /** @type {any} */ ({ seed: 3, seed_b: 9, t, mix });

test("a corner of the pad is its seed alone, and weights sum to 1", () => {
  assert.deepEqual([[0, 0], [1, 0], [0, 1], [1, 1]].map(([x, y]) => cornerWeights(x, y)),
    [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]);
  assert.ok(Math.abs(cornerWeights(0.3, 0.8).reduce((a, b) => a + b) - 1) < 1e-12);
});

test("every point of the pad is found again from its mix", () => {
  for (const [x, y] of [[0, 0], [1, 1], [0.25, 0.5], [0.9, 0.1]]) {
    const weights = cornerWeights(x, y), mix = Object.fromEntries(SEEDS.map((seed, i) => [seed, weights[i]]));
    const point = pointOf(place(mix), SEEDS);
    assert.ok(point && Math.abs(point.x - x) < 1e-9 && Math.abs(point.y - y) < 1e-9);
  }
});

test("a place of the morph lies on the upper edge", () => {
  assert.deepEqual(pointOf(place({}, 0.4), SEEDS), { x: 0.4, y: 0, seeds: SEEDS });
});

test("a mix with two other seeds assigns them to C and D by their weights", () => {
  const [a, b, c, d] = cornerWeights(0.2, 0.3);
  assert.deepEqual(pointOf(place({ 3: a, 9: b, 70: c, 50: d }), SEEDS)?.seeds, [3, 9, 70, 50]);
  assert.deepEqual(pointOf(place({ 3: a, 9: b, 70: d, 50: c }), SEEDS)?.seeds, [3, 9, 50, 70]);
});

test("a mix with a negative weight, or of five seeds, is not on the pad", () => {
  assert.equal(pointOf(place({ 3: 1, 9: -1, 2: 1 }), SEEDS), null);
  assert.equal(pointOf(place({ 3: 1, 9: 1, 5: 1, 6: 1, 7: 1 }), SEEDS), null);
});

test("a morph is played to its end and back", () => {
  const steps = [];
  for (let [step, by, i] = [0, 1, 0]; i < 7; i++) {
    steps.push(step);
    [step, by] = nextStep(step, by, 4);
  }
  assert.deepEqual(steps, [0, 1, 2, 3, 2, 1, 0]);
});

test("blocks that do not overlap have a Jensen-Shannon divergence of ln 2 with slope 0", () => {
  assert.deepEqual(distances(2, 1), {
    jensenShannon: Math.LN2, jensenShannonSlope: 0, wasserstein: 2, wassersteinSlope: 1 });
  assert.equal(distances(-0.5, 1).jensenShannon, Math.LN2 / 2);
  assert.equal(distances(0, 0).jensenShannon, 0);
});
