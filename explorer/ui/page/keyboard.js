// The computer's keyboard as a piano, where the labels of a sound are pitches: A to K are the white keys of an octave,
// W, E, T, Y and U its black ones; Z and X move it. On the page the keys are radio buttons, which style.css draws.

const ROW = ["KeyA", "KeyW", "KeyS", "KeyE", "KeyD", "KeyF", "KeyT", "KeyG", "KeyY", "KeyH", "KeyU", "KeyJ", "KeyK"];

/**
 * The indices of the notes C, from which octaves begin; that of the first note if there is no C.
 * @param {string[]} notes in ascending order
 */
export function octaves(notes) {
  const found = notes.flatMap((note, i) => (/^C-?\d+$/.test(note) ? [i] : []));
  return found.length ? found : [0];
}

/**
 * Which note a key of the computer plays.
 * @param {string} code of a KeyboardEvent
 * @param {string[]} notes in ascending order
 * @param {number} octave index into `octaves(notes)`
 * @returns {number | null} its index
 */
export function noteOf(code, notes, octave) {
  const step = ROW.indexOf(code), index = octaves(notes)[octave] + step;
  return step >= 0 && index < notes.length ? index : null;
}

/**
 * Lets the computer's keys, and repeated presses of a key on the page, play notes.
 * @param {string} ignored selector of elements that take the keys themselves
 * @param {() => void} again plays the present note once more
 */
export function listen(ignored, again) {
  let octave = /** @type {number | null} */ (null);
  const keys = () => /** @type {HTMLInputElement[]} */ ([...document.querySelectorAll("#label.piano input")]);
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/** @type {Element} */ (event.target).closest(ignored)) return;
    const found = keys(), notes = found.map((key) => key.value);
    if (!found.length) return;
    const count = octaves(notes).length, present = Math.min(octave ?? Math.floor((count - 1) / 2), count - 1);
    if (event.code === "KeyZ") octave = Math.max(0, present - 1);
    else if (event.code === "KeyX") octave = Math.min(count - 1, present + 1);
    const note = noteOf(event.code, notes, present);
    if (note === null) return;
    if (found[note].checked) again();
    else found[note].click();
  });
  document.addEventListener("pointerdown", (event) => {
    const key = /** @type {Element} */ (event.target).closest("#label.piano label")?.querySelector("input");
    if (key?.checked) again();
  });
}
