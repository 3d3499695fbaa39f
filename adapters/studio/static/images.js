// The images playground: the options of the chosen deployment, the images of this visit, and their changes.

import { lines, wordsOf } from "./api.js";
import { $, icon, make, onEnter, tool } from "./dom.js";
import { MaskEditor } from "./mask_editor.js";

/** @import { ImageDeployment, ImageFrame } from "./types.js" */

/** @type {ImageDeployment[]} */
const deployments = JSON.parse($("facts")?.textContent ?? "[]");
/** @type {Record<string, string>} */
const NAMES = { size: "Size", quality: "Quality", style: "Style", background: "Background", images: "Number of images" };

/** What a deployment can change of an image, said before it is asked: as a whole, with a mask. @param {ImageDeployment} deployment */
function abilities({ name, whole, masked }) {
  if (whole && masked) return "Paint over the area to change. Without a selection, the whole image may change.";
  if (whole) return `${name} changes the whole image; it doesn’t support a selected area.`;
  if (masked) return `${name} only changes a selected area. Paint over the area to change.`;
  return `${name} can’t edit images. Choose another deployment.`;
}

function showOptions() {
  const deployment = deployments.find(({ name }) => name === $("deployment").value);
  if (!deployment) return;
  const fields = Object.entries(deployment.knobs).map(([name, range]) => {
    const [, most] = range;
    const choices = typeof most === "number" ? Array.from({ length: most }, (_, n) => String(n + 1)) : range;
    const options = choices.map((one) => make("option", {}, String(one)));
    return make("label", {}, NAMES[name] ?? name, make("select", { name }, make("option", { value: "" }, "Default"), ...options));
  });
  $("parameters").replaceChildren(...fields);
  $("able").textContent = abilities(deployment);
}

function parameters() {
  const chosen = [...$("parameters").querySelectorAll("select")].filter(({ value }) => value);
  return Object.fromEntries(chosen.map(({ name, value }) => [name, name === "images" ? Number(value) : value]));
}

/** @param {{ src: string, alt: string }} image @param {string} prompt @param {string} cost @param {() => void} onEdit */
function card({ src, alt }, prompt, cost, onEdit) {
  const save = make("a", { href: src, download: "image", class: "icon", "aria-label": "Download image", title: "Download" }, icon("down"));
  const caption = make("figcaption", {}, make("span", {}, prompt), make("span", { class: "note" }, cost));
  const tools = make("div", { class: "picture-tools" }, tool("edit", "Edit image", { onclick: onEdit }), save);
  return make("li", {}, make("figure", {}, make("img", { src, alt }), caption), tools);
}

/** Generates, and shows what comes. Throws an Error whose message is for the person. @param {MaskEditor} editor */
async function generate(editor) {
  const prompt = $("prompt").value;
  const request = { prompt, deployment: $("deployment").value, parameters: parameters(), ...(editor.used ? editor.request() : {}) };
  const partial = make("li", { class: "partial" });
  /** @type {AsyncIterable<ImageFrame>} */
  const frames = lines("/studio/images", request);
  try {
    for await (const frame of frames) {
      if (frame.kind === "failed") throw new Error(frame.words);
      $("none").hidden = true;
      if (frame.kind === "sketch") {
        const { src, width, height } = frame;
        partial.replaceChildren(make("img", { src, width, height, alt: `${prompt} (in progress)` }));
        $("gallery").prepend(partial);
        continue;
      }
      for (const { src, alt } of frame.images) {
        const image = { src, alt: alt || prompt };
        $("gallery").prepend(card(image, prompt, frame.cost, () => edit(editor, src, image.alt)));
      }
      return;
    }
    throw new Error("Connection lost before the image was finished. Please try again.");
  } finally {
    partial.remove();
  }
}

/** @param {MaskEditor} editor @param {string | File} source @param {string} alt */
async function edit(editor, source, alt) {
  $("trouble").textContent = "";
  try {
    await editor.load(source, alt);
  } catch (error) {
    $("trouble").textContent = wordsOf(error);
    return;
  }
  $("prompt").value = "";
  showMode(editor);
  $("change").scrollIntoView({ block: "nearest" });
}

/** Whether an image is edited, or a new one generated. @param {MaskEditor} editor */
function showMode({ used }) {
  $("change").hidden = !used;
  $("asked").textContent = used ? "Describe the change" : "Prompt";
  $("prompt").placeholder = used ? "Make the sky darker" : "Describe the image: a red bicycle by the sea in the evening";
  $("draw").textContent = used ? "Apply change" : "Generate";
  $("prompt").focus();
}

/** @param {"brush" | "left" | "top" | "width" | "height"} id */
const percent = (id) => $(id).valueAsNumber / 100;

/** @param {MaskEditor} editor */
function start(editor) {
  const form = $("image-form");
  showOptions();
  $("deployment").addEventListener("change", showOptions);
  onEnter($("prompt"), () => form.requestSubmit());
  $("brush").addEventListener("input", () => (editor.brush = percent("brush")));
  $("rectangle").addEventListener("click", () => {
    editor.rectangle(percent("left"), percent("top"), percent("width"), percent("height"));
  });
  $("unmark").addEventListener("click", () => editor.clear());
  $("new-image").addEventListener("click", () => {
    editor.leave();
    showMode(editor);
  });
  $("own").addEventListener("change", async () => {
    const file = $("own").files?.[0];
    $("own").value = "";
    if (file) await edit(editor, file, file.name);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if ($("draw").disabled) return;
    $("trouble").textContent = "";
    $("state").textContent = editor.used ? "Editing…" : "Generating…";
    $("draw").disabled = true;
    await generate(editor).catch((error) => ($("trouble").textContent = wordsOf(error)));
    $("state").textContent = "";
    $("draw").disabled = false;
  });
}

if (deployments.length) start(new MaskEditor($("original"), $("marks"), $("marked")));
