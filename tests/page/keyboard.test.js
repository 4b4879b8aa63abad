import assert from "node:assert/strict";
import test from "node:test";

import { noteOf, octaves } from "../../explorer/ui/page/keyboard.js";

const NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
const NOTES = Array.from({ length: 49 }, (_, i) => `${NAMES[i % 12]}${2 + Math.floor(i / 12)}`);

test("octaves begin at each C, or at the first note", () => {
  assert.deepEqual(octaves(NOTES), [0, 12, 24, 36, 48]);
  assert.deepEqual(octaves(["low", "high"]), [0]);
});

test("the middle row plays white keys and the upper row black ones", () => {
  const played = ["KeyA", "KeyW", "KeyS", "KeyG", "KeyU", "KeyK"].map((code) => NOTES[noteOf(code, NOTES, 2) ?? -1]);
  assert.deepEqual(played, ["C4", "C#4", "D4", "G4", "A#4", "C5"]);
});

test("other keys, and keys beyond the last note, play nothing", () => {
  assert.equal(noteOf("KeyP", NOTES, 2), null);
  assert.equal(noteOf("KeyS", NOTES, 4), null);
  assert.equal(noteOf("KeyA", NOTES, 4), 48);
});
