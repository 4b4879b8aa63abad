// The state that all parts of the page share: the sound that is shown, and how to get another. It uses no DOM element.

import { Asking, ask, NO_ANSWER, OVERDUE, SLOW_ANSWER } from "./asking.js";
import { toJson } from "./recipe.js";
import { fromSent, StoredPlaces } from "./store.js";
import { unpack } from "./unpack.js";

/** @typedef {import("./unpack.js").Sound} Sound */
/** @typedef {import("./recipe.js").Place} Place */
/** What gradio hands to the script of a gr.HTML.
 * @typedef {object} Component
 * @property {HTMLElement} element
 * @property {Record<string, any>} props
 * @property {Record<string, import("./asking.js").ServerFunction>} server
 * @property {(event: string) => void} trigger
 * @property {(prop: string, callback: () => void) => void} watch
 */

/** Shows the session's sound, and takes it over into what plays: from a position, or else from where the ear is. With
 * `begin` it is played even if nothing was. Resolves when it is heard.
 * @typedef {(how: { begin: boolean, position?: number }) => Promise<void>} Draw */

const SETTLED = 350; // ms without a change after which a place settles: it counts as visited
const PATIENCE = 3000; // ms that a place waits for an expected answer before it settles

/** The places visited, for undo and redo; `now` is the index of the present one. */
export class Undo {
  /** @type {string[]} */
  places = [];
  now = -1;

  /** @param {string} place */
  visit(place) {
    if (place !== this.places[this.now]) this.places.splice(++this.now, Infinity, place);
  }

  get possible() { return this.now > 0; }
  get redoPossible() { return this.now < this.places.length - 1; }
  /** @param {number} by */
  step(by) { return this.places[this.now += by]; }
}

/**
 * One visitor's state. Its events:
 *
 * - "ready": the player is on the page; before, there is no speaker.
 * - "show": another sound is shown, also while a slider moves.
 * - "settle": the place that is shown has not changed for a moment, so it counts as visited.
 * - "kit": the detail is a kit, as kit.js has it, from a file that was opened.
 * - "piece": the detail is the recipe of a piece, as JSON, from a song that was opened.
 * - "listen": a place that is asked for next shall be heard, from its beginning; the detail is whether only once.
 * - "others": something else has begun to play, or has stopped.
 * - "silence": something else begins to play, so the sound that is shown stops until it is played again.
 * - "say": the detail has `words` for the visitor, and the `title` of the sound that they are about, if any.
 * - "warn": the detail is a sentence for the visitor; an empty one clears the last.
 */
export class Session extends EventTarget {
  /** @type {Sound | null} */
  shown = null;
  /** What plays it. @type {import("./sound.js").Speaker | null} */
  speaker = null;
  /** Whether a pointer is down. */
  held = false;
  /** Whether a beat plays, so that a sound that is shown anew does not begin to play by itself. */
  beating = false;
  /** What plays beside the sound that is shown, such as a beat: how each is stopped. @type {Set<() => void>} */
  others = new Set();
  /** Whether the server still looks for the directions of the sliders. */
  searching = false;
  /** For each visible slider of an offset, the offset's name. @type {Record<string, string>} */
  offsetNames = {};
  /**
   * What the server says of the model's directions, by name.
   * @type {Record<string, import("./offsets.js").Direction>}
   */
  directions = {};
  undo = new Undo();
  /** @type {Component | null} */
  #player = null;
  /** Draws `shown` and has it heard. @type {Draw} */
  #draw = async () => {};
  /** Where `go` or `choose` leads: of an event that had to wait gradio forgets what came with it. */
  #destination = "";
  /** When gradio's event that has no answer yet set out. @type {number | null} */
  #eventSince = null;
  #eventTimer = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);
  #travelling = false; // undo or redo has set out for a place that is not shown yet
  #settling = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);
  /** The place of a draft whose own sound was asked for. @type {Place | null} */
  #resting = null;

  /** @param {() => Storage} storage */
  constructor(storage) {
    super();
    this.stored = new StoredPlaces(storage, (words) => this.say(words), (words) => this.warn(words));
    /** The hand on a slider or a pad. @type {Asking<Place>} */
    this.hand = new Asking(
      (place) => ask(this.#component().server[place === this.#resting ? "rest" : "lead"], toJson(place)),
      (answer) => this.#show(answer),
      () => this.warn(SLOW_ANSWER),
    );
  }

  /**
   * The player is on the page.
   * @param {Component} player
   * @param {import("./sound.js").Speaker} speaker
   * @param {Draw} draw
   */
  start(player, speaker, draw) {
    this.#player = player;
    this.speaker = speaker;
    this.#draw = draw;
    this.dispatchEvent(new Event("ready"));
    player.watch("value", () => this.#receive());
    this.#receive();
  }

  #component() { return /** @type {Component} */ (this.#player); }

  /** The place that is shown. */
  get place() { return this.shown?.place ?? null; }

  /** The newest place that was asked for, which may not be shown yet; null before the first sound. */
  get target() { return this.hand.newest ?? this.place; }

  /** @param {string} words @param {string} [title] of the sound that they are about, which is seen on the picture */
  say(words, title) { this.dispatchEvent(new CustomEvent("say", { detail: { words, title } })); }

  warn(words = "") { this.dispatchEvent(new CustomEvent("warn", { detail: words })); }

  /**
   * Goes to a place.
   * @param {import("./recipe.js").Recipe | string} recipe also as JSON or as the query of a link
   */
  go(recipe) {
    this.#destination = typeof recipe === "string" ? recipe : toJson(recipe);
    this.#expect(); // at once: gradio may send it later
    this.#component().trigger("go");
  }

  /**
   * Goes to a place that the visitor wants to hear, even after Stop.
   * @param {string} recipe
   * @param {boolean} [once] whether it ends at its end, although sounds are repeated
   */
  hear(recipe, once = false) {
    this.dispatchEvent(new CustomEvent("listen", { detail: once }));
    this.go(recipe);
  }

  /**
   * Asks for the present place anew, with the directions that have been found since. Returns false if that has to wait:
   * while the visitor goes elsewhere, it would lead back.
   */
  showFound() {
    if (!this.searching || !this.shown) return true;
    if (this.held || this.#eventSince !== null || this.hand.newest !== null) return false;
    this.searching = false;
    this.go(this.shown.recipe);
    return true;
  }

  /** Goes to another model, with the same seeds. @param {string} name */
  choose(name) {
    this.#destination = name;
    this.#expect();
    this.#component().trigger("choose");
  }

  /**
   * Goes to a place while a slider moves, without gradio's events. Only numbers may differ from the present place, so
   * that no control changes its properties.
   * @param {Place} place
   */
  drag(place) { this.hand.ask(place); }

  /**
   * Shows a sound that is already here. It is in undo, history and address only after a `go` to it.
   * @param {Sound} sound
   * @param {number} [position] from which it is played
   */
  preview(sound, position) {
    clearTimeout(this.#settling);
    this.shown = sound;
    this.dispatchEvent(new Event("show"));
    return this.#draw({ begin: false, position });
  }

  /** Plays what is shown. */
  async play() {
    if (this.speaker) await this.heard(this.speaker.play());
  }

  /** Stops what is shown, for something else that plays. */
  silence() { this.dispatchEvent(new Event("silence")); }

  /**
   * Something else than the sound that is shown plays, or no longer.
   * @param {() => void} stop how it is stopped
   * @param {boolean} plays
   */
  alsoPlays(stop, plays) {
    if (this.others.has(stop) === plays) return;
    if (plays) this.others.add(stop);
    else this.others.delete(stop);
    this.dispatchEvent(new Event("others"));
  }

  /** Waits for the speaker and shows its error, if any. @param {Promise<void>} promise */
  async heard(promise) {
    try {
      await promise;
    } catch (error) {
      this.warn(`No sound: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** The recipe that an event of gradio's sends. @param {string} before the first sound */
  sends(before) {
    this.#expect();
    return this.target ? toJson(this.target) : before;
  }

  /** The recipe or model that the event of `go` or `choose` sends. */
  sendsDestination() {
    this.#expect();
    return this.#destination;
  }

  #expect() {
    clearTimeout(this.#eventTimer);
    this.#eventSince = performance.now();
    this.#eventTimer = setTimeout(() => this.warn(SLOW_ANSWER), OVERDUE);
  }

  /** Handles the failure of an event of gradio's, which gets no answer. */
  eventFailed() {
    clearTimeout(this.#eventTimer);
    this.#eventSince = null;
    this.#travelling = false;
    this.warn(NO_ANSWER);
  }

  /** Handles the answer to an event of gradio's, which includes all that sliders asked for before. */
  #receive() {
    clearTimeout(this.#eventTimer);
    this.#eventSince = null;
    const { value } = this.#component().props;
    if (value?.recipe) this.hand.discard();
    if (value) this.#show(value);
  }

  /** @param {import("./asking.js").Answer} sent */
  #show(sent) {
    this.warn(sent.error);
    if (sent.offset_names) this.offsetNames = sent.offset_names;
    if (sent.directions) this.directions = sent.directions;
    if (sent.places) this.stored.add(sent.places.map(fromSent));
    if (!sent.recipe) return;
    const first = this.shown === null;
    this.#travelling = false;
    this.searching ||= sent.searching;
    this.shown = unpack(sent);
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => (first ? this.settle() : this.#rest()), first ? 0 : SETTLED);
    this.#draw({ begin: !first });
    this.dispatchEvent(new Event("show"));
    if (sent.piece) this.dispatchEvent(new CustomEvent("piece", { detail: sent.piece }));
    if (sent.kit) this.dispatchEvent(new CustomEvent("kit", { detail: sent.kit }));
  }

  /**
   * Settles once no pointer is down and no answer is expected, or when an answer takes too long. Of a place of which a
   * draft is shown it asks for the sound itself before.
   */
  #rest() {
    const still = !this.held && !this.#owed();
    if (still && (!this.shown?.draft || this.shown.place === this.#resting)) return this.settle();
    if (still) {
      this.#resting = this.place;
      this.hand.ask(/** @type {Place} */ (this.place));
    }
    this.#settling = setTimeout(() => this.#rest(), SETTLED);
  }

  #owed() {
    const { state, since } = this.hand, now = performance.now();
    return ((state === "asking" || state === "behind") && now - since < PATIENCE)
      || (this.#eventSince !== null && now - this.#eventSince < PATIENCE);
  }

  /** The present place counts as visited. */
  settle() {
    clearTimeout(this.#settling);
    if (!this.shown) return;
    this.undo.visit(this.shown.recipe);
    this.stored.visit(this.toStore(this.shown));
    this.dispatchEvent(new Event("settle"));
  }

  /** @param {number} by -1 to undo, 1 to redo */
  travel(by) {
    if (!this.#travelling) this.settle(); // else what is shown is the place left behind, visited already
    if (!(by < 0 ? this.undo.possible : this.undo.redoPossible)) return;
    this.#travelling = true;
    this.go(this.undo.step(by));
  }

  /** Adds the present place to the favourites, or removes it. */
  keep() {
    if (this.shown) this.stored.toggle(this.toStore(this.shown));
  }

  /**
   * A sound's place as it is stored.
   * @param {Sound} sound
   * @returns {import("./store.js").StoredPlace}
   */
  toStore(sound) { return { name: sound.title, time: new Date().toISOString(), recipe: JSON.parse(sound.recipe) }; }
}

export const session = new Session(() => localStorage);
