// Lesson 3: real and generated data as two uniform distributions on a line, and two distances between them.

import { GENERATED, REAL, SLOPE, stroke, surface } from "./figures.js";

export const REACH = 3; // of the shift to either side; the slider in learn.html has the same bounds

/**
 * Jensen-Shannon divergence, in nats, and Wasserstein distance of two uniform distributions of equal width, and the
 * slopes of both along the shift of one against the other.
 * @param {number} by shift
 * @param {number} wide width
 */
export function distances(by, wide) {
  const apart = Math.abs(by), overlapping = apart < wide;
  return {
    jensenShannon: overlapping ? Math.LN2 * apart / wide : apart > 0 ? Math.LN2 : 0,
    jensenShannonSlope: overlapping ? Math.sign(by) * Math.LN2 / wide : 0,
    wasserstein: apart,
    wassersteinSlope: Math.sign(by),
  };
}

/**
 * Draws the distributions as blocks with a critic over them, and below both distances as functions of the shift.
 * @param {HTMLCanvasElement} canvas
 * @param {number} by shift
 * @param {number} wide width
 * @param {boolean} critic draws the critic of WGAN-GP in place of the optimal discriminator
 * @returns {string} the distances in words
 */
export function drawBlocks(canvas, by, wide, critic) {
  const now = distances(by, wide);
  const text = `Jensen-Shannon ${now.jensenShannon.toFixed(3)}, slope ${now.jensenShannonSlope.toFixed(2)}. `
    + `Wasserstein ${now.wasserstein.toFixed(2)}, slope ${now.wassersteinSlope.toFixed(2)}.`;
  canvas.setAttribute("aria-label", `Real data from 0 to ${wide.toFixed(1)}, generated from ${by.toFixed(2)} to ${(by + wide).toFixed(2)}. ${text}`);
  if (!canvas.clientWidth) return text;
  const { context, across, down, ink } = surface(canvas), base = 84, block = 34;
  const unit = across / (2 * REACH + 2.4), at = (/** @type {number} */ x) => across / 2 + (x - wide / 2) * unit;
  // The two blocks, and the critic over them
  const crowded = Math.abs(by) * unit < 60;
  for (const [start, colour, name] of /** @type {const} */ ([[0, REAL, "real"], [by, GENERATED, "generated"]])) {
    context.globalAlpha = 0.55;
    context.fillStyle = colour;
    context.fillRect(at(start) - (wide ? 0 : 2), base - block, Math.max(4, wide * unit), block);
    context.globalAlpha = 1;
    context.fillStyle = ink;
    context.textAlign = "center";
    const below = crowded && colour === GENERATED ? 28 : 14;
    context.fillText(name, Math.min(Math.max(at(start + wide / 2), 32), across - 32), base + below);
  }
  stroke(context, ink, [[0, base], [across, base]]);
  context.fillStyle = ink;
  context.textAlign = "left";
  context.fillText(critic ? "critic of WGAN-GP: slope 1 everywhere" : "best discriminator: flat on each block", 2, 12);
  if (critic) {
    const middle = at((by + wide) / 2), rise = 0.5 * Math.sign(by);
    stroke(context, SLOPE, [[0, 46 - rise * 0.12 * middle], [across, 46 + rise * 0.12 * (across - middle)]]);
  } else {
    // real / (real + generated): 1 for real, 0 for generated, 1/2 where they overlap; undefined where there is neither
    const edges = [...new Set([0, wide, by, by + wide])].sort((a, b) => a - b);
    const blunt = wide ? 0 : 4 / unit;
    const pieces = wide ? edges.slice(1).map((end, i) => [edges[i], end]) : edges.map((x) => [x - blunt, x + blunt]);
    for (const [start, end] of pieces) {
      const middle = (start + end) / 2, real = middle >= 0 - blunt / 2 && middle <= wide + blunt / 2;
      const generated = middle >= by - blunt / 2 && middle <= by + wide + blunt / 2;
      if (real || generated) {
        const y = base - 60 * (real ? (generated ? 0.5 : 1) : 0);
        stroke(context, SLOPE, [[at(start), y], [at(end), y]]);
      }
    }
  }
  // Both distances over the shift, and their tangents at the present shift
  const top = 146, foot = down - 22;
  const x = (/** @type {number} */ s) => across / 2 + s / REACH * (across / 2 - 24);
  const y = (/** @type {number} */ v) => foot - v / REACH * (foot - top);
  const shifts = Array.from({ length: 241 }, (_, i) => REACH * (i / 120 - 1));
  stroke(context, REAL, shifts.map((s) => [x(s), y(distances(s, wide).wasserstein)]));
  stroke(context, GENERATED, shifts.map((s) => [x(s), y(distances(s, wide).jensenShannon)]));
  context.fillText("Wasserstein", 22, top - 8);
  context.fillText("Jensen-Shannon", 132, top - 8);
  stroke(context, REAL, [[0, top - 12], [16, top - 12]]);
  stroke(context, GENERATED, [[110, top - 12], [126, top - 12]]);
  context.lineWidth = 1;
  stroke(context, ink, [[0, foot], [across, foot]]);
  stroke(context, ink, [[x(by), top], [x(by), foot]]);
  context.textAlign = "center";
  context.fillText("shift", across / 2, foot + 16);
  for (const [value, slope, colour] of /** @type {const} */ ([
    [now.wasserstein, now.wassersteinSlope, REAL], [now.jensenShannon, now.jensenShannonSlope, GENERATED]])) {
    context.lineWidth = 5;
    stroke(context, colour, [[x(by - 0.3), y(value - 0.3 * slope)], [x(by + 0.3), y(value + 0.3 * slope)]]);
  }
  return text;
}
