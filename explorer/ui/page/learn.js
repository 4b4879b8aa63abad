// Five lessons that let the reader predict and then hear, and a scrubber over the snapshots of training.

import { count, drawCurves, measuredAt } from "./curves.js";
import { drawBlocks, REACH } from "./divergence.js";
import { ask, card, finder, make, visible, whenSettled } from "./panel.js";
import { identity, toJson, without } from "./recipe.js";
import { session } from "./session.js";

/** @typedef {import("./recipe.js").Place} Place */
/** @typedef {import("./recipe.js").Recipe} Recipe */
/** @typedef {import("./panel.js").Answer} Answer */
/**
 * What a prediction is tried on.
 * @typedef {object} Example
 * @property {Array<[caption: string, recipe: Recipe]>} sounds
 * @property {number} lead which of them is played
 * @property {Recipe[]} [others] that are measured too
 * @property {(measured: Answer) => string} [tell] what to say of the measured
 */

const NUDGE = 2; // standard deviations
const GIVE_UP = 10_000; // ms until a sound that does not come is no longer waited for
const FAR_SEEDS = [1_000_003, 2_000_003, 3_000_017, 4_000_037, 5_000_011];
const SEEDS = 2 ** 32;

/** The least and the greatest of some numbers, in words. @param {number[]} numbers */
const range = (numbers) => `from ${Math.min(...numbers).toFixed(2)} to ${Math.max(...numbers).toFixed(2)}`;

/** A seed beside another. @param {number} seed */
const neighbour = (seed) => (seed ? seed - 1 : 1);

/** @param {import("./session.js").Component} component */
export function start({ element, server }) {
  const find = finder(element);
  const input = (/** @type {string} */ name) => /** @type {HTMLInputElement} */ (find(name));
  const shift = input("shift"), width = input("width"), penalty = input("penalty"), stepBar = input("step");
  const blocks = /** @type {HTMLCanvasElement} */ (find("line")), curves = /** @type {HTMLCanvasElement} */ (find("curves"));
  const stepCards = find("steps"), finalButton = /** @type {HTMLButtonElement} */ (find("final"));
  // What the checkpoint has for the lessons: Lessons.equipment in learn.py.
  let equipped = /** @type {Answer | null} */ (null);
  // Of its training, the checkpoint itself the last.
  let steps = /** @type {Array<{ model: string, step: number, name: string }>} */ ([]);
  let stepsShown = "", refreshing = false;

  const place = () => /** @type {Place} */ (session.place);

  /** The seed, the label and the settings of the present place, on the final checkpoint and without all else. */
  const plain = () => {
    const { version, seed, label, settings } = place();
    return { version, model: equipped?.model, seed, label, settings };
  };

  /** @type {Record<string, () => Example | null>} */
  const examples = {
    seeds() {
      const base = plain(), next = neighbour(base.seed);
      return {
        sounds: [[`seed ${base.seed}`, base], [`seed ${next}`, { ...base, seed: next }]], lead: 1,
        others: FAR_SEEDS.map((seed) => ({ ...base, seed })),
        tell: ({ distances: [, near, ...far] }) => `Measured here: the output is ${near.toFixed(2)} away from the `
          + `neighbour's, and ${range(far)} away from those of five seeds far off.`,
      };
    },
    nudge() {
      const base = plain();
      return {
        sounds: [[`seed ${base.seed}`, base], [`z0 + ${NUDGE}`, { ...base, offsets: { z0: NUDGE } }]], lead: 1,
        others: FAR_SEEDS.map((seed) => ({ ...base, seed })),
        tell: ({ distances: [, near, ...far] }) => `Measured here: the output moved by ${near.toFixed(2)}; `
          + `to five other seeds it is ${range(far)}.`,
      };
    },
    noise() {
      if (!equipped?.steps.length) return null;
      const here = without(place(), "weights"), [first] = steps;
      return { sounds: [[first.name, { ...here, model: first.model }], ["final", { ...here, model: equipped.model }]], lead: 0 };
    },
    variety() {
      const base = plain(), seeds = [0, 1, 2, 3].map((i) => (base.seed + i) % SEEDS);
      return {
        sounds: seeds.map((seed) => [`seed ${seed}`, { ...base, seed }]), lead: 1,
        tell: ({ distances: [, ...found] }) => "Measured here: the outputs of the other three are "
          + `${found.map((/** @type {number} */ x) => x.toFixed(2)).join(", ")} away from the first.`,
      };
    },
    phase() {
      if (!equipped?.inversion) return null;
      const { model, ways } = equipped.inversion;
      const base = { ...(model === equipped.model ? plain() : without(plain(), "label")), model };
      return {
        sounds: ways.map((/** @type {string} */ way) => [way, { ...base, settings: { inversion: way } }]),
        lead: ways.length - 1,
      };
    },
    middle() {
      const a = plain(), b = place().seed_b, base = { ...a, seed_b: b === a.seed ? neighbour(a.seed) : b };
      const half = { ...base, t: 0.5 };
      return {
        sounds: [["A", { ...base, t: 0 }], ["arc, middle", { ...half, path: "arc" }],
          ["line, middle", { ...half, path: "line" }], ["B", { ...base, t: 1 }]], lead: 2,
        tell: ({ lengths: [ofA, arc, line, ofB] }) => "Measured here, beside the mean of A and B: "
          + `arc ${(2 * arc / (ofA + ofB)).toFixed(2)}, line ${(2 * line / (ofA + ofB)).toFixed(2)}.`,
      };
    },
  };

  /** Leads to a place, as the server has settled it, and plays it. */
  function hear(/** @type {string} */ recipe) {
    if (recipe === session.shown?.recipe) return session.play();
    session.addEventListener("settle", () => session.play(), { once: true, signal: AbortSignal.timeout(GIVE_UP) });
    return session.go(recipe);
  }

  function soundCard(/** @type {Answer} */ sent, /** @type {string} */ caption) {
    const made = card(sent, caption, () => hear(sent.recipe));
    if (sent.recipe) made.dataset.recipe = sent.recipe;
    return made;
  }

  /** Adds to a prediction what answers it: a button, the sounds, and a place that screen readers watch. */
  function prepare(/** @type {HTMLFormElement} */ form) {
    const seen = form.dataset.hear === "apart", lesson = form.dataset.hear ?? "";
    const button = make("button", { textContent: seen ? "See it" : "Hear it", className: "try", disabled: true });
    const sounds = make("div", { className: "cards" }), verdict = make("p"), measured = make("p");
    const explanation = /** @type {HTMLElement} */ (form.querySelector(".explanation"));
    const result = make("div", {}, verdict, explanation, measured);
    result.setAttribute("role", "status");
    form.querySelector("fieldset")?.append(button, sounds, result);
    form.onchange = () => { button.disabled = false; };
    form.onsubmit = async (event) => {
      event.preventDefault();
      const chosen = /** @type {HTMLInputElement} */ (form.querySelector(":checked"));
      button.disabled = true;
      const answered = seen ? showApart() : await playExample(lesson, sounds, measured);
      button.disabled = false;
      if (!answered) return;
      verdict.textContent = "right" in chosen.dataset ? "Right."
        : `Not so; you chose “${chosen.parentElement?.textContent?.trim()}”.`;
      explanation.hidden = false;
    };
  }

  /** Whether a lesson's sounds are there. */
  async function playExample(/** @type {string} */ lesson, /** @type {HTMLElement} */ sounds,
    /** @type {HTMLElement} */ measured) {
    const example = equipped && examples[lesson]();
    if (!example) return false;
    const recipes = example.sounds.map(([, recipe]) => toJson(recipe)), others = (example.others ?? []).map(toJson);
    const answer = await ask(server.pictures, recipes);
    const found = example.tell ? await ask(server.measure, [...recipes, ...others]) : null;
    if (!answer) return false;
    measured.textContent = found && example.tell ? example.tell(found) : "";
    sounds.replaceChildren(...answer.pictures.map((/** @type {Answer} */ sent, /** @type {number} */ i) => (
      soundCard(sent, example.sounds[i][0]))));
    const lead = answer.pictures[example.lead];
    if (lead.error) session.warn(lead.error);
    else hear(lead.recipe);
    return !lead.error;
  }

  function showBlocks() {
    find("figures").textContent = drawBlocks(blocks, shift.valueAsNumber, width.valueAsNumber, penalty.checked);
    shift.setAttribute("aria-valuetext", shift.valueAsNumber.toFixed(2));
  }

  /** The case that lesson 3 asks for: far apart. */
  function showApart() {
    shift.value = String(REACH);
    showBlocks();
    return true;
  }

  // Lesson 2: the scrubber

  const stepNow = () => Math.max(0, steps.findIndex(({ model }) => model === place().model));

  /** The present place at a step of training. */
  const atStep = (/** @type {number} */ i) => toJson({ ...without(place(), "weights"), model: steps[i].model });

  /** Brings the lessons up to the checkpoint, and the scrubber to the place, if anybody looks. */
  async function refresh() {
    if (refreshing || !session.shown || !visible(element)) return;
    refreshing = true;
    try {
      for (let done = ""; done !== session.shown.recipe && visible(element);) {
        done = session.shown.recipe;
        if (!steps.some(({ model }) => model === place().model)) await equip();
        if (/** @type {HTMLDetailsElement} */ (find("training")).open && equipped?.steps.length) await showSteps();
      }
    } finally {
      refreshing = false;
    }
    showStep();
    showBlocks();
    for (const shown of /** @type {NodeListOf<HTMLElement>} */ (element.querySelectorAll(".card"))) {
      shown.setAttribute("aria-current", String(shown.dataset.recipe === session.shown.recipe));
    }
  }

  async function equip() {
    const answer = await ask(server.equipment, session.shown?.recipe);
    if (!answer) return;
    equipped = answer;
    const { model, size, last, inversion } = answer, snapshots = /** @type {number[]} */ (answer.steps);
    steps = [...snapshots.map((step) => ({ model: `${model}@${step}`, step, name: `step ${count(step)}` })),
      { model, step: last ?? Infinity, name: last === null ? "final" : `step ${count(last)}` }];
    find("size").textContent = count(size);
    stepBar.max = String(steps.length - 1);
    find("scrubber").hidden = !snapshots.length;
    for (const [lesson, possible] of /** @type {const} */ ([["training", snapshots.length > 0], ["phase", inversion !== null]])) {
      /** @type {HTMLElement} */ (find(lesson).querySelector("form")).hidden = !possible;
      /** @type {HTMLElement} */ (find(lesson).querySelector(".without")).hidden = possible;
    }
  }

  /** The small pictures of the present place at every step. */
  async function showSteps() {
    const key = identity([equipped?.model, without(place(), "model", "weights")]);
    if (key === stepsShown) return;
    const answer = await ask(server.pictures, steps.map((_, i) => atStep(i)));
    if (!answer) return;
    stepsShown = key;
    stepCards.replaceChildren(...answer.pictures.map((/** @type {Answer} */ sent, /** @type {number} */ i) => (
      soundCard(sent, steps[i].name))));
  }

  function showStep() {
    if (!equipped?.steps.length) return;
    const i = stepNow(), { step, name } = steps[i], isLast = i === steps.length - 1;
    const words = isLast ? `${name}, the final checkpoint` : name;
    stepBar.value = String(i);
    stepBar.setAttribute("aria-valuetext", words);
    find("summary").textContent = `${words[0].toUpperCase()}${words.slice(1)}${measuredAt(equipped.curves, step)}.`;
    finalButton.disabled = isLast;
    drawCurves(curves, equipped.curves, step, steps.map((s) => s.step));
  }

  for (const form of element.querySelectorAll("form")) prepare(form);
  for (const control of [shift, width, penalty]) control.oninput = showBlocks;
  stepBar.oninput = () => session.go(atStep(stepBar.valueAsNumber));
  finalButton.onclick = () => hear(atStep(steps.length - 1));
  element.addEventListener("toggle", refresh, true); // it does not bubble
  new IntersectionObserver(refresh).observe(element);
  new ResizeObserver(() => { if (equipped && visible(element)) { showBlocks(); showStep(); } }).observe(element);
  whenSettled(element, refresh);
}
