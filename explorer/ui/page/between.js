// The section "Morph": a pad between four seeds, and the morph from A to B in steps, played or saved as a file.

import { MorphFile } from "./morph_file.js";
import { MorphPlayer } from "./morph_player.js";
import { Mosaic } from "./mosaic.js";
import { ACROSS, cornerWeights, Pad, pointOf } from "./pad.js";
import { ask, finder, visible, whenSettled } from "./panel.js";
import { identity, isMix, toJson, withMix, without } from "./recipe.js";
import { session } from "./session.js";
import { unpack } from "./unpack.js";

/** @typedef {import("./recipe.js").Place} Place */
/** @typedef {import("./panel.js").Answer} Answer */

const STEPS = 7;
const LATE = 5000; // ms after which the pad no longer waits for the place that it has asked for
const MAX_SEED = 2 ** 32 - 1, ROLLED = 10_000; // new seeds are below this
const CORNERS = ["a", "b", "c", "d"];
const FORMATS = new Map(Object.entries({
  wav: "WAV", mid: "MIDI", zip: "ZIP of steps", gif: "GIF", png: "Picture", svg: "Picture, SVG", pdf: "Picture, PDF",
}));

/** @param {import("./session.js").Component} component */
export function start({ element, server }) {
  const find = finder(element);
  const input = (/** @type {string} */ name) => /** @type {HTMLInputElement} */ (find(name));
  const seedC = input("seed-c"), seedD = input("seed-d"), even = input("even"), playButton = find("play-morph");
  const formats = /** @type {HTMLSelectElement} */ (find("format"));
  const trail = /** @type {HTMLCanvasElement} */ (find("trail"));
  const pad = new Pad({ pad: find("pad"), trail, across: input("across"), down: input("down") }, goToPoint);
  const land = new Mosaic(find("land"), ACROSS * ACROSS, server.pictures), player = new MorphPlayer(element, showPlaying);
  let steps = /** @type {Answer[]} */ ([]), stepsAsked = ""; // of the morph, as the server sent them, and the request
  let asked = "", askedUntil = 0; // the mix that the pad has asked for, and until when it waits for it

  const place = () => /** @type {Place} */ (session.place);
  const seeds = () => /** @type {import("./pad.js").Seeds} */ (
    [place().seed, place().seed_b, seedC.valueAsNumber, seedD.valueAsNumber]);
  const spacing = () => (even.checked ? "equal" : "t");
  const morph = () => toJson(without(place(), "mix", "t"));
  const stepsRequest = () => [morph(), STEPS, spacing()];
  const mixAt = (/** @type {number} */ x, /** @type {number} */ y) => {
    const weights = cornerWeights(x, y);
    return withMix(place(), seeds().map((seed, i) => [seed, weights[i]]));
  };

  // Steps

  async function play() {
    session.warn();
    if (stepsAsked !== toKey(stepsRequest())) {
      const request = stepsRequest(), answer = await ask(server.steps, [...request, true]);
      if (!answer || toKey(request) !== toKey(stepsRequest())) return;
      stepsAsked = toKey(request);
      steps = answer.steps;
    }
    const away = steps.map((step) => Math.abs(step.place.t - place().t));
    await player.start(steps.map(unpack), isMix(place()) ? 0 : away.indexOf(Math.min(...away)));
  }

  function showPlaying() {
    playButton.textContent = player.playing ? "Stop the morph" : "Play the morph";
  }

  // Pad

  /** Brings the names of the corners and the pictures on the pad up to date. */
  function refresh() {
    if (!session.shown || !visible(element)) return;
    CORNERS.forEach((name, i) => {
      const words = `${name.toUpperCase()} ${seeds()[i]}`;
      find(name).textContent = words;
      find(name).setAttribute("aria-label", `${words}: corner of the pad`);
    });
    const last = ACROSS - 1;
    land.update(() => land.cells.map((_, i) => toJson(mixAt(i % ACROSS / last, Math.floor(i / ACROSS) / last))));
  }

  /** Goes to the mix at a point of the pad. */
  function goToPoint(/** @type {number} */ x, /** @type {number} */ y) {
    if (!session.place) return;
    const mixed = mixAt(x, y);
    asked = identity(mixed.mix);
    askedUntil = performance.now() + LATE;
    session.drag(mixed);
  }

  /** Shows the present place on the pad, unless the pad waits for a newer one. */
  function followPlace() {
    if (performance.now() < askedUntil && asked !== identity(place().mix)) return;
    askedUntil = 0;
    const point = pointOf(place(), seeds());
    if (point) [seedC.value, seedD.value] = point.seeds.slice(2).map(String);
    pad.show(point);
  }

  function reseed() {
    if (![seedC, seedD].every((field) => field.value && field.checkValidity())) {
      return session.warn(`A seed must be a whole number from 0 to ${MAX_SEED}.`);
    }
    session.warn();
    if (session.place && isMix(session.place) && !pad.away) goToPoint(pad.x, pad.y);
    refresh();
  }

  function roll(/** @type {HTMLInputElement} */ field) {
    field.value = String(Math.floor(Math.random() * ROLLED));
    reseed();
  }

  /** Goes to a mix of A, B and C. */
  function mix(/** @type {number[]} */ ...weights) {
    if (session.place) session.go(withMix(session.place, weights.map((weight, i) => [seeds()[i], weight])));
  }

  // Files

  let file = /** @type {MorphFile | null} */ (null);

  async function save() {
    const button = /** @type {HTMLButtonElement} */ (find("save")), cancel = find("cancel");
    const bar = /** @type {HTMLProgressElement} */ (find("progress"));
    file = new MorphFile(server);
    session.warn();
    session.say("Saving the morph …");
    button.disabled = true;
    bar.hidden = cancel.hidden = false;
    bar.removeAttribute("value");
    await file.save([morph(), input("count").valueAsNumber, spacing(), formats.value], (done, total) => {
      [bar.max, bar.value] = [total, done];
    });
    file = null;
    button.disabled = false;
    bar.hidden = cancel.hidden = true;
  }

  function offerFormats(/** @type {string[]} */ possible) {
    const names = [...FORMATS.keys()].filter((name) => name !== "mid" || possible.includes("mid"));
    if (names.join() === [...formats.options].map((option) => option.value).join()) return;
    formats.replaceChildren(...names.map((name) => new Option(FORMATS.get(name), name)));
  }

  seedC.onchange = seedD.onchange = reseed;
  find("roll-c").onclick = () => roll(seedC);
  find("roll-d").onclick = () => roll(seedD);
  find("average").onclick = () => mix(1, 1);
  find("difference").onclick = () => mix(1, -1, 1);
  find("save").onclick = save;
  find("cancel").onclick = () => file?.cancel();
  playButton.onclick = () => (player.playing ? player.stop() : play());
  CORNERS.forEach((name, i) => { find(name).onclick = () => pad.moveTo(i % 2, i >> 1); });
  whenSettled(element, (sound) => {
    offerFormats(sound.formats);
    followPlace();
    refresh();
  });
  new ResizeObserver(refresh).observe(element); // also when its tab is opened
}

/** @param {unknown[]} request */
const toKey = (request) => JSON.stringify(request);
