// The section "Learn": lessons, each with predictions that one can check by ear, and sliders over the snapshots of
// training and over the stages from which a sound emerges.

import { count, drawCurves, figuresTable, figureText, measuredAt } from "./curves.js";
import { drawBlocks, REACH } from "./divergence.js";
import { Stages } from "./emerging.js";
import { ask, card, copyLink, finder, LESSON, lessonAsked, make, visible, whenSettled } from "./panel.js";
import { identity, toJson, without } from "./recipe.js";
import { session } from "./session.js";
import { printSheet } from "./sheet.js";

/** @typedef {import("./recipe.js").Place} Place */
/** @typedef {import("./recipe.js").Recipe} Recipe */
/** @typedef {import("./panel.js").Answer} Answer */
/**
 * The sounds that a prediction is checked with.
 * @typedef {object} Example
 * @property {Array<[caption: string, recipe: Recipe]>} sounds
 * @property {number} played index of the one that is played
 * @property {Recipe[]} [others] recipes that are measured but not shown
 * @property {boolean} [byMeasures] whether Lessons.measure is asked, and not Lessons.compare
 * @property {(measured: Answer) => string} [sentence] describes what it has returned
 */

const NUDGE = 2; // standard deviations
const GIVE_UP = 10_000; // ms after which a step that does not arrive is passed over
const FAR_SEEDS = [1_000_003, 2_000_003, 3_000_017, 4_000_037, 5_000_011];
const SEEDS = 2 ** 32;
const LONGEST_STEP = 4; // seconds of each snapshot's sound that are played, one after another

/** The smallest and the largest of some numbers, in words. @param {number[]} numbers */
const range = (numbers) => `from ${Math.min(...numbers).toFixed(2)} to ${Math.max(...numbers).toFixed(2)}`;

/** A number with its sign, to two figures. @param {number} x */
const signed = (x) => `${x < 0 ? "−" : "+"}${Number(Math.abs(x).toPrecision(2))}`;

/** The neighbour of a seed. @param {number} seed */
const neighbour = (seed) => (seed ? seed - 1 : 1);

/** Settings in words: "2 steps". @param {Record<string, string>} settings */
const inWords = (settings) => Object.entries(settings).map(([name, option]) => `${option} ${name}`).join(", ");

/** @param {import("./session.js").Component} component */
export function start({ element, server }) {
  const find = finder(element);
  const input = (/** @type {string} */ name) => /** @type {HTMLInputElement} */ (find(name));
  const shift = input("shift"), width = input("width"), penalty = input("penalty"), stepBar = input("step");
  const blocks = /** @type {HTMLCanvasElement} */ (find("line")), curves = /** @type {HTMLCanvasElement} */ (find("curves"));
  const stages = new Stages(find("emergence"), server.stages);
  const stepCards = find("steps"), finalButton = /** @type {HTMLButtonElement} */ (find("back")), allButton = find("all");
  // What the checkpoint offers to the lessons, see Lessons.lesson_data in learn.py.
  let data = /** @type {Answer | null} */ (null);
  // Its snapshots in the order of training; the last is the checkpoint itself.
  let steps = /** @type {Array<{ model: string, step: number, name: string }>} */ ([]);
  let stepsShown = "", refreshing = false, playingAll = 0;

  const place = () => /** @type {Place} */ (session.place);

  /** Seed of the present place, on the final checkpoint, with label and settings if they are that checkpoint's. */
  const plain = () => {
    const { version, model, seed, label, settings } = place(), own = model !== data?.collapsed;
    return { version, model: data?.model, seed, label: own ? label : null, settings: own ? settings : {} };
  };

  const four = () => [0, 1, 2, 3].map((i) => (place().seed + i) % SEEDS);

  /** The plain place on another checkpoint, which may have other labels and settings. */
  const on = (/** @type {string} */ model) => (
    model === data?.model ? plain() : { ...without(plain(), "label", "settings"), model });

  /** @type {Record<string, () => Example | null>} */
  const examples = {
    seeds() {
      const base = plain(), next = neighbour(base.seed);
      return {
        sounds: [[`seed ${base.seed}`, base], [`seed ${next}`, { ...base, seed: next }]], played: 1,
        others: FAR_SEEDS.map((seed) => ({ ...base, seed })),
        sentence: ({ distances: [, near, ...far] }) => `Measured here: the output is ${near.toFixed(2)} away from the `
          + `neighbour's, and ${range(far)} away from those of five seeds far off.`,
      };
    },
    nudge() {
      const base = plain();
      return {
        sounds: [[`seed ${base.seed}`, base], [`z0 + ${NUDGE}`, { ...base, offsets: { z0: NUDGE } }]], played: 1,
        others: FAR_SEEDS.map((seed) => ({ ...base, seed })),
        sentence: ({ distances: [, near, ...far] }) => `Measured here: the output moved by ${near.toFixed(2)}; `
          + `to five other seeds it is ${range(far)}.`,
      };
    },
    noise() {
      if (!data?.steps.length) return null;
      const here = without(place(), "weights"), [first] = steps;
      return { sounds: [[first.name, { ...here, model: first.model }], ["final", { ...here, model: data.model }]], played: 0 };
    },
    variety() {
      const base = plain();
      return {
        sounds: four().map((seed) => [`seed ${seed}`, { ...base, seed }]), played: 1,
        sentence: ({ distances: [, ...found] }) => "Measured here: the outputs of the other three are "
          + `${found.map((/** @type {number} */ x) => x.toFixed(2)).join(", ")} away from the first.`,
      };
    },
    condition() {
      if (!data?.labelled) return null;
      const [label, other] = twoLabels(data.labelled.labels);
      const base = { ...on(data.labelled.model), label }, next = neighbour(place().seed);
      return {
        sounds: [[label, base], [other, { ...base, label: other }], [`${label}, seed ${next}`, { ...base, seed: next }]],
        played: 1,
        sentence: ({ distances: [, byLabel, bySeed] }) => "Measured here: with the other label the output is "
          + `${byLabel.toFixed(2)} away, with another seed and the same label ${bySeed.toFixed(2)}.`,
      };
    },
    truncation() {
      const base = plain(), seeds = four();
      const sounds = (/** @type {number} */ truncation) => seeds.map((seed) => (
        /** @type {[string, Recipe]} */ ([`seed ${seed}, ${truncation}`, { ...base, seed, truncation }])));
      return {
        sounds: [...sounds(1), ...sounds(0.5)], played: 4,
        sentence: ({ pairs: [whole, half] }) => `Measured here, mean distance of two of the four: ${whole.toFixed(2)} `
          + `with truncation 1, ${half.toFixed(2)} with 0.5.`,
      };
    },
    direction() {
      if (!data?.direction) return null;
      const { model, name, title, unit } = data.direction, base = on(model), seeds = four();
      const moved = seeds.map((seed) => ({ ...base, seed, offsets: { [name]: 1 } }));
      return {
        sounds: [...seeds.map((seed) => /** @type {[string, Recipe]} */ ([`seed ${seed}`, { ...base, seed }])),
          ...moved.map((recipe) => /** @type {[string, Recipe]} */ ([`seed ${recipe.seed}, +1`, recipe]))], played: 4,
        byMeasures: true,
        sentence: ({ measures }) => {
          const changes = seeds.map((_, i) => measures[i + seeds.length][name.replace(/-only$/, "")]
            - measures[i][name.replace(/-only$/, "")]).filter(Number.isFinite);
          return `Measured here: one step changes “${title}” by ${changes.map(signed).join(", ")} ${unit}.`;
        },
      };
    },
    collapse() {
      if (!data?.collapsed) return null;
      const seeds = four(), model = data.collapsed, base = on(model);
      return {
        sounds: seeds.map((seed) => [`seed ${seed}`, { ...base, seed }]), played: 1,
        sentence: ({ distances: [, ...found] }) => "Measured here: the outputs of the other three are "
          + `${found.map((/** @type {number} */ x) => x.toFixed(2)).join(", ")} away from the first; in lesson 3 are those `
          + "of the present checkpoint.",
      };
    },
    copying() {
      const base = plain();
      return { sounds: four().map((seed) => [`seed ${seed}`, { ...base, seed }]), played: 0 };
    },
    judging() {
      if (!data?.collapsed) return { sounds: [[`seed ${place().seed}`, plain()]], played: 0 };
      const base = on(data.collapsed);
      return { sounds: four().map((seed) => [`seed ${seed}`, { ...base, seed }]), played: 0 };
    },
    few() {
      if (!data?.emerging) return null;
      const { few, usual, many } = data.emerging, base = emerging();
      /** @type {(settings: Record<string, string>) => [string, Recipe]} */
      const made = (settings) => [inWords(settings), { ...base, settings: { ...base.settings, ...settings } }];
      return {
        sounds: [many, usual, few].map(made), played: 1,
        sentence: ({ distances: [, usually, quickly] }) => `Measured here, distance from the sound of ${inWords(many)}: `
          + `${inWords(usual)} ${usually.toFixed(3)}, ${inWords(few)} ${quickly.toFixed(3)}.`,
      };
    },
    distilled() {
      if (!data?.emerging || !data.distilled) return null;
      const { model, few, usual } = data.distilled, base = emerging();
      /** @type {(made: Recipe, settings: Record<string, string>) => [string, Recipe]} */
      const made = (recipe, settings) => [`${recipe.model}, ${inWords(settings)}`, { ...recipe, settings }];
      const own = { ...without(base, "settings"), model };
      return { sounds: [made(base, data.emerging.few), made(own, few), made(own, usual)], played: 1 };
    },
    rivals() {
      if (!data?.rivals) return null;
      return { sounds: pair().map((recipe) => [recipe.model ?? "", recipe]), played: 1 };
    },
    passes() {
      if (!data?.rivals) return null;
      const sounds = pair().flatMap((recipe) => four().map((seed) => (
        /** @type {[string, Recipe]} */ ([`${recipe.model}, seed ${seed}`, { ...recipe, seed }]))));
      return { sounds, played: 4 };
    },
    phase() {
      if (!data?.inversion) return null;
      const { model, methods } = data.inversion;
      const base = { ...(model === data.model ? plain() : without(plain(), "label")), model };
      return {
        sounds: methods.map((/** @type {string} */ method) => [method, { ...base, settings: { inversion: method } }]),
        played: methods.length - 1,
      };
    },
    middle() {
      const a = plain(), b = place().seed_b, base = { ...a, seed_b: b === a.seed ? neighbour(a.seed) : b };
      const half = { ...base, t: 0.5 };
      return {
        sounds: [["A", { ...base, t: 0 }], ["arc, middle", { ...half, path: "arc" }],
          ["line, middle", { ...half, path: "line" }], ["B", { ...base, t: 1 }]], played: 2,
        sentence: ({ lengths: [ofA, arc, line, ofB] }) => "Measured here, beside the mean of A and B: "
          + `arc ${(2 * arc / (ofA + ofB)).toFixed(2)}, line ${(2 * line / (ofA + ofB)).toFixed(2)}.`,
      };
    },
  };

  /** The label that is heard, if it is among these, and the one after it. @returns {[string, string]} */
  function twoLabels(/** @type {string[]} */ labels) {
    const at = Math.max(0, labels.indexOf(place().label ?? ""));
    return [labels[at], labels[(at + 1) % labels.length]];
  }

  /** The seed on a model that makes a sound at once and on one that makes it in steps, with the same label. */
  const pair = () => {
    const { once, steps: inSteps, labels } = data?.rivals ?? {}, [label] = twoLabels(labels);
    return /** @type {Recipe[]} */ ([once, inSteps].map((model) => ({ ...on(model), label })));
  };

  /** The present place, if its checkpoint makes sounds in steps; or else its seed, and its label, on one that does. */
  const emerging = () => {
    const { model, labels } = data?.emerging ?? {}, { label } = place();
    if (model === data?.model) return without(place(), "weights");
    return labels?.includes(label) ? { ...on(model), label } : on(model);
  };

  /** Goes to a place, with the recipe as the server has completed it, and plays it once: who reads on wants silence. */
  const hear = (/** @type {string} */ recipe) => session.hear(recipe, true);

  function soundCard(/** @type {Answer} */ sent, /** @type {string} */ caption) {
    const made = card(sent, caption, () => hear(sent.recipe));
    if (sent.recipe) made.dataset.recipe = sent.recipe;
    return made;
  }

  /** Adds a button, the sounds and a result, which screen readers announce, to the form of a prediction. */
  function prepare(/** @type {HTMLFormElement} */ form) {
    const shown = shows[form.dataset.hear ?? ""], lesson = form.dataset.hear ?? "";
    const button = make("button", { textContent: "Check", className: "try", disabled: true });
    const right = /** @type {HTMLInputElement} */ (form.querySelector("[data-right]"));
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
      verdict.textContent = session.shown ? "One moment: the sounds are being made."
        : "The page’s first sound is still being made; the answer follows.";
      const answered = await (shown ? shown() : playExample(lesson, sounds, measured));
      button.disabled = false;
      verdict.textContent = "";
      if (!answered) return;
      const said = (/** @type {HTMLElement} */ answer) => `“${answer.parentElement?.textContent?.trim()}”`;
      verdict.textContent = chosen === right ? `Right: ${said(right)}.` : `No: you chose ${said(chosen)}, right is ${said(right)}.`;
      right.parentElement?.classList.add("answer");
      explanation.hidden = false;
    };
  }

  /** Shows and plays the sounds of a lesson; false if that fails. */
  async function playExample(/** @type {string} */ lesson, /** @type {HTMLElement} */ sounds,
    /** @type {HTMLElement} */ measured) {
    if (!data) await loadData();
    const example = data && examples[lesson]();
    if (!example) return false;
    const recipes = example.sounds.map(([, recipe]) => toJson(recipe)), others = (example.others ?? []).map(toJson);
    const answer = await ask(server.pictures, recipes);
    const found = example.sentence
      ? await ask(example.byMeasures ? server.measure : server.compare, [...recipes, ...others]) : null;
    if (!answer) return false;
    measured.textContent = found && example.sentence ? example.sentence(found) : "";
    sounds.replaceChildren(...answer.pictures.map((/** @type {Answer} */ sent, /** @type {number} */ i) => (
      soundCard(sent, example.sounds[i][0]))));
    markCards();
    const played = answer.pictures[example.played];
    if (played.error) session.warn(played.error);
    else hear(played.recipe);
    return !played.error;
  }

  function showBlocks() {
    find("figures").textContent = drawBlocks(blocks, shift.valueAsNumber, width.valueAsNumber, penalty.checked);
    shift.setAttribute("aria-valuetext", shift.valueAsNumber.toFixed(2));
  }

  /** What some questions are answered with in place of an example's sounds.
   * @type {Record<string, () => boolean | Promise<boolean>>} */
  const shows = {
    apart() { // moves the blocks of lesson 3
      shift.value = String(REACH);
      showBlocks();
      return true;
    },
    async emerging() {
      if (!data) await loadData();
      if (!data?.emerging || !await stages.show(toJson(emerging()))) return false;
      stages.play();
      return true;
    },
  };

  // Lesson 2: the slider over the snapshots

  const stepNow = () => Math.max(0, steps.findIndex(({ model }) => model === place().model));

  /** The present place at a step of training. */
  const atStep = (/** @type {number} */ i) => toJson({ ...without(place(), "weights"), model: steps[i].model });

  /** Updates the lessons to the checkpoint and the pictures of lesson 2 to the place, if they are visible. */
  async function refresh() {
    markCards(); // at once: what follows waits for the server
    if (refreshing || !session.shown || !visible(element)) return;
    refreshing = true;
    try {
      for (let done = ""; done !== session.shown.recipe && visible(element);) {
        done = session.shown.recipe;
        if (![...steps.map(({ model }) => model), data?.collapsed].includes(place().model)) await loadData();
        const open = (/** @type {string} */ lesson) => /** @type {HTMLDetailsElement} */ (find(lesson)).open;
        if (open("training") && data?.steps.length) await showSteps();
        if (open("emerging") && data?.emerging) await stages.show(toJson(emerging()));
      }
    } finally {
      refreshing = false;
    }
    showStep();
    showBlocks();
    const { seed } = place();
    find("neighbours").textContent = `here ${seed} and ${neighbour(seed)}`;
    markCards();
  }

  /** Marks the pictures of the place that is shown. */
  function markCards() {
    for (const shown of /** @type {NodeListOf<HTMLElement>} */ (element.querySelectorAll(".card[data-recipe]"))) {
      shown.setAttribute("aria-current", String(shown.dataset.recipe === session.shown?.recipe));
    }
  }

  async function loadData() {
    if (!session.shown) await new Promise((done) => { session.addEventListener("show", done, { once: true }); });
    const answer = await ask(server.lesson_data, session.shown?.recipe);
    if (!answer) return;
    data = answer;
    const { model, size, last, inversion } = answer, snapshots = /** @type {number[]} */ (answer.steps);
    steps = [...snapshots.map((step) => ({ model: `${model}@${step}`, step, name: `step ${count(step)}` })),
      { model, step: last ?? Infinity, name: last === null ? "final" : `step ${count(last)}` }];
    find("size").textContent = count(size);
    find("borrowed").hidden = inversion === null || inversion.model === model;
    find("borrowed").textContent = `The present checkpoint turns its output into sound in one way only, so this lesson plays ${inversion?.model}.`;
    stepBar.max = String(steps.length - 1);
    find("scrubber").hidden = !snapshots.length;
    find("emergence").hidden = !answer.emerging;
    const { labelled, direction, collapsed, emerging: slow, distilled, rivals } = answer;
    for (const [lesson, possible] of /** @type {const} */ ([["training", snapshots.length > 0], ["phase", inversion !== null],
      ["condition", labelled !== null], ["direction", direction !== null], ["collapse", collapsed !== null],
      ["emerging", slow !== null], ["rivals", rivals !== null]])) {
      for (const form of find(lesson).querySelectorAll("form")) form.hidden = !possible;
      /** @type {HTMLElement} */ (find(lesson).querySelector(".without")).hidden = possible;
    }
    const borrows = (/** @type {string} */ other, /** @type {string} */ what) => (
      other === model ? "" : `The present checkpoint has ${what}, so this lesson plays ${other}.`);
    find("of-labels").textContent = labelled ? borrows(labelled.model, "no labels") : "";
    find("of-direction").textContent = direction ? `${borrows(direction.model, "none that was measured")} `
      + `Here “${direction.title}” has R² ${direction.r2.toFixed(2)}: a step is ${signed(direction.step)} ${direction.unit}, on average.` : "";
    find("of-emerging").textContent = slow ? borrows(slow.model, answer.distilled?.model === model ? "learned to do with few steps" : "no steps") : "";
    find("of-distilled").hidden = slow === null || distilled === null;
    find("distilled-model").textContent = distilled?.model ?? "";
    find("of-steps").textContent = slow ? [slow.few, slow.usual, slow.many].map(inWords).join(", ") : "";
    find("of-draft").textContent = slow ? inWords(slow.few) : "";
    find("of-rivals").textContent = rivals ? `Here ${rivals.once} is the GAN and ${rivals.steps} the diffusion model.` : "";
    find("of-collapsed").textContent = collapsed ? `It is called ${collapsed}.` : "";
    showFigures();
  }

  /** Writes what `python -m training evaluate --snapshots` has measured into the lessons that speak of it. */
  function showFigures() {
    const figures = data?.figures ?? null, own = figures?.steps[figures.steps.length - 1]?.[1];
    const none = "No figures of this checkpoint are kept here; python -m training evaluate NAME --data FOLDER --snapshots measures them.";
    const from = figures && `${figures.samples ? `${count(figures.samples)} sounds of each step` : "Sounds"}, measured against ${figures.data} by python -m training evaluate --snapshots`;
    const within = from && `${from}; compare them within this table only.`;
    find("of-copying").textContent = own?.nearest === undefined ? none
      : `This checkpoint has ${figureText("nearest", own.nearest)}${own.nearest < 1 ? ", nearer to its training recordings than unheard ones are." : ": it is not nearer to its training recordings than unheard ones are."} ${from}.`;
    find("of-judging").textContent = within ?? none;
    for (const table of /** @type {NodeListOf<HTMLTableElement>} */ (element.querySelectorAll("table.measured"))) {
      figuresTable(table, figures, table.closest("details")?.className === "judging");
    }
    find("about-figures").hidden = !figures;
    find("about-figures").textContent = within ?? "";
  }

  /** Shows the pictures of the present place at every snapshot. */
  async function showSteps() {
    const key = identity([data?.model, without(place(), "model", "weights")]);
    if (key === stepsShown) return;
    stepCards.setAttribute("aria-busy", "true");
    const answer = await ask(server.pictures, steps.map((_, i) => atStep(i)));
    stepCards.removeAttribute("aria-busy");
    if (!answer) return;
    stepsShown = key;
    stepCards.replaceChildren(...answer.pictures.map((/** @type {Answer} */ sent, /** @type {number} */ i) => (
      soundCard(sent, steps[i].name))));
  }

  function showStep() {
    if (!data?.steps.length) return;
    const i = stepNow(), { step, name } = steps[i], isLast = i === steps.length - 1;
    const words = isLast ? `${name}, the final checkpoint` : name;
    stepBar.value = String(i);
    stepBar.setAttribute("aria-valuetext", words);
    find("summary").textContent = `${words[0].toUpperCase()}${words.slice(1)}${measuredAt(data.curves, step)}.`;
    finalButton.disabled = isLast;
    drawCurves(curves, data.curves, step, steps.map((s) => s.step), data.game);
  }

  /** Plays the present place at every step, one after another, until the visitor goes elsewhere or presses again. */
  async function playAll() {
    if (playingAll) {
      stopAll();
      return session.silence();
    }
    const mine = playingAll = Date.now();
    allButton.textContent = "Stop";
    session.alsoPlays(stopAll, true);
    for (let i = 0; i < steps.length; i += 1) {
      await settled(() => hear(atStep(i)));
      if (mine !== playingAll || place().model !== steps[i].model) break;
      await session.play();
      await new Promise((done) => { setTimeout(done, 1000 * Math.min(LONGEST_STEP, session.shown?.seconds ?? 1)); });
      if (mine !== playingAll || place().model !== steps[i].model) break;
    }
    if (mine === playingAll) stopAll();
  }

  function stopAll() {
    playingAll = 0;
    allButton.textContent = "Play all steps";
    session.alsoPlays(stopAll, false);
  }

  /** Waits until the sound that an act asks for has settled, or for GIVE_UP. @param {() => void} act */
  const settled = (act) => new Promise((done) => {
    const limit = AbortSignal.timeout(GIVE_UP);
    limit.onabort = () => done(undefined);
    session.addEventListener("settle", () => done(undefined), { once: true, signal: limit });
    act();
  });

  // Links to a lesson: the place's address, with the lesson's name after "#lesson="

  for (const lesson of element.querySelectorAll("details")) lesson.open ||= lesson.className === lessonAsked;
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (element.querySelectorAll("button.link"))) {
    const { className } = /** @type {HTMLElement} */ (button.closest("details"));
    button.onclick = () => copyLink(`${location.href.split("#")[0]}${LESSON}${className}`);
  }
  for (const form of element.querySelectorAll("form")) prepare(form);
  for (const control of [shift, width, penalty]) control.oninput = showBlocks;
  stepBar.oninput = () => session.go(atStep(stepBar.valueAsNumber));
  allButton.onclick = playAll;
  find("sheet").onclick = () => printSheet(element);
  finalButton.onclick = () => hear(atStep(steps.length - 1));
  // Both while they go down, because the event does not bubble. A lesson before it that closes takes the one that opens
  // along, up behind the stage.
  element.addEventListener("toggle", ({ target }) => {
    const lesson = /** @type {HTMLDetailsElement} */ (target);
    if (lesson.open) lesson.querySelector("summary")?.scrollIntoView({ block: "nearest" });
    refresh();
  }, true);
  new IntersectionObserver(refresh).observe(element);
  new ResizeObserver(() => { if (data && visible(element)) { showBlocks(); showStep(); } }).observe(element);
  whenSettled(element, refresh);
}
