// The places that stay in the visitor's browser: favourites, and those visited, as lists of {name, time, recipe}.
// Runs with the player, before player.js, and does nothing until that calls it.

const VISITS = 50; // visited places that are remembered
const KEPT_VERSION = 1; // as in explorer/files/gallery.py
const stranger = !location.search.includes("model="); // came by no link

/** One list, read anew each time, since another tab may have changed it. */
class Store {
  constructor(name) { Object.assign(this, { key: `latent-explorer.${name}`, unsaved: null }); }

  read() {
    if (this.unsaved) return this.unsaved;
    let text;
    try {
      text = localStorage.getItem(this.key);
    } catch (error) {
      return this.hold([], error);
    }
    if (text === null) return [];
    const { places, whole } = intact(text);
    return whole ? places : this.setAside(text, places);
  }

  /** Keeps a list; until the page is closed at least. */
  write(places) {
    try {
      localStorage.setItem(this.key, dumps(places));
      if (this.unsaved) this.unsaved = kept.trouble = null;
    } catch (error) {
      this.hold(places, error);
    }
    changed();
  }

  hold(places, error) {
    complain(`This browser keeps no more places (${error.name}): these last until the page is closed. Export them to keep them.`);
    return this.unsaved = places;
  }

  /** Moves what cannot be read out of the way, as it is, and goes on with what can. */
  setAside(text, places) {
    complain(`Some of the ${this.key.split(".")[1]} that this browser kept cannot be read.`, text);
    try {
      localStorage.setItem(`${this.key}.damaged`, text);
      localStorage.setItem(this.key, dumps(places));
    } catch (error) {
      return this.hold(places, error);
    }
    return places;
  }
}

/** What can be read of a stored text, and whether that is the whole of it. */
function intact(text) {
  try {
    const { version, places } = JSON.parse(text), good = places.filter(isPlace);
    if (version === KEPT_VERSION) return { places: good, whole: good.length === places.length };
  } catch { /* not ours, or cut short */ }
  return { places: [], whole: false };
}

function isPlace(place) {
  return typeof place?.recipe?.model === "string" && typeof (place.name ?? "") === "string";
}

/** A file of places, as the library reads it. */
function dumps(places) { return `${JSON.stringify({ version: KEPT_VERSION, places }, null, 1)}\n`; }

function identity(place) { return JSON.stringify(place.recipe); }

/** Both lists, of equal places only the first. */
function joined(first, second) {
  const all = new Map();
  for (const place of [...first, ...second]) if (!all.has(identity(place))) all.set(identity(place), place);
  return [...all.values()];
}

const kept = { favourites: new Store("favourites"), visited: new Store("history"), newcomer: false, trouble: null,
               keep, remove, reorder, take, add, dumps, identity };

/** What is shown, as a place to be stored. */
function present() { return { name: shown.title, time: new Date().toISOString(), recipe: JSON.parse(shown.recipe) }; }

function isKept(place) { return kept.favourites.read().some((p) => identity(p) === identity(place)); }

function changed() {
  find("keep").setAttribute("aria-pressed", shown !== null && isKept(present()));
  document.dispatchEvent(new CustomEvent("explorer:kept"));
}

/** Tells what is wrong with the storage; `text` is what could not be read. */
function complain(words, text = "") {
  if (kept.trouble?.words === words) return;
  kept.trouble = { words, text };
  warn(words);
}

/** Adds the place that has settled to those visited. Whoever comes for the first time, by no link, sees the gallery. */
function remember() {
  const { favourites, visited } = kept, past = visited.read();
  if (!past.length && !favourites.read().length) {
    kept.newcomer = true;
    if (stranger) [...document.querySelectorAll("[role=tab]")].find((tab) => tab.textContent.trim() === "Places")?.click();
  }
  visited.write(joined([{ ...present(), name: "" }], past).slice(0, VISITS));
}

/** Keeps the present place or, if it is kept already, no longer does. */
function keep() {
  if (!shown) return;
  const place = present();
  if (isKept(place)) return remove(place);
  kept.favourites.write([place, ...kept.favourites.read()]);
  say(`Kept: ${place.name}`);
}

function remove(place) {
  const { name } = kept.favourites.read().find((p) => identity(p) === identity(place));
  take(kept.favourites, (p) => identity(p) === identity(place), `Removed: ${name ?? ""}`);
}

/** Moves a favourite by places in their list, as far as that goes. */
function reorder(place, by) {
  const places = [...kept.favourites.read()], from = places.findIndex((p) => identity(p) === identity(place)), to = from + by;
  if (from < 0 || to < 0 || to >= places.length) return;
  const [moved] = places.splice(from, 1);
  places.splice(to, 0, moved);
  kept.favourites.write(places);
  say(`${moved.name ?? ""}: ${to + 1} of ${places.length}`);
}

/** Takes places out of a list; the panel offers them back. */
function take(store, which, words) {
  const before = store.read();
  store.write(before.filter((place) => !which(place)));
  say(words);
  const back = () => store.write(joined(before, store.read()));
  document.dispatchEvent(new CustomEvent("explorer:taken", { detail: { words, back } }));
}

/** Adds the places of a file that was opened. */
function add(sent) {
  const { favourites } = kept, places = joined([], sent.map((place) => ({ ...place, recipe: JSON.parse(place.recipe) })));
  const before = favourites.read(), all = joined(before, places), more = all.length - before.length;
  favourites.write(all);
  say(`${more} of ${places.length} places added to the favourites${more < places.length ? "; the rest were there" : ""}`);
}
