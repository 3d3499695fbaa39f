// The images playground: the options of the chosen deployment, and the pictures of this visit.

import { icon, make } from "./view.js";
import { ask } from "./wire.js";

const $ = (id) => document.getElementById(id);
const facts = JSON.parse($("facts")?.textContent ?? "[]");
const NAMES = { size: "Size", quality: "Quality", style: "Style", background: "Background", images: "How many" };

function options() {
  const { knobs } = facts.find(({ name }) => name === $("deployment").value);
  const fields = Object.entries(knobs).map(([name, knob]) => {
    const choices = typeof knob[0] === "number" ? Array.from({ length: knob[1] }, (_, n) => String(n + 1)) : knob;
    const select = make("select", { "data-name": name }, make("option", { value: "" }, "default"), ...choices.map((one) => make("option", {}, one)));
    return make("label", {}, NAMES[name] ?? name, select);
  });
  $("options").replaceChildren($("options").firstElementChild, ...fields);
}

function chosen() {
  const found = {};
  for (const select of $("options").querySelectorAll("[data-name]")) {
    if (select.value) found[select.dataset.name] = select.dataset.name === "images" ? Number(select.value) : select.value;
  }
  return found;
}

function show({ images, cost }, prompt) {
  $("none").hidden = true;
  for (const { src, alt } of images) {
    const save = make("a", { href: src, download: "picture", class: "icon", "aria-label": "Download the picture" }, icon("down"));
    const caption = make("figcaption", {}, make("span", {}, prompt), make("span", { class: "note" }, cost));
    $("gallery").prepend(make("li", {}, make("figure", {}, make("img", { src, alt: alt || prompt }), caption), save));
  }
}

if (facts.length) {
  options();
  $("deployment").addEventListener("change", options);
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $("wish").requestSubmit();
  });
  $("wish").addEventListener("submit", async (event) => {
    event.preventDefault();
    const prompt = $("prompt").value;
    $("trouble").textContent = "";
    $("state").textContent = "Drawing …";
    $("draw").disabled = true;
    try {
      show(await ask("/studio/images", { prompt, deployment: $("deployment").value, parameters: chosen() }), prompt);
    } catch (error) {
      $("trouble").textContent = error.message;
    }
    $("state").textContent = "";
    $("draw").disabled = false;
  });
}
