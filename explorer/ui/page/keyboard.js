// The piano on the page, where the labels of a sound are pitches, and the computer's keyboard as one: A to K are the
// white keys of an octave, W, E, T, Y and U its black ones. On the page they are radio buttons, which style.css draws.

const ROW = ["KeyA", "KeyW", "KeyS", "KeyE", "KeyD", "KeyF", "KeyT", "KeyG", "KeyY", "KeyH", "KeyU", "KeyJ", "KeyK"];
const KEYS = "#label.piano label";

/**
 * The indices of the notes C, from which octaves begin; that of the first note if there is no C.
 * @param {number[]} pitches MIDI note numbers, ascending
 */
export function octaves(pitches) {
  const found = pitches.flatMap((pitch, i) => (pitch % 12 === 0 ? [i] : []));
  return found.length ? found : [0];
}

/**
 * Which key of the piano a key of the computer plays.
 * @param {string} code of a KeyboardEvent
 * @param {number[]} pitches ascending
 * @param {number} octave index into `octaves(pitches)`
 * @returns {number | null} its index
 */
export function keyOf(code, pitches, octave) {
  const step = ROW.indexOf(code), index = octaves(pitches)[octave] + step;
  return step >= 0 && index < pitches.length ? index : null;
}

/**
 * The nearest key of a note's name.
 * @param {number} pitch
 * @param {number[]} pitches
 */
export function folded(pitch, pitches) {
  const same = pitches.filter((key) => (key - pitch) % 12 === 0);
  return same.length ? same.reduce((a, b) => (Math.abs(b - pitch) < Math.abs(a - pitch) ? b : a)) : null;
}

/** Draws a key as pressed, or not. @param {number} index @param {boolean} pressed */
export function show(index, pressed) {
  document.querySelectorAll(KEYS)[index]?.classList.toggle("pressed", pressed);
}

/**
 * Listens to mouse, touch and the computer's keys.
 * @param {string} ignored selector of elements that take the computer's keys themselves
 * @param {() => boolean} ready whether there is a piano
 * @param {(code: string) => number | null} find which key a code of a KeyboardEvent plays
 * @param {(index: number) => void} press
 * @param {(index: number) => void} lift
 */
export function listen(ignored, ready, find, press, lift) {
  const held = /** @type {Map<string, number>} */ (new Map()); // by what holds it
  const move = (/** @type {string} */ hand, /** @type {number | null} */ index) => {
    const before = held.get(hand);
    if (before === index || (before === undefined && index === null)) return;
    if (index === null) held.delete(hand);
    else held.set(hand, index);
    if (before !== undefined && ![...held.values()].includes(before)) lift(before);
    if (index !== null) press(index);
  };
  const under = (/** @type {Element | null} */ element) => {
    const label = element?.closest(KEYS), index = label ? [...document.querySelectorAll(KEYS)].indexOf(label) : -1;
    return index < 0 ? null : index;
  };
  const hand = (/** @type {PointerEvent} */ event) => `pointer ${event.pointerId}`;
  document.addEventListener("pointerdown", (event) => {
    if (event.button === 0 && ready()) move(hand(event), under(/** @type {Element} */ (event.target)));
  });
  document.addEventListener("pointermove", (event) => {
    if (held.has(hand(event))) move(hand(event), under(document.elementFromPoint(event.clientX, event.clientY)));
  });
  for (const name of /** @type {const} */ (["pointerup", "pointercancel"])) {
    document.addEventListener(name, (event) => move(hand(event), null));
  }
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || !ready()) return;
    if (!(/** @type {Element} */ (event.target).closest(ignored))) move(event.code, find(event.code));
  });
  document.addEventListener("keyup", (event) => move(event.code, null));
  window.addEventListener("blur", () => { for (const name of [...held.keys()]) move(name, null); });
}
