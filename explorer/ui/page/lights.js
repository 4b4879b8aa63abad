// What moves while a sound plays: notes that light up as they sound, and a level meter. Nothing under reduced motion.

import { KEY_WIDTH } from "./picture.js";

const FALL = 0.92; // of the meter from one frame to the next
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Lights {
  #level = 0;

  /**
   * @param {HTMLCanvasElement} canvas that lies over the picture
   * @param {import("./picture.js").Picture} picture
   * @param {HTMLElement} meter
   */
  constructor(canvas, picture, meter) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.picture = picture;
    this.meter = meter;
  }

  /** To be called at every frame. @param {import("./sound.js").Speaker} speaker */
  draw(speaker) {
    if (!speaker.playing && this.#level === 0) return; // what was lit is dark already
    const level = speaker.playing && !still.matches ? Math.max(speaker.peak, this.#level * FALL) : 0;
    this.meter.style.setProperty("--level", level.toFixed(3));
    this.#level = level;
    this.#light(level ? speaker : null);
  }

  /** @param {import("./sound.js").Speaker | null} speaker */
  #light(speaker) {
    const { canvas, context, picture: { canvas: { width, height }, area } } = this, notes = speaker?.sound?.notes;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.resetTransform();
    context.clearRect(0, 0, width, height);
    if (!speaker || !notes) return;
    const scale = window.devicePixelRatio || 1, now = speaker.position;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.fillStyle = context.shadowColor = "#fff";
    for (let i = 0; i < notes.length; i += 4) {
      const [pitch, onset, duration] = notes.subarray(i, i + 3);
      if (onset > now) break; // notes are sorted by onset
      if (onset + Math.max(duration, 0.1) < now) continue;
      const note = this.picture.noteArea(pitch, onset, duration);
      context.shadowBlur = 10;
      context.fillRect(note.x, note.y, note.width, note.height);
      context.shadowBlur = 0;
      context.fillStyle = "#2dd4bf";
      context.fillRect(area.x - KEY_WIDTH - 2, note.y, KEY_WIDTH, note.height);
      context.fillStyle = "#fff";
    }
  }
}
