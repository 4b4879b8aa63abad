import assert from "node:assert/strict";
import { test } from "node:test";

import {
  byPiano, FALL, limiterCurve, nearestSample, PianoVoice, playable, playbackRate, RISE,
} from "../../explorer/ui/page/sound.js";

const near = (/** @type {number} */ a, /** @type {number} */ b, tolerance = 1e-6) => (
  assert.ok(Math.abs(a - b) <= tolerance, `${a} is not ${b}`));

test("a crossfade keeps the power constant, from only one sound to only the other", () => {
  assert.equal(RISE.length, FALL.length);
  RISE.forEach((gain, i) => near(gain ** 2 + FALL[i] ** 2, 1));
  near(RISE[0], 0);
  near(FALL[FALL.length - 1], 0);
});

test("the limiter's curve is the identity below its knee, odd, rising, and never beyond 1", () => {
  const knee = 0.7, curve = limiterCurve(knee), last = curve.length - 1, room = 8;
  const input = (/** @type {number} */ i) => room * (2 * i / last - 1);
  curve.forEach((y, i) => {
    if (Math.abs(input(i)) <= knee) near(y, input(i));
    near(y, -curve[last - i]);
    assert.ok(Math.abs(y) <= 1);
    if (i) assert.ok(y >= curve[i - 1]);
  });
  // tanh((1 - knee) / (1 - knee)) at an input of 1, which is a point of the curve
  near(curve[last * 9 / 16], knee + (1 - knee) * Math.tanh(1));
});

/** @type {import("../../explorer/ui/page/sound.js").Manifest} */
const MANIFEST = {
  knee: 0.7, gain: 1, velocity_exponent: 1, release: 0.1, release_length: 5,
  layers: [{ max_velocity: 64 }, { max_velocity: 127 }],
  samples: [
    { file: "soft60", pitch: 60, cents: 0, gain: 1, layer: 0 }, { file: "soft72", pitch: 72, cents: 0, gain: 1, layer: 0 },
    { file: "loud60", pitch: 60, cents: 50, gain: 1, layer: 1 },
  ],
};

test("a note is played with the nearest sample of its layer", () => {
  const files = [[61, 10], [71, 64], [71, 65], [108, 127]].map(([pitch, velocity]) => (
    nearestSample(MANIFEST, pitch, velocity).file));
  assert.deepEqual(files, ["soft60", "soft72", "loud60", "loud60"]);
});

test("a sample sounds an octave higher at twice its rate, and its cents are corrected", () => {
  near(playbackRate(MANIFEST.samples[0], 72), 2);
  near(playbackRate(MANIFEST.samples[1], 60), 0.5);
  near(playbackRate(MANIFEST.samples[2], 60), 2 ** (0.5 / 12));
});

test("notes are played on the piano only if the server says so", () => {
  const sound = (/** @type {any} */ fields) => ({ title: "", ...fields });
  const notes = new Float32Array(4), pcm = { rate: 8000, samples: new Float32Array(8) };
  assert.ok(byPiano(sound({ played_by: "piano", notes })));
  assert.ok(!byPiano(sound({ played_by: null, notes, pcm })));
  assert.ok(playable(sound({ played_by: "piano", notes })));
  assert.ok(playable(sound({ played_by: null, notes, pcm })));
  assert.ok(!playable(sound({ played_by: null, notes })));
  assert.ok(!playable(sound({ played_by: "piano", pcm })));
});

/**
 * A voice that records its notes as [note, time, skipped] instead of playing them.
 * @param {number[][]} notes
 */
function voiceOf(notes, loop = true, seconds = 2) {
  const context = { currentTime: 0 }, struck = /** @type {number[][]} */ ([]);
  const piano = { manifest: MANIFEST, buffers: new Map(), limiters: [{}], curve: new Float32Array(3) };
  const voice = new PianoVoice(
    /** @type {any} */ (context), /** @type {any} */ ({ notes: new Float32Array(notes.flat()), seconds }), loop,
    /** @type {any} */ (piano));
  voice.strike = (...note) => { struck.push(note); };
  const at = (/** @type {number} */ time) => { context.currentTime = time; voice.schedule(); };
  return { voice, struck, at };
}

const NOTES = [[60, 0, 0.5, 80], [62, 0.5, 0.5, 80], [64, 1, 0.25, 80]];

test("each note is struck once and at its onset, lap after lap", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { voice, struck, at } = voiceOf(NOTES);
  voice.start(0, 0);
  for (let i = 0; i <= 40; i++) at(i * 0.1);
  voice.stop(4);
  const times = struck.map(([note, time]) => [note, Math.round(time * 1e6) / 1e6]);
  assert.deepEqual(times, [[0, 0], [1, 0.5], [2, 1], [0, 2], [1, 2.5], [2, 3], [0, 4]]);
  assert.ok(struck.every(([, , skip]) => skip === 0));
});

test("without a loop there is one lap", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { voice, struck, at } = voiceOf(NOTES, false);
  voice.start(0, 0);
  for (let i = 0; i <= 60; i++) at(i * 0.1);
  voice.stop(6);
  assert.deepEqual(struck.map(([note]) => note), [0, 1, 2]);
});

test("a voice that begins in the middle continues the notes that still sound", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { voice, struck } = voiceOf([[60, 0, 0.1, 80], [62, 0.5, 1, 80], [64, 1.25, 0.25, 80]]);
  voice.start(10, 1);
  voice.stop(10);
  assert.deepEqual(struck[0], [1, 10, 0.5]); // the first has been silent for 0.4 s
});

test("a note that is late on a busy page is struck at once, from its present position", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { voice, struck, at } = voiceOf(NOTES);
  voice.start(0, 0);
  at(0.7);
  voice.stop(1);
  const [note, time, skip] = struck[1];
  assert.equal(note, 1);
  near(time, 0.7);
  near(skip, 0.2);
});

test("a piece without notes is silent and does not loop for ever", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { voice, struck, at } = voiceOf([]);
  voice.start(0, 0);
  at(9);
  voice.stop(9);
  assert.deepEqual(struck, []);
});
