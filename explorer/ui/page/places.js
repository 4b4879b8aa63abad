// The section "Browse": gallery, favourites and history. Only recipes are stored; visible items fetch their pictures.

import { ask, card, fileField, finder, make, saveAs, visible, whenReady, whenSettled } from "./panel.js";
import { identity } from "./recipe.js";
import { session } from "./session.js";
import { dumps, fromSent } from "./store.js";
import { decodeBase64 } from "./unpack.js";

const SAVING_LIMIT = 300_000; // ms that all samples may take
const REQUEST = 100_000; // characters; the server refuses much more

/** @typedef {import("./store.js").StoredPlace} StoredPlace */
/** @typedef {import("./panel.js").Answer} Answer */
/**
 * An item of a list. `fill` is called once its picture has arrived, `update` whenever the list is drawn.
 * @typedef {{ item: HTMLLIElement, fill: (sent: Answer) => void, update?: (place: StoredPlace) => void }} Item
 */

/** @param {import("./session.js").Component} component */
export function start({ element, props, server }) {
  const find = finder(element), { stored } = session;
  const pictures = /** @type {Map<string, Answer>} */ (new Map()); // by recipe
  const items = /** @type {WeakMap<Element, Item>} */ (new WeakMap()), filled = new WeakSet();
  let gallery = { model: "", places: /** @type {StoredPlace[]} */ ([]) }, filling = false;

  /** Brings all lists up to date. */
  function draw() {
    if (!visible(element)) return;
    const favourites = stored.favourites.read(), visited = stored.visited.read(), { trouble } = stored;
    list(find("gallery"), gallery.places, picture);
    list(find("favourites"), favourites, favourite);
    list(find("history"), visited, picture);
    find("none").hidden = favourites.length > 0;
    for (const name of ["export", "samples"]) {
      /** @type {HTMLButtonElement} */ (find(name)).disabled = !favourites.length;
    }
    /** @type {HTMLButtonElement} */ (find("clear")).disabled = !visited.length;
    const kept = session.shown !== null && stored.has(session.toStore(session.shown));
    find("keep").setAttribute("aria-pressed", String(kept));
    find("notice").hidden = !trouble;
    find("notice").querySelector("span")?.replaceChildren(trouble?.words ?? "");
    find("rescue").hidden = !trouble?.text;
    fill();
  }

  /** Updates a list to one item for each place; existing items are reused, so that the focus stays. */
  function list(/** @type {HTMLElement} */ root, /** @type {StoredPlace[]} */ places,
    /** @type {(place: StoredPlace) => Item} */ create) {
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    const there = new Map(/** @type {HTMLElement[]} */ ([...root.children]).map((item) => [item.dataset.place, item]));
    root.replaceChildren(...places.map((place) => {
      const key = identity(place.recipe), old = there.get(key);
      if (old) return old;
      const made = create(place);
      made.item.dataset.place = key;
      items.set(made.item, made);
      return made.item;
    }));
    places.forEach((place, i) => items.get(root.children[i])?.update?.(place));
    if (focused && root.contains(focused)) focused.focus({ preventScroll: true });
  }

  /** An item with a picture and a name. @returns {Item} */
  function picture(/** @type {StoredPlace} */ place) {
    const item = make("li");
    return {
      item,
      fill: (sent) => item.replaceChildren(card(sent, place.name || (sent.title ?? place.recipe.model))),
    };
  }

  /** An item with a picture, an editable name, a title, and buttons to move and remove it. @returns {Item} */
  function favourite(/** @type {StoredPlace} */ place) {
    const name = make("input", { type: "text", maxLength: 200 }), about = make("small");
    const [up, down, cross] = ["↑", "↓", "✕"].map((sign) => make("button", { type: "button", textContent: sign }));
    const item = make("li", {}, name, make("span", {}, up, down, cross), about);
    name.onchange = () => stored.rename(place, name.value);
    up.onclick = () => stored.reorder(place, -1);
    down.onclick = () => stored.reorder(place, 1);
    cross.onclick = () => stored.remove(place);
    const update = (/** @type {StoredPlace} */ now) => {
      const words = now.name ?? "", sent = pictures.get(identity(place.recipe)), title = sent?.error ?? sent?.title ?? "";
      if (name !== document.activeElement) name.value = words;
      name.setAttribute("aria-label", `Name of ${title}`);
      up.setAttribute("aria-label", `Move ${words} earlier`);
      down.setAttribute("aria-label", `Move ${words} later`);
      cross.setAttribute("aria-label", `Remove ${words}`);
      // aria-disabled instead of disabled, so that the button keeps the focus.
      up.setAttribute("aria-disabled", String(item.previousElementSibling === null));
      down.setAttribute("aria-disabled", String(item.nextElementSibling === null));
      item.querySelector(".card span")?.replaceChildren(words);
      about.textContent = title === words ? "" : title;
    };
    const fillItem = (/** @type {Answer} */ sent) => {
      item.prepend(card(sent, name.value));
      update({ ...place, name: name.value });
    };
    return { item, fill: fillItem, update };
  }

  /** Fetches the pictures of visible items that have none yet. */
  async function fill() {
    if (filling) return;
    filling = true;
    try {
      for (;;) {
        const empty = /** @type {HTMLElement[]} */ ([...element.querySelectorAll("details[open] li")])
          .filter((item) => !filled.has(item));
        const wanted = new Set();
        for (const item of empty) {
          const key = item.dataset.place ?? "", sent = pictures.get(key);
          if (!sent) wanted.add(key);
          else {
            filled.add(item);
            items.get(item)?.fill(sent);
          }
        }
        if (!wanted.size || !visible(element)) return;
        let room = REQUEST;
        const batch = [...wanted].slice(0, props.batch).filter((recipe, i) => (room -= recipe.length) > 0 || i === 0);
        const answer = await ask(server.pictures, batch);
        if (!answer) return;
        batch.forEach((recipe, i) => pictures.set(recipe, answer.pictures[i]));
      }
    } finally {
      filling = false;
    }
  }

  /** Fetches the gallery of the present checkpoint when the panel is visible. */
  async function loadGallery() {
    const model = session.place?.model;
    if (!visible(element) || !model || model === gallery.model) return;
    gallery = { model, places: [] };
    const answer = await ask(server.gallery, model);
    if (model !== gallery.model) return;
    if (!answer) gallery.model = ""; // asks again next time
    else {
      gallery.places = answer.places.map(fromSent);
      draw();
    }
  }

  async function saveSamples() {
    const button = /** @type {HTMLButtonElement} */ (find("samples"));
    button.disabled = true;
    session.say("Preparing the samples …");
    const file = await ask(server.samples, dumps(stored.favourites.read()), SAVING_LIMIT);
    if (file) saveAs(file.name, [decodeBase64(file.data)]);
    button.disabled = false;
  }

  /** Shows a button that puts back what was removed. */
  function offerUndo(/** @type {string} */ words, /** @type {() => void} */ putBack) {
    const undo = make("button", { type: "button", textContent: "Put back" });
    undo.onclick = () => {
      putBack();
      find("removed").replaceChildren();
      find("keep").focus();
    };
    find("removed").replaceChildren(words, " ", undo);
    if (document.activeElement === document.body) undo.focus(); // because the button that was pressed is gone
  }

  find("keep").onclick = () => session.keep();
  find("export").onclick = () => saveAs("favourites.json", [dumps(stored.favourites.read())]);
  find("samples").onclick = saveSamples;
  find("import").onclick = () => fileField()?.click();
  find("clear").onclick = () => stored.clearVisited();
  find("rescue").onclick = () => saveAs("damaged-places.txt", [stored.trouble?.text ?? ""]);
  for (const group of element.querySelectorAll("details")) group.ontoggle = fill;
  whenReady(() => { /** @type {HTMLDetailsElement} */ (find("first")).open = stored.newcomer; });
  stored.addEventListener("change", draw);
  stored.addEventListener("removal", (event) => {
    const { words, putBack } = /** @type {CustomEvent} */ (event).detail;
    offerUndo(words, putBack);
  });
  new IntersectionObserver(() => { draw(); loadGallery(); }).observe(element);
  whenSettled(element, () => { draw(); loadGallery(); });
}
