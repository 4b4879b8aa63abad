// Plays a beat: a timer wakes the sequencer, which schedules steps on the audio clock; frames show the step heard.

import { Sequencer } from "./sequencer.js";

/** @typedef {import("./kit.js").Kit} Kit */
/** @typedef {{ step: number, when: number }} Step */

const AHEAD = 0.1, TICK = 0.025; // s: steps are scheduled this long before they are heard, this often
const AHEAD_HIDDEN = 2; // s: in a hidden page browsers slow the timer down to one call a second

export class Beat {
  /** @type {Sequencer | null} */
  #sequencer = null;
  /** Those that are not heard yet. @type {Step[]} */
  #scheduled = [];
  #timer = /** @type {ReturnType<typeof setInterval> | undefined} */ (undefined);

  /**
   * @param {(pad: number, when: number) => void} strike
   * @param {(step: number) => void} heard called once a step is heard
   */
  constructor(strike, heard) {
    this.strike = strike;
    this.heard = heard;
  }

  get playing() { return this.#sequencer !== null; }

  /** @param {AudioContext} context that runs @param {Kit} kit */
  play(context, kit) {
    const sequencer = this.#sequencer = new Sequencer(context.currentTime + TICK, kit, this.strike);
    const advance = () => {
      const { currentTime } = context;
      this.#scheduled.push(...sequencer.advance(currentTime, currentTime + (document.hidden ? AHEAD_HIDDEN : AHEAD)));
    };
    const look = () => {
      if (this.#sequencer !== sequencer) return;
      const now = context.currentTime - (context.outputLatency || 0);
      const due = this.#scheduled.filter(({ when }) => when <= now);
      this.#scheduled.splice(0, due.length);
      if (due.length) this.heard(due[due.length - 1].step);
      requestAnimationFrame(look);
    };
    this.#timer = setInterval(advance, TICK * 1000);
    advance();
    look();
  }

  /** Goes on with another kit, tempo or swing. @param {Kit} kit */
  change(kit) { this.#sequencer?.change(kit); }

  stop() {
    clearInterval(this.#timer);
    this.#sequencer = null;
    this.#scheduled = [];
  }
}
