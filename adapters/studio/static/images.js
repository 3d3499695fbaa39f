// The images playground: the options of the chosen deployment, the pictures of this visit, and their changes.

import { Easel } from "./mask_editor.js";
import { icon, make } from "./turn_view.js";
import { lines } from "./api.js";

const $ = (id) => document.getElementById(id);
const facts = JSON.parse($("facts")?.textContent ?? "[]");
const NAMES = { size: "Size", quality: "Quality", style: "Style", background: "Background", images: "How many" };
const easel = facts.length ? new Easel($("original"), $("marks"), $("marked")) : null;

const deployment = () => facts.find(({ name }) => name === $("deployment").value);

function options() {
  const fields = Object.entries(deployment().knobs).map(([name, knob]) => {
    const choices = typeof knob[0] === "number" ? Array.from({ length: knob[1] }, (_, n) => String(n + 1)) : knob;
    const select = make("select", { "data-name": name }, make("option", { value: "" }, "default"), ...choices.map((one) => make("option", {}, one)));
    return make("label", {}, NAMES[name] ?? name, select);
  });
  $("options").replaceChildren($("options").firstElementChild, ...fields);
  able();
}

/** What the chosen deployment can do with a picture, said before it is asked. */
function able() {
  const { name, whole, masked } = deployment();
  const words = {
    "true true": "Paint over the part that shall change, and say what shall be there. Without marks the whole picture may change.",
    "true false": `${name} changes the whole picture: it takes no marks.`,
    "false true": `${name} changes only what is marked: paint over the part that shall change.`,
    "false false": `${name} can't change a picture, it only draws new ones. Choose another deployment.`,
  };
  $("able").textContent = words[`${whole} ${masked}`];
}

function chosen() {
  const found = {};
  for (const select of $("options").querySelectorAll("[data-name]")) {
    if (select.value) found[select.dataset.name] = select.dataset.name === "images" ? Number(select.value) : select.value;
  }
  return found;
}

async function change(src, alt) {
  $("trouble").textContent = "";
  try {
    await easel.take(src, alt);
  } catch (error) {
    $("trouble").textContent = error.message;
    return;
  }
  $("change").hidden = false;
  $("asked").textContent = "What shall be different?";
  $("draw").textContent = "Change";
  $("prompt").value = "";
  $("prompt").focus();
  $("change").scrollIntoView({ block: "nearest" });
}

function leave() {
  easel.leave();
  $("change").hidden = true;
  $("asked").textContent = "What shall be drawn?";
  $("draw").textContent = "Draw";
  $("prompt").focus();
}

function show({ images, cost }, prompt) {
  for (const { src, alt } of images) {
    const save = make("a", { href: src, download: "picture", class: "icon", "aria-label": "Download the picture", title: "Download" }, icon("down"));
    const more = make("button", { type: "button", class: "icon", "aria-label": "Change this picture", title: "Change this picture" }, icon("edit"));
    more.addEventListener("click", () => change(src, alt || prompt));
    const caption = make("figcaption", {}, make("span", {}, prompt), make("span", { class: "note" }, cost));
    $("gallery").prepend(make("li", {}, make("figure", {}, make("img", { src, alt: alt || prompt }), caption), make("div", { class: "picture-tools" }, more, save)));
  }
}

async function draw() {
  const prompt = $("prompt").value;
  const wish = { prompt, deployment: $("deployment").value, parameters: chosen(), ...(easel.used ? easel.wish() : {}) };
  const sketch = make("li", { class: "sketch" });
  try {
    for await (const frame of lines("/studio/images", wish, new AbortController().signal)) {
      if (frame.kind === "sketch") {
        const { src, width, height } = frame;
        sketch.replaceChildren(make("img", { src, width, height, alt: `${prompt} (still being drawn)` }));
        $("gallery").prepend(sketch);
        $("none").hidden = true;
      } else if (frame.kind === "failed") throw new Error(frame.words);
      else {
        sketch.remove();
        $("none").hidden = true;
        show(frame, prompt);
        return;
      }
    }
    throw new Error("The connection broke off before the picture was done. Please try again.");
  } finally {
    sketch.remove();
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
  $("brush").addEventListener("input", () => (easel.brush = $("brush").valueAsNumber / 100));
  $("rectangle").addEventListener("click", () => easel.rectangle(...["left", "top", "width", "height"].map((id) => $(id).valueAsNumber / 100)));
  $("unmark").addEventListener("click", () => easel.unmark());
  $("leave").addEventListener("click", leave);
  $("own").addEventListener("change", async () => {
    const [file] = $("own").files;
    $("own").value = "";
    if (file) await change(file, file.name);
  });
  $("wish").addEventListener("submit", async (event) => {
    event.preventDefault();
    if ($("draw").disabled) return;
    $("trouble").textContent = "";
    $("state").textContent = easel.used ? "Changing …" : "Drawing …";
    $("draw").disabled = true;
    try {
      await draw();
    } catch (error) {
      $("trouble").textContent = error.message;
    }
    $("state").textContent = "";
    $("draw").disabled = false;
  });
}
