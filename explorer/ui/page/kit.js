// Kits, with the fields of explorer/kit.py: eight places of one checkpoint, and a bar of sixteen steps for each.

import { without } from "./recipe.js";

/** @typedef {import("./recipe.js").Place} Place */
/** @typedef {import("./recipe.js").Recipe} Recipe */

/**
 * @typedef {object} Kit
 * @property {number} version
 * @property {string} model
 * @property {string} weights
 * @property {Recipe[]} pads without the three fields above
 * @property {string} beat four hexadecimal digits for each pad; the highest bit is the first step
 * @property {number} tempo beats per minute
 * @property {number} swing share of the first of two steps, in per cent
 * @property {string} choke numbers from 1 of the pads that silence each other
 */

export const PADS = 8, STEPS = 16;
export const PREFIX = "kit."; // of a kit's fields in a link
const ROW = STEPS / 4; // digits

/** @param {Kit} kit @param {number} pad from 0 @returns {Recipe} of the pad, with all its fields */
export const recipeOf = ({ version, model, weights, pads }, pad) => ({ version, model, weights, ...pads[pad] });

/** @param {Kit} kit @param {number} pad @param {Recipe} recipe @returns {Kit} */
export const withPad = (kit, pad, recipe) => ({
  ...kit, pads: kit.pads.map((old, i) => (i === pad ? without(recipe, "version", "model", "weights") : old)),
});

/** @param {Kit} kit @param {number} pad */
const row = ({ beat }, pad) => parseInt(beat.slice(ROW * pad, ROW * (pad + 1)), 16);

/** @param {Kit} kit @param {number} pad @param {number} step */
export const isOn = (kit, pad, step) => (row(kit, pad) >> (STEPS - 1 - step) & 1) === 1;

/** The kit with one step switched. @param {Kit} kit @param {number} pad @param {number} step @returns {Kit} */
export function toggled(kit, pad, step) {
  const bits = (row(kit, pad) ^ 1 << (STEPS - 1 - step)).toString(16).padStart(ROW, "0");
  return { ...kit, beat: kit.beat.slice(0, ROW * pad) + bits + kit.beat.slice(ROW * (pad + 1)) };
}

/** @param {Kit} kit @returns {Kit} */
export const cleared = (kit) => ({ ...kit, beat: "0".repeat(PADS * ROW) });

/** @param {Kit} kit @param {number} pad */
export const chokes = ({ choke }, pad) => choke.includes(String(pad + 1));

/** The kit with a pad in the choke group, or out of it. @param {Kit} kit @param {number} pad @returns {Kit} */
export function withChoke(kit, pad) {
  const numbers = Array.from({ length: PADS }, (_, i) => i).filter((i) => chokes(kit, i) !== (i === pad));
  return { ...kit, choke: numbers.map((i) => i + 1).join("") };
}

/** The pads that fall silent when one is struck. @param {Kit} kit @param {number} pad @returns {number[]} */
export const silencedBy = (kit, pad) => (chokes(kit, pad) ? [...kit.choke].map((number) => Number(number) - 1) : [pad]);

/**
 * The pads that are struck at a step; of those that silence each other only the first.
 * @param {Kit} kit
 * @param {number} step
 */
export function struckAt(kit, step) {
  const struck = Array.from({ length: PADS }, (_, pad) => pad).filter((pad) => isOn(kit, pad, step));
  const choking = struck.filter((pad) => chokes(kit, pad));
  return struck.filter((pad) => !choking.includes(pad, 1));
}

/**
 * The recipe of a place without the fields that have no effect on its sound.
 * @param {Place} place
 * @returns {Recipe}
 */
export function essential(place) {
  const unused = /** @type {Array<keyof Place>} */ ([]), mixed = Object.keys(place.mix).length > 0;
  if (mixed || place.t === 0 || place.seed_b === null) unused.push("seed_b", "t", "path");
  if (place.blend === 0 || place.label_b === null) unused.push("label_b", "blend");
  if (place.label === null) unused.push("label");
  if (!mixed) unused.push("mix");
  return without(place, ...unused);
}

/**
 * The fields of a kit in a link, which stand beside model and weights of a place.
 * @param {Kit} kit
 */
export function toQuery(kit) {
  const { beat, tempo, swing, choke, pads } = kit;
  const pairs = /** @type {Array<[string, unknown]>} */ (Object.entries({ beat, tempo, swing, choke }));
  pads.forEach((pad, i) => {
    for (const [field, value] of Object.entries(pad)) {
      if (value === null) continue;
      if (typeof value !== "object") pairs.push([`${i + 1}.${field}`, value]);
      else for (const [name, x] of Object.entries(value)) pairs.push([`${i + 1}.${field}.${name}`, x]);
    }
  });
  return new URLSearchParams(pairs.map(([name, value]) => [PREFIX + name, String(value)])).toString();
}

/**
 * A query with another kit in it, or none.
 * @param {string} query of a link to a place
 * @param {Kit | null} kit
 */
export function withKit(query, kit) {
  const rest = [...new URLSearchParams(query)].filter(([name]) => !name.startsWith(PREFIX));
  return `?${[new URLSearchParams(rest).toString(), kit ? toQuery(kit) : ""].filter(Boolean).join("&")}`;
}
