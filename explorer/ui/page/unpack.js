// What the server sends of a sound (explorer/ui/handlers.py, `show`), with its arrays unpacked.

/**
 * @typedef {object} Spectrogram
 * @property {number} bands rows, the lowest first
 * @property {number} frames columns
 * @property {number[]} frequencies of the bands, in Hz
 * @property {Uint8Array} levels 0 to 255, row by row
 */

/**
 * @typedef {object} Sound
 * @property {string} recipe as JSON, without what is at its default
 * @property {import("./recipe.js").Place} place the same, with every field
 * @property {string} link
 * @property {string} title
 * @property {string} about what is seen, in words
 * @property {number} seconds
 * @property {string[]} formats in which it can be saved
 * @property {boolean} searching whether the model's directions are still to come
 * @property {"piano" | null} played_by what plays the notes; null: the waveform is what is heard
 * @property {Float32Array} [notes] four numbers each: pitch, onset and duration in seconds, velocity
 * @property {Spectrogram} [picture]
 * @property {{ rate: number, samples: Float32Array }} [pcm]
 */

/**
 * The bytes that a base64 text stands for.
 * @param {string} text
 * @returns {ArrayBuffer}
 */
export function decodeBase64(text) {
  const characters = atob(text), bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes.buffer;
}

/**
 * @param {import("./asking.js").Answer} sent
 * @returns {Sound}
 */
export function unpack(sent) {
  const sound = /** @type {any} */ ({ ...sent });
  if (sent.notes !== undefined) sound.notes = new Float32Array(decodeBase64(sent.notes));
  if (sent.picture) sound.picture = { ...sent.picture, levels: new Uint8Array(decodeBase64(sent.picture.levels)) };
  if (sent.pcm) {
    const samples = new Float32Array(new Int16Array(decodeBase64(sent.pcm.data)));
    sound.pcm = { rate: sent.pcm.rate, samples: samples.map((x) => x / 32768) };
  }
  return sound;
}
