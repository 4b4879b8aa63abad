// A part of the picture, chosen by dragging over it or by keys, which the speaker repeats as a seamless loop.

import { ask, make, saveAs } from "./panel.js";
import { session } from "./session.js";
import { decodeBase64, samplesOf } from "./unpack.js";

/** @typedef {{ start: number, end: number }} Span in seconds */

const LEAST = 0.02; // s of a loop, as in explorer/files/loops.py
const MOVED = 6; // pixels that a pointer must move for a drag
const STEP = 0.01, LARGE_STEP = 0.1; // s of an arrow key, without and with Shift
const RESTED = 350; // ms after the last key until the loop is made
const SAVING_LIMIT = 300_000; // ms

export class Selection {
  /** @type {Span | null} */
  span = null;
  #timer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);

  /**
   * @param {HTMLElement} root the screen
   * @param {import("./picture.js").Picture} picture
   * @param {import("./sound.js").Speaker} speaker
   * @param {Record<string, import("./asking.js").ServerFunction>} server
   */
  constructor(root, picture, speaker, server) {
    this.picture = picture;
    this.speaker = speaker;
    this.server = server;
    this.ends = ["start", "end"].map((name) => make("div", { className: `edge ${name}`, role: "slider", tabIndex: 0,
      ariaLabel: `Loop's ${name}`, ariaValueMin: "0" }));
    this.save = make("button", { type: "button", textContent: "Save loop", title: "A WAV file that samplers repeat without a click" });
    this.whole = make("button", { type: "button", textContent: "✕", ariaLabel: "Play the whole sound", title: "Play the whole sound" });
    this.tools = make("div", { className: "tools", role: "group", ariaLabel: "Loop" }, this.save, this.whole);
    this.box = make("div", { className: "selection", hidden: true }, ...this.ends, this.tools);
    root.append(this.box);
    this.save.onclick = () => this.#save();
    this.whole.onclick = () => this.clear();
    picture.canvas.onpointerdown = (event) => this.#drag(event, null);
    this.ends.forEach((end, i) => {
      end.onpointerdown = (event) => this.#drag(event, i);
      end.onkeydown = (event) => this.#key(event, i);
    });
    new ResizeObserver(() => this.draw()).observe(root);
  }

  /** @param {PointerEvent} event */
  #timeAt(event) {
    const { canvas, area } = this.picture, x = event.clientX - canvas.getBoundingClientRect().x - area.x;
    return Math.min(1, Math.max(0, x / area.width)) * this.speaker.seconds;
  }

  /**
   * Selects from where the pointer is, or from the other end, to where it goes; without a drag it seeks.
   * @param {PointerEvent} down
   * @param {number | null} end that is moved
   */
  #drag(down, end) {
    if (down.button || !this.speaker.sound) return;
    const target = /** @type {HTMLElement} */ (down.currentTarget), from = down.clientX, { span } = this;
    const anchor = span && end !== null ? [span.end, span.start][end] : this.#timeAt(down);
    let dragged = end !== null;
    target.setPointerCapture(down.pointerId);
    target.onpointermove = (event) => {
      dragged ||= Math.abs(event.clientX - from) > MOVED;
      if (dragged) this.#choose(anchor, this.#timeAt(event));
    };
    target.onpointerup = (event) => {
      target.onpointermove = target.onpointerup = target.onpointercancel = null;
      if (dragged) this.#make(true);
      else this.#seek(this.#timeAt(event));
    };
    target.onpointercancel = () => { // the finger scrolls the page
      target.onpointermove = target.onpointerup = target.onpointercancel = null;
      this.span = span;
      this.draw();
    };
  }

  /** @param {number} time */
  #seek(time) {
    if (this.span && (time < this.span.start || time > this.span.end)) this.clear();
    this.speaker.seek(Math.min(time, this.speaker.seconds * 0.999));
  }

  /** @param {KeyboardEvent} event @param {number} end */
  #key(event, end) {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key], { span } = this;
    if (!by || !span) return;
    event.preventDefault();
    const moved = [span.start, span.end];
    moved[end] += by * (event.shiftKey ? LARGE_STEP : STEP);
    if (moved[1] - moved[0] >= LEAST) this.#choose(moved[0], moved[1]);
    this.#makeSoon();
  }

  /** Sets one end to where the ear is, the other to that of the sound. @param {"start" | "end"} end */
  mark(end) {
    const { position, seconds } = this.speaker, span = this.span ?? { start: 0, end: seconds };
    const next = { ...span, [end]: position };
    if (next.end - next.start < LEAST) Object.assign(next, end === "start" ? { end: seconds } : { start: 0 });
    this.#choose(next.start, next.end);
    this.#makeSoon();
  }

  /** @param {number} a @param {number} b */
  #choose(a, b) {
    const { seconds } = this.speaker;
    this.span = { start: Math.max(0, Math.min(a, b)), end: Math.min(seconds, Math.max(a, b)) };
    this.draw();
  }

  #makeSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#make(true), RESTED);
  }

  /** Has the server make the loop and plays it. @param {boolean} begin also if nothing plays */
  async #make(begin) {
    clearTimeout(this.#timer);
    const { span } = this, { shown } = session;
    if (!span || !shown) return;
    if (span.end - span.start < LEAST) return this.clear();
    session.warn();
    const answer = await ask(this.server.loop, [shown.recipe, span.start, span.end]);
    if (span !== this.span || shown !== session.shown) return; // outdated
    if (!answer) return this.clear();
    const { start, end } = answer;
    this.speaker.select({ start, end, pcm: { rate: answer.pcm.rate, samples: samplesOf(answer.pcm) } });
    session.say(`Loop from ${start.toFixed(2)} to ${end.toFixed(2)} seconds`);
    if (begin && !this.speaker.playing) await session.play();
  }

  /** The sound is another one; a moved slider keeps the selection. @param {boolean} another */
  follow(another) {
    if (another) this.clear();
    else if (this.span) this.draw();
  }

  /** Makes the loop of the sound that has settled. */
  settle() {
    if (this.span && !this.speaker.region?.pcm) this.#make(false);
  }

  clear() {
    clearTimeout(this.#timer);
    if (!this.span) return;
    this.span = null;
    this.speaker.select(null);
    this.draw();
  }

  async #save() {
    const { span } = this, { shown } = session;
    if (!span || !shown) return;
    this.save.disabled = true;
    session.say("Preparing the loop …");
    const file = await ask(this.server.save_loop, [shown.recipe, span.start, span.end], SAVING_LIMIT);
    if (file) saveAs(file.name, [decodeBase64(file.data)]);
    this.save.disabled = false;
  }

  draw() {
    const { span, box, picture: { area, canvas }, speaker: { seconds } } = this;
    box.hidden = !span;
    if (!span) return;
    const at = (/** @type {number} */ time) => area.x + area.width * time / seconds;
    box.style.left = `${at(span.start)}px`;
    box.style.width = `${at(span.end) - at(span.start)}px`;
    this.tools.classList.toggle("left", at(span.start) > canvas.clientWidth / 2);
    [span.start, span.end].forEach((time, i) => Object.assign(this.ends[i], {
      ariaValueMax: String(seconds), ariaValueNow: time.toFixed(3), ariaValueText: `${time.toFixed(2)} seconds`,
    }));
  }
}
