import assert from "node:assert/strict";
import test from "node:test";

import { folded, keyOf, octaves } from "../../explorer/ui/page/keyboard.js";

const KEYS = Array.from({ length: 49 }, (_, i) => 36 + i);

test("octaves begin at each C, or at the first key", () => {
  assert.deepEqual(octaves(KEYS), [0, 12, 24, 36, 48]);
  assert.deepEqual(octaves([61, 62]), [0]);
});

test("the middle row plays white keys and the upper row black ones", () => {
  const played = ["KeyA", "KeyW", "KeyS", "KeyG", "KeyU", "KeyK"].map((code) => KEYS[keyOf(code, KEYS, 2) ?? -1]);
  assert.deepEqual(played, [60, 61, 62, 67, 70, 72]);
});

test("other keys, and keys beyond the last one, play nothing", () => {
  assert.equal(keyOf("KeyP", KEYS, 2), null);
  assert.equal(keyOf("KeyS", KEYS, 4), null);
  assert.equal(keyOf("KeyA", KEYS, 4), 48);
});

test("a note outside of the keys is played on the nearest key of its name", () => {
  assert.deepEqual([21, 36, 60, 84, 108].map((pitch) => folded(pitch, KEYS)), [45, 36, 60, 84, 84]);
  assert.equal(folded(61, [60]), null);
});
