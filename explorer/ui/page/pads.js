// The pads and the beat, below the player, for every checkpoint whose sounds are short. Each pad is a place of its own.

import { Beat } from "./beat.js";
import { BeatGrid } from "./beat_grid.js";
import {
  chokes, cleared, essential, PADS, recipeOf, struckAt, toggled, withChoke, withKit, withPad,
} from "./kit.js";
import { listen, midiPossible, struckBy } from "./midi_in.js";
import { ask, copyLink, finder, make, saveAs, still, TYPING, whenSettled } from "./panel.js";
import { Picture } from "./picture.js";
import { identity, seedAlone, toJson } from "./recipe.js";
import { audible, Hits, Sequencer } from "./sequencer.js";
import { session, Undo } from "./session.js";
import { decodeBase64, unpack } from "./unpack.js";

/** @typedef {import("./kit.js").Kit} Kit */
/** @typedef {import("./recipe.js").Recipe} Recipe */
/** @typedef {import("./recipe.js").Place} Place */
/** @typedef {import("./unpack.js").Sound} Sound */
/** What a pad plays and shows. @typedef {{ sound: Sound, buffer: AudioBuffer } | { error: string }} Ready */

const FLASH = 120; // ms for which a pad is lit
const KEPT = 256; // sounds of pads, so that undo finds them again; a second of 16 kHz takes 64 kB
const ROLLED = 10_000; // new seeds are below this
const SAVING_LIMIT = 120_000; // ms

/** @param {import("./session.js").Component} component */
export function start({ element, props, server }) {
  const find = finder(element), section = /** @type {HTMLElement} */ (element.querySelector("section"));
  const input = (/** @type {string} */ name) => /** @type {HTMLInputElement} */ (find(name));
  const button = (/** @type {string} */ name) => /** @type {HTMLButtonElement} */ (find(name));
  const pads = Array.from({ length: PADS }, (_, i) => makePad(i));
  const grid = new BeatGrid(find("steps"), (pad, step) => { if (kit) commit(toggled(kit, pad, step)); });
  const beat = new Beat(strike, showStep);
  const ready = /** @type {Map<string, Ready>} */ (new Map()); // by the identity of the recipe
  const left = /** @type {Map<string, { kit: Kit, first: string, undo: Undo }>} */ (new Map()); // by checkpoint
  const locked = /** @type {Set<number>} */ (new Set());
  let kit = /** @type {Kit | null} */ (null);
  let first = ""; // the identity of the checkpoint's first kit, which the address does not name
  let undo = new Undo();
  let selected = 0, followed = -1; // the pad that the buttons are about, and the one that the sliders above change
  let arrival = /[?&]kit\./.test(location.search) ? location.search : ""; // the link that the visitor came by
  let queue = Promise.resolve(); // kits are fetched one after another
  let near = false; // whether the visitor can see the pads
  const rolls = new Array(PADS).fill(0); // how often each pad was rolled: an older answer no longer counts
  let hits = /** @type {Hits | null} */ (null);

  function makePad(/** @type {number} */ i) {
    const canvas = make("canvas"), caption = make("span", { textContent: `Pad ${i + 1}` });
    const root = make("button", { type: "button" }, canvas, caption);
    canvas.setAttribute("aria-hidden", "true");
    root.setAttribute("aria-keyshortcuts", String(i + 1));
    let pressed = false; // so that the click after it is not a second hit
    root.onpointerdown = (event) => {
      if (event.button !== 0) return;
      pressed = true;
      hit(i);
    };
    root.onclick = () => {
      session.speaker?.wake(); // the press of a finger does not count as a gesture, its end does
      if (!pressed) hit(i);
      pressed = false;
    };
    root.onpointercancel = root.onpointerleave = () => { pressed = false; };
    find("pads").append(root);
    return { root, caption, picture: new Picture(canvas, true), shown: "" };
  }

  // The kit

  /** Whether the sound above is short enough for pads, and a waveform. */
  const possible = () => session.shown !== null
    && session.shown.seconds <= props.max_seconds && session.shown.played_by === null;

  const keyOf = (/** @type {number} */ pad) => identity(recipeOf(/** @type {Kit} */ (kit), pad));

  /** Gets the kit of the present checkpoint and its sounds, once. */
  function load() {
    queue = queue.then(async () => {
      const model = session.place?.model, link = arrival;
      if (!model || !possible() || kit?.model === model) return;
      const known = left.get(model), fresh = known ?? await ask(server.new_kit, model);
      if (!fresh) return;
      leave();
      if (known) {
        ({ kit, first, undo } = known);
        await prepare(known.kit);
        draw();
        return;
      }
      arrival = "";
      const mine = new URLSearchParams(link).get("model") === model ? await ask(server.open_kit, link) : null;
      await begin(mine?.kit ?? fresh.kit, identity(fresh.kit));
    });
    return queue;
  }

  /** Shows a kit from a file. @param {Kit} opened */
  function open(opened) {
    section.hidden = false;
    queue = queue.then(async () => {
      const same = kit?.model === opened.model;
      leave();
      if (same && await prepare(opened)) commit(opened);
      else if (!same) await begin(opened, "");
      section.scrollIntoView({ block: "nearest" });
    });
  }

  /** Puts the present kit away, for when its checkpoint is chosen again. */
  function leave() {
    stop();
    follow(-1);
    locked.clear();
    if (kit) left.set(kit.model, { kit, first, undo });
  }

  /** Begins with a kit. @param {Kit} opened @param {string} original identity of the checkpoint's first kit */
  async function begin(opened, original) {
    await prepare(opened);
    first = original;
    undo = new Undo();
    commit(opened);
  }

  /** Gets the sounds that are not here yet. @param {Kit} wanted */
  async function prepare(wanted) {
    const recipes = wanted.pads.map((_, pad) => recipeOf(wanted, pad));
    const missing = recipes.filter((recipe) => !ready.has(identity(recipe)));
    if (!missing.length) return true;
    const answer = await ask(server.hits, missing.map(toJson));
    answer?.hits.forEach((/** @type {any} */ sent, /** @type {number} */ i) => keep(identity(missing[i]), sent));
    return answer !== null;
  }

  /** @param {string} key @param {import("./asking.js").Answer} sent */
  const keep = (key, sent) => keepSound(key, sent.error ? { error: sent.error } : toReady(unpack(sent)));

  function keepSound(/** @type {string} */ key, /** @type {Ready} */ sound) {
    ready.delete(key);
    ready.set(key, sound);
    const used = new Set(kit?.pads.map((_, pad) => keyOf(pad)));
    for (const old of ready.keys()) if (ready.size > KEPT && !used.has(old)) ready.delete(old);
  }

  /** Shows a kit as the next one to undo. @param {Kit} changed */
  function commit(changed) {
    kit = changed;
    undo.visit(JSON.stringify(kit));
    draw();
    address();
  }

  /** Writes the kit into the page's address, once the visitor has changed it. */
  function address() {
    if (!kit || new URLSearchParams(location.search).get("model") !== kit.model) return; // until the place settles
    history.replaceState(null, "", withKit(location.search, identity(kit) === first ? null : kit));
  }

  async function travel(/** @type {number} */ by) {
    if (!(by < 0 ? undo.possible : undo.redoPossible)) return;
    kit = JSON.parse(undo.step(by));
    follow(-1);
    await prepare(/** @type {Kit} */ (kit));
    draw();
    address();
  }

  // What is shown

  function draw() {
    if (!kit) return;
    const names = pads.map((pad, i) => drawPad(pad, i));
    grid.draw(kit, names);
    beat.change(kit);
    input("tempo").value = String(kit.tempo);
    input("swing").value = String(kit.swing);
    find("percent").textContent = `${Math.round(kit.swing)} %`;
    find("chosen").textContent = `Pad ${names[selected]}`;
    find("selected").setAttribute("aria-label", `Pad ${names[selected]}`);
    input("lock").checked = locked.has(selected);
    input("choke").checked = chokes(kit, selected);
    input("follow").checked = followed === selected;
    for (const name of ["roll", "take"]) button(name).disabled = locked.has(selected) || followed === selected;
    input("follow").disabled = locked.has(selected);
    input("lock").disabled = followed === selected;
    button("undo").disabled = !undo.possible;
    button("redo").disabled = !undo.redoPossible;
  }

  /** Draws one pad and returns its name. @param {(typeof pads)[0]} pad @param {number} i */
  function drawPad({ root, caption, picture }, i) {
    const recipe = recipeOf(/** @type {Kit} */ (kit), i), key = identity(recipe), sound = ready.get(key);
    const name = `${i + 1} · ${recipe.label ?? `seed ${recipe.seed}`}`, error = sound && "error" in sound ? sound.error : "";
    caption.textContent = error ? `${name}: cannot be played` : name;
    root.title = error || (sound && "sound" in sound ? sound.sound.title : "");
    root.setAttribute("aria-label", `Pad ${name}${locked.has(i) ? ", locked" : ""}${followed === i ? ", follows" : ""}`);
    root.setAttribute("aria-current", String(i === selected));
    root.classList.toggle("locked", locked.has(i));
    root.classList.toggle("followed", followed === i);
    if (sound && "sound" in sound && pads[i].shown !== key) {
      pads[i].shown = key;
      picture.show(sound.sound);
    }
    return name;
  }

  function select(/** @type {number} */ pad) {
    selected = pad;
    draw();
  }

  // Playing

  /** Lights a pad up. @param {number} pad */
  function flash(pad) {
    const { root } = pads[pad];
    root.classList.add("struck");
    setTimeout(() => root.classList.remove("struck"), FLASH);
  }

  /** Plays a pad at a time of the audio clock, or now. */
  function strike(/** @type {number} */ pad, /** @type {number} */ when = 0, /** @type {number} */ level = 1) {
    const sound = kit && ready.get(keyOf(pad)), { speaker } = session;
    if (!kit || !sound || "error" in sound || !speaker?.context || !speaker.master) return;
    hits ??= new Hits(speaker.master);
    hits.strike(kit, pad, sound.buffer, Math.max(when, speaker.context.currentTime), level * sound.sound.gain);
  }

  /** Plays a pad because the visitor has struck it. */
  async function hit(/** @type {number} */ pad, level = 1) {
    const { speaker } = session;
    if (!speaker) return;
    const here = kit?.model === session.place?.model && ready.has(keyOf(pad));
    if (!here || speaker.context?.state !== "running") {
      await session.heard(Promise.all([speaker.wake(), load()]).then(async () => { if (kit) await prepare(kit); }));
      draw();
    }
    strike(pad, 0, level);
    flash(pad);
    if (pad !== selected) select(pad);
  }

  async function play() {
    const { speaker } = session;
    if (!speaker) return;
    await session.heard(Promise.all([speaker.wake(), load()]).then(([context]) => {
      if (!kit || beat.playing) return;
      if (speaker.playing) speaker.stop();
      session.beating = true;
      beat.play(context, kit);
      showPlaying();
    }));
  }

  function stop() {
    if (beat.playing && session.speaker) hits?.stop(session.speaker.now);
    beat.stop();
    session.beating = false;
    grid.mark(-1);
    showPlaying();
  }

  function showPlaying() {
    find("play").textContent = beat.playing ? "Stop the beat" : "Play the beat";
    session.alsoPlays(stop, beat.playing);
  }

  function showStep(/** @type {number} */ step) {
    if (!element.isConnected) return stop();
    grid.mark(step);
    if (kit && !still.matches) struckAt(kit, step).forEach(flash);
  }

  // Changing pads

  /** Rolls pads anew, except locked ones. */
  async function roll(/** @type {number[]} */ which) {
    const free = which.filter((pad) => !locked.has(pad) && pad !== followed);
    if (!kit || !free.length) return session.say(`Pad ${which[0] + 1} keeps its sound`);
    const before = kit, turns = free.map((pad) => ++rolls[pad]);
    const wanted = free.map((pad) => {
      const place = /** @type {Place} */ (recipeOf(before, pad));
      return toJson(seedAlone(place, Math.floor(Math.random() * ROLLED)));
    });
    const answer = await ask(server.hits, wanted);
    if (!answer || kit?.model !== before.model) return;
    let changed = kit;
    for (const [i, pad] of free.entries()) {
      const sent = answer.hits[i];
      if (turns[i] !== rolls[pad]) continue;
      if (sent.error) return session.warn(sent.error);
      changed = withPad(changed, pad, JSON.parse(sent.recipe));
      keep(identity(recipeOf(changed, pad)), sent);
    }
    commit(changed);
    session.say(free.length > 1 ? "Rolled all pads that are not locked" : `Rolled pad ${free[0] + 1}`);
    if (which.length === 1) hit(free[0]);
  }

  /** Puts the sound above on a pad. Returns the changed kit. */
  function taken(/** @type {number} */ pad) {
    const { shown } = session;
    if (!kit || !shown?.pcm || shown.place.model !== kit.model) return null;
    const changed = withPad(kit, pad, essential(shown.place));
    keepSound(identity(recipeOf(changed, pad)), toReady(shown));
    return changed;
  }

  function take() {
    const changed = taken(selected);
    if (changed) commit(changed);
  }

  function follow(/** @type {number} */ pad) {
    followed = pad;
    if (pad >= 0) take();
    draw();
  }

  /** Another sound is shown above, perhaps while a slider moves: the pad that follows plays it at its next hit. */
  function showFollowed() {
    const changed = followed >= 0 && possible() ? taken(followed) : null;
    if (!changed) return;
    kit = changed;
    draw();
  }

  function changeTempo() {
    const { value, valueAsNumber, validity, min, max } = input("tempo");
    if (!kit) return;
    if (value && validity.valid) {
      session.warn();
      commit({ ...kit, tempo: valueAsNumber });
    } else {
      session.warn(`The tempo must be a number from ${min} to ${max}.`);
      input("tempo").value = String(kit.tempo);
    }
  }

  // Files

  async function save(/** @type {string} */ format) {
    if (!kit) return;
    button(format).disabled = true;
    session.warn();
    const file = await ask(server.save_kit, [JSON.stringify(kit), format], SAVING_LIMIT);
    if (file) saveAs(file.name, [decodeBase64(file.data)]);
    button(format).disabled = false;
  }

  async function copy() {
    if (!kit) return;
    const link = new URL(location.href);
    link.search = withKit(location.search, kit);
    await copyLink(link.href, "Link to the kit copied");
  }

  // Keys and controllers

  function shortcut(/** @type {KeyboardEvent} */ event) {
    const pad = /^(Digit|Numpad)[1-8]$/.test(event.code) ? Number(event.code.at(-1)) - 1 : -1;
    const target = /** @type {Element} */ (event.target);
    if (pad < 0 || section.hidden || !input("keys").checked || event.repeat) return;
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest(TYPING)) return;
    event.preventDefault();
    if (event.shiftKey) load().then(() => { select(pad); roll([pad]); });
    else hit(pad);
  }

  function undoByKey(/** @type {KeyboardEvent} */ event) {
    const typing = /** @type {Element} */ (event.target).closest(TYPING);
    if (event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey) || typing) return;
    event.preventDefault();
    event.stopPropagation(); // elsewhere on the page it undoes the place
    travel(event.shiftKey ? 1 : -1);
  }

  async function connect() {
    try {
      await listen((data) => {
        const struck = struckBy(data);
        if (struck && !section.hidden) hit(struck.pad, struck.level);
      }, (names) => {
        session.say(names.length ? `Plays the pads: ${names.join(", ")}` : "No MIDI controller is plugged in yet");
      }, () => { button("midi").hidden = false; });
      button("midi").hidden = true;
    } catch {
      session.warn("The browser does not let this page use a MIDI controller.");
    }
  }

  function refresh() {
    section.hidden = !possible();
    if (section.hidden) stop();
    else if (near) load().then(address);
  }

  button("midi").hidden = !midiPossible();
  find("roll").onclick = () => roll([selected]);
  find("roll-all").onclick = () => roll(pads.map((_, i) => i));
  find("take").onclick = take;
  find("send").onclick = () => { if (kit) session.go(recipeOf(kit, selected)); };
  find("undo").onclick = () => travel(-1);
  find("redo").onclick = () => travel(1);
  find("copy").onclick = copy;
  find("midi").onclick = connect;
  find("play").onclick = () => (beat.playing ? stop() : play());
  find("clear").onclick = () => { if (kit) commit(cleared(kit)); };
  for (const format of ["wav", "mid", "zip"]) button(format).onclick = () => save(format);
  input("tempo").onchange = changeTempo;
  input("swing").oninput = () => {
    if (!kit) return;
    kit = { ...kit, swing: input("swing").valueAsNumber };
    draw();
  };
  input("swing").onchange = () => { if (kit) commit(kit); };
  input("choke").onchange = () => { if (kit) commit(withChoke(kit, selected)); };
  input("follow").onchange = () => follow(input("follow").checked ? selected : -1);
  input("lock").onchange = () => {
    if (input("lock").checked) locked.add(selected);
    else locked.delete(selected);
    draw();
  };
  element.addEventListener("keydown", undoByKey);
  document.addEventListener("keydown", shortcut);
  session.addEventListener("show", showFollowed);
  session.addEventListener("kit", (event) => open(/** @type {CustomEvent} */ (event).detail));
  whenSettled(element, () => {
    refresh();
    if (kit && followed >= 0) commit(kit);
    queueMicrotask(address); // after the player has written the place
  });
  new IntersectionObserver((entries) => {
    near = entries[entries.length - 1].isIntersecting; // a busy page is told several changes at once
    refresh();
  }, { rootMargin: "200px" }).observe(section);

  // For tests: the kit and how its hits are scheduled.
  Object.assign(window, { kitPanel: { kit: () => kit, Hits, Sequencer } });
}

/** @param {Sound} sound @returns {Ready} */
function toReady(sound) {
  if (!sound.pcm) return { error: "it has no waveform" };
  const samples = audible(sound.pcm.samples);
  const buffer = new AudioBuffer({ length: samples.length, sampleRate: sound.pcm.rate });
  buffer.copyToChannel(/** @type {Float32Array<ArrayBuffer>} */ (samples), 0);
  return { sound, buffer };
}
