// Plays the steps of a morph one after another, to the end and back. Times are in seconds.

import { session } from "./session.js";

/** @typedef {import("./unpack.js").Sound} Sound */

const MAX_STEP = 4; // for which a step is played; a shorter sound is played to its end
const MIN_STEP = 0.1; // between two steps

/**
 * The next step and direction; it turns round at both ends.
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
  /** The sounds of the steps while the morph plays, otherwise empty. @type {Sound[]} */
  sounds = [];
  #step = 0;
  #by = 1;
  #timer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);

  /**
   * @param {HTMLElement} element stops when this has left the page
   * @param {() => void} changed called at every step and at the end
   */
  constructor(element, changed) {
    this.element = element;
    this.changed = changed;
  }

  get playing() { return this.sounds.length > 0; }

  /**
   * @param {Sound[]} sounds
   * @param {number} step the first one to play
   */
  async start(sounds, step) {
    this.sounds = sounds;
    [this.#step, this.#by] = [step, 1];
    await this.#play(0);
  }

  /** Stops and stays at the present step, unless something else is shown by now. */
  stop() {
    const sound = this.sounds[this.#step];
    clearTimeout(this.#timer);
    this.sounds = [];
    this.changed();
    if (session.shown === sound) session.go(sound.recipe);
  }

  /** Shows and plays the present step from a position, and sets a timer for the next. @param {number} [position] */
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
    const left = sound.seconds <= MAX_STEP ? sound.seconds - speaker.at(speaker.now) - speaker.fade : MAX_STEP;
    this.#timer = setTimeout(() => this.#next(), 1000 * Math.max(MIN_STEP, left));
  }

  #next() {
    const shown = this.sounds[this.#step];
    if (!this.element.isConnected || session.shown !== shown || !session.speaker?.playing) return this.stop();
    [this.#step, this.#by] = nextStep(this.#step, this.#by, this.sounds.length);
    this.#play(this.sounds[this.#step].seconds <= MAX_STEP ? 0 : undefined);
  }
}
