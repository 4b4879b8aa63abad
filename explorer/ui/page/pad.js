// A square pad that mixes four seeds: A and B are its upper corners, C and D its lower ones.

import { still } from "./panel.js";
import { isMix } from "./recipe.js";

/** @typedef {import("./recipe.js").Place} Place */
/** @typedef {[a: number, b: number, c: number, d: number]} Seeds */

/**
 * Bilinear weights of the four corners at a point of the pad; their sum is 1.
 * @param {number} x from the left, 0 to 1
 * @param {number} y from the top, 0 to 1
 */
export const cornerWeights = (x, y) => [(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y];

/**
 * Where a place lies on the pad.
 * @param {Place} place
 * @param {Seeds} seeds at the corners now
 * @returns {{ x: number, y: number, seeds: Seeds } | null} with C and D replaced if the place mixes other seeds; null
 *   if the pad cannot show the place
 */
export function pointOf(place, seeds) {
  if (!isMix(place)) return { x: place.t, y: 0, seeds };
  const { mix } = place, [a, b, oldC, oldD] = seeds, weight = (/** @type {number} */ seed) => mix[seed] ?? 0;
  const others = Object.keys(mix).map(Number).filter((seed) => seed !== a && seed !== b);
  const unknown = others.some((seed) => seed !== oldC && seed !== oldD);
  if (Object.values(mix).some((w) => w < 0) || (unknown && others.length > 2)) return null;
  let [c, d] = [oldC, oldD];
  if (unknown) {
    // The products of bilinear weights along both diagonals are equal, which tells C and D apart.
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

export const ACROSS = 4; // small pictures on a side of the pad; its corners are the middles of the outermost ones
const INSET = 0.5 / ACROSS; // from the pad's edge to its corners, as a share of its side
const TRAIL = 2500; // ms for which the way of the dot is seen
const STEP = 0.02, LARGE_STEP = 0.1; // of an arrow key, without and with Shift

/** The pad's dot, which is moved by the pointer, arrow keys, or two hidden sliders, and its way of the last seconds. */
export class Pad {
  /** @type {Array<{ x: number, y: number, time: number }>} */
  #way = [];

  /**
   * @param {{ pad: HTMLElement, trail: HTMLCanvasElement, across: HTMLInputElement, down: HTMLInputElement }} elements
   * @param {(x: number, y: number) => void} moved called when the visitor has moved the dot
   */
  constructor({ pad, trail, across, down }, moved) {
    this.pad = pad;
    this.trail = trail;
    pad.style.setProperty("--inset", String(INSET));
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
  /** Whether the pad cannot show the present place. */
  get away() { return this.pad.classList.contains("away"); }

  /** Moves the dot as the visitor would. @param {number} x @param {number} y */
  moveTo(x, y) {
    this.show({ x, y });
    this.moved(this.x, this.y);
  }

  /** Shows the dot at a point, or hides it. @param {{ x: number, y: number } | null} point */
  show(point) {
    this.pad.classList.toggle("away", point === null);
    if (point === null) return;
    for (const [slider, value, name] of /** @type {const} */ ([[this.across, point.x, "--x"], [this.down, point.y, "--y"]])) {
      slider.value = String(value); // which rounds it and keeps it within bounds
      slider.setAttribute("aria-valuetext", `${Math.round(100 * slider.valueAsNumber)} %`);
      this.pad.style.setProperty(name, slider.value);
    }
    if (still.matches) return;
    this.#way.push({ x: this.x, y: this.y, time: performance.now() });
    if (this.#way.length === 1) this.#drawTrail();
  }

  #drawTrail() {
    const { trail } = this, { clientWidth: width, clientHeight: height } = trail, now = performance.now();
    const context = /** @type {CanvasRenderingContext2D} */ (trail.getContext("2d"));
    if (trail.width !== width || trail.height !== height) Object.assign(trail, { width, height });
    context.clearRect(0, 0, width, height);
    this.#way = this.#way.filter(({ time }) => now - time < TRAIL);
    const at = (/** @type {number} */ share, /** @type {number} */ size) => size * (INSET + (1 - 2 * INSET) * share);
    context.lineWidth = 3;
    context.lineCap = "round";
    this.#way.slice(1).forEach(({ x, y, time }, i) => {
      context.strokeStyle = `rgb(255 255 255 / ${0.8 * (1 - (now - time) / TRAIL)})`;
      context.beginPath();
      context.moveTo(at(this.#way[i].x, width), at(this.#way[i].y, height));
      context.lineTo(at(x, width), at(y, height));
      context.stroke();
    });
    if (this.#way.length) requestAnimationFrame(() => this.#drawTrail());
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const { left, top, width, height } = this.pad.getBoundingClientRect();
    const within = (/** @type {number} */ share) => Math.min(1, Math.max(0, (share - INSET) / (1 - 2 * INSET)));
    this.moveTo(within((event.clientX - left) / width), within((event.clientY - top) / height));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const by = event.shiftKey ? LARGE_STEP : STEP;
    const steps = new Map([["ArrowLeft", [-by, 0]], ["ArrowRight", [by, 0]], ["ArrowUp", [0, -by]], ["ArrowDown", [0, by]]]);
    const step = steps.get(event.key);
    if (!step) return;
    event.preventDefault();
    this.moveTo(this.x + step[0], this.y + step[1]);
  }
}
