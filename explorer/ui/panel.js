// Stands before the script of every panel. Gradio runs both once, with `element`, `props` and `server` in scope.

const find = (name) => element.querySelector(`.${name}`);
const visible = () => element.isConnected && element.offsetParent !== null;
const present = () => JSON.parse(explorer.place());

/** Calls back once the player is on the page: at once, if it already is. */
function whenReady(callback) {
  if (window.explorer) callback();
  else document.addEventListener("explorer:ready", callback, { once: true });
}

/** Calls back with what is shown now, and whenever another place has settled, for as long as the panel is there. */
function whenSettled(callback) {
  const settled = (event) => {
    if (element.isConnected) callback(event.detail);
    else document.removeEventListener("explorer:settled", settled);
  };
  document.addEventListener("explorer:settled", settled);
  whenReady(() => { if (explorer.shown()) callback(explorer.shown()); });
}

/** Asks the server; what goes wrong is told where the player tells it, and answered with null. */
async function ask(name, request) {
  try {
    const answer = await server[name](request);
    if (!answer.error) return answer;
    explorer.warn(answer.error);
  } catch {
    explorer.warn("The server did not answer; try again.");
  }
  return null;
}

/** A button that shows a sound and leads to it. `sent` is what the server says of it; the caption is its name. */
function card(sent, caption, act = () => explorer.go(sent.recipe)) {
  const button = document.createElement("button"), text = document.createElement("span");
  button.type = "button";
  button.className = "card";
  text.textContent = caption;
  button.append(text);
  if (sent.error) {
    button.disabled = true;
    button.title = sent.error;
    return button;
  }
  const canvas = document.createElement("canvas");
  button.prepend(canvas);
  button.onclick = act;
  button.title = sent.title;
  new explorer.Picture(canvas, true).show(explorer.unpack(sent));
  return button;
}
