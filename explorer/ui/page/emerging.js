// Lesson 12: the stages from which a sound emerges, as pictures in a row, heard by a slider or one after another.

import { ask, card, finder } from "./panel.js";
import { session } from "./session.js";
import { Speaker } from "./sound.js";
import { unpack } from "./unpack.js";

/** @typedef {import("./sound.js").Sound} Sound */

const LONGEST = 4; // seconds of each stage that are played, one after another

export class Stages {
  /** What is played, from the noise on. @type {Array<Sound & { title: string }>} */
  #sounds = [];
  #shown = ""; // the recipe whose stages these are
  #coming = /** @type {{ recipe: string, arrived: Promise<boolean> } | null} */ (null); // what the server was asked for
  #speaker = /** @type {Speaker | null} */ (null);
  #halt = () => this.#stop();
  #timer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);

  /**
   * @param {HTMLElement} element
   * @param {import("./asking.js").ServerFunction} fetch the panel's `stages`
   */
  constructor(element, fetch) {
    const find = finder(element);
    this.element = element;
    this.fetch = fetch;
    this.row = find("stages");
    this.slider = /** @type {HTMLInputElement} */ (find("stage"));
    this.button = find("through");
    this.slider.oninput = () => this.hear(this.slider.valueAsNumber);
    this.button.onclick = () => (this.#timer ? this.#stop() : this.play());
  }

  /** Shows the stages of a place. Resolves to whether they are here. @param {string} recipe */
  async show(recipe) {
    if (recipe === this.#shown) return true;
    if (this.#coming?.recipe !== recipe) this.#coming = { recipe, arrived: this.#load(recipe) };
    return this.#coming.arrived;
  }

  async #load(/** @type {string} */ recipe) {
    this.row.setAttribute("aria-busy", "true");
    const answer = await ask(this.fetch, recipe), newest = this.#coming?.recipe === recipe;
    if (newest) {
      this.#coming = null;
      this.row.removeAttribute("aria-busy");
    }
    if (!answer || !newest) return false;
    this.#stop();
    this.#shown = recipe;
    const sent = answer.stages.map((/** @type {import("./asking.js").Answer} */ stage) => (
      { ...stage, title: stage.step ? `step ${stage.step}` : "noise" }));
    this.#sounds = sent.map(unpack);
    this.row.replaceChildren(...sent.map((/** @type {any} */ stage, /** @type {number} */ i) => (
      card(stage, stage.title, () => this.hear(i)))));
    this.slider.max = String(sent.length - 1);
    this.#mark(sent.length - 1);
    return true;
  }

  /** Plays one stage. @param {number} i */
  hear(i) {
    this.#stop();
    return this.#strike(i);
  }

  /** Plays all stages, one after another. */
  async play(i = 0) {
    if (i >= this.#sounds.length || !this.element.isConnected || (i && session.speaker?.playing)) return this.#stop();
    this.button.textContent = "Stop";
    session.alsoPlays(this.#halt, true);
    this.#timer = setTimeout(() => this.play(i + 1), 1000 * Math.min(LONGEST, this.#sounds[i].seconds));
    await this.#strike(i);
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.button.textContent = "Play from noise to sound";
    session.alsoPlays(this.#halt, false);
    if (this.#speaker?.playing) this.#speaker.stop();
  }

  async #strike(/** @type {number} */ i) {
    const { speaker } = session, sound = this.#sounds[i];
    if (!speaker || !sound) return;
    this.#mark(i);
    session.silence();
    await session.heard((async () => {
      const context = await speaker.wake();
      const shared = { context, master: speaker.master, looping: false };
      this.#speaker ??= Object.assign(new Speaker(speaker.piano, () => {}), shared);
      if (this.#speaker.playing) this.#speaker.stop();
      await this.#speaker.load(sound);
      this.#speaker.seek(0);
      await this.#speaker.play();
    })());
  }

  #mark(/** @type {number} */ i) {
    this.slider.value = String(i);
    this.slider.setAttribute("aria-valuetext", this.#sounds[i].title);
    [...this.row.children].forEach((made, k) => made.setAttribute("aria-current", String(k === i)));
  }
}
