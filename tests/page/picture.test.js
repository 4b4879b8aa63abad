import assert from "node:assert/strict";
import { test } from "node:test";

import { colours, envelope, frequencyTicks, timeTicks } from "../../explorer/ui/page/picture.js";

test("a colour map of two colours is linear between them", () => {
  const map = colours("000000ff8000");
  assert.equal(map.length, 256);
  assert.deepEqual(map[0], [0, 0, 0]);
  assert.deepEqual(map[255], [255, 128, 0]);
  assert.ok(Math.abs(map[51][0] - 51) < 1e-9);
});

test("a colour map passes through its given colours", () => {
  const map = colours("000000ffffff000000ffffff000000ffffff"); // five equal parts of 51 levels
  assert.deepEqual([0, 51, 102, 153, 204, 255].map((level) => Math.round(map[level][0])), [0, 255, 0, 255, 0, 255]);
});

test("the label of a band's frequency is at the middle of the band", () => {
  const ticks = frequencyTicks([50, 100, 150, 200]);
  assert.deepEqual(ticks, [{ hertz: 100, height: 1.5 / 4 }, { hertz: 200, height: 3.5 / 4 }]);
});

test("a frequency between two bands lies between their middles, and one outside the axis has no label", () => {
  assert.deepEqual(frequencyTicks([80, 160]), [{ hertz: 100, height: (0.25 + 0.5) / 2 }]);
  assert.deepEqual(frequencyTicks([20, 30]), []);
});

for (const [seconds, width, expected] of /** @type {const} */ ([
  [1, 480, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]],
  [1, 200, [0, 0.5, 1]],
  [30, 700, [0, 5, 10, 15, 20, 25, 30]],
  [0.7, 700, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]],
])) {
  test(`${seconds} s over ${width} pixels have a label every ${expected[1]} s`, () => {
    assert.deepEqual(timeTicks(seconds, width).map((time) => Number(time.toFixed(6))), [...expected]);
  });
}

test("the envelope of a sine of many periods is its full range in every column", () => {
  const samples = Float32Array.from({ length: 1000 }, (_, i) => (i % 2 ? 0.5 : -0.25));
  assert.deepEqual(envelope(samples, 10), Array.from({ length: 10 }, () => [-0.25, 0.5]));
});

test("an envelope of fewer samples than columns leaves no column empty", () => {
  for (const [low, high] of envelope(new Float32Array([0.1, -0.1]), 7)) assert.ok(low <= high);
});
