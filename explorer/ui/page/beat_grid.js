// The steps of a beat as buttons, sixteen for each pad: one stop of the Tab key, with arrow keys inside.

import { isOn, PADS, STEPS } from "./kit.js";
import { make } from "./panel.js";

const MOVES = new Map([["ArrowLeft", [0, -1]], ["ArrowRight", [0, 1]], ["ArrowUp", [-1, 0]], ["ArrowDown", [1, 0]]]);

export class BeatGrid {
  /** By pad and step. @type {HTMLButtonElement[][]} */
  #cells = [];
  /** @type {HTMLElement[]} */
  #names = [];
  #marked = -1;

  /**
   * @param {HTMLElement} root
   * @param {(pad: number, step: number) => void} toggle
   */
  constructor(root, toggle) {
    for (let pad = 0; pad < PADS; pad++) {
      const name = make("span", { className: "name" });
      const cells = Array.from({ length: STEPS }, (_, step) => {
        const cell = make("button", { type: "button", tabIndex: pad + step === 0 ? 0 : -1 });
        cell.setAttribute("aria-label", `Pad ${pad + 1}, step ${step + 1}`); // until the kit is there
        cell.onclick = () => toggle(pad, step);
        cell.onkeydown = (event) => this.#move(event, pad, step);
        cell.onfocus = () => this.#enter(cell);
        return cell;
      });
      root.append(make("div", { className: "line" }, name, ...cells));
      root.lastElementChild?.setAttribute("role", "group");
      this.#names.push(name);
      this.#cells.push(cells);
    }
  }

  /**
   * @param {import("./kit.js").Kit} kit
   * @param {string[]} names of the pads
   */
  draw(kit, names) {
    this.#cells.forEach((cells, pad) => {
      this.#names[pad].textContent = names[pad];
      cells[0].parentElement?.setAttribute("aria-label", names[pad]);
      cells.forEach((cell, step) => {
        cell.setAttribute("aria-pressed", String(isOn(kit, pad, step)));
        cell.setAttribute("aria-label", `${names[pad]}, step ${step + 1}`);
      });
    });
  }

  /** Marks the step that is heard; -1 for none. @param {number} step */
  mark(step) {
    if (step === this.#marked) return;
    for (const cells of this.#cells) {
      cells[this.#marked]?.classList.remove("now");
      cells[step]?.classList.add("now");
    }
    this.#marked = step;
  }

  /** @param {KeyboardEvent} event @param {number} pad @param {number} step */
  #move(event, pad, step) {
    const by = MOVES.get(event.key);
    if (!by) return;
    event.preventDefault();
    this.#cells[(pad + by[0] + PADS) % PADS][(step + by[1] + STEPS) % STEPS].focus();
  }

  /** The Tab key comes back to this cell. @param {HTMLButtonElement} cell */
  #enter(cell) {
    for (const other of this.#cells.flat()) other.tabIndex = -1;
    cell.tabIndex = 0;
  }
}
