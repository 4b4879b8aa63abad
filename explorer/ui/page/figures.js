// Colours and canvas helpers of the lessons' figures.

// From the colour-blind safe palette of Okabe and Ito, visible on light and dark.
export const REAL = "#0072B2", GENERATED = "#D55E00", SLOPE = "#009E73";

/**
 * Prepares a canvas for drawing; `across` and `down` are its size in CSS pixels.
 * @param {HTMLCanvasElement} canvas
 */
export function surface(canvas) {
  const scale = window.devicePixelRatio || 1, { clientWidth, clientHeight } = canvas;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  canvas.width = Math.round(clientWidth * scale);
  canvas.height = Math.round(clientHeight * scale);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.font = "12px system-ui, sans-serif";
  context.lineWidth = 2;
  return { context, across: clientWidth, down: clientHeight, ink: getComputedStyle(canvas).color };
}

/**
 * Draws a line through points.
 * @param {CanvasRenderingContext2D} context
 * @param {string} colour
 * @param {number[][]} points
 */
export function stroke(context, colour, points) {
  context.strokeStyle = colour;
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
  context.stroke();
}
