// The player: picture, sound, transport, undo, downloads, and how sliders are followed.

import { Lights } from "./lights.js";
import { inUnits, showOffset } from "./offsets.js";
import { ask, copyLink, fileField, finder, lessonAsked, make, saveAs, still, TYPING } from "./panel.js";
import { Picture } from "./picture.js";
import { addressQuery, isAnother, withNumber, withOffset, withT } from "./recipe.js";
import { Selection } from "./selection.js";
import { session } from "./session.js";
import { Piano, Speaker } from "./sound.js";
import { decodeBase64 } from "./unpack.js";

/** @typedef {import("./unpack.js").Sound} Sound */

const AT_HAND = ["wav", "ready.wav", "mid", "png"]; // formats whose buttons are not in the menu
/** The caption of a format's button, and what it saves, where the format's own name does not say it. */
const CAPTIONS = /** @type {Record<string, [caption: string, title: string]>} */ ({
  wav: ["WAV", "As rendered"],
  mid: ["MIDI", "The notes, for other music programs"],
  "ready.wav": ["Ready WAV", "To use elsewhere: peak at -1 dBFS, cut to 5 ms before its onset, faded, 44.1 kHz"],
});
const UNSAFE = /[^\p{L}\p{N}_.+-]+/gu; // characters of a favourite's name that no file's name has
const OPENED = 200; // ms in which gradio makes the controls of a section that is opened
const AGAIN = 1000; // ms between two requests for the progress of the search for directions
const SELDOM = 1000; // ms from one position to the next where nothing shall move
const SAVING_LIMIT = 600_000; // ms that a file may take
// Where the space bar presses what the keys have led to; what a pointer has pressed it leaves alone.
const PRESSABLE = ":is(button, a, summary, input:not([type=range]), [role=tab], [role=option]):focus-visible";

/** @param {import("./session.js").Component} component */
export function start(component) {
  const { element, props, server, trigger } = component, find = finder(element);
  const canvas = /** @type {HTMLCanvasElement} */ (find("picture"));
  const playhead = find("playhead"), clock = find("clock"), chips = find("chips");
  const playButton = find("play"), undoButton = /** @type {HTMLButtonElement} */ (find("undo"));
  const redoButton = /** @type {HTMLButtonElement} */ (find("redo"));
  const positionBar = /** @type {HTMLInputElement} */ (find("position"));
  const loopBox = /** @type {HTMLInputElement} */ (find("loop")), volumeBar = /** @type {HTMLInputElement} */ (find("volume"));
  const bpm = /** @type {HTMLInputElement} */ (find("bpm"));
  const picture = new Picture(canvas);
  const lights = new Lights(/** @type {HTMLCanvasElement} */ (find("lights")), picture, find("meter"));
  const root = /** @type {any} */ (window).gradio_config.root;
  const speaker = new Speaker(new Piano(props.piano, `${root}/samples/`), refresh);
  const selection = new Selection(find("screen"), picture, speaker, server);
  let silenced = false; // by the visitor
  let fromStart = false; // whether the next sound begins at its beginning
  let once = false; // ... and is not repeated
  let appraising = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);
  let appraised = ""; // the recipe that the verdict is about
  let followed = 0; // when the position was shown last
  let heard = /** @type {import("./recipe.js").Place | null} */ (null); // the place that was drawn last

  /** @type {import("./session.js").Draw} */
  async function draw({ begin, position }) {
    const sound = /** @type {Sound} */ (session.shown);
    performance.mark("explorer:answer");
    picture.show(sound);
    // A moved slider goes on where the ear is.
    const another = heard !== null && isAnother(heard, sound.place);
    selection.follow(another);
    if (heard && (fromStart || another)) position ??= 0;
    speaker.once = once;
    fromStart = once = false;
    heard = sound.place;
    find("title").textContent = sound.name;
    find("made").textContent = [sound.made_with, sound.draft && "a draft"].filter(Boolean).join(", ");
    if (sound.recipe !== appraised) {
      find("verdict").textContent = "";
      find("gauge").hidden = true;
    }
    performance.mark("explorer:picture");
    if (!session.held) showOffsets();
    await session.heard(speaker.load(sound, position));
    // Browsers let a page play no sound before the visitor's first click or key.
    const wanted = begin && !silenced && !session.beating;
    if (wanted && !speaker.playing && navigator.userActivation?.hasBeenActive) await session.play();
    performance.mark("explorer:sound");
    refresh();
  }

  /** Updates what stays as it is while a slider moves: address, downloads, and the text for screen readers. */
  function settle() {
    const sound = /** @type {Sound} */ (session.shown);
    window.history.replaceState(null, "", addressQuery(sound.link, location.search));
    find("grid").hidden = !sound.free;
    offer(find("direct"), sound.formats.filter((format) => AT_HAND.includes(format)));
    offer(find("rest"), sound.formats.filter((format) => !AT_HAND.includes(format)));
    session.say(sound.about, sound.title);
    selection.settle();
    refresh();
    appraise();
  }

  /** Makes a button for each format, which saves the sound in it. */
  function offer(/** @type {HTMLElement} */ group, /** @type {string[]} */ formats) {
    group.replaceChildren(...formats.map((format) => {
      const [textContent, title] = CAPTIONS[format] ?? [format.toUpperCase(), ""];
      const button = make("button", { type: "button", textContent, title });
      button.onclick = () => save(format, button);
      return button;
    }));
  }

  /** Shows what the judge hears and how typical the place is, which would take too long while a slider moves. */
  async function appraise() {
    clearTimeout(appraising);
    const { recipe } = /** @type {Sound} */ (session.shown);
    const answer = await server.appraise(recipe).catch(() => undefined); // optional: no error is shown
    if (recipe !== session.shown?.recipe || answer?.words === undefined) return;
    appraised = recipe;
    find("verdict").textContent = answer.words;
    find("gauge").hidden = answer.usual;
    find("gauge").title = answer.distance;
    /** @type {HTMLMeterElement} */ (find("unusual")).value = answer.remoteness;
    find("search").hidden = answer.directions === 1;
    /** @type {HTMLProgressElement} */ (find("search").querySelector("progress")).value = answer.directions;
    if (answer.directions < 1 || !session.showFound()) appraising = setTimeout(appraise, AGAIN);
  }

  /** Shows the position: the line at once, the other elements when their text changes. */
  function follow() {
    const { position, seconds } = speaker, { area } = picture;
    followed = performance.now();
    playhead.style.transform = `translateX(${area.x + area.width * position / seconds}px)`;
    const time = `${position.toFixed(1)} / ${seconds.toFixed(1)} s`;
    if (time === clock.textContent) return;
    clock.textContent = time;
    positionBar.value = String(position);
    positionBar.setAttribute("aria-valuetext", `${position.toFixed(1)} of ${seconds.toFixed(1)} seconds`);
  }

  function refresh() {
    const playing = speaker.playing || session.others.size > 0;
    playButton.textContent = playing ? "Stop" : "Play";
    playButton.classList.toggle("on", playing);
    find("screen").classList.toggle("playing", speaker.playing);
    undoButton.disabled = !session.undo.possible;
    redoButton.disabled = !session.undo.redoPossible;
    positionBar.max = String(speaker.seconds);
    playhead.hidden = !speaker.sound;
    follow();
  }

  function animate() {
    if (!element.isConnected) return;
    if (speaker.playing) {
      speaker.look();
      if (!still.matches || performance.now() - followed > SELDOM) follow();
    }
    lights.draw(speaker, session.held);
    requestAnimationFrame(animate);
  }

  /** The slider of an offset. @param {string} name */
  const sliderOf = (name) => /** @type {HTMLInputElement | null} */ (
    document.querySelector(`#live-${name} input[type=range]`));

  /** Shows the offsets in force: on their sliders, and as chips that undo them. */
  function showOffsets() {
    for (const [slider, name] of Object.entries(session.offsetNames)) {
      const input = sliderOf(slider);
      if (input) showOffset(input, session.target?.offsets[name] ?? 0, session.directions[name]);
    }
    showChips();
  }

  function showChips() {
    const offsets = session.target?.offsets ?? {};
    const old = /** @type {HTMLButtonElement[]} */ ([...chips.children]);
    const present = Object.entries(offsets).map(([name, amount]) => {
      const chip = old.find(({ value }) => value === name) ?? make("button", { type: "button", value: name });
      const words = `${session.directions[name]?.title ?? name} ${inUnits(amount, session.directions[name])}`;
      if (chip.textContent !== words) chip.textContent = words;
      return chip;
    });
    if (present.map(({ value }) => value).join() !== old.map(({ value }) => value).join()) {
      chips.replaceChildren(...present);
    }
  }

  /** Undoes the offset of a chip that is pressed. */
  function undoOffset(/** @type {Event} */ event) {
    const { value } = /** @type {HTMLButtonElement} */ (event.target);
    if (value && session.target) session.go(withOffset(session.target, value, 0));
  }

  /** Plays what is shown, or stops all that plays. */
  function toggle() {
    silenced = speaker.playing || session.others.size > 0;
    for (const stop of [...session.others]) stop();
    if (speaker.playing) speaker.stop();
    else if (!silenced) {
      speaker.once = false;
      session.play();
    }
  }

  /** Whether the place that is shown is among the favourites. */
  function showKept() {
    const kept = session.shown !== null && session.stored.has(session.toStore(session.shown));
    find("keep").setAttribute("aria-pressed", String(kept));
  }

  async function save(/** @type {string} */ format, /** @type {HTMLButtonElement} */ button) {
    button.disabled = true;
    session.say(`Preparing the ${button.textContent} file …`);
    const tempo = format === "mid" && session.shown?.free ? bpm.valueAsNumber : NaN; // NaN if nothing is typed
    const onGrid = !Number.isNaN(tempo), request = [session.shown?.recipe, format, ...(onGrid ? [tempo] : [])];
    const own = session.shown && session.stored.nameOf(session.toStore(session.shown)).replace(UNSAFE, "_");
    const file = await ask(server.save, request, SAVING_LIMIT);
    if (file) saveAs(own ? `${own}${onGrid ? `-${tempo}bpm` : ""}.${format}` : file.name, [decodeBase64(file.data)]);
    button.disabled = false;
  }

  /** Asks for the place at a slider's new value, however the slider was moved. */
  function slide(/** @type {Event} */ event) {
    const input = /** @type {HTMLInputElement} */ (event.target), slider = input.closest("[id^=live-]");
    const place = session.target, value = input.valueAsNumber;
    if (!slider || !place || !Number.isFinite(value)) return;
    const { min, max } = /** @type {HTMLInputElement} */ (slider.querySelector("input[type=range]"));
    const within = Math.min(Math.max(value, Number(min)), Number(max)); // a number typed beside it may be anything
    const name = slider.id.slice("live-".length), direction = session.offsetNames[name];
    if (direction) {
      session.drag(withOffset(place, direction, within));
      showOffset(/** @type {HTMLInputElement} */ (sliderOf(name)), within, session.directions[direction]);
      showChips(); // both before the answer
    }
    else if (name === "t") session.drag(withT(place, within));
    else if (name === "truncation" || name === "blend") session.drag(withNumber(place, name, within));
  }

  /** A double click on the slider of an offset sets it back. */
  function setBack(/** @type {Event} */ event) {
    const input = /** @type {HTMLInputElement} */ (event.target);
    if (input.type !== "range" || !input.closest(".offset")) return;
    input.value = "0";
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  /** What the keys do that need no Control key. @type {Record<string, () => void>} */
  const keys = {
    " ": toggle,
    home: () => speaker.seek(0),
    l: () => loopBox.click(),
    i: () => selection.mark("start"),
    o: () => selection.mark("end"),
    escape: () => selection.clear(),
    r: () => trigger("random"),
    "[": () => document.querySelector(/** @type {"button"} */ ("#models .previous"))?.click(),
    "]": () => document.querySelector(/** @type {"button"} */ ("#models .next"))?.click(),
    "?": () => find("keys-list").togglePopover(),
  };

  function shortcut(/** @type {KeyboardEvent} */ event) {
    const target = /** @type {Element} */ (event.target), key = event.key.toLowerCase();
    const command = event.ctrlKey || event.metaKey, typing = target.closest(TYPING);
    if (command && key === "z" && !typing) session.travel(event.shiftKey ? 1 : -1);
    else if (command && key === "s" && !event.shiftKey) session.keep();
    else if (!keys[key] || command || event.altKey || event.repeat || typing) return;
    else if (key === " " && target.closest(PRESSABLE)) return;
    else if (key === "escape" && !selection.span) return; // it may close the list of keys
    else if (key === "home" && target.matches("input")) return; // the least value of a slider
    else keys[key]();
    event.preventDefault();
  }

  /** Opens a file dropped on the page, as if chosen with the button "Open a saved file". */
  function drop(/** @type {DragEvent} */ event) {
    const input = fileField();
    if (!event.dataTransfer?.files.length || !input) return;
    event.preventDefault();
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  /** Shows the lesson that a link names. */
  function openLesson() {
    const tabs = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[role=tab]")]);
    tabs.find((tab) => tab.textContent?.trim() === "Learn")?.click();
  }

  playButton.onclick = toggle;
  find("random").onclick = () => trigger("random");
  find("reset").onclick = () => trigger("reset");
  undoButton.onclick = () => session.travel(-1);
  redoButton.onclick = () => session.travel(1);
  find("copy").onclick = () => copyLink(location.href);
  find("keep").onclick = () => session.keep();
  loopBox.onchange = () => { speaker.loop = loopBox.checked; };
  volumeBar.oninput = () => { speaker.volume = volumeBar.valueAsNumber; };
  positionBar.oninput = () => speaker.seek(Math.min(positionBar.valueAsNumber, speaker.seconds * 0.999));
  chips.onclick = undoOffset;
  document.addEventListener("keydown", shortcut);
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", drop);
  document.addEventListener("input", slide);
  document.addEventListener("dblclick", setBack);
  document.addEventListener("click", () => setTimeout(showOffsets, OPENED)); // a section may have made new sliders
  document.addEventListener("pointerdown", () => { session.held = true; }, true);
  for (const name of ["pointerup", "pointercancel"]) document.addEventListener(name, () => { session.held = false; }, true);
  window.addEventListener("storage", () => session.stored.changed()); // by another tab
  new ResizeObserver(refresh).observe(canvas);
  session.stored.addEventListener("change", showKept);
  session.addEventListener("silence", () => {
    silenced = true;
    if (speaker.playing) speaker.stop();
  });
  session.addEventListener("others", refresh);
  session.addEventListener("listen", (event) => {
    silenced = false;
    fromStart = true;
    once = /** @type {CustomEvent} */ (event).detail;
  });
  session.addEventListener("say", (event) => {
    const { words, title } = /** @type {CustomEvent} */ (event).detail;
    find("status").replaceChildren(...(title ? [make("span", { textContent: `${title}. ` })] : []), words);
    find("status").title = find("status").textContent ?? "";
  });
  session.addEventListener("warn", (event) => {
    const words = /** @type {CustomEvent} */ (event).detail;
    find("alert").textContent = words;
    if (words && !session.shown) find("title").textContent = "";
  });
  session.addEventListener("settle", settle);
  session.addEventListener("settle", showOffsets);
  if (lessonAsked) session.addEventListener("settle", openLesson, { once: true });

  // For scripts and tests: the present place and sound, the speaker, and `go`. For gradio's listeners in
  // explorer/ui/app.py: the recipe that an event sends, and the report that one has failed.
  const place = () => session.shown?.recipe ?? location.search;
  Object.assign(window, {
    explorer: {
      place, shown: () => session.shown, speaker, go: session.go.bind(session),
      sends: () => session.sends(place()), sendsDestination: () => session.sendsDestination(),
      failed: () => session.eventFailed(),
    },
  });
  session.start(component, speaker, draw);
  animate();
}
