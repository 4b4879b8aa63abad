// The teacher's sheet: the lessons with their goals, questions, answers and links, on a page of its own to print.

import { LESSON, make } from "./panel.js";
import { session } from "./session.js";

const STYLE = `@page { size: A4; margin: 16mm; } body { max-width: 46rem; margin: 1rem auto; padding: 0 1rem;
  color: #000; background: #fff; font: 10.5pt/1.4 system-ui, sans-serif; } h1 { font-size: 16pt; } h2 { font-size: 12pt;
  margin: 1.1em 0 0.2em; } section { break-inside: avoid; } p, ul { margin: 0.3em 0; } .right { font-weight: 600; }
  .small { font-size: 8.5pt; } a { color: inherit; overflow-wrap: anywhere; }`;

/** Opens the sheet of the panel's lessons in a new window, and the dialog for printing. @param {HTMLElement} panel */
export function printSheet(panel) {
  const page = window.open("", "_blank");
  if (!page) { session.warn("the browser did not allow a new window for the sheet"); return; }
  const lessons = /** @type {HTMLElement[]} */ ([...panel.querySelectorAll("details")]);
  const minutes = lessons.reduce((sum, lesson) => sum + Number(lesson.dataset.minutes), 0);
  page.document.documentElement.lang = "en";
  page.document.title = "Latent audio explorer: teacher’s sheet";
  page.document.head.append(make("style", { textContent: STYLE }));
  page.document.body.append(
    make("h1", { textContent: "Teacher’s sheet" }),
    make("p", { textContent: `${lessons.length} lessons, ${minutes} minutes together. Each works by itself. In each: let the class `
      + "predict and vote, press Check, listen, and only then read the explanation. The questions are about the checkpoint "
      + "that is open; measured figures depend on it." }),
    ...lessons.map(section));
  page.print();
}

/** One lesson of the sheet. @param {HTMLElement} lesson */
function section(lesson) {
  const { minutes, goal = "" } = lesson.dataset, link = `${location.href.split("#")[0]}${LESSON}${lesson.className}`;
  const text = (/** @type {Element | null | undefined} */ found) => found?.textContent?.replace(/\s+/g, " ").trim() ?? "";
  const questions = [...lesson.querySelectorAll("form")].flatMap((form) => [
    make("p", { textContent: `${text(form.querySelector("legend"))} …` }),
    make("ul", {}, ...[...form.querySelectorAll("fieldset > label")].map((label) => {
      const right = label.querySelector("[data-right]") !== null;
      return make("li", { textContent: `${text(label)}${right ? " ✓" : ""}`, className: right ? "right" : "" });
    })),
    make("p", { textContent: text(form.querySelector(".explanation")) }),
  ]);
  return make("section", {},
    make("h2", { textContent: `${text(lesson.querySelector("summary"))} (${minutes} minutes)` }),
    make("p", {}, make("b", { textContent: "Goal: " }), goal), ...questions,
    make("p", { className: "small" }, "Link: ", make("a", { href: link, textContent: link })),
    make("p", { className: "small", textContent: text(lesson.querySelector(".source")) }));
}
