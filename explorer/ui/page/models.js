// The browser of models, like a synthesiser's presets: the present one, arrows to its neighbours, and a list of all.

import { ask, finder, make, whenReady, whenSettled } from "./panel.js";
import { Picture } from "./picture.js";
import { session } from "./session.js";
import { unpack } from "./unpack.js";

/** @typedef {{ name: string, about: string, licence: string, recipe: string }} Model */

/** @param {import("./session.js").Component} component */
export function start({ element, server }) {
  const find = finder(element), list = find("list");
  let models = /** @type {Model[]} */ ([]);

  const present = () => session.place?.model.split("@")[0] ?? ""; // NAME@STEP is a snapshot of NAME's training

  function show() {
    const { about } = models.find(({ name }) => name === present()) ?? { about: "" };
    find("chosen").querySelector("b")?.replaceChildren(session.place?.model ?? "");
    find("chosen").querySelector("small")?.replaceChildren(about);
    find("chosen").title = about;
    find("chosen").setAttribute("aria-label", `Model: ${session.place?.model ?? ""}. ${about}`);
    for (const button of /** @type {Iterable<HTMLButtonElement>} */ (list.children)) {
      button.ariaCurrent = String(button.value === present());
    }
  }

  function step(/** @type {number} */ by) {
    const at = models.findIndex(({ name }) => name === present());
    if (models.length > 1) session.choose(models[(at + by + models.length) % models.length].name);
  }

  /** The models may have changed since, so the list is made whenever it is opened. */
  async function fill() {
    const answer = await ask(server.presets, null);
    if (!answer) return;
    models = answer.models;
    for (const name of ["previous", "next"]) /** @type {HTMLButtonElement} */ (find(name)).disabled = models.length < 2;
    list.replaceChildren(...models.map(({ name, about, licence }) => {
      const button = make("button", { type: "button", className: "model", value: name }, make("canvas"),
        make("b", { textContent: name }), make("span", { textContent: about }), make("small", { textContent: licence }));
      button.setAttribute("aria-label", [name, about, licence].filter(Boolean).join(". "));
      button.onclick = () => {
        list.hidePopover();
        session.choose(name);
      };
      return button;
    }));
    show();
  }

  /** One picture at a time, since each may have to load its model. */
  async function draw() {
    for (const [i, { recipe }] of models.entries()) {
      const answer = await server.pictures([recipe]).catch(() => undefined), sent = answer?.pictures?.[0];
      const canvas = list.children[i]?.querySelector("canvas");
      if (canvas && sent && !sent.error) new Picture(canvas, true).show(unpack(sent));
    }
  }

  list.addEventListener("toggle", async (event) => {
    if (/** @type {ToggleEvent} */ (event).newState !== "open") return;
    await fill();
    await draw();
  });
  find("previous").onclick = () => step(-1);
  find("next").onclick = () => step(1);
  whenReady(fill);
  whenSettled(element, show);
}
