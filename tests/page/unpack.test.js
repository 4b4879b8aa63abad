import assert from "node:assert/strict";
import { test } from "node:test";

import { decodeBase64, unpack } from "../../explorer/ui/page/unpack.js";

const packed = (/** @type {ArrayBufferView} */ array) => (
  Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("base64"));

test("every byte is decoded from base64", () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  for (const length of [0, 1, 2, 3, 255, 256]) {
    assert.deepEqual(new Uint8Array(decodeBase64(packed(bytes.slice(0, length)))), bytes.slice(0, length));
  }
});

test("16-bit samples are converted to between -1 and 1", () => {
  const { pcm } = unpack({ pcm: { rate: 8000, data: packed(new Int16Array([-32768, -1, 0, 16384, 32767])) } });
  assert.equal(pcm?.rate, 8000);
  assert.deepEqual([...(pcm?.samples ?? [])], [-1, -1 / 32768, 0, 0.5, 32767 / 32768]);
});

test("a piece without notes has an empty array of notes", () => {
  assert.deepEqual(unpack({ notes: "" }).notes, new Float32Array(0));
  assert.equal(unpack({}).notes, undefined);
});

test("unpacking leaves the answer as it was", () => {
  const sent = Object.freeze({ title: "toy", notes: packed(new Float32Array([60, 0, 1, 80])) });
  const sound = unpack(sent);
  assert.equal(sound.title, "toy");
  assert.deepEqual(sound.notes, new Float32Array([60, 0, 1, 80]));
});
