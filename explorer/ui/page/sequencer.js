// When the steps of a beat are heard, and how hits are played. Times are in seconds of an audio context's clock.

import { silencedBy, STEPS, struckAt } from "./kit.js";

/** @typedef {import("./kit.js").Kit} Kit */
/** @typedef {{ source: AudioBufferSourceNode, gain: GainNode, level: number, when: number, until: number }} Hit */

const FADE = 0.005; // in which a hit falls silent when another one cuts it, as in explorer/files/kits.py
const MISSED = 0.02; // a step that is later than this, because the page stood still, is left out

/**
 * Seconds from the first step to a step, counted on over the bars. A beat is four steps; of two steps the first one
 * takes `swing` per cent.
 * @param {{ tempo: number, swing: number }} kit
 * @param {number} step
 */
export const onset = ({ tempo, swing }, step) => (Math.floor(step / 2) + step % 2 * swing / 100) * 30 / tempo;

/**
 * The samples of a hit: those of a sound without the silence before it, up to 40 dB below its peak, as in
 * explorer/files/kits.py.
 * @param {Float32Array} samples
 */
export function audible(samples) {
  const peak = samples.reduce((highest, x) => Math.max(highest, Math.abs(x)), 0);
  return samples.subarray(Math.max(0, samples.findIndex((x) => Math.abs(x) * 100 > peak)));
}

/**
 * Schedules the steps of a beat ahead of time: a timer calls `advance` every now and then, and each step is struck at
 * its exact time, whenever the timer came.
 */
export class Sequencer {
  step = 0; // the next one to be struck, counted on over the bars
  /** When the first step would have been at the present tempo and swing. */
  #origin;

  /**
   * @param {number} when of the first step
   * @param {Kit} kit
   * @param {(pad: number, when: number) => void} strike
   */
  constructor(when, kit, strike) {
    this.#origin = when;
    this.kit = kit;
    this.strike = strike;
  }

  /** When the next step is. */
  get when() { return this.#origin + onset(this.kit, this.step); }

  /** Goes on with another beat, tempo or swing, from the next step at its present time. @param {Kit} kit */
  change(kit) {
    if (kit.tempo !== this.kit.tempo || kit.swing !== this.kit.swing) this.#origin = this.when - onset(kit, this.step);
    this.kit = kit;
  }

  /**
   * Strikes the steps before a time.
   * @param {number} now
   * @param {number} until
   * @returns {Array<{ step: number, when: number }>} of each, the step within its bar
   */
  advance(now, until) {
    const steps = [];
    for (; this.when < until; this.step++) {
      const { when } = this, step = this.step % STEPS;
      if (when < now - MISSED) continue;
      for (const pad of struckAt(this.kit, step)) this.strike(pad, Math.max(when, now));
      steps.push({ step, when });
    }
    return steps;
  }
}

/** Plays the hits of pads, which cut each other: a pad cuts itself, and those of the choke group cut one another. */
export class Hits {
  /** Those that may still sound, by pad. @type {Map<number, Set<Hit>>} */
  #sounding = new Map();

  /** @param {AudioNode} output */
  constructor(output) { this.output = output; }

  /**
   * @param {Kit} kit
   * @param {number} pad
   * @param {AudioBuffer} buffer
   * @param {number} when
   * @param {number} [level]
   */
  strike(kit, pad, buffer, when, level = 1) {
    const { context } = this.output;
    const source = new AudioBufferSourceNode(context, { buffer }), gain = new GainNode(context, { gain: level });
    const hit = { source, gain, level, when, until: Infinity };
    source.connect(gain).connect(this.output);
    source.start(when);
    for (const other of silencedBy(kit, pad).flatMap((i) => [...this.#sounding.get(i) ?? []])) {
      if (other.when <= when) cut(other, when);
      else cut(hit, other.when); // scheduled ahead
    }
    const own = this.#sounding.get(pad) ?? new Set();
    this.#sounding.set(pad, own.add(hit));
    source.onended = () => {
      own.delete(hit);
      gain.disconnect();
    };
  }

  /** Silences all, also those that are scheduled. @param {number} when */
  stop(when) {
    for (const hits of this.#sounding.values()) for (const hit of hits) cut(hit, when);
  }
}

/** @param {Hit} hit @param {number} when */
function cut(hit, when) {
  const { source, gain, level } = hit;
  if (when >= hit.until) return;
  hit.until = when;
  if (when <= hit.when) return source.stop(when); // before it begins
  gain.gain.cancelScheduledValues(when);
  gain.gain.setValueAtTime(level, when);
  gain.gain.linearRampToValueAtTime(0, when + FADE);
  source.stop(when + FADE);
}
