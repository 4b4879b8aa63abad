// Five lessons that let the reader predict and then hear, and a scrubber over the snapshots of training.

const REAL = "#0072B2", GENERATED = "#D55E00", SLOPE = "#009E73"; // Okabe and Ito's, told apart on light and dark
const NUDGE = 2; // standard deviations
const GIVE_UP = 10_000; // ms until a sound that does not come is no longer waited for
const FAR_SEEDS = [1_000_003, 2_000_003, 3_000_017, 4_000_037, 5_000_011];
const REACH = 3; // of the shift, as its slider has it
const FIGURES = { wasserstein: "critic's Wasserstein estimate", reconstruction_loss: "reconstruction loss" };

const lineCanvas = find("line"), shift = find("shift"), width = find("width"), penalty = find("penalty");
const scrubber = find("scrubber"), stepBar = find("step"), curves = find("curves"), stepCards = find("steps");
let equipped = null; // what the checkpoint has for the lessons: Lessons.equipment in learn.py
let steps = []; // of its training: { model, name }, the checkpoint itself the last
let stepsFor = "", refreshing = false;

const count = (x) => x.toLocaleString("en");

/** The seed, the label and the way of decoding of the present place, on the final checkpoint and without all else. */
function plain() {
  const { version, seed = 0, label, settings } = present();
  return { version, model: equipped.model, seed, label, settings };
}

// What each prediction is tried on: sounds as [caption, recipe], the one that is played first, perhaps further recipes
// to measure, and what to say of the measured.
const EXAMPLES = {
  seeds() {
    const base = plain(), next = base.seed ? base.seed - 1 : 1, others = FAR_SEEDS.map((seed) => ({ ...base, seed }));
    return { sounds: [[`seed ${base.seed}`, base], [`seed ${next}`, { ...base, seed: next }]], lead: 1, others,
             tell: ({ distances: [, near, ...far] }) => `Measured here: the output is ${near.toFixed(2)} away from the neighbour's, and from ${Math.min(...far).toFixed(2)} to ${Math.max(...far).toFixed(2)} away from those of five seeds far off.` };
  },
  nudge() {
    const base = plain(), others = FAR_SEEDS.map((seed) => ({ ...base, seed }));
    return { sounds: [[`seed ${base.seed}`, base], [`z0 + ${NUDGE}`, { ...base, offsets: { z0: NUDGE } }]], lead: 1, others,
             tell: ({ distances: [, near, ...far] }) => `Measured here: the output moved by ${near.toFixed(2)}; to five other seeds it is from ${Math.min(...far).toFixed(2)} to ${Math.max(...far).toFixed(2)}.` };
  },
  noise() {
    if (!equipped.steps.length) return null;
    const { weights, ...place } = present(), [first] = steps;
    return { sounds: [[first.name, { ...place, model: first.model }], ["final", { ...place, model: equipped.model }]], lead: 0 };
  },
  variety() {
    const base = plain(), seeds = [0, 1, 2, 3].map((i) => (base.seed + i) % 2 ** 32);
    return { sounds: seeds.map((seed) => [`seed ${seed}`, { ...base, seed }]), lead: 1,
             tell: ({ distances: [, ...found] }) => `Measured here: the outputs of the other three are ${found.map((x) => x.toFixed(2)).join(", ")} away from the first.` };
  },
  phase() {
    if (!equipped.inversion) return null;
    const { model, ways } = equipped.inversion, { version, seed, label } = plain();
    const base = { version, model, seed, ...(model === equipped.model && { label }) };
    return { sounds: ways.map((way) => [way, { ...base, settings: { inversion: way } }]), lead: ways.length - 1 };
  },
  middle() {
    const base = { ...plain(), seed_b: present().seed_b ?? 1 }, half = { ...base, t: 0.5 };
    if (base.seed_b === base.seed) base.seed_b = half.seed_b = base.seed ? base.seed - 1 : 1;
    return { sounds: [["A", base], ["arc, middle", { ...half, path: "arc" }], ["line, middle", { ...half, path: "line" }], ["B", { ...base, t: 1 }]], lead: 2,
             tell: ({ lengths }) => `Measured here, beside the mean of A and B: arc ${(2 * lengths[1] / (lengths[0] + lengths[3])).toFixed(2)}, line ${(2 * lengths[2] / (lengths[0] + lengths[3])).toFixed(2)}.` };
  },
};

/** Leads to a place and plays it, which the server has settled. */
function hear(recipe) {
  if (recipe === explorer.shown().recipe) return explorer.play();
  document.addEventListener("explorer:settled", explorer.play, { once: true, signal: AbortSignal.timeout(GIVE_UP) });
  return explorer.go(recipe);
}

function soundCard(sent, caption, act = () => hear(sent.recipe)) {
  const made = card(sent, caption, act);
  made.dataset.recipe = sent.recipe;
  return made;
}

/** Adds to a prediction what answers it: a button, the sounds, and a place that screen readers watch. */
function prepare(form) {
  const button = document.createElement("button"), sounds = document.createElement("div"), result = document.createElement("div");
  const verdict = document.createElement("p"), measured = document.createElement("p"), explanation = form.querySelector(".explanation");
  const seen = form.dataset.hear === "apart";
  button.textContent = seen ? "See it" : "Hear it";
  button.className = "try";
  button.disabled = true;
  sounds.className = "cards";
  result.setAttribute("role", "status");
  result.append(verdict, explanation, measured);
  form.querySelector("fieldset").append(button, sounds, result);
  form.onchange = () => { button.disabled = false; };
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (!equipped && !seen) return;
    const chosen = form.querySelector(":checked"), example = seen ? showApart() : EXAMPLES[form.dataset.hear]();
    button.disabled = true;
    try {
      if (!seen && !(await playExample(example, sounds, measured))) return;
    } finally {
      button.disabled = false;
    }
    verdict.textContent = "right" in chosen.dataset ? "Right." : `Not so; you chose “${chosen.parentElement.textContent.trim()}”.`;
    explanation.hidden = false;
  };
}

async function playExample(example, sounds, measured) {
  const recipes = example.sounds.map(([, recipe]) => JSON.stringify(recipe));
  const others = (example.others || []).map((recipe) => JSON.stringify(recipe));
  const answer = await ask("pictures", recipes), found = example.tell ? await ask("measure", [...recipes, ...others]) : null;
  if (!answer) return false;
  measured.textContent = found ? example.tell(found) : "";
  sounds.replaceChildren(...answer.pictures.map((sent, i) => soundCard(sent, example.sounds[i][0])));
  const lead = answer.pictures[example.lead];
  if (lead.error) explorer.warn(lead.error);
  else hear(lead.recipe);
  return !lead.error;
}

// Lesson 3: two blocks on a line

/** Jensen-Shannon divergence, in nats, and Wasserstein distance of uniform blocks of a width, shifted against each
    other, with their slopes along the shift. */
function distances(by, wide) {
  const apart = Math.abs(by), overlapping = apart < wide;
  return { jensenShannon: overlapping ? Math.LN2 * apart / wide : apart > 0 ? Math.LN2 : 0,
           jensenShannonSlope: overlapping ? Math.sign(by) * Math.LN2 / wide : 0,
           wasserstein: apart, wassersteinSlope: Math.sign(by) };
}

/** A canvas as large as it is shown, and its size in CSS pixels. */
function surface(canvas) {
  const scale = window.devicePixelRatio || 1, { clientWidth, clientHeight } = canvas, context = canvas.getContext("2d");
  canvas.width = Math.round(clientWidth * scale);
  canvas.height = Math.round(clientHeight * scale);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.font = "12px system-ui, sans-serif";
  context.lineWidth = 2;
  return { context, across: clientWidth, down: clientHeight, ink: getComputedStyle(canvas).color };
}

function stroke(context, colour, points) {
  context.strokeStyle = colour;
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
  context.stroke();
}

function drawLine() {
  const by = shift.valueAsNumber, wide = width.valueAsNumber, now = distances(by, wide), critic = penalty.checked;
  const text = `Jensen-Shannon ${now.jensenShannon.toFixed(3)}, slope ${now.jensenShannonSlope.toFixed(2)}. `
    + `Wasserstein ${now.wasserstein.toFixed(2)}, slope ${now.wassersteinSlope.toFixed(2)}.`;
  find("figures").textContent = text;
  lineCanvas.setAttribute("aria-label", `Real data from 0 to ${wide.toFixed(1)}, generated from ${by.toFixed(2)} to ${(by + wide).toFixed(2)}. ${text}`);
  shift.setAttribute("aria-valuetext", by.toFixed(2));
  if (!lineCanvas.clientWidth) return;
  const { context, across, down, ink } = surface(lineCanvas), base = 84, block = 34;
  const unit = across / (2 * REACH + 2.4), at = (x) => across / 2 + (x - wide / 2) * unit;
  // The two blocks, and the critic over them
  const crowded = Math.abs(by) * unit < 60;
  for (const [start, colour, name] of [[0, REAL, "real"], [by, GENERATED, "generated"]]) {
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
  context.fillText(critic ? "critic of WGAN-GP: slope 1 all the way" : "best discriminator: flat on either side", 2, 12);
  if (critic) {
    const middle = at((by + wide) / 2), rise = 0.5 * Math.sign(by);
    stroke(context, SLOPE, [[0, 46 - rise * 0.12 * middle], [across, 46 + rise * 0.12 * (across - middle)]]);
  } else {
    // real / (real + generated): 1, one half where they overlap, 0, and nothing where there is neither
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
  // Both distances over the shift, and their tangents where it stands
  const top = 146, foot = down - 22, x = (s) => across / 2 + s / REACH * (across / 2 - 24), y = (v) => foot - v / REACH * (foot - top);
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
  for (const [value, slope, colour] of [[now.wasserstein, now.wassersteinSlope, REAL], [now.jensenShannon, now.jensenShannonSlope, GENERATED]]) {
    context.lineWidth = 5;
    stroke(context, colour, [[x(by - 0.3), y(value - 0.3 * slope)], [x(by + 0.3), y(value + 0.3 * slope)]]);
  }
}

/** The case that lesson 3 asks for: far apart. */
function showApart() {
  shift.value = REACH;
  drawLine();
}

// Lesson 2: the scrubber

function stepNow() { return Math.max(0, steps.findIndex(({ model }) => model === present().model)); }

/** The present place at a step of training. */
function atStep(i) {
  const { weights, ...place } = present();
  return JSON.stringify({ ...place, model: steps[i].model });
}

/** Brings the lessons up to the checkpoint, and the scrubber to the place, if anybody looks. */
async function refresh() {
  if (refreshing || !window.explorer?.shown() || !visible()) return;
  refreshing = true;
  try {
    for (let place = null; place !== explorer.place() && visible();) {
      place = explorer.place();
      if (!steps.some(({ model }) => model === present().model)) await equip();
      if (find("training").open && equipped?.steps.length) await showSteps();
    }
  } finally {
    refreshing = false;
  }
  showStep();
  drawLine();
  for (const shown of element.querySelectorAll(".card")) {
    shown.setAttribute("aria-current", shown.dataset.recipe === explorer.place());
  }
}

async function equip() {
  const answer = await ask("equipment", explorer.place());
  if (!answer) return;
  equipped = answer;
  const { model, size, last } = equipped, own = last === null ? "final" : `step ${count(last)}`;
  steps = [...equipped.steps.map((step) => ({ model: `${model}@${step}`, step, name: `step ${count(step)}` })),
           { model, step: last ?? Infinity, name: own }];
  find("size").textContent = count(size);
  stepBar.max = steps.length - 1;
  scrubber.hidden = !equipped.steps.length;
  for (const [lesson, possible] of [["training", equipped.steps.length > 0], ["phase", equipped.inversion !== null]]) {
    find(lesson).querySelector("form").hidden = !possible;
    find(lesson).querySelector(".without").hidden = possible;
  }
}

/** The small pictures of the present place at every step. */
async function showSteps() {
  const { model, weights, ...place } = present(), key = JSON.stringify([equipped.model, place]);
  if (key === stepsFor) return;
  const answer = await ask("pictures", steps.map((_, i) => atStep(i)));
  if (!answer) return;
  stepsFor = key;
  stepCards.replaceChildren(...answer.pictures.map((sent, i) => soundCard(sent, steps[i].name)));
}

/** The figures of a curve that were last measured at a step. */
function valueAt(points, step) { return points.findLast(([at]) => at <= step)?.[1]; }

function showStep() {
  if (!steps.length || !equipped.steps.length) return;
  const i = stepNow(), { step, name } = steps[i];
  stepBar.value = i;
  stepBar.setAttribute("aria-valuetext", i === steps.length - 1 ? `${name}, the final checkpoint` : name);
  const values = equipped.curves.map(([figure, points]) => [FIGURES[figure], valueAt(points, step)]).filter(([, value]) => value !== undefined);
  const said = `${name[0].toUpperCase()}${name.slice(1)}${i === steps.length - 1 ? ", the final checkpoint" : ""}`
    + values.map(([figure, value]) => `, ${figure} ${value.toPrecision(3)}`).join("");
  find("summary").textContent = `${said}.`;
  find("final").disabled = i === steps.length - 1;
  drawCurves(step);
}

function drawCurves(step) {
  curves.hidden = !equipped.curves.length;
  if (curves.hidden || !curves.clientWidth) return;
  const { context, across, down, ink } = surface(curves), each = down / equipped.curves.length;
  const last = Math.max(...equipped.curves.map(([, points]) => points.at(-1)[0])), x = (s) => Math.min(1, s / last) * (across - 8) + 4;
  const told = equipped.curves.map(([figure, points], i) => {
    const values = points.map(([, value]) => value), high = Math.max(...values), low = Math.min(0, ...values);
    const top = i * each + 20, foot = (i + 1) * each - 8, y = (v) => foot - (v - low) / (high - low || 1) * (foot - top);
    context.lineWidth = 1;
    stroke(context, ink, [[4, y(0)], [across - 4, y(0)]]);
    for (const { step: kept } of steps) stroke(context, ink, [[x(kept), y(0) - 3], [x(kept), y(0) + 3]]);
    context.lineWidth = 2;
    stroke(context, i ? GENERATED : REAL, points.map(([s, v]) => [x(s), y(v)]));
    context.fillStyle = ink;
    context.textAlign = "left";
    context.fillText(FIGURES[figure], 10, i * each + 12);
    context.textAlign = "right";
    context.fillText(`up to ${high.toPrecision(3)}`, across - 4, i * each + 12);
    return `${FIGURES[figure]} from ${values[0].toPrecision(3)} to ${values.at(-1).toPrecision(3)}`;
  });
  stroke(context, SLOPE, [[x(step), 0], [x(step), down]]);
  curves.setAttribute("aria-label", `Curves over ${count(last)} steps of training: ${told.join("; ")}`);
}

for (const form of element.querySelectorAll("form")) prepare(form);
for (const control of [shift, width, penalty]) control.oninput = drawLine;
stepBar.oninput = () => explorer.go(atStep(stepBar.valueAsNumber));
find("final").onclick = () => hear(atStep(steps.length - 1));
element.addEventListener("toggle", refresh, true); // it does not bubble
new IntersectionObserver(refresh).observe(element);
new ResizeObserver(() => { if (equipped && visible()) { drawLine(); showStep(); } }).observe(element);
whenSettled(refresh);
