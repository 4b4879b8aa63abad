// The keys, below the player, for every checkpoint whose labels are pitches: they are played by mouse, touch, the
// computer's keys and MIDI keyboards, and by pieces. The tones of the present place are fetched when they are needed.

import { Instrument, toTone } from "./instrument.js";
import { folded, keyOf, listen as listenToKeys, octaves, show } from "./keyboard.js";
import { listen as listenToMidi, midiPossible, played } from "./midi_in.js";
import { ask, finder, make, saveAs, TYPING, whenSettled } from "./panel.js";
import { identity, toJson, without } from "./recipe.js";
import { session } from "./session.js";
import { decodeBase64, samplesOf } from "./unpack.js";

/** @typedef {import("./instrument.js").Tone} Tone */
/** @typedef {import("./instrument.js").Voice} Voice */
/** A piece that plays. @typedef {{ notes: Float32Array, next: number, origin: number, timer: number, voices: Voice[] }}
 * Playing */
/** A piece to choose. @typedef {{ name: string, kind: "recipe" | "file", of: string }} Choice */

const BATCH = 4; // tones in one request
const KEPT = 4; // places whose tones are kept
const VELOCITY = 100; // of keys that do not know how hard they are pressed
const SHORT = 0.1; // s for which a key is heard that was lifted before its tone was here
const AHEAD = 0.3, AHEAD_HIDDEN = 2; // s: notes of a piece are scheduled this long before they are heard ...
const TICK = 100; // ... this often, in ms
const COMING = 2; // s of a piece whose tones are fetched first
const ROLLED = 10_000; // new seeds are below this
const VISITED = 8; // places visited that are offered as pieces
const SAVING_LIMIT = 300_000; // ms

/** @param {import("./session.js").Component} component */
export function start({ element, props, server }) {
  const find = finder(element), section = /** @type {HTMLElement} */ (element.querySelector("section"));
  const button = (/** @type {string} */ name) => /** @type {HTMLButtonElement} */ (find(name));
  const select = /** @type {HTMLSelectElement} */ (find("piece"));
  const file = /** @type {HTMLInputElement} */ (element.querySelector("input[type=file]"));
  /** Tones by pitch, by the identity of their place. @type {Map<string, Map<number, Tone>>} */
  const known = new Map();
  /** The newest tone of each key, of whatever place. @type {Map<number, Tone>} */
  const newest = new Map();
  /** Keys that are down, with their voice once it sounds.
   * @type {Map<number, { velocity: number, voice: Voice | null }>} */
  const held = new Map();
  const sustained = /** @type {Set<Voice>} */ (new Set()); // by the pedal
  const choices = /** @type {Choice[]} */ ([]);
  let models = /** @type {string[]} */ ([]); // that make notes
  let instrument = /** @type {Instrument | null} */ (null);
  let pedal = false, octave = /** @type {number | null} */ (null), last = 60;
  let place = "", model = "", settled = false, fetching = false;
  let used = false; // whether the visitor has played a key or a piece
  let turn = 0, heard = 0; // number of the present place, and of the newest whose tones are here
  let latest = "", named = false; // the piece that was seen last, and whether a song has come with another since
  let piece = /** @type {Playing | null} */ (null);

  const pitches = () => session.shown?.keys ?? [];
  const now = () => session.speaker?.now ?? 0;

  // Tones

  /** The place without what only the keys decide. */
  const timbre = () => without(/** @type {import("./recipe.js").Place} */ (session.place), "label", "label_b", "blend");

  const here = () => known.get(place) ?? new Map();

  /**
   * Keeps a tone that the server has sent.
   * @param {string} at identity of its place
   * @param {number} of number of that place
   * @param {number} pitch
   * @param {any} sent
   */
  function keep(at, of, pitch, sent) {
    const tones = known.get(at) ?? new Map();
    if (tones.has(pitch)) return;
    const tone = toTone(sent, samplesOf(sent.pcm));
    known.delete(at);
    known.set(at, tones.set(pitch, tone));
    for (const old of known.keys()) if (known.size > KEPT && old !== place) known.delete(old);
    if (of >= heard) sound(pitch, tone, of);
    const key = held.get(pitch);
    if (key && !key.voice) key.voice = strike(pitch, key.velocity);
  }

  /** What sounds of a key goes on with another tone. */
  function sound(/** @type {number} */ pitch, /** @type {Tone} */ tone, /** @type {number} */ of) {
    heard = of;
    newest.set(pitch, tone);
    instrument?.change(pitch, tone, now());
  }

  /** The keys whose tones are needed next, the most urgent first; until the place has settled, those that sound. */
  function wanted() {
    const time = piece ? now() - piece.origin : 0, coming = [];
    for (let i = piece?.next ?? 0; piece && 4 * i < piece.notes.length; i++) {
      if (piece.notes[4 * i + 1] > time + COMING) break;
      coming.push(piece.notes[4 * i]);
    }
    const rest = settled ? [...pitches()].sort((a, b) => Math.abs(a - last) - Math.abs(b - last)) : [];
    const all = new Set([...held.keys(), ...(instrument?.sounding ?? []), ...coming, ...rest]);
    return [...all].filter((pitch) => !here().has(pitch));
  }

  /** Asks for some tones. @param {number[]} some */
  async function fetch(some) {
    const at = place, of = turn, answer = await ask(server.tones, [toJson(timbre()), some]);
    answer?.tones.forEach((/** @type {any} */ sent, /** @type {number} */ i) => keep(at, of, some[i], sent));
    return answer !== null;
  }

  /** Fetches tones until all that are wanted are here. */
  async function fetchAll() {
    if (fetching || !used) return;
    fetching = true;
    for (let some = wanted(); some.length && !section.hidden; some = wanted()) {
      if (!await fetch(some.slice(0, BATCH))) break;
    }
    fetching = false;
  }

  // Keys

  /**
   * Strikes a key, if its tone is here.
   * @param {number} pitch
   * @param {number} velocity
   * @param {number} [when]
   * @param {boolean} [older] whether the tone of an earlier place will do
   */
  function strike(pitch, velocity, when = now(), older = false) {
    const tone = here().get(pitch) ?? (older ? newest.get(pitch) : undefined), master = session.speaker?.master;
    if (!tone || !master) return null;
    instrument ??= new Instrument(master, props.touch);
    return instrument.strike(pitch, velocity, tone, when);
  }

  async function press(/** @type {number} */ pitch, velocity = VELOCITY) {
    const { speaker } = session;
    if (!speaker) return;
    lift(pitch); // one key, one note
    for (const voice of sustained) if (voice.pitch === pitch) letGo(voice);
    used = true;
    last = pitch;
    const key = { velocity, voice: /** @type {Voice | null} */ (null) };
    held.set(pitch, key);
    mark(pitch, true);
    session.silence();
    if (speaker.context?.state !== "running") await session.heard(speaker.wake().then(() => {}));
    key.voice ??= strike(pitch, velocity);
    if (!key.voice) await fetch([pitch]);
    if (held.get(pitch) !== key && !key.voice) { // lifted before it could be heard
      const voice = strike(pitch, velocity);
      if (voice) instrument?.release(voice, now() + SHORT);
    }
    fetchAll();
  }

  function lift(/** @type {number} */ pitch) {
    const voice = held.get(pitch)?.voice;
    held.delete(pitch);
    mark(pitch, false);
    if (voice && pedal) sustained.add(voice);
    else if (voice) letGo(voice);
  }

  function letGo(/** @type {Voice} */ voice) {
    sustained.delete(voice);
    instrument?.release(voice, now());
  }

  function setPedal(/** @type {boolean} */ down) {
    pedal = down;
    if (!down) for (const voice of sustained) letGo(voice);
  }

  const mark = (/** @type {number} */ pitch, /** @type {boolean} */ down) => show(pitches().indexOf(pitch), down);

  /** The octave of the computer's keys: the middle one until it is moved. */
  const present = () => {
    const count = octaves(pitches()).length;
    return Math.min(octave ?? Math.floor((count - 1) / 2), count - 1);
  };

  function moveOctave(/** @type {number} */ by) {
    octave = Math.max(0, Math.min(octaves(pitches()).length - 1, present() + by));
    showOctave();
  }

  function showOctave() {
    const low = pitches()[octaves(pitches())[present()]];
    find("octave").textContent = low === undefined ? "" : `A plays C${Math.floor(low / 12) - 1}`;
  }

  function keyOfCode(/** @type {string} */ code) {
    if (code === "KeyZ") moveOctave(-1);
    else if (code === "KeyX") moveOctave(1);
    return keyOf(code, pitches(), present());
  }

  async function connect() {
    try {
      await listenToMidi((data) => {
        const message = played(data);
        if (!message || section.hidden) return;
        if ("pedal" in message) return setPedal(message.pedal);
        const pitch = folded(message.note, pitches());
        if (pitch !== null && message.velocity) press(pitch, message.velocity);
        else if (pitch !== null) lift(pitch);
      }, (names) => {
        session.say(names.length ? `Plays the keys: ${names.join(", ")}` : "No MIDI keyboard is plugged in yet");
      }, () => { button("midi").hidden = false; });
      button("midi").hidden = true;
    } catch {
      session.warn("The browser does not let this page use a MIDI keyboard.");
    }
  }

  // Pieces

  /** Offers a piece. @param {Choice} choice */
  function offer(choice, chosen = false) {
    const same = choices.findIndex(({ of }) => of === choice.of), index = same < 0 ? choices.push(choice) - 1 : same;
    if (same < 0) select.append(make("option", { value: String(index), textContent: choice.name }));
    if (!chosen) return;
    select.value = String(index);
    choose();
  }

  /** Another piece is chosen. */
  function choose() {
    stop();
    find("about").textContent = "";
  }

  /** Offers the pieces that the visitor has seen, the last one first, and one of each checkpoint that makes notes. */
  async function offerPieces() {
    if (!models.length) models = (await ask(server.piece_models, ""))?.models ?? [];
    const seen = session.stored.visited.read().filter(({ recipe }) => models.includes(recipe.model ?? ""));
    for (const { recipe } of seen.slice(0, VISITED)) offer(asPiece(recipe));
    for (const one of models) offerSeed(one, 0);
    const before = latest;
    if (seen.length) latest = toJson(seen[0].recipe);
    if (latest !== before && !piece && !named) offer(asPiece(seen[0].recipe), true);
    named = false;
    showPlaying();
  }

  /** A place as a piece to choose. @param {import("./recipe.js").Recipe} recipe @returns {Choice} */
  function asPiece(recipe) {
    const mixed = Object.keys(recipe.mix ?? {}).length > 0, to = recipe.t ? ` → ${recipe.seed_b}` : "";
    const moved = Object.keys(recipe.offsets ?? {}).length ? ", moved" : "";
    const name = `${recipe.model} · ${mixed ? "mix" : `seed ${recipe.seed ?? 0}${to}`}${moved}`;
    return { name, kind: "recipe", of: toJson(recipe) };
  }

  const offerSeed = (/** @type {string} */ of, /** @type {number} */ seed, chosen = false) => (
    offer(asPiece({ model: of, seed }), chosen));

  const choice = () => /** @type {Choice | undefined} */ (choices[Number(select.value)]);

  function another() {
    const before = choice(), of = before?.kind === "recipe" ? JSON.parse(before.of).model : models[0];
    offerSeed(of, Math.floor(Math.random() * ROLLED), true);
  }

  /** Uploads a MIDI file and offers it. @param {File} given */
  async function open(given) {
    const form = new FormData(), root = /** @type {any} */ (window).gradio_config.root;
    form.append("files", given);
    const answer = await ask(async () => {
      const response = await window.fetch(`${root}/gradio_api/upload`, { method: "POST", body: form });
      const sent = await response.json();
      return Array.isArray(sent) ? { path: String(sent[0]) } : { error: String(sent.error) };
    }, null);
    if (answer?.path) offer({ name: given.name, kind: "file", of: answer.path }, true);
  }

  /** What the server is asked for a piece. */
  const request = () => [session.shown?.recipe, choice()?.kind, choice()?.of];

  async function play() {
    const { speaker } = session;
    if (!speaker || !choice()) return;
    session.warn();
    const [answer] = await Promise.all([ask(server.piece, request()), session.heard(speaker.wake().then(() => {}))]);
    if (!answer || !speaker.context) return;
    stop();
    session.silence();
    used = true;
    find("about").textContent = answer.about;
    piece = { notes: new Float32Array(decodeBase64(answer.notes)), next: 0, origin: Infinity, timer: 0, voices: [] };
    const begun = piece;
    begun.origin = now(); // so that the tones of its beginning are fetched
    const first = wanted().slice(0, 2 * BATCH);
    if (first.length) await fetch(first);
    if (piece !== begun) return;
    begun.origin = now() + AHEAD / 2;
    begun.timer = window.setInterval(schedule, TICK);
    schedule();
    showPlaying();
    fetchAll();
  }

  /** Strikes the notes of the piece that begin soon, each with the newest tone there is. */
  function schedule() {
    if (!piece) return;
    const { notes, origin } = piece, until = now() + (document.hidden ? AHEAD_HIDDEN : AHEAD);
    for (; 4 * piece.next < notes.length; piece.next++) {
      const [pitch, onset, duration, velocity] = notes.subarray(4 * piece.next);
      if (origin + onset > until) return;
      const when = Math.max(origin + onset, now()), voice = strike(pitch, velocity, when, true);
      if (!voice) continue;
      instrument?.release(voice, when + duration);
      piece.voices.push(voice);
    }
    const ends = notes.length ? notes[notes.length - 3] + notes[notes.length - 2] : 0;
    if (now() > origin + ends) stop();
  }

  function stop() {
    if (!piece) return;
    clearInterval(piece.timer);
    for (const voice of piece.voices) instrument?.end(voice, now());
    piece = null;
    showPlaying();
  }

  function showPlaying() {
    button("play").textContent = piece ? "Stop the piece" : "Play the piece";
    session.alsoPlays(stop, piece !== null);
    for (const name of ["play", "wav"]) button(name).disabled = !choices.length;
    button("roll").disabled = !models.length;
  }

  /** @param {string} name of the button @param {() => Promise<import("./asking.js").Answer | null>} asked */
  async function save(name, asked) {
    button(name).disabled = true;
    session.warn();
    const saved = await asked();
    if (saved) saveAs(saved.name, [decodeBase64(saved.data)]);
    button(name).disabled = false;
  }

  // The place

  /** Another sound is shown, perhaps while a slider moves: what sounds changes its timbre as soon as it is here. */
  function changePlace() {
    section.hidden = !pitches().length;
    if (section.hidden) return silence();
    const next = identity(timbre());
    if (next === place) return;
    if (session.place?.model !== model) {
      silence();
      newest.clear();
    }
    model = session.place?.model ?? "";
    place = next;
    settled = false;
    turn++;
    for (const [pitch, tone] of here()) sound(pitch, tone, turn);
    fetchAll();
  }

  function silence() {
    stop();
    for (const pitch of [...held.keys()]) lift(pitch);
    setPedal(false);
  }

  button("midi").hidden = !midiPossible();
  button("midi").onclick = connect;
  button("down").onclick = () => moveOctave(-1);
  button("up").onclick = () => moveOctave(1);
  button("roll").onclick = another;
  button("open").onclick = () => file.click();
  button("play").onclick = () => (piece ? stop() : play());
  button("wav").onclick = () => save("wav", () => ask(server.save_song, request(), SAVING_LIMIT));
  button("zip").onclick = () => save("zip", () => ask(server.save_instrument, session.shown?.recipe, SAVING_LIMIT));
  select.onchange = choose;
  file.onchange = () => {
    if (file.files?.length) open(file.files[0]);
    file.value = "";
  };
  section.addEventListener("drop", (event) => {
    const given = event.dataTransfer?.files[0];
    if (!given || !/\.midi?$/i.test(given.name)) return;
    event.preventDefault();
    event.stopPropagation(); // elsewhere on the page a file is opened for its place
    open(given);
  });
  const ready = () => !section.hidden;
  listenToKeys(TYPING, ready, keyOfCode, (index) => press(pitches()[index]), (index) => lift(pitches()[index]));
  session.addEventListener("show", changePlace);
  session.addEventListener("piece", (event) => {
    named = true;
    offer(asPiece(JSON.parse(/** @type {CustomEvent} */ (event).detail)), true);
  });
  whenSettled(element, () => {
    changePlace();
    settled = true;
    if (section.hidden) return;
    showOctave();
    offerPieces();
    fetchAll();
  });

  // For tests: how tones are played, and which are here.
  Object.assign(window, {
    keysPanel: { Instrument, here: () => [...here().keys()], held: () => [...held.keys()] },
  });
}
