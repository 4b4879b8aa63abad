// Places to go back to: a gallery to begin with, favourites, and those visited (see kept.js). Their pictures are made
// again when they are looked at.

const pictures = new Map(); // by recipe, what the server sent of it
let gallery = { model: "", places: [] }, filling = false;

/** Brings all lists up to date. */
function draw() {
  if (!visible()) return;
  const { favourites, visited, trouble, identity } = explorer.kept, places = favourites.read(), past = visited.read();
  const here = explorer.shown() && identity({ recipe: JSON.parse(explorer.shown().recipe) });
  list(find("gallery"), gallery.places, visit);
  list(find("favourites"), places, favourite);
  list(find("history"), past, visit);
  find("none").hidden = places.length > 0;
  find("export").disabled = !places.length;
  find("clear").disabled = !past.length;
  find("keep").setAttribute("aria-pressed", places.some((place) => identity(place) === here));
  find("notice").hidden = !trouble;
  find("notice").querySelector("span").textContent = trouble?.words ?? "";
  find("rescue").hidden = !trouble?.text;
  fill();
}

/** One item for each place, those that are there already left as they are, with the focus where it was. */
function list(root, places, make) {
  const { identity } = explorer.kept, { activeElement } = document;
  const there = new Map([...root.children].map((item) => [item.dataset.place, item]));
  root.replaceChildren(...places.map((place) => {
    const item = there.get(identity(place)) ?? make(place);
    item.dataset.place = identity(place);
    return item;
  }));
  places.forEach((place, i) => root.children[i].update?.(place));
  if (root.contains(activeElement)) activeElement.focus({ preventScroll: true });
}

/** A picture, its name below. */
function visit(place) {
  const item = document.createElement("li");
  item.fill = (sent) => item.replaceChildren(card(sent, place.name || (sent.title ?? place.recipe.model)));
  return item;
}

/** A picture, its name to be changed, what it is, and buttons to move and to remove it. */
function favourite(place) {
  const { favourites, identity, remove, reorder } = explorer.kept, item = document.createElement("li");
  const name = document.createElement("input"), about = document.createElement("small"), acts = document.createElement("span");
  const [up, down, cross] = ["↑", "↓", "✕"].map((sign) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = sign;
    return button;
  });
  name.type = "text";
  name.maxLength = 200;
  name.onchange = () => favourites.write(
    favourites.read().map((p) => (identity(p) === identity(place) ? { ...p, name: name.value } : p)));
  up.onclick = () => reorder(place, -1);
  down.onclick = () => reorder(place, 1);
  cross.onclick = () => remove(place);
  acts.append(up, down, cross);
  item.append(name, acts, about);
  item.update = (now) => {
    const words = now.name ?? "", sent = pictures.get(identity(place)), title = sent?.error ?? sent?.title ?? "";
    if (name !== document.activeElement) name.value = words;
    name.setAttribute("aria-label", `Name of ${title}`);
    up.setAttribute("aria-label", `Move ${words} earlier`);
    down.setAttribute("aria-label", `Move ${words} later`);
    cross.setAttribute("aria-label", `Remove ${words}`);
    up.setAttribute("aria-disabled", item.previousElementSibling === null); // they keep the focus, so that one can go back
    down.setAttribute("aria-disabled", item.nextElementSibling === null);
    item.querySelector(".card span")?.replaceChildren(words);
    about.textContent = title === words ? "" : title;
  };
  item.fill = (sent) => {
    item.prepend(card(sent, name.value));
    item.update({ name: name.value });
  };
  return item;
}

/** Gets the pictures that are looked at and not there yet. */
async function fill() {
  if (filling) return;
  filling = true;
  try {
    for (;;) {
      const empty = [...element.querySelectorAll("details[open] li")].filter((item) => !item.filled);
      for (const item of empty.filter((item) => pictures.has(item.dataset.place))) {
        item.filled = true;
        item.fill(pictures.get(item.dataset.place));
      }
      const wanted = new Set(empty.filter((item) => !item.filled).map((item) => item.dataset.place));
      if (!wanted.size || !visible()) return;
      const batch = [...wanted].slice(0, props.batch), answer = await ask("pictures", batch);
      if (!answer) return;
      batch.forEach((recipe, i) => pictures.set(recipe, answer.pictures[i]));
    }
  } finally {
    filling = false;
  }
}

/** Gets the gallery of the checkpoint that is open, once it is looked at. */
async function look() {
  const model = explorer.shown() && JSON.parse(explorer.shown().recipe).model;
  if (!visible() || !model || model === gallery.model) return;
  gallery = { model, places: [] };
  const answer = await ask("greeting", model);
  if (!answer || model !== gallery.model) return;
  gallery.places = answer.places.map((place) => ({ ...place, recipe: JSON.parse(place.recipe) }));
  draw();
}

/** Offers what was removed back. */
function offer({ words, back }) {
  const undo = document.createElement("button");
  undo.type = "button";
  undo.textContent = "Put back";
  undo.onclick = () => {
    back();
    find("removed").replaceChildren();
    find("keep").focus();
  };
  find("removed").replaceChildren(words, " ", undo);
  if (document.activeElement === document.body) undo.focus(); // the button that was pressed has gone
}

whenReady(() => {
  const { kept } = explorer;
  find("keep").onclick = kept.keep;
  find("export").onclick = () => explorer.saveAs("favourites.json", [kept.dumps(kept.favourites.read())]);
  find("import").onclick = () => document.querySelector("input[type=file]").click();
  find("clear").onclick = () => kept.take(kept.visited, () => true, "History cleared");
  find("rescue").onclick = () => explorer.saveAs("damaged-places.txt", [kept.trouble.text]);
  find("first").open = kept.newcomer;
});
for (const group of element.querySelectorAll("details")) group.ontoggle = fill;
document.addEventListener("explorer:kept", draw);
document.addEventListener("explorer:taken", (event) => offer(event.detail));
new IntersectionObserver(() => { draw(); look(); }).observe(element);
whenSettled(() => { draw(); look(); });
