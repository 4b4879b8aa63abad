import assert from "node:assert/strict";
import { test } from "node:test";

import { dumps, joined, readable, StoredPlaces } from "../../explorer/ui/page/store.js";

const KEY = "latent-explorer.favourites";
const place = (/** @type {number} */ seed, name = `seed ${seed}`) => ({ name, recipe: { version: 1, model: "toy", seed } });

/** A browser's storage, shared by its tabs; `quota` is how many characters one item may have. */
class FakeStorage {
  items = new Map();
  quota = Infinity;
  getItem(/** @type {string} */ key) { return this.items.get(key) ?? null; }
  setItem(/** @type {string} */ key, /** @type {string} */ text) {
    if (text.length > this.quota) throw new DOMException("full", "QuotaExceededError");
    this.items.set(key, text);
  }
}

function open(storage = new FakeStorage()) {
  const said = /** @type {string[]} */ ([]), warned = /** @type {string[]} */ ([]);
  const stored = new StoredPlaces(
    () => /** @type {any} */ (storage), (words) => said.push(words), (words) => warned.push(words));
  return { stored, storage, said, warned };
}

test("favourites are there when the page is opened again", () => {
  const { stored, storage } = open();
  stored.toggle(place(1));
  stored.toggle(place(2));
  assert.deepEqual(open(storage).stored.favourites.read(), [place(2), place(1)]);
});

test("keeping a place twice removes it, whatever the order of its fields", () => {
  const { stored } = open();
  stored.toggle(place(1));
  stored.toggle({ name: "again", recipe: { seed: 1, model: "toy", version: 1 } });
  assert.deepEqual(stored.favourites.read(), []);
});

test("favourites that another tab adds are neither hidden nor overwritten", () => {
  const { stored, storage } = open(), other = open(storage).stored;
  stored.toggle(place(1));
  other.toggle(place(2));
  stored.toggle(place(3));
  assert.deepEqual(other.favourites.read(), [place(3), place(2), place(1)]);
});

for (const text of ["", "{", "null", "[]", "{\"version\":2,\"places\":[]}", "{\"version\":1}", "{\"version\":1,\"places\":{}}"]) {
  test(`a stored text ${JSON.stringify(text)} is set aside, and the list starts empty`, () => {
    const { stored, storage, warned } = open();
    storage.setItem(KEY, text);
    assert.deepEqual(stored.favourites.read(), []);
    assert.equal(storage.getItem(`${KEY}.damaged`), text);
    assert.match(warned[0], /favourites .* cannot be read/);
    assert.equal(stored.trouble?.text, text);
    stored.toggle(place(1));
    assert.deepEqual(stored.favourites.read(), [place(1)]);
    assert.equal(warned.length, 1);
  });
}

test("the readable places of a damaged list stay", () => {
  const { stored, storage } = open();
  const places = [place(1), null, { recipe: 5 }, { name: 7, recipe: {} }, place(2)];
  storage.setItem(KEY, JSON.stringify({ version: 1, places }));
  assert.deepEqual(stored.favourites.read(), [place(1), place(2)]);
  assert.deepEqual(stored.favourites.read(), [place(1), place(2)]);
});

test("a full storage is reported once, and its places last until the page is closed", () => {
  const { stored, storage, warned } = open();
  stored.toggle(place(1));
  storage.quota = 10;
  stored.toggle(place(2));
  stored.toggle(place(3));
  assert.deepEqual(stored.favourites.read(), [place(3), place(2), place(1)]);
  assert.equal(warned.length, 1);
  assert.match(warned[0], /QuotaExceededError/);
  assert.deepEqual(open(storage).stored.favourites.read(), [place(1)]);
});

test("once there is room again everything is stored and the warning disappears", () => {
  const { stored, storage } = open();
  storage.quota = 10;
  stored.toggle(place(1));
  storage.quota = Infinity;
  stored.toggle(place(2));
  assert.equal(stored.trouble, null);
  assert.deepEqual(open(storage).stored.favourites.read(), [place(2), place(1)]);
});

test("a browser that denies its storage still keeps places until the page is closed", () => {
  const denied = () => { throw new DOMException("denied", "SecurityError"); };
  const stored = new StoredPlaces(denied, () => {}, () => {});
  assert.deepEqual(stored.favourites.read(), []);
  stored.toggle(place(1));
  assert.deepEqual(stored.favourites.read(), [place(1)]);
});

test("a removed favourite comes back at its position, and newer ones stay", () => {
  const { stored } = open();
  for (const seed of [1, 2, 3]) stored.toggle(place(seed));
  let putBack = () => {};
  stored.addEventListener("removal", (event) => { putBack = /** @type {CustomEvent} */ (event).detail.putBack; });
  stored.remove(place(2));
  stored.toggle(place(4));
  putBack();
  assert.deepEqual(stored.favourites.read(), [place(3), place(2), place(1), place(4)]);
});

test("a favourite cannot be moved beyond the ends of the list", () => {
  const { stored } = open();
  for (const seed of [1, 2, 3]) stored.toggle(place(seed));
  stored.reorder(place(3), 1);
  assert.deepEqual(stored.favourites.read(), [place(2), place(3), place(1)]);
  stored.reorder(place(2), -1);
  stored.reorder(place(1), 1);
  assert.deepEqual(stored.favourites.read(), [place(2), place(3), place(1)]);
});

test("history has each place once, the newest first, and at most fifty", () => {
  const { stored } = open();
  for (let seed = 0; seed < 60; seed++) stored.visit(place(seed));
  stored.visit(place(30));
  const seeds = stored.visited.read().map(({ recipe }) => recipe.seed);
  assert.equal(seeds.length, 50);
  assert.deepEqual(seeds.slice(0, 3), [30, 59, 58]);
  assert.equal(new Set(seeds).size, 50);
});

test("a newcomer has neither favourites nor history", () => {
  const first = open();
  first.stored.visit(place(1));
  assert.ok(first.stored.newcomer);
  const second = open(first.storage);
  second.stored.visit(place(2));
  assert.ok(!second.stored.newcomer);
});

test("places of a file that are favourites already are not added", () => {
  const { stored, said } = open();
  stored.toggle(place(1));
  stored.add([place(2), place(1, "another name"), place(2)]);
  assert.deepEqual(stored.favourites.read(), [place(1), place(2)]);
  assert.equal(said.at(-1), "1 of 2 places added to the favourites; the rest were there already");
});

test("a file of places reads back", () => {
  const places = [place(1), place(2)];
  assert.deepEqual(readable(dumps(places)), { places, whole: true });
  assert.deepEqual(joined(places, places), places);
});
