// Pads of a MIDI controller, where the browser has Web MIDI.

import { PADS } from "./kit.js";

const NOTE_ON = 0x90, FIRST = 36; // pad controllers send 36, 37, … from their first pad on

/** Whether this browser can. */
export const midiPossible = () => typeof navigator.requestMIDIAccess === "function";

/**
 * The pad that a MIDI message strikes, on any channel, and how loud; null for any other message.
 * @param {ArrayLike<number> | null} data
 * @returns {{ pad: number, level: number } | null}
 */
export function struckBy(data) {
  if (!data || data.length < 3 || (data[0] & 0xf0) !== NOTE_ON || data[2] === 0) return null;
  return { pad: ((data[1] - FIRST) % PADS + PADS) % PADS, level: (data[2] / 127) ** 2 };
}

/**
 * Listens to all controllers, also those that are plugged in later. The browser asks the visitor first.
 * @param {(pad: number, level: number) => void} strike
 * @param {(names: string[]) => void} changed told which controllers there are
 */
export async function listen(strike, changed) {
  const access = await navigator.requestMIDIAccess();
  const refresh = () => {
    const inputs = [...access.inputs.values()];
    for (const input of inputs) {
      input.onmidimessage = (event) => {
        const struck = struckBy(event.data);
        if (struck) strike(struck.pad, struck.level);
      };
    }
    changed(inputs.filter((input) => input.state === "connected").map((input) => input.name ?? "a controller"));
  };
  access.onstatechange = refresh;
  refresh();
}
