// MIDI controllers, where the browser has Web MIDI: pads strike, keyboards hold notes and have a pedal.

import { PADS } from "./kit.js";

const NOTE_OFF = 0x80, NOTE_ON = 0x90, CONTROL = 0xb0, SUSTAIN = 64;
const FIRST = 36; // pad controllers send 36, 37, … from their first pad on

/** A velocity of 0 is a key that is lifted.
 * @typedef {{ note: number, velocity: number } | { pedal: boolean }} Played */

/** Whether this browser can. */
export const midiPossible = () => typeof navigator.requestMIDIAccess === "function";

/**
 * What a MIDI message says, on any channel: a key, or the sustain pedal; null for any other message.
 * @param {ArrayLike<number> | null} data
 * @returns {Played | null}
 */
export function played(data) {
  if (!data || data.length < 3) return null;
  const status = data[0] & 0xf0;
  if (status === NOTE_ON) return { note: data[1], velocity: data[2] };
  if (status === NOTE_OFF) return { note: data[1], velocity: 0 };
  return status === CONTROL && data[1] === SUSTAIN ? { pedal: data[2] >= 64 } : null;
}

/**
 * The pad that a MIDI message strikes, and how loud; null for any other message.
 * @param {ArrayLike<number> | null} data
 * @returns {{ pad: number, level: number } | null}
 */
export function struckBy(data) {
  const found = played(data);
  if (!found || !("note" in found) || !found.velocity) return null;
  return { pad: ((found.note - FIRST) % PADS + PADS) % PADS, level: (found.velocity / 127) ** 2 };
}

let leave = () => {}; // tells who listened before

/**
 * Listens to all controllers, also those that are plugged in later, until another part of the page does. The browser
 * asks the visitor first.
 * @param {(data: Uint8Array | null) => void} receive
 * @param {(names: string[]) => void} changed told which controllers there are
 * @param {() => void} left told once another one listens
 */
export async function listen(receive, changed, left) {
  const access = await navigator.requestMIDIAccess();
  leave();
  leave = left;
  const refresh = () => {
    const inputs = [...access.inputs.values()];
    for (const input of inputs) input.onmidimessage = (event) => receive(event.data);
    changed(inputs.filter((input) => input.state === "connected").map((input) => input.name ?? "a controller"));
  };
  access.onstatechange = refresh;
  refresh();
}
