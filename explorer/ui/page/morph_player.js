// Plays the steps of a morph one after the other, there and back. Times are in seconds.

import { session } from "./session.js";

/** @typedef {import("./unpack.js").Sound} Sound */

const DWELL = 4; // on a step of a longer sound; a shorter one is heard to its end
const LEAST = 0.1; // between two steps

/**
 * The step after this one, there and back.
 * @param {number} step
 * @param {number} by 1 or -1
 * @param {number} count
 * @returns {[step: number, by: number]}
 */
export function nextStep(step, by, count) {
  const turned = step + by < 0 || step + by >= count ? -by : by;
  return [step + turned, turned];
}

export class MorphPlayer {
  /** The sounds of the steps, while they are played. @type {Sound[]} */
  sounds = [];
  #step = 0;
  #by = 1;
  #timer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);

  /**
   * @param {HTMLElement} element without which it ends
   * @param {() => void} changed told of every step, and of the end
   */
  constructor(element, changed) {
    this.element = element;
    this.changed = changed;
  }

  get playing() { return this.sounds.length > 0; }

  /**
   * @param {Sound[]} sounds
   * @param {number} step to begin with
   */
  async start(sounds, step) {
    this.sounds = sounds;
    [this.#step, this.#by] = [step, 1];
    await this.#play(0);
  }

  /** Ends on the step where it is, unless something else is shown by now. */
  stop() {
    const sound = this.sounds[this.#step];
    clearTimeout(this.#timer);
    this.sounds = [];
    this.changed();
    if (session.shown === sound) session.go(sound.recipe);
  }

  /** Shows the present step, has it heard from a position on, and sees to the next. @param {number} [position] */
  async #play(position) {
    const speaker = /** @type {import("./sound.js").Speaker} */ (session.speaker), sound = this.sounds[this.#step];
    clearTimeout(this.#timer);
    await session.preview(sound, position);
    if (!speaker.playing) {
      speaker.seek(position ?? 0);
      await session.play();
    }
    if (!this.playing) return;
    this.changed();
    const left = sound.seconds <= DWELL ? sound.seconds - speaker.at(speaker.now) - speaker.fade : DWELL;
    this.#timer = setTimeout(() => this.#goOn(), 1000 * Math.max(LEAST, left));
  }

  #goOn() {
    const shown = this.sounds[this.#step];
    if (!this.element.isConnected || session.shown !== shown || !session.speaker?.playing) return this.stop();
    [this.#step, this.#by] = nextStep(this.#step, this.#by, this.sounds.length);
    this.#play(this.sounds[this.#step].seconds <= DWELL ? 0 : undefined);
  }
}
