// What moves while a sound plays: notes that light up as they sound, and a level meter. Nothing under reduced motion.

import { still } from "./panel.js";
import { KEY_WIDTH } from "./picture.js";

const FALL = 0.92; // of the meter from one frame to the next
const SHORTEST = 0.1; // s for which a note is lit at least
const NONE = new Float32Array(0);

export class Lights {
  #level = 0;
  #drawn = ""; // what is lit on the canvas, and in which picture

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

  /**
   * To be called at every frame; it draws only what has changed.
   * @param {import("./sound.js").Speaker} speaker
   * @param {boolean} held whether a hand moves something: all is dark then, for the picture to follow it sooner
   */
  draw(speaker, held) {
    const moving = speaker.playing && !held && !still.matches;
    const level = moving ? Math.max(speaker.peak, this.#level * FALL) : 0, shown = level.toFixed(2);
    if (shown !== this.#level.toFixed(2)) this.meter.style.setProperty("--level", shown);
    this.#level = level;
    this.#light(moving ? speaker : null);
  }

  /** Lights the notes that sound now, and their keys. @param {import("./sound.js").Speaker | null} speaker */
  #light(speaker) {
    const { canvas, context, picture } = this, { canvas: { width, height }, area, range } = picture;
    const now = speaker?.position ?? 0, notes = speaker?.sound?.notes ?? NONE, lit = [];
    for (let i = 0; i < notes.length && notes[i + 1] <= now; i += 4) { // notes are sorted by onset
      if (notes[i + 1] + Math.max(notes[i + 2], SHORTEST) >= now) lit.push(...notes.subarray(i, i + 3));
    }
    const wanted = lit.length ? [width, height, range.low, range.high, speaker?.sound?.seconds, ...lit].join() : "";
    if (wanted === this.#drawn) return;
    this.#drawn = wanted;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.resetTransform();
    context.clearRect(0, 0, width, height);
    const scale = window.devicePixelRatio || 1;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.shadowColor = "#fff";
    for (let i = 0; i < lit.length; i += 3) {
      const note = picture.noteArea(lit[i], lit[i + 1], lit[i + 2]);
      context.shadowBlur = 10;
      context.fillStyle = "#fff";
      context.fillRect(note.x, note.y, note.width, note.height);
      context.shadowBlur = 0;
      context.fillStyle = "#2dd4bf";
      context.fillRect(area.x - KEY_WIDTH - 2, note.y, KEY_WIDTH, note.height);
    }
  }
}
