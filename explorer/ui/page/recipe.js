// Recipes, with the fields of explorer/recipe.py. The server fills in missing fields, so there are no defaults here.

/**
 * Every field of a recipe, as the server sends it in "place".
 * @typedef {object} Place
 * @property {number} version
 * @property {string} model name of the checkpoint
 * @property {string} weights
 * @property {number} seed
 * @property {number | null} seed_b
 * @property {number} t from seed (0) to seed_b (1)
 * @property {string | null} path
 * @property {Record<string, number>} mix weights by seed; unless empty it replaces seed, seed_b and t
 * @property {number} truncation
 * @property {Record<string, number>} offsets in standard deviations, by direction
 * @property {string | null} label
 * @property {string | null} label_b
 * @property {number} blend
 * @property {Record<string, string>} settings
 */

/** A recipe that may lack fields. @typedef {Partial<Place>} Recipe */

const WEIGHT_DIGITS = 4;

/**
 * A recipe as text, which the server can read.
 * @param {Recipe} recipe
 */
export const toJson = (recipe) => JSON.stringify(recipe);

/**
 * A text that is the same for equal recipes, whatever the order of their fields.
 * @param {unknown} recipe
 * @returns {string}
 */
export function identity(recipe) {
  return JSON.stringify(recipe, (_, value) => (value !== null && typeof value === "object" && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value));
}

/**
 * The recipe without some fields: the server gives them their defaults.
 * @param {Recipe} recipe
 * @param {...keyof Place} fields
 * @returns {Recipe}
 */
export function without(recipe, ...fields) {
  const rest = { ...recipe };
  for (const field of fields) delete rest[field];
  return rest;
}

/**
 * @param {Place} place
 * @param {string} name of a direction
 * @param {number} amount
 * @returns {Place}
 */
export function withOffset(place, name, amount) {
  const offsets = { ...place.offsets, [name]: amount };
  if (amount === 0) delete offsets[name];
  return { ...place, offsets };
}

/**
 * The place at t of the morph from seed to seed_b; it replaces a mix.
 * @param {Place} place
 * @param {number} t
 * @returns {Place}
 */
export const withT = (place, t) => ({ ...place, t, mix: {} });

/**
 * @param {Place} place
 * @param {"truncation" | "blend"} name
 * @param {number} value
 * @returns {Place}
 */
export const withNumber = (place, name, value) => ({ ...place, [name]: value });

/**
 * @param {Place} place
 * @param {string} label
 * @returns {Place}
 */
export const withLabel = (place, label) => ({ ...place, label });

/**
 * The place at a mix of seeds. Weights of a repeated seed are added; weights of 0 are left out.
 * @param {Place} place
 * @param {Array<[seed: number, weight: number]>} weights
 * @returns {Place}
 */
export function withMix(place, weights) {
  /** @type {Record<string, number>} */
  const mix = {};
  for (const [seed, weight] of weights) {
    mix[seed] = Number(((mix[seed] ?? 0) + weight).toFixed(WEIGHT_DIGITS));
    if (mix[seed] === 0) delete mix[seed];
  }
  return { ...place, mix };
}

/** @param {Place} place */
export const isMix = (place) => Object.keys(place.mix).length > 0;

/**
 * Whether a place is another sound, of another model, label or seed, and not the same one with a slider or a pad moved.
 * @param {Place} before
 * @param {Place} after
 */
export function isAnother(before, after) {
  if (before.model !== after.model || before.label !== after.label) return true;
  if (!isMix(before) && !isMix(after)) {
    return (after.t < 1 && before.seed !== after.seed) || (after.t > 0 && before.seed_b !== after.seed_b);
  }
  const seeds = (/** @type {Place} */ place) => (
    isMix(place) ? Object.keys(place.mix) : [place.seed, place.seed_b].map(String));
  return !seeds(before).some((seed) => seeds(after).includes(seed));
}

/**
 * A seed by itself: without morph, mix and offsets, but with the same label, truncation and settings.
 * @param {Place} place
 * @param {number} seed
 * @returns {Recipe}
 */
export const seedAlone = (place, seed) => ({ ...without(place, "seed_b", "t", "path", "mix", "offsets"), seed });

/**
 * The query of the page's address at a place: its link, and of the present query gradio's own parameters, whose names
 * begin with two underscores, and the kit if it is of the same checkpoint.
 * @param {string} link "?model=…", as the server has sent it
 * @param {string} present the query of the present address
 */
export function addressQuery(link, present) {
  const before = new URLSearchParams(present), same = before.get("model") === new URLSearchParams(link).get("model");
  const foreign = [...before].filter(([name]) => name.startsWith("__") || (same && name.startsWith("kit.")));
  return `?${[link.slice(1), new URLSearchParams(foreign).toString()].filter(Boolean).join("&")}`;
}
