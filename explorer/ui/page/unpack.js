// Unpacks the arrays of a sound that the server has sent (`show` in explorer/ui/handlers.py).

/**
 * @typedef {object} Spectrogram
 * @property {number} bands rows, the lowest first
 * @property {number} frames columns
 * @property {number[]} frequencies of the bands, in Hz
 * @property {Uint8Array} levels 0 to 255, row by row
 */

/**
 * @typedef {object} Sound
 * @property {string} recipe as JSON, without fields at their default
 * @property {import("./recipe.js").Place} place the same recipe with every field
 * @property {string} link
 * @property {string} title
 * @property {string} name the title without offsets
 * @property {string} about the picture in words
 * @property {number} seconds
 * @property {string[]} formats in which it can be saved
 * @property {boolean} searching whether the server still looks for the model's directions
 * @property {boolean} draft whether the sound is a draft of the place's own, made sooner
 * @property {string} [made_with] the settings that tell drafts apart, of models that have any
 * @property {boolean} free whether it has notes that lie on no grid
 * @property {number} gain at which it is played, so that all checkpoints are equally loud
 * @property {"piano" | null} played_by "piano" if the page plays the notes, null if it plays the waveform
 * @property {number[]} [keys] MIDI note numbers of the labels, where these are pitches
 * @property {Float32Array} [notes] four numbers each: pitch, onset and duration in seconds, velocity
 * @property {Spectrogram} [picture]
 * @property {{ rate: number, samples: Float32Array }} [pcm]
 */

/**
 * Decodes base64.
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
  if (sent.pcm) sound.pcm = { rate: sent.pcm.rate, samples: samplesOf(sent.pcm) };
  return sound;
}

/**
 * The samples of a waveform.
 * @param {{ data: string }} pcm in 16 bit
 */
export function samplesOf({ data }) {
  return new Float32Array(new Int16Array(decodeBase64(data))).map((x) => x / 32768);
}
