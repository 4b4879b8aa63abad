// What one of the two seeds sounds like alone, beside its number; `props.end` says which of them.

const B = props.end === "B";
let pictured = ""; // the recipe whose picture is shown

/** The present place at this end of the way. */
function atEnd() {
  const { mix, ...place } = present();
  return JSON.stringify({ ...place, t: B ? 1 : 0 });
}

/** The seed under the same condition, decoded in the same way, without what leads away from it. */
function alone() {
  const { seed = 0, seed_b: seedB, t, path, mix, offsets, ...rest } = present();
  return JSON.stringify({ ...rest, seed: B ? seedB : seed });
}

/** Brings the picture up to the place, which has settled: a slider that changes nothing here costs nothing. */
async function refresh() {
  const wanted = alone();
  if (wanted === pictured) return;
  pictured = wanted;
  const answer = await ask("pictures", [wanted]);
  if (wanted !== pictured) return; // overtaken
  if (!answer) pictured = ""; // to be asked again
  else draw(answer.pictures[0]);
}

function draw(sent) {
  const button = card(sent, "", () => explorer.go(atEnd()));
  button.setAttribute("aria-label", `Go to ${props.end}, ${sent.error ?? `seed ${JSON.parse(sent.recipe).seed ?? 0} alone. ${sent.about}`}`);
  find("alone").replaceChildren(button);
}

whenSettled(refresh);
