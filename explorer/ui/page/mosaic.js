// Small pictures side by side, of places near the present one. They never keep a hand waiting: they are fetched a few
// at a time, and not while a slider moves.

import { make } from "./panel.js";
import { Picture } from "./picture.js";
import { session } from "./session.js";
import { unpack } from "./unpack.js";

const AT_ONCE = 2;

export class Mosaic {
  #updating = false;

  /**
   * @param {HTMLElement} root
   * @param {number} count of pictures
   * @param {import("./asking.js").ServerFunction} fetch the panel's `pictures`
   */
  constructor(root, count, fetch) {
    this.root = root;
    this.fetch = fetch;
    this.cells = Array.from({ length: count }, () => (
      { picture: new Picture(make("canvas"), true), recipe: "", model: "" }));
    root.replaceChildren(...this.cells.map(({ picture }) => picture.canvas));
    session.addEventListener("show", () => this.#dim());
  }

  /** Dims the pictures of another model than the present one. */
  #dim() {
    for (const { picture, model } of this.cells) picture.canvas.classList.toggle("past", model !== session.place?.model);
  }

  /**
   * Fetches the pictures of recipes that have changed.
   * @param {() => string[]} recipes those of now, one for each picture
   */
  async update(recipes) {
    if (this.#updating) return;
    this.#updating = true;
    this.root.setAttribute("aria-busy", "true");
    try {
      while (!session.held && session.hand.newest === null) {
        const wanted = recipes();
        const next = wanted.flatMap((recipe, i) => (recipe === this.cells[i].recipe ? [] : [i])).slice(0, AT_ONCE);
        const answer = next.length && await this.fetch(next.map((i) => wanted[i])).catch(() => undefined);
        if (!answer || !answer.pictures) return; // they are an ornament: no error is shown
        next.forEach((i, n) => {
          this.cells[i].recipe = wanted[i];
          const cell = this.cells[i], sent = answer.pictures[n];
          if (sent.error) return;
          cell.model = sent.place.model;
          cell.picture.show(unpack(sent));
        });
        this.#dim();
      }
    } finally {
      this.#updating = false;
      this.root.removeAttribute("aria-busy");
    }
  }
}
