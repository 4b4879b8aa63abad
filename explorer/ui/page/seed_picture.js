// The picture of seed A or B by itself, above its number. `props.end` is "A" or "B".

import { ask, card, finder, whenSettled } from "./panel.js";
import { seedAlone, toJson, withT } from "./recipe.js";
import { session } from "./session.js";

/** @typedef {import("./recipe.js").Place} Place */

/** @param {import("./session.js").Component} component */
export function start({ element, props, server }) {
  const find = finder(element), isB = props.end === "B";
  let pictured = ""; // the recipe whose picture is shown
  let model = ""; // of that picture

  const seedOf = (/** @type {Place} */ place) => (isB ? /** @type {number} */ (place.seed_b) : place.seed);
  const goToEnd = () => session.place && session.go(withT(session.place, isB ? 1 : 0));

  /** Updates the picture if the seed's recipe has changed. */
  async function refresh(/** @type {Place} */ place) {
    const wanted = toJson(seedAlone(place, seedOf(place)));
    if (wanted === pictured) return;
    pictured = wanted;
    const answer = await ask(server.pictures, [wanted]);
    if (wanted !== pictured) return; // outdated
    if (!answer) pictured = ""; // asks again next time
    else draw(answer.pictures[0]);
  }

  function draw(/** @type {import("./panel.js").Answer} */ sent) {
    const button = card(sent, "", goToEnd);
    const words = sent.error ?? `seed ${sent.place.seed} alone. ${sent.about}`;
    model = sent.place?.model ?? "";
    button.setAttribute("aria-label", `Go to ${props.end}, ${words}`);
    find("seed-picture").replaceChildren(button);
  }

  session.addEventListener("show", () => {
    element.querySelector("canvas")?.classList.toggle("past", model !== session.place?.model);
  });
  whenSettled(element, ({ place }) => refresh(place));
}
