// Functions that the panels beside the player share. The module of each panel exports `start`, which is called once for
// each such panel on the page, with what gradio passes to the script of a gr.HTML.

import { ask as askOnce } from "./asking.js";
import { Picture } from "./picture.js";
import { session } from "./session.js";
import { unpack } from "./unpack.js";

/** @typedef {import("./session.js").Component} Component */
/** @typedef {import("./session.js").Sound} Sound */
/** @typedef {import("./asking.js").Answer} Answer */

/**
 * Finds an element of a panel by its class.
 * @param {HTMLElement} element
 * @returns {<T extends HTMLElement = HTMLElement>(name: string) => T}
 */
export const finder = (element) => (name) => /** @type {any} */ (element.querySelector(`.${name}`));

/** Selects what the visitor types in: there, keys are no shortcuts. */
export const TYPING = "textarea, select, [contenteditable], input:not([type=range], [type=checkbox], [type=radio])";

export const LESSON = "#lesson="; // in an address, before the name of a lesson
const { hash = "" } = globalThis.location ?? {}; // read at once: the address loses it when the first place settles
/** The lesson that the address by which the visitor came names; "" if it names none. */
export const lessonAsked = hash.startsWith(LESSON) ? hash.slice(LESSON.length) : "";

/** Whether the visitor wants nothing to move. @type {{ matches: boolean }} */
export const still = globalThis.matchMedia?.("(prefers-reduced-motion: reduce)") ?? { matches: false };

/** The field for files that the app opens. @returns {HTMLInputElement | null} */
export const fileField = () => document.querySelector("[data-testid='Open a saved file-upload-button']");

/** Copies a link, or shows it where the browser does not allow that. @param {string} link @param {string} [said] */
export async function copyLink(link, said = "Link copied") {
  try {
    await navigator.clipboard.writeText(link);
    session.say(said);
  } catch { // no permission, or a page without https
    window.prompt("Copy this link", link);
  }
}

/** @param {HTMLElement} element */
export const visible = (element) => element.isConnected && element.offsetParent !== null;

/**
 * Makes an element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Partial<HTMLElementTagNameMap[Tag]>} properties
 * @param {...(Node | string)} children
 */
export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

/** Calls back once the player is on the page, or at once if it is there already. @param {() => void} callback */
export function whenReady(callback) {
  if (session.speaker) callback();
  else session.addEventListener("ready", callback, { once: true });
}

/**
 * Calls back with the sound that is shown now, and with every later one that has settled, while the panel exists.
 * @param {HTMLElement} element
 * @param {(sound: Sound) => void} callback
 */
export function whenSettled(element, callback) {
  const settled = () => {
    if (!element.isConnected) session.removeEventListener("settle", settled);
    else if (session.shown) callback(session.shown);
  };
  session.addEventListener("settle", settled);
  settled();
}

/**
 * Asks the server. If that fails, shows the error below the player and returns null.
 * @param {import("./asking.js").ServerFunction} send
 * @param {unknown} request
 * @param {number} [limit] ms until it gives up
 * @returns {Promise<Answer | null>}
 */
export async function ask(send, request, limit) {
  const answer = await askOnce(send, request, limit);
  if (!answer.error) return answer;
  session.warn(answer.error);
  return null;
}

/**
 * A button with the picture of a sound, which goes to that sound and plays it.
 * @param {Answer} sent the sound as the server has sent it
 * @param {string} caption
 * @param {() => void} act
 */
export function card(sent, caption, act = () => session.hear(sent.recipe)) {
  const button = make("button", { type: "button", className: "card" }, make("span", { textContent: caption }));
  if (sent.error) {
    button.disabled = true;
    button.title = sent.error;
    return button;
  }
  const canvas = make("canvas");
  button.prepend(canvas);
  button.onclick = act;
  button.title = sent.title;
  new Picture(canvas, true).show(unpack(sent));
  return button;
}

/**
 * Downloads a file.
 * @param {string} name
 * @param {BlobPart[]} pieces
 */
export function saveAs(name, pieces) {
  const link = make("a", { href: URL.createObjectURL(new Blob(pieces)), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  session.say(`Saved ${name}`);
}
