// Lesson 2: the curves of a training run.

import { GENERATED, REAL, SLOPE, stroke, surface } from "./figures.js";

/** A metric's name and its values, steps ascending.
 * @typedef {[metric: string, points: Array<[step: number, value: number]>]} Curve */

const NAMES = new Map([
  ["reconstruction_loss", "reconstruction loss"], ["wasserstein", "critic's estimate, of this critic at this moment"],
]);

const nameOf = (/** @type {string} */ metric) => NAMES.get(metric) ?? metric;

const shortName = (/** @type {string} */ metric) => nameOf(metric).split(",")[0];

// What `python -m training evaluate --snapshots` measures: its title, and what is good.
const FIGURES = new Map([
  ["frechet", "Fréchet distance (falls)"], ["named", "named by the judge at all"], ["accuracy", "right label"],
  ["kept", "right pitch"], ["overlap_area", "overlap with real pieces (1 is alike)"],
  ["told", "told from real (50 % is guessing)"], ["precision", "precision"], ["recall", "recall"],
  ["spread", "spread (1 is real)"], ["nearest", "distance to the nearest training clip"],
]);
const SHARES = ["named", "accuracy", "kept", "told"]; // are written in per cent

/** A figure as text. @param {string} name @param {number} value */
export const figureText = (name, value) => (
  SHARES.includes(name) ? `${(100 * value).toFixed(1)} %` : Number(value.toPrecision(3)).toString());

/**
 * Fills a table with a row for each figure, and a column for each step of training and for unheard recordings.
 * @param {HTMLTableElement} table
 * @param {import("./asking.js").Answer | null} figures as Lessons.lesson_data in learn.py gives them
 * @param {boolean} last whether to show only the last step
 */
export function figuresTable(table, figures, last) {
  table.hidden = figures === null;
  if (figures === null) return;
  const steps = /** @type {Array<[number, Record<string, number>]>} */ (last ? figures.steps.slice(-1) : figures.steps);
  const row = (/** @type {string} */ title, /** @type {string[]} */ cells, /** @type {"th" | "td"} */ kind) => {
    const made = document.createElement("tr"), head = document.createElement("th");
    head.textContent = title;
    made.append(head, ...cells.map((text) => Object.assign(document.createElement(kind), { textContent: text })));
    return made;
  };
  const names = [...FIGURES.keys()].filter((name) => steps.some(([, found]) => name in found));
  const text = (/** @type {Record<string, number>} */ found, /** @type {string} */ name) => (
    name in found ? figureText(name, found[name]) : "–");
  table.replaceChildren(row("step", [...steps.map(([step]) => count(step)), "unheard"], "th"), ...names.map((name) => (
    row(FIGURES.get(name) ?? name, [...steps.map(([, found]) => text(found, name)), text(figures.real, name)], "td"))));
}

/** A number with separators between thousands. @param {number} x */
export const count = (x) => x.toLocaleString("en");

/**
 * The last values up to a step, in words: ", reconstruction loss 0.12".
 * @param {Curve[]} curves
 * @param {number} step
 */
export function measuredAt(curves, step) {
  return curves.map(([metric, points]) => {
    const value = points.filter(([at]) => at <= step).pop()?.[1];
    return value === undefined ? "" : `, ${shortName(metric)} ${value.toPrecision(3)}`;
  }).join("");
}

/**
 * Draws the curves below one another, with a vertical line at a step.
 * @param {HTMLCanvasElement} canvas
 * @param {Curve[]} curves
 * @param {number} step
 * @param {number[]} snapshots steps to mark on the axis
 * @param {number | null} game the step at which the warm start ends and the game of generator and critic begins
 */
export function drawCurves(canvas, curves, step, snapshots, game) {
  canvas.hidden = !curves.length;
  if (canvas.hidden || !canvas.clientWidth) return;
  const { context, across, down: whole, ink } = surface(canvas), foot = game === null ? 0 : 18;
  const down = whole - foot, each = down / curves.length;
  const last = Math.max(...curves.map(([, points]) => points[points.length - 1][0]));
  const x = (/** @type {number} */ s) => Math.min(1, s / last) * (across - 8) + 4;
  const descriptions = curves.map(([metric, points], i) => {
    const values = points.map(([, value]) => value), high = Math.max(...values), low = Math.min(0, ...values);
    const top = i * each + 20, bottom = (i + 1) * each - 8;
    const y = (/** @type {number} */ v) => bottom - (v - low) / (high - low || 1) * (bottom - top);
    context.lineWidth = 1;
    stroke(context, ink, [[4, y(0)], [across - 4, y(0)]]);
    for (const kept of snapshots) stroke(context, ink, [[x(kept), y(0) - 3], [x(kept), y(0) + 3]]);
    context.lineWidth = 2;
    stroke(context, i ? GENERATED : REAL, points.map(([s, v]) => [x(s), y(v)]));
    const highest = `up to ${high.toPrecision(3)}`, room = across - 24 - context.measureText(highest).width;
    const name = context.measureText(nameOf(metric)).width < room ? nameOf(metric) : shortName(metric);
    context.fillStyle = ink;
    context.textAlign = "left";
    context.fillText(name, 10, i * each + 12);
    context.textAlign = "right";
    context.fillText(highest, across - 4, i * each + 12);
    return `${nameOf(metric)} from ${values[0].toPrecision(3)} to ${values[values.length - 1].toPrecision(3)}`;
  });
  stroke(context, SLOPE, [[x(step), 0], [x(step), down]]);
  if (game !== null) {
    context.setLineDash([3, 3]);
    stroke(context, ink, [[x(game), 0], [x(game), whole]]);
    context.setLineDash([]);
    context.textAlign = "left";
    const middle = x(game);
    if (middle > 40) context.fillText("warm start", 4, whole - 4, middle - 8);
    context.fillText("game of generator and critic", middle + 6, whole - 4);
  }
  const phases = game === null ? "" : `, of which the first ${count(game)} are the warm start`;
  canvas.setAttribute("aria-label", `Curves over ${count(last)} steps of training${phases}: ${descriptions.join("; ")}`);
}
