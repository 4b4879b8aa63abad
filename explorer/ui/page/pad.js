// A pad between four seeds: A and B above, C and D below.

import { isMix } from "./recipe.js";

/** @typedef {import("./recipe.js").Place} Place */
/** @typedef {[a: number, b: number, c: number, d: number]} Seeds */

/**
 * How much of each corner is in a point of the pad: bilinear weights, whose sum is 1.
 * @param {number} x from the left, 0 to 1
 * @param {number} y from the top, 0 to 1
 */
export const cornerWeights = (x, y) => [(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y];

/**
 * Where a place lies on the pad.
 * @param {Place} place
 * @param {Seeds} seeds at the corners as they are
 * @returns {{ x: number, y: number, seeds: Seeds } | null} with the seeds C and D that the place needs there; null for
 *   a place that is on no pad
 */
export function pointOf(place, seeds) {
  if (!isMix(place)) return { x: place.t, y: 0, seeds };
  const { mix } = place, [a, b, oldC, oldD] = seeds, weight = (/** @type {number} */ seed) => mix[seed] ?? 0;
  const others = Object.keys(mix).map(Number).filter((seed) => seed !== a && seed !== b);
  const strange = others.some((seed) => seed !== oldC && seed !== oldD);
  if (Object.values(mix).some((w) => w < 0) || (strange && others.length > 2)) return null;
  let [c, d] = [oldC, oldD];
  if (strange) {
    // On a pad the products over its diagonals are equal.
    const [first, second = oldD] = others;
    const error = (/** @type {number} */ atC, /** @type {number} */ atD) => (
      Math.abs(weight(a) * weight(atD) - weight(b) * weight(atC)));
    [c, d] = error(first, second) <= error(second, first) ? [first, second] : [second, first];
  }
  const corners = /** @type {Seeds} */ ([a, b, c, d]), whole = Object.values(mix).reduce((sum, w) => sum + w);
  // A seed at two corners counts once.
  const share = (/** @type {number} */ i) => (corners.indexOf(corners[i]) === i ? weight(corners[i]) : 0) / whole;
  return { x: share(1) + share(3), y: share(2) + share(3), seeds: corners };
}

const NUDGE = 0.02, LEAP = 0.1; // of an arrow key, and with Shift

/** The pad's dot, moved by pointer, arrow keys, and its two hidden sliders. */
export class Pad {
  /**
   * @param {{ pad: HTMLElement, across: HTMLInputElement, down: HTMLInputElement }} elements
   * @param {(x: number, y: number) => void} moved told where a hand has moved the dot
   */
  constructor({ pad, across, down }, moved) {
    this.pad = pad;
    this.across = across;
    this.down = down;
    this.moved = moved;
    pad.onpointerdown = (event) => {
      event.preventDefault();
      pad.setPointerCapture(event.pointerId);
      across.focus({ preventScroll: true });
      this.#point(event);
    };
    pad.onpointermove = (event) => { if (pad.hasPointerCapture(event.pointerId)) this.#point(event); };
    pad.onkeydown = (event) => this.#key(event);
    pad.oninput = () => this.moveTo(this.x, this.y);
  }

  get x() { return this.across.valueAsNumber; }
  get y() { return this.down.valueAsNumber; }
  /** Whether the place that is shown is on no pad. */
  get away() { return this.pad.classList.contains("away"); }

  /** As if a hand had moved the dot there. @param {number} x @param {number} y */
  moveTo(x, y) {
    this.show({ x, y });
    this.moved(this.x, this.y);
  }

  /** Shows a point, or that there is none. @param {{ x: number, y: number } | null} point */
  show(point) {
    this.pad.classList.toggle("away", point === null);
    if (point === null) return;
    for (const [slider, value, name] of /** @type {const} */ ([[this.across, point.x, "--x"], [this.down, point.y, "--y"]])) {
      slider.value = String(value); // rounded and kept within its bounds
      slider.setAttribute("aria-valuetext", `${Math.round(100 * slider.valueAsNumber)} %`);
      this.pad.style.setProperty(name, slider.value);
    }
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const { left, top, width, height } = this.pad.getBoundingClientRect();
    const within = (/** @type {number} */ x) => Math.min(1, Math.max(0, x));
    this.moveTo(within((event.clientX - left) / width), within((event.clientY - top) / height));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const by = event.shiftKey ? LEAP : NUDGE;
    const steps = new Map([["ArrowLeft", [-by, 0]], ["ArrowRight", [by, 0]], ["ArrowUp", [0, -by]], ["ArrowDown", [0, by]]]);
    const step = steps.get(event.key);
    if (!step) return;
    event.preventDefault();
    this.moveTo(this.x + step[0], this.y + step[1]);
  }
}
