// The places stored in the visitor's browser: favourites and history.

import { identity } from "./recipe.js";

/** A place as explorer/files/gallery.py stores it.
 * @typedef {{ name?: string, time?: string, recipe: import("./recipe.js").Recipe }} StoredPlace */

const VISITS = 50; // places in the history
const VERSION = 1; // as in explorer/files/gallery.py

/** The text of a file of places, which the library reads. @param {StoredPlace[]} places */
export const dumps = (places) => `${JSON.stringify({ version: VERSION, places }, null, 1)}\n`;

/** Converts a place from the server, whose recipe is a text. @param {any} sent @returns {StoredPlace} */
export const fromSent = (sent) => ({ ...sent, recipe: JSON.parse(sent.recipe) });

/** @param {any} place */
const isPlace = (place) => typeof place?.recipe?.model === "string" && typeof (place.name ?? "") === "string";

/**
 * The places that can be read from a stored text; `whole` says whether nothing was left out.
 * @param {string} text
 * @returns {{ places: StoredPlace[], whole: boolean }}
 */
export function readable(text) {
  try {
    const { version, places } = JSON.parse(text), good = places.filter(isPlace);
    if (version === VERSION) return { places: good, whole: good.length === places.length };
  } catch { /* not a list of places, or cut off */ }
  return { places: [], whole: false };
}

/**
 * Both lists joined; of equal recipes only the first is kept.
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

/** One stored list of places, read again each time because another tab may have changed it. */
export class Store {
  /** The list if the browser cannot store it; it is lost when the page is closed. @type {StoredPlace[] | null} */
  unsaved = null;

  /**
   * @param {string} name
   * @param {() => Storage} storage throws if the browser denies its storage
   * @param {(words: string | null, text?: string) => void} trouble called with what is wrong and the text that could
   *   not be read, and with null once the list is stored again
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
   * Keeps a list in memory, until the page is closed.
   * @param {StoredPlace[]} places
   * @param {unknown} error
   */
  #hold(places, error) {
    const reason = error instanceof Error ? error.name : String(error);
    this.trouble(`This browser cannot store more places (${reason}). Export them: new ones are lost when the page closes.`);
    return this.unsaved = places;
  }

  /**
   * Stores a damaged text under another key and goes on with the places that can be read.
   * @param {string} text
   * @param {StoredPlace[]} places
   */
  #setAside(text, places) {
    this.trouble(`Some of the ${this.name} stored in this browser cannot be read.`, text);
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
 * Favourites and history. Events: "change" of a list, and "removal", whose detail is { words, putBack }: what was
 * removed, and a function that puts it back.
 */
export class StoredPlaces extends EventTarget {
  /** What is wrong with the storage, and the unreadable text. @type {{ words: string, text: string } | null} */
  trouble = null;
  /** Whether both lists were empty at the first visit. */
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

  /** Announces a change of a list; also called when another tab has made one. */
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

  /**
   * The name that the visitor gave to a favourite; "" if it is none, or has no other name than its title.
   * @param {StoredPlace} place
   */
  nameOf(place) {
    const name = this.#find(place)?.name ?? "";
    return name === place.name ? "" : name;
  }

  /** Adds a place to the favourites, or removes it if it is there already. @param {StoredPlace} place */
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
   * Moves a favourite up or down in the list.
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
   * Adds a place to the history.
   * @param {StoredPlace} place
   */
  visit(place) {
    const past = this.visited.read();
    this.newcomer ||= !past.length && !this.favourites.read().length;
    this.#write(this.visited, joined([{ ...place, name: "" }], past).slice(0, VISITS));
  }

  /** Adds the places of an opened file to the favourites. @param {StoredPlace[]} places */
  add(places) {
    const before = this.favourites.read(), file = joined([], places), all = joined(before, file);
    const more = all.length - before.length;
    this.#write(this.favourites, all);
    const rest = more < file.length ? "; the rest were there already" : "";
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
