// Joins the page to the picture and the sound. Gradio runs this once, with `element`, `props`, `server`, `trigger`
// and `watch` in scope; picture.js, sound.js and kept.js stand before it.

const AT_HAND = ["wav", "mid", "png"]; // formats that are not in the menu
const SETTLED = 350; // ms without a move until a place counts as visited
const PATIENCE = 3000; // ms that an answer may take until it is not waited for
const AGAIN = 1000; // ms until the server is asked again how far the search for directions is

const find = (name) => element.querySelector(`.${name}`);

/** The bytes that a base64 text stands for. */
function decode(text) {
  const characters = atob(text), bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes.buffer;
}

/** The places visited, one of them the present one. */
class History {
  constructor() { Object.assign(this, { places: [], now: -1 }); }
  visit(place) {
    if (place === this.places[this.now]) return;
    this.places.splice(++this.now, Infinity, place);
  }
  get back() { return this.now > 0; }
  get forth() { return this.now < this.places.length - 1; }
  step(by) { return this.places[this.now += by]; }
}

const canvas = find("picture"), playhead = find("playhead"), play = find("play"), positionBar = find("position");
const picture = new Picture(canvas), history = new History();
const speaker = new Speaker(new Piano(props.piano, `${gradio_config.root}/gradio_api/file=${props.samples}/`), refresh);
let held = false; // whether a pointer is down
let asked = 0, answered = 0; // when the last question to the server set out, and when one was answered
let heading = null; // the place that the hand leads to, until it is here
let leads = 0, led = 0; // how often the hand has asked, and the last of those that is shown or outdated
let dials = {}; // for each slider of an offset, the offset's name
let shown = null, settling = 0, appraising = 0, silenced = false;
let searching = false; // whether the sliders still lack the directions they are to follow

/** The arrays of what the server sent, unpacked. */
function unpack(sent) {
  const sound = { ...sent };
  if (sent.notes) sound.notes = new Float32Array(decode(sent.notes));
  if (sent.picture) sound.picture = { ...sent.picture, levels: new Uint8Array(decode(sent.picture.levels)) };
  if (sent.pcm) {
    const samples = new Float32Array(new Int16Array(decode(sent.pcm.data))).map((x) => x / 32768);
    sound.pcm = { rate: sent.pcm.rate, samples };
  }
  return sound;
}

async function show(sent) {
  answered = performance.now();
  warn(sent?.error);
  if (sent?.dials) dials = sent.dials;
  if (sent?.places) add(sent.places);
  if (sent?.error && !shown) find("title").textContent = "";
  if (!sent?.recipe) return;
  const first = shown === null;
  if (sent.recipe !== shown?.recipe) find("verdict").textContent = "";
  searching ||= sent.searching;
  shown = unpack(sent);
  performance.mark("explorer:answer");
  picture.show(shown);
  find("title").textContent = shown.title;
  performance.mark("explorer:picture");
  clearTimeout(settling);
  settling = first ? setTimeout(settle, 0) : setTimeout(rest, SETTLED);
  await sounded(speaker.load(shown));
  if (!first && !silenced && !speaker.playing && navigator.userActivation?.hasBeenActive) await sounded(speaker.play());
  performance.mark("explorer:sound");
  refresh();
}

/** Shows a sound that is at hand, heard from a position on, or where the ear is. It leaves no trace in history and
 * address until `go` leads to it. */
function pass(sound, position) {
  clearTimeout(settling);
  shown = sound;
  picture.show(sound);
  find("title").textContent = sound.title;
  return sounded(speaker.load(sound, position));
}

/** Waits for the speaker, and tells what went wrong. */
function sounded(promise) { return promise.catch((error) => warn(`No sound: ${error.message}`)); }

/** Settles once the hand rests: no pointer is down, and no answer is owed (unless it keeps one waiting long). */
function rest() {
  if (held || (asked > answered && performance.now() - asked < PATIENCE)) settling = setTimeout(rest, SETTLED);
  else settle();
}

/** What is not done while a slider moves: history, address, downloads, a word to screen readers. */
function settle() {
  clearTimeout(settling);
  history.visit(shown.recipe);
  remember();
  const foreign = [...new URLSearchParams(location.search)].filter(([name]) => name.startsWith("__"));
  const query = [shown.link.slice(1), new URLSearchParams(foreign).toString()].filter(Boolean).join("&");
  window.history.replaceState(null, "", `?${query}`);
  offer(find("direct"), shown.formats.filter((format) => AT_HAND.includes(format)));
  offer(find("rest"), shown.formats.filter((format) => !AT_HAND.includes(format)));
  say(`${shown.title}. ${shown.about}`);
  refresh();
  appraise();
  document.dispatchEvent(new CustomEvent("explorer:settled", { detail: shown }));
}

/** Buttons that save in formats. */
function offer(place, formats) {
  place.replaceChildren(...formats.map((format) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = format.toUpperCase();
    button.onclick = () => save(format, button);
    return button;
  }));
}

/** Shows what takes longer to say of a place than a slider may: how it is heard, how typical it is. */
async function appraise() {
  clearTimeout(appraising);
  const { recipe } = shown;
  const answer = await server.appraise(recipe).catch(() => ({}));
  if (recipe !== shown.recipe || !answer.words) return;
  find("verdict").textContent = answer.words;
  find("search").hidden = answer.directions === 1;
  find("search").querySelector("progress").value = answer.directions;
  if (answer.directions < 1) appraising = setTimeout(appraise, AGAIN);
  else if (searching) {
    searching = false;
    go(recipe);
  }
}

function say(text) { find("status").textContent = text; }
function warn(text = "") { find("alert").textContent = text; }

/** Shows where the ear is: the line at every frame, the rest when it would read differently. */
function follow() {
  const { position, sound } = speaker, seconds = sound?.seconds || 1, { area } = picture;
  playhead.style.transform = `translateX(${area.x + area.width * position / seconds}px)`;
  const clock = `${position.toFixed(1)} / ${seconds.toFixed(1)} s`;
  if (clock === find("clock").textContent) return;
  find("clock").textContent = clock;
  positionBar.value = position;
  positionBar.setAttribute("aria-valuetext", `${position.toFixed(1)} of ${seconds.toFixed(1)} seconds`);
}

function refresh() {
  play.textContent = speaker.playing ? "Stop" : "Play";
  find("undo").disabled = !history.back;
  find("redo").disabled = !history.forth;
  positionBar.max = speaker.sound?.seconds || 1;
  playhead.hidden = !speaker.sound;
  follow();
}

function animate() {
  if (!element.isConnected) return;
  if (speaker.playing) { speaker.look(); follow(); }
  requestAnimationFrame(animate);
}

function toggle() {
  silenced = speaker.playing;
  if (speaker.playing) speaker.stop();
  else sounded(speaker.play());
}

function travel(by) {
  settle();
  if (by < 0 ? history.back : history.forth) go(history.step(by));
}

/** Hands the visitor a file of pieces, texts or buffers. */
function saveAs(name, pieces) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(pieces));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say(`Saved ${name}`);
}

async function save(format, button) {
  button.disabled = true;
  say(`Preparing the ${format.toUpperCase()} file …`);
  try {
    const file = await server.save([shown.recipe, format]);
    if (file.error) return warn(file.error);
    saveAs(file.name, [decode(file.data)]);
  } catch {
    warn("The server did not answer; try again.");
  } finally {
    button.disabled = false;
  }
}

async function copy() {
  try {
    await navigator.clipboard.writeText(location.href);
    say("Link copied");
  } catch { // no permission, or a page without https
    window.prompt("Copy this link", location.href);
  }
}

function seek(event) {
  const { area } = picture, x = (event.offsetX - area.x) / area.width;
  if (speaker.sound && x >= 0 && x <= 1) speaker.seek(Math.min(x, 0.999) * speaker.sound.seconds);
}

const TYPING = "textarea, select, [contenteditable], input:not([type=range], [type=checkbox], [type=radio])";
const PRESSABLE = `${TYPING}, button, a, summary, input:not([type=range]), [role=tab], [role=option]`;

function shortcut(event) {
  const { target } = event;
  if (event.code === "Space" && !event.ctrlKey && !event.metaKey && !target.closest(PRESSABLE)) toggle();
  else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey) && !target.closest(TYPING)) {
    travel(event.shiftKey ? 1 : -1);
  } else if (event.key.toLowerCase() === "s" && (event.ctrlKey || event.metaKey) && !event.shiftKey) keep();
  else return;
  event.preventDefault();
}

/** A file dropped anywhere is one chosen with the button that opens files. */
function drop(event) {
  const input = document.querySelector("input[type=file]");
  if (!event.dataTransfer?.files.length || !input) return;
  event.preventDefault();
  input.files = event.dataTransfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

play.onclick = toggle;
find("random").onclick = () => trigger("random");
find("reset").onclick = () => trigger("reset");
find("undo").onclick = () => travel(-1);
find("redo").onclick = () => travel(1);
find("copy").onclick = copy;
find("keep").onclick = keep;
find("loop").onchange = (event) => { speaker.loop = event.target.checked; };
find("volume").oninput = (event) => { speaker.volume = event.target.valueAsNumber; };
positionBar.oninput = () => speaker.seek(Math.min(positionBar.valueAsNumber, speaker.sound.seconds * 0.999));
canvas.onclick = seek;
document.addEventListener("keydown", shortcut);
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", drop);
document.addEventListener("input", slide);
document.addEventListener("pointerdown", () => { held = true; }, true);
for (const name of ["pointerup", "pointercancel"]) document.addEventListener(name, () => { held = false; }, true);
window.addEventListener("storage", changed); // by another tab
new ResizeObserver(refresh).observe(canvas);

// Where `go` leads, read when its event sets out: of one that had to wait gradio forgets what came with it.
let wanted = "";

/** Leads to a place: a recipe as JSON or as a link's query. */
function go(recipe) {
  wanted = recipe;
  trigger("go");
}

/** Likewise while a hand moves, past gradio's events: to a place that differs from the present one in what the hand
 * moves alone. One question is on its way at a time; of the places that come meanwhile the last is asked for next. */
function drag(recipe) {
  const resting = heading === null;
  heading = recipe;
  if (resting) lead();
}

async function lead() {
  const recipe = heading, turn = ++leads;
  asked = performance.now();
  const answer = await server.lead(recipe).catch(() => ({ error: "The server did not answer; try again." }));
  if (heading === recipe) heading = null;
  else if (heading !== null) lead(); // before the picture is drawn
  if (turn <= led) return;
  led = turn;
  show(answer);
}

/** Follows a slider, whatever moves it. */
function slide({ target }) {
  const dial = target.closest("[id^=dial-]"), value = target.valueAsNumber;
  if (!dial || !shown || !Number.isFinite(value)) return;
  const { min, max } = dial.querySelector("input[type=range]"), name = dial.id.slice("dial-".length);
  const within = Math.min(Math.max(value, Number(min)), Number(max)); // a number typed beside it may be anything
  const place = JSON.parse(heading ?? shown.recipe);
  if (dials[name]) place.offsets = { ...place.offsets, [dials[name]]: within };
  else place[name] = within;
  if (name === "t") delete place.mix;
  drag(JSON.stringify(place));
}

/** What an event of gradio's takes along as it sets out. */
function sending(recipe) {
  asked = performance.now();
  return recipe;
}

/** What it brings. It knows of everything that the hand asked for before, which is outdated. */
function receive() {
  if (props.value?.recipe) {
    heading = null;
    led = leads;
  }
  show(props.value);
}

// What gradio's own listeners and the panels beside need of the page. A panel may be on the page before the player.
const place = () => (shown ? shown.recipe : location.search);
window.explorer = {
  sending, wanted: () => wanted, heading: () => heading ?? place(), place, shown: () => shown, speaker, history, kept,
  Picture, unpack, decode, saveAs, go, drag, pass, say, warn, play: () => sounded(speaker.play()),
};
document.dispatchEvent(new CustomEvent("explorer:ready"));
watch("value", receive);
receive();
animate();
