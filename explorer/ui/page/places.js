// The section "Browse": variations, gallery, favourites and history. Only recipes are stored; visible items fetch their
// pictures.

import { ask, card, fileField, finder, make, saveAs, visible, whenReady, whenSettled } from "./panel.js";
import { identity, toJson } from "./recipe.js";
import { session } from "./session.js";
import { dumps, fromSent } from "./store.js";
import { decodeBase64 } from "./unpack.js";

const SAVING_LIMIT = 300_000; // ms that all samples may take
const VARIATIONS = 9, ROLLED = 10_000; // seeds of variations are below this
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
  const distance = /** @type {HTMLInputElement} */ (find("distance"));
  let variations = /** @type {StoredPlace[]} */ ([]); // the first is the place that they are like
  let seeds = /** @type {number[]} */ ([]); // of the others
  let kept = /** @type {Map<string, StoredPlace>} */ (new Map()); // the favourites, by the identity of their recipe
  let present = ""; // the identity of the recipe that is shown
  let gallery = { model: "", places: /** @type {StoredPlace[]} */ ([]) }, filling = false;

  /** Brings all lists up to date. */
  function draw() {
    if (!visible(element)) return;
    const favourites = stored.favourites.read(), visited = stored.visited.read(), { trouble } = stored;
    kept = new Map(favourites.map((place) => [identity(place.recipe), place]));
    present = session.shown ? identity(session.toStore(session.shown).recipe) : "";
    list(find("variations"), variations, picture);
    list(find("gallery"), gallery.places, picture);
    list(find("favourites"), favourites, favourite);
    list(find("history"), visited, picture);
    find("none").hidden = favourites.length > 0;
    for (const name of ["export", "samples"]) {
      /** @type {HTMLButtonElement} */ (find(name)).disabled = !favourites.length;
    }
    /** @type {HTMLButtonElement} */ (find("clear")).disabled = !visited.length;
    find("keep-this").setAttribute("aria-pressed", String(kept.has(present)));
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

  /** An item with a picture, a name, and a star that makes it a favourite. @returns {Item} */
  function picture(/** @type {StoredPlace} */ place) {
    const item = make("li"), star = make("button", { type: "button", className: "keep" }), key = identity(place.recipe);
    let title = place.recipe.model ?? "";
    star.onclick = () => stored.toggle({ name: title, time: new Date().toISOString(), recipe: place.recipe });
    const update = (now = place) => {
      place = now;
      const name = kept.get(key)?.name || title, shown = item.querySelector(".card");
      star.setAttribute("aria-label", `Keep ${name}`);
      star.setAttribute("aria-pressed", String(kept.has(key)));
      shown?.setAttribute("aria-current", String(key === present));
      shown?.querySelector("span")?.replaceChildren(place.name || name);
    };
    const fillItem = (/** @type {Answer} */ sent) => {
      title = sent.title ?? title;
      item.replaceChildren(card(sent, ""), ...(sent.error ? [] : [star]));
      update();
    };
    return { item, fill: fillItem, update };
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
    draw();
    const answer = await ask(server.gallery, model);
    if (model !== gallery.model) return;
    if (!answer) gallery.model = ""; // asks again next time
    else {
      gallery.places = answer.places.map(fromSent).map((/** @type {StoredPlace} */ { name, recipe }) => (
        { name: [name, recipe.label && `${answer.condition} ${recipe.label}`].filter(Boolean).join(" · "), recipe }));
      draw();
    }
  }

  /** Shows places that are like another one. @param {StoredPlace["recipe"]} recipe of that one */
  async function vary(recipe) {
    const button = /** @type {HTMLButtonElement} */ (find("vary")), wanted = distance.value;
    button.disabled = true;
    const answer = await ask(server.variations, [toJson(recipe), Number(wanted) / 100, seeds]);
    button.disabled = false;
    if (!answer) return;
    const found = /** @type {StoredPlace[]} */ (answer.places.map(fromSent));
    variations = [{ recipe, name: "This" }, ...found.map((place, i) => ({ ...place, name: `${i + 1}` }))];
    draw();
    if (wanted !== distance.value) vary(recipe); // it has moved on meanwhile
  }

  function varyPresent() {
    if (!session.shown) return;
    seeds = [];
    while (seeds.length < VARIATIONS) {
      const seed = Math.floor(Math.random() * ROLLED);
      if (!seeds.includes(seed)) seeds.push(seed);
    }
    vary(session.toStore(session.shown).recipe);
  }

  /** In the list of variations, digits and arrows lead to their cards and play them. */
  function choose(/** @type {KeyboardEvent} */ event) {
    const cards = /** @type {HTMLButtonElement[]} */ ([...find("variations").querySelectorAll(".card")]);
    const item = /** @type {Element} */ (event.target).closest("li"), at = [...find("variations").children].indexOf(/** @type {any} */ (item));
    const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    const chosen = cards[by === undefined ? (/^[0-9]$/.test(event.key) ? Number(event.key) : -1) : at + by];
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || !chosen) return;
    event.preventDefault();
    event.stopPropagation(); // elsewhere digits strike pads
    chosen.focus();
    chosen.click();
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
      find("keep-this").focus();
    };
    find("removed").replaceChildren(words, " ", undo);
    if (document.activeElement === document.body) undo.focus(); // because the button that was pressed is gone
  }

  find("vary").onclick = varyPresent;
  find("variations").onkeydown = choose;
  distance.oninput = () => { find("percent").textContent = `${distance.value} %`; };
  distance.onchange = () => { if (variations.length) vary(variations[0].recipe); };
  distance.dispatchEvent(new Event("input"));
  find("keep-this").onclick = () => session.keep();
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
