// The way from A to B in steps, a pad between four seeds, and files of the whole way. Times are in seconds.

const STEPS = 7;
const DWELL = 4; // on a step of a longer sound; a shorter one is heard to its end
const NUDGE = 0.02, LEAP = 0.1; // of an arrow key on the pad, and with Shift
const PATIENCE = 5000; // ms that an answer to the hand may take
const MAX_SEED = 2 ** 32 - 1, ROLLED = 10_000;
const NAMES = { wav: "WAV", mid: "MIDI", zip: "ZIP of steps", gif: "GIF", png: "Picture", svg: "Picture, SVG", pdf: "Picture, PDF" };

const across = find("across"), down = find("down"), pad = find("pad"), walkButton = find("walk");
const seedC = find("seed-c"), seedD = find("seed-d");
let awaited = "", handUntil = 0; // the mix that the dot stands for, and until when the player may take to show it
let steps = [], stripKey = "", cornerKey = "", asking = false;
let walk = null; // the path that is played: its steps, where it is, where to it goes


/** The present place without what leads there from the seeds. */
function base() {
  const { mix, t, ...rest } = present();
  return rest;
}

const spelled = (mix = {}) => JSON.stringify(Object.entries(mix).sort());
const rounded = (weight) => Math.round(weight * 1e4) / 1e4;

/** The recipe of the present place at a mix of [seed, weight] pairs instead. */
function mixed(pairs) {
  const mix = {};
  for (const [seed, weight] of pairs) mix[seed] = rounded((mix[seed] ?? 0) + weight);
  return JSON.stringify({ ...present(), mix });
}

function seeds() {
  const { seed = 0, seed_b: seedB = 1 } = present();
  return [seed, seedB, seedC.valueAsNumber, seedD.valueAsNumber];
}

// The strip of steps

const spacing = () => (find("even").checked ? "equal" : "t");
const stripWanted = () => JSON.stringify([JSON.stringify(base()), STEPS, spacing()]);
const cornersWanted = () => JSON.stringify([base(), ...seeds()]);

/** Brings strip and corners up to the present place: one question at a time, and what was overtaken is dropped. */
async function refresh() {
  if (asking || !window.explorer?.shown() || !visible()) return;
  asking = true;
  try {
    for (let wanted; (wanted = stripWanted()) !== stripKey;) {
      const answer = await ask("strip", [...JSON.parse(wanted), false]);
      if (!visible()) return;
      if (wanted !== stripWanted()) continue;
      stripKey = wanted;
      if (answer) drawStrip(answer.steps);
    }
    for (let wanted; (wanted = cornersWanted()) !== cornerKey;) {
      const answer = await ask("pictures", seeds().map((seed) => mixed([[seed, 1]])));
      if (!visible()) return;
      if (wanted !== cornersWanted()) continue;
      cornerKey = wanted;
      if (answer) drawCorners(answer.pictures);
    }
  } finally {
    asking = false;
  }
  mark();
}

function drawStrip(sent) {
  steps = sent;
  find("steps").replaceChildren(...sent.map((step, i) => {
    const t = JSON.parse(step.recipe).t ?? 0;
    const button = card(step, i === 0 ? "A" : i === sent.length - 1 ? "B" : t.toFixed(2));
    button.setAttribute("aria-label", `Step ${i + 1} of ${sent.length}: ${i === 0 ? "A, " : i === sent.length - 1 ? "B, " : ""}${t.toFixed(2)}`);
    return button;
  }));
  mark();
}

/** Marks the step that is nearest to the present place. */
function mark() {
  const { mix, t = 0 } = present();
  const far = steps.map((step) => Math.abs((JSON.parse(step.recipe).t ?? 0) - t));
  const nearest = mix ? -1 : far.indexOf(Math.min(...far));
  [...find("steps").children].forEach((button, i) => {
    if (i === nearest) button.setAttribute("aria-current", "step");
    else button.removeAttribute("aria-current");
  });
}

// The path, played there and back

async function startWalk() {
  explorer.warn();
  let sounds = steps;
  if (!sounds.length || stripKey !== stripWanted() || !sounds.every((step) => step.notes || step.pcm)) {
    const wanted = stripWanted(), answer = await ask("strip", [...JSON.parse(wanted), true]);
    if (!answer || wanted !== stripWanted()) return;
    stripKey = wanted;
    drawStrip(sounds = answer.steps);
  }
  const at = Math.max(0, [...find("steps").children].findIndex((button) => button.hasAttribute("aria-current")));
  walk = { sounds: sounds.map(explorer.unpack), at, by: 1, timer: 0, sound: null };
  walkButton.textContent = "Stop the path";
  await tread(0);
}

/** Shows the present step, has it heard from a position on, and sees to the next. */
async function tread(position) {
  const { speaker } = explorer, { sounds, at } = walk;
  walk.sound = sounds[at];
  clearTimeout(walk.timer);
  await explorer.pass(walk.sound, position);
  if (!speaker.playing) {
    speaker.seek(position);
    await explorer.play();
  }
  if (!walk) return;
  mark();
  const { seconds } = walk.sound;
  const left = seconds <= DWELL ? seconds - speaker.at(speaker.context?.currentTime ?? 0) - speaker.fade : DWELL;
  walk.timer = setTimeout(onward, 1000 * Math.max(0.1, left));
}

function onward() {
  if (!element.isConnected || explorer.shown() !== walk.sound || !explorer.speaker.playing) return stopWalk();
  if (walk.at + walk.by < 0 || walk.at + walk.by >= walk.sounds.length) walk.by = -walk.by;
  walk.at += walk.by;
  tread(walk.sound.seconds <= DWELL ? 0 : undefined);
}

/** Ends the path on the step where it is, unless something else is shown by now. */
function stopWalk() {
  const { timer, sound } = walk;
  clearTimeout(timer);
  walk = null;
  walkButton.textContent = "Play the path";
  if (explorer.shown() === sound) explorer.go(sound.recipe);
}

// Between four seeds

/** How much of each corner is in the place that the pad shows. */
function weights() {
  const x = across.valueAsNumber, y = down.valueAsNumber;
  return [(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y].map(rounded);
}

function drawCorners(sent) {
  ["a", "b", "c", "d"].forEach((name, i) => {
    const button = card(sent[i], `${name.toUpperCase()} ${seeds()[i]}`, () => movePad(i % 2, i >> 1));
    button.setAttribute("aria-label", `${name.toUpperCase()} ${seeds()[i]}: corner of the pad`);
    find(name).replaceChildren(button);
  });
}

/** Moves the dot, and the place with it. */
function movePad(x, y) {
  placeDot(x, y);
  const recipe = mixed(seeds().map((seed, i) => [seed, weights()[i]]).filter(([, weight]) => weight > 0));
  awaited = spelled(JSON.parse(recipe).mix);
  handUntil = performance.now() + PATIENCE;
  explorer.drag(recipe);
}

function placeDot(x, y) {
  across.value = x;
  down.value = y;
  pad.classList.remove("away");
  pad.style.setProperty("--x", across.value);
  pad.style.setProperty("--y", down.value);
  across.setAttribute("aria-valuetext", `${Math.round(100 * across.value)} %`);
  down.setAttribute("aria-valuetext", `${Math.round(100 * down.value)} %`);
}

/** Shows on the pad a place that was come to by whatever way, unless the hand is further on by now. */
function followPad() {
  const { mix, t = 0, seed = 0, seed_b: seedB } = present();
  if (performance.now() < handUntil && awaited !== spelled(mix)) return;
  handUntil = 0;
  if (!mix) {
    placeDot(t, 0);
    return;
  }
  const others = Object.keys(mix).map(Number).filter((s) => s !== seed && s !== seedB);
  const strange = others.some((s) => s !== seedC.valueAsNumber && s !== seedD.valueAsNumber);
  if (Object.values(mix).some((weight) => weight < 0) || (strange && others.length > 2)) {
    pad.classList.add("away");
    return;
  }
  if (strange) {
    // On a pad the products over its diagonals are equal.
    const of = (s) => mix[s] ?? 0, [c, d = seedD.valueAsNumber] = others;
    const odd = (c, d) => Math.abs(of(seed) * of(d) - of(seedB) * of(c));
    [seedC.value, seedD.value] = odd(c, d) <= odd(d, c) ? [c, d] : [d, c];
  }
  const all = seeds(), whole = Object.values(mix).reduce((a, b) => a + b);
  const of = (i) => (all.indexOf(all[i]) === i ? mix[all[i]] ?? 0 : 0) / whole; // a seed at two corners counts once
  placeDot(of(1) + of(3), of(2) + of(3));
}

function pointed(event) {
  const { left, top, width, height } = pad.getBoundingClientRect(), within = (x) => Math.min(1, Math.max(0, x));
  movePad(within((event.clientX - left) / width), within((event.clientY - top) / height));
}

function keyed(event) {
  const by = event.shiftKey ? LEAP : NUDGE;
  const [x, y] = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] }[event.key] ?? [0, 0];
  if (!x && !y) return;
  event.preventDefault();
  movePad(across.valueAsNumber + x, down.valueAsNumber + y);
}

pad.onpointerdown = (event) => {
  event.preventDefault();
  pad.setPointerCapture(event.pointerId);
  across.focus({ preventScroll: true });
  pointed(event);
};
pad.onpointermove = (event) => { if (pad.hasPointerCapture(event.pointerId)) pointed(event); };
pad.onkeydown = keyed;
pad.oninput = () => movePad(across.valueAsNumber, down.valueAsNumber);

function reseed() {
  if (!seedC.checkValidity() || !seedD.checkValidity() || !seedC.value || !seedD.value) {
    return explorer.warn(`A seed must be a whole number from 0 to ${MAX_SEED}.`);
  }
  explorer.warn();
  if (present().mix && !pad.classList.contains("away")) movePad(across.valueAsNumber, down.valueAsNumber);
  refresh();
}

function roll(input) {
  input.value = Math.floor(Math.random() * ROLLED);
  reseed();
}

seedC.onchange = seedD.onchange = reseed;
find("roll-c").onclick = () => roll(seedC);
find("roll-d").onclick = () => roll(seedD);
find("average").onclick = () => explorer.go(mixed(seeds().slice(0, 2).map((seed) => [seed, 1])));
find("difference").onclick = () => explorer.go(mixed(seeds().slice(0, 3).map((seed, i) => [seed, i === 1 ? -1 : 1])));

// Files of the way

let job = null; // the file that is being made

async function save() {
  const button = find("save"), bar = find("progress"), format = find("format").value;
  const mine = job = {};
  explorer.warn();
  explorer.say("Saving the path …");
  button.disabled = true;
  bar.hidden = find("cancel").hidden = false;
  bar.removeAttribute("value");
  try {
    await make(mine, [JSON.stringify(base()), find("count").valueAsNumber, spacing(), format], bar);
  } finally {
    job = null;
    button.disabled = false;
    bar.hidden = find("cancel").hidden = true;
  }
}

/** Has a file made, fetches it and hands it over. */
async function make(mine, request, bar) {
  const begun = await ask("begin_file", request);
  if (!begun) return;
  mine.key = begun.job;
  let state = {};
  while (state && !state.name) {
    if (mine.cancelled) return void server.cancel_file(mine.key).catch(() => null);
    state = await ask("ask_file", mine.key);
    if (state) [bar.max, bar.value] = [state.total, state.done];
  }
  const pieces = [];
  for (let i = 0; state && i < state.pieces && !mine.cancelled; i++) {
    const piece = await ask("fetch_file", [mine.key, i]);
    if (!piece) state = null;
    else pieces.push(explorer.decode(piece.data));
  }
  server.cancel_file(mine.key).catch(() => null);
  if (state && !mine.cancelled) explorer.saveAs(state.name, pieces);
}

function cancel() {
  if (!job) return;
  job.cancelled = true;
  if (job.key) server.cancel_file(job.key).catch(() => null);
  explorer.say("Saving was cancelled");
}

function offer(shown) {
  const formats = Object.keys(NAMES).filter((name) => name !== "mid" || shown.formats.includes("mid"));
  const select = find("format");
  if (formats.join() === [...select.options].map((option) => option.value).join()) return;
  select.replaceChildren(...formats.map((name) => new Option(NAMES[name], name)));
}

find("save").onclick = save;
find("cancel").onclick = cancel;
walkButton.onclick = () => (walk ? stopWalk() : startWalk());
find("even").onchange = refresh;
whenSettled((shown) => {
  offer(shown);
  followPad();
  mark();
  refresh();
});
new ResizeObserver(refresh).observe(element); // also when its tab is opened
