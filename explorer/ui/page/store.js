// The places that stay in the visitor's browser: favourites, and those visited.

import { identity } from "./recipe.js";

/** As explorer/files/gallery.py has it.
 * @typedef {{ name?: string, time?: string, recipe: import("./recipe.js").Recipe }} StoredPlace */

const VISITS = 50; // visited places that are remembered
const VERSION = 1; // as in explorer/files/gallery.py

/** A file of places, as the library reads it. @param {StoredPlace[]} places */
export const dumps = (places) => `${JSON.stringify({ version: VERSION, places }, null, 1)}\n`;

/** A place as the server sends it, whose recipe is a text. @param {any} sent @returns {StoredPlace} */
export const fromSent = (sent) => ({ ...sent, recipe: JSON.parse(sent.recipe) });

/** @param {any} place */
const isPlace = (place) => typeof place?.recipe?.model === "string" && typeof (place.name ?? "") === "string";

/**
 * What can be read of a stored text, and whether that is the whole of it.
 * @param {string} text
 * @returns {{ places: StoredPlace[], whole: boolean }}
 */
export function readable(text) {
  try {
    const { version, places } = JSON.parse(text), good = places.filter(isPlace);
    if (version === VERSION) return { places: good, whole: good.length === places.length };
  } catch { /* not ours, or cut short */ }
  return { places: [], whole: false };
}

/**
 * Both lists, of equal recipes only the first.
 * @param {StoredPlace[]} first
 * @param {StoredPlace[]} second
 */
export function joined(first, second) {
  /** @type {Map<string, StoredPlace>} */
  const all = new Map();
  for (const place of [...first, ...second]) {
    const key = identity(place.recipe);
    if (!all.has(key)) all.set(key, place);
  }
  return [...all.values()];
}

/** One list of places, read anew each time, since another tab may have changed it. */
export class Store {
  /** What the browser does not keep lasts until the page is closed. @type {StoredPlace[] | null} */
  unsaved = null;

  /**
   * @param {string} name
   * @param {() => Storage} storage throws where the browser has none for us
   * @param {(words: string | null, text?: string) => void} trouble told what is wrong, with the text that could not be
   *   read, and null once the list is stored again
   */
  constructor(name, storage, trouble) {
    this.name = name;
    this.key = `latent-explorer.${name}`;
    this.storage = storage;
    this.trouble = trouble;
  }

  /** @returns {StoredPlace[]} */
  read() {
    if (this.unsaved) return this.unsaved;
    let text;
    try {
      text = this.storage().getItem(this.key);
    } catch (error) {
      return this.#hold([], error);
    }
    if (text === null) return [];
    const { places, whole } = readable(text);
    return whole ? places : this.#setAside(text, places);
  }

  /** @param {StoredPlace[]} places */
  write(places) {
    try {
      this.storage().setItem(this.key, dumps(places));
      if (this.unsaved) {
        this.unsaved = null;
        this.trouble(null);
      }
    } catch (error) {
      this.#hold(places, error);
    }
  }

  /**
   * Keeps a list until the page is closed.
   * @param {StoredPlace[]} places
   * @param {unknown} error
   */
  #hold(places, error) {
    const reason = error instanceof Error ? error.name : String(error);
    this.trouble(`This browser keeps no more places (${reason}): these last until the page is closed. Export them to keep them.`);
    return this.unsaved = places;
  }

  /**
   * Moves what cannot be read out of the way, as it is, and goes on with what can.
   * @param {string} text
   * @param {StoredPlace[]} places
   */
  #setAside(text, places) {
    this.trouble(`Some of the ${this.name} that this browser kept cannot be read.`, text);
    try {
      this.storage().setItem(`${this.key}.damaged`, text);
      this.storage().setItem(this.key, dumps(places));
    } catch (error) {
      return this.#hold(places, error);
    }
    return places;
  }
}

/**
 * Favourites and visited places. Its events: "change" of a list, and "removal", whose detail is
 * { words, putBack }: what was removed, and a function that puts it back.
 */
export class StoredPlaces extends EventTarget {
  /** What is wrong with the storage, and what could not be read. @type {{ words: string, text: string } | null} */
  trouble = null;
  /** Whether there was nothing here before the first visit. */
  newcomer = false;

  /**
   * @param {() => Storage} storage
   * @param {(words: string) => void} say
   * @param {(words: string) => void} warn
   */
  constructor(storage, say, warn) {
    super();
    this.say = say;
    const trouble = (/** @type {string | null} */ words, text = "") => {
      if (words !== null && words !== this.trouble?.words) warn(words);
      if (words !== this.trouble?.words) this.trouble = words === null ? null : { words, text };
    };
    this.favourites = new Store("favourites", storage, trouble);
    this.visited = new Store("history", storage, trouble);
  }

  /** Tells those who show the lists, also of what another tab has changed. */
  changed() { this.dispatchEvent(new Event("change")); }

  /**
   * @param {Store} store
   * @param {StoredPlace[]} places
   */
  #write(store, places) {
    store.write(places);
    this.changed();
  }

  /** @param {StoredPlace} place */
  has(place) { return this.#find(place) !== undefined; }

  /** @param {StoredPlace} place */
  #find(place) {
    const key = identity(place.recipe);
    return this.favourites.read().find(({ recipe }) => identity(recipe) === key);
  }

  /** Keeps a place or, if it is kept already, no longer does. @param {StoredPlace} place */
  toggle(place) {
    if (this.has(place)) return this.remove(place);
    this.#write(this.favourites, [place, ...this.favourites.read()]);
    this.say(`Kept: ${place.name}`);
  }

  /** @param {StoredPlace} place */
  remove(place) {
    const key = identity(place.recipe), name = this.#find(place)?.name ?? "";
    this.#take(this.favourites, ({ recipe }) => identity(recipe) === key, `Removed: ${name}`);
  }

  /**
   * @param {StoredPlace} place
   * @param {string} name
   */
  rename(place, name) {
    const key = identity(place.recipe);
    this.#write(this.favourites, this.favourites.read().map((p) => (identity(p.recipe) === key ? { ...p, name } : p)));
  }

  /**
   * Moves a favourite by places in their list, as far as that goes.
   * @param {StoredPlace} place
   * @param {number} by
   */
  reorder(place, by) {
    const key = identity(place.recipe), places = [...this.favourites.read()];
    const from = places.findIndex(({ recipe }) => identity(recipe) === key), to = from + by;
    if (from < 0 || to < 0 || to >= places.length) return;
    const [moved] = places.splice(from, 1);
    places.splice(to, 0, moved);
    this.#write(this.favourites, places);
    this.say(`${moved.name ?? ""}: ${to + 1} of ${places.length}`);
  }

  clearVisited() { this.#take(this.visited, () => true, "History cleared"); }

  /**
   * Adds a place to those visited.
   * @param {StoredPlace} place
   */
  visit(place) {
    const past = this.visited.read();
    this.newcomer ||= !past.length && !this.favourites.read().length;
    this.#write(this.visited, joined([{ ...place, name: "" }], past).slice(0, VISITS));
  }

  /** Adds the places of a file that was opened to the favourites. @param {StoredPlace[]} places */
  add(places) {
    const before = this.favourites.read(), file = joined([], places), all = joined(before, file);
    const more = all.length - before.length;
    this.#write(this.favourites, all);
    const rest = more < file.length ? "; the rest were there" : "";
    this.say(`${more} of ${file.length} places added to the favourites${rest}`);
  }

  /**
   * @param {Store} store
   * @param {(place: StoredPlace) => boolean} which
   * @param {string} words
   */
  #take(store, which, words) {
    const before = store.read();
    this.#write(store, before.filter((place) => !which(place)));
    this.say(words);
    const putBack = () => this.#write(store, joined(before, store.read()));
    this.dispatchEvent(new CustomEvent("removal", { detail: { words, putBack } }));
  }
}
