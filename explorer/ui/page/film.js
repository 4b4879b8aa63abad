// The morph from A to B in small pictures, on which the slider between them lies.

import { Mosaic } from "./mosaic.js";
import { finder, whenSettled } from "./panel.js";
import { toJson, without, withT } from "./recipe.js";
import { session } from "./session.js";

const STEPS = 7; // the first and the last, A and B, are half as wide, so that each lies at its t

/** @param {import("./session.js").Component} component */
export function start({ element, server }) {
  const film = finder(element)("film"), mosaic = new Mosaic(film, STEPS, server.pictures);

  /** Moves the slider along while the morph plays. */
  function follow() {
    const slider = /** @type {HTMLInputElement | null} */ (document.querySelector("#live-t input[type=range]"));
    if (slider && session.target && !session.held) slider.value = String(session.target.t);
  }

  session.addEventListener("show", follow);
  whenSettled(element, () => mosaic.update(() => {
    const place = /** @type {import("./recipe.js").Place} */ (session.place);
    return Array.from({ length: STEPS }, (_, i) => toJson(without(withT(place, i / (STEPS - 1)), "mix")));
  }));
}
