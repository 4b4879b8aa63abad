// Plays tones with Web Audio, as explorer/sound/instrument.py describes it. Times are in seconds of its clock.

import { FALL, RISE } from "./sound.js";

/**
 * @typedef {object} Tone
 * @property {AudioBuffer} buffer
 * @property {[number, number] | null} loop in seconds of the buffer
 * @property {number} decay in nepers a second, from the loop's start on
 * @property {number} gain
 */
/** How velocity and release are heard.
 * @typedef {{ velocity_exponent: number, release: number, release_length: number }} Touch */
/** One tone on its way to a voice; a voice has a new one after each change of timbre.
 * @typedef {{ source: AudioBufferSourceNode, fall: GainNode }} Strand */
/**
 * A note that sounds.
 * @typedef {object} Voice
 * @property {number} pitch
 * @property {number} struck when it began
 * @property {number} until when it is silent; infinite while it is held
 * @property {GainNode} output
 * @property {Tone} tone
 * @property {Strand} strand
 */

const FADE = 0.04; // from one timbre to the next, as between two sounds

/** @param {import("./asking.js").Answer} sent @param {Float32Array<ArrayBuffer>} samples @returns {Tone} */
export function toTone({ pcm, loop, decay, gain }, samples) {
  const buffer = new AudioBuffer({ length: samples.length, sampleRate: pcm.rate });
  buffer.copyToChannel(samples, 0);
  return { buffer, loop: loop && loop.map((/** @type {number} */ at) => at / pcm.rate), decay, gain };
}

/**
 * Where in its buffer a tone is, some time after it was struck.
 * @param {Pick<Tone, "loop">} tone
 * @param {number} time
 */
export function positionIn({ loop }, time) {
  if (!loop || time < loop[1]) return time;
  return loop[0] + (time - loop[0]) % (loop[1] - loop[0]);
}

/** Plays any number of notes; those that are held can change their timbre. */
export class Instrument {
  /** @type {Set<Voice>} */
  #voices = new Set();

  /** @param {AudioNode} output @param {Touch} touch */
  constructor(output, touch) {
    this.output = output;
    this.touch = touch;
  }

  /** The pitches that sound now, or that are scheduled. */
  get sounding() { return new Set([...this.#voices].map(({ pitch }) => pitch)); }

  /**
   * @param {number} pitch
   * @param {number} velocity 1 to 127
   * @param {Tone} tone
   * @param {number} when
   * @returns {Voice} to be released
   */
  strike(pitch, velocity, tone, when) {
    const gain = (velocity / 127) ** this.touch.velocity_exponent;
    const output = new GainNode(this.output.context, { gain });
    output.connect(this.output);
    const strand = this.#strand(output, tone, when, when, false);
    const voice = { pitch, struck: when, until: Infinity, output, tone, strand };
    this.#voices.add(voice);
    return voice;
  }

  /** Lifts the key of a note. @param {Voice} voice @param {number} when */
  release(voice, when) {
    const { release, release_length } = this.touch;
    if (voice.until < Infinity) return;
    voice.until = when + release * release_length;
    voice.output.gain.setTargetAtTime(0, when, release);
    voice.strand.source.stop(voice.until);
  }

  /**
   * Crossfades the notes of a pitch that sound to another tone, each from where it is.
   * @param {number} pitch
   * @param {Tone} tone
   * @param {number} when
   */
  change(pitch, tone, when) {
    for (const voice of this.#voices) {
      if (voice.pitch !== pitch || voice.tone === tone || voice.until < when + FADE) continue;
      const start = Math.max(when, voice.struck), old = voice.strand;
      voice.strand = this.#strand(voice.output, tone, start, voice.struck, start > voice.struck);
      voice.tone = tone;
      if (voice.until < Infinity) voice.strand.source.stop(voice.until);
      if (start > voice.struck) old.fall.gain.setValueCurveAtTime(FALL, start, FADE);
      old.source.stop(start > voice.struck ? start + FADE : start);
    }
  }

  /** Ends a note, even if its release or its start is scheduled for later. @param {Voice} voice @param {number} when */
  end(voice, when) {
    if (voice.until <= when) return;
    voice.output.gain.cancelScheduledValues(when);
    voice.until = Infinity;
    this.release(voice, when);
    if (voice.struck > when) voice.strand.source.stop(when);
  }

  /**
   * @param {AudioNode} output
   * @param {Tone} tone
   * @param {number} when
   * @param {number} struck
   * @param {boolean} rising whether it fades in
   * @returns {Strand}
   */
  #strand(output, tone, when, struck, rising) {
    const { context } = output, { buffer, loop, decay, gain } = tone, time = when - struck;
    const source = new AudioBufferSourceNode(context, { buffer, loop: loop !== null });
    if (loop) [source.loopStart, source.loopEnd] = loop;
    const from = loop ? loop[0] : 0;
    const level = new GainNode(context, { gain: gain * Math.exp(-decay * Math.max(0, time - from)) });
    if (decay) level.gain.setTargetAtTime(0, Math.max(when, struck + from), 1 / decay);
    // A node for each fade, because a strand may have to fade out while it still fades in.
    const rise = new GainNode(context, { gain: rising ? 0 : 1 }), fall = new GainNode(context);
    if (rising) rise.gain.setValueCurveAtTime(RISE, when, FADE);
    source.connect(level).connect(rise).connect(fall).connect(output);
    const position = positionIn(tone, time);
    source.start(when, Math.min(position, buffer.duration));
    const strand = { source, fall };
    source.onended = () => {
      fall.disconnect();
      for (const voice of this.#voices) {
        if (voice.strand !== strand) continue;
        voice.output.disconnect();
        this.#voices.delete(voice);
      }
    };
    return strand;
  }
}
