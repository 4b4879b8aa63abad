// What an offset says to a visitor, and the bars that show it.

/** What the server says of a direction (`told` in explorer/ui/handlers.py).
 * @typedef {{ title: string, step: number | null, unit: string, strength: number }} Direction */

/**
 * A number with its sign and at most two significant figures: +9, −0.12, 0.
 * @param {number} x
 */
export function signed(x) {
  const rounded = Number(x.toPrecision(2));
  return rounded === 0 ? "0" : `${rounded < 0 ? "−" : "+"}${Math.abs(rounded)}`;
}

/**
 * An offset in the unit of what it changes, "+9 semitones", or else in steps.
 * @param {number} amount in standard deviations
 * @param {Direction} [direction] none for a raw dimension
 */
export const inUnits = (amount, direction) => (direction?.step && amount
  ? `${signed(amount * direction.step)} ${direction.unit}` : signed(amount));

/**
 * Shows the amount of an offset on its slider, filled from 0.
 * @param {HTMLInputElement} slider
 * @param {number} amount
 * @param {Direction} [direction]
 */
export function showOffset(slider, amount, direction) {
  const row = /** @type {HTMLElement} */ (slider.closest(".wrap")), { min, max } = slider;
  const words = inUnits(amount, direction);
  slider.setAttribute("aria-valuetext", words);
  slider.style.setProperty("--zero", `${100 * Number(min) / (Number(min) - Number(max))}%`);
  row.dataset.told = words;
  row.dataset.strength = "●".repeat(direction?.strength ?? 0);
  row.title = row.querySelector(".info-text")?.textContent ?? "";
}
