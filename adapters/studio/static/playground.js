// The playground: one to three configurations side by side, asked the same question.

import { Votes } from "./votes.js";
import { ask, wordsOf } from "./api.js";
import { publishing } from "./publish_dialog.js";
import { ConfigPanel, promptView } from "./config_panel.js";
import { pools } from "./pools.js";
import "./nav.js";
import { Side } from "./side.js";
import { saving } from "./saved.js";
import { dress } from "./turn_view.js";
import { keepDraft } from "./fields.js";
import { $, closable, closest, composer, copy, icon, make, store, stored, tokens, tool } from "./dom.js";

/** @import { Config, Playground, PlaygroundFacts, Preview, PromptReport, TemplateCard } from "./types.js" */

const KEY = `parley.playground.${document.body.dataset.person}`;
const LETTERS = ["A", "B", "C"];
/** @type {PlaygroundFacts} */
const facts = JSON.parse($("facts")?.textContent ?? "{}");
const words = $("words");
/** @type {number | undefined} */
let noticed; // hides the banner
const draft = keepDraft(words, () => "playground");

// ------------------------------------------------------------------ sides

/** @type {Side[]} */
let sides = [];
let current = /** @type {Side} */ (/** @type {unknown} */ (undefined)); // set by `open`, before anything else runs

/** @param {Side} side */
function choose(side) {
  if (side === current || !sides.includes(side)) return;
  current = side;
  inspected = null;
  panel.show(side.config);
  refresh();
  preview();
}

/** @param {Config} config */
function add(config) {
  const side = new Side(config, { changed: refresh, inspect, answered, askAgain });
  side.element.addEventListener("click", () => choose(side), { capture: true });
  sides.push(side);
  $("sides").append(side.element);
  return side;
}

/** Whether the question at a place was answered on every side. @param {number} at */
const answered = (at) => sides.every(({ entries }) => Boolean(entries[at]?.answer));

/**
 * Ask a question again in its place. What came after it goes, and another question is asked everywhere, so that all
 * sides keep the same history.
 * @param {Side} side @param {number} at @param {string} question
 */
function askAgain(side, at, question) {
  const alone = at === side.entries.length - 1 && question === side.entries[at]?.turn.words;
  for (const each of alone ? [side] : sides) each.askAgain(at, question);
}

/** @param {Side} side */
function close(side) {
  side.stop();
  const at = sides.indexOf(side);
  const next = side.element.nextSibling;
  side.element.remove();
  sides.splice(at, 1);
  current = sides[Math.min(at, sides.length - 1)] ?? current;
  changed();
  const back = () => {
    if (sides.length === LETTERS.length) return;
    sides.splice(at, 0, side);
    $("sides").insertBefore(side.element, next?.isConnected ? next : null);
    choose(side);
    edited();
    $("banner").hidden = true;
  };
  notify("The configuration was closed.", make("button", { type: "button", class: "plain", onclick: back }, "Undo"));
}

/** Show the configuration that is edited, after it was changed from outside the panel. */
function changed() {
  panel.show(current.config);
  edited();
}

/** Keep what was edited. */
function edited() {
  store(KEY, sides.map(({ config }) => config));
  // What a link led to is changed now: a reload shows what is kept here.
  if (location.search || location.hash) history.replaceState(null, "", location.pathname);
  refresh();
  preview();
}

/** Only what the page can show: one of an old page, or of a template that is gone, is left out. @param {unknown} found @returns {Config[]} */
function usable(found) {
  if (!Array.isArray(found)) return [];
  return found.slice(0, LETTERS.length).flatMap((one) => {
    const template = facts.templates.find(({ name }) => name === one?.template);
    if (!template && one?.template) notify(`A configuration was left out: its template “${one.template}” was removed.`);
    return template ? [{ ...structuredClone(template.setup), ...one }] : [];
  });
}

/** @type {WeakMap<Config, string>} */
const keptAs = new WeakMap(); // configurations as they were opened, saved or published last

/** What a person would miss. @param {Config} config */
const contentOf = (config) => JSON.stringify({ ...config, base: "" });

/** @param {Config} config */
function unsaved(config) {
  const template = facts.templates.find(({ name }) => name === config.template);
  const content = contentOf(config);
  return content !== keptAs.get(config) && content !== (template && contentOf(template.setup));
}

/** Whether edits may go; asks where some were neither saved nor published. @param {Config[]} configs @returns {Promise<boolean>} */
function discards(configs) {
  if (!configs.some(unsaved)) return Promise.resolve(true);
  const box = $("discard");
  box.returnValue = "";
  box.showModal();
  $("keep-edits").focus();
  return new Promise((answer) => box.addEventListener("close", () => answer(box.returnValue === "discard"), { once: true }));
}

/** The name of a deployment that a configuration asks for and that doesn't exist here. @param {Config} config */
const missingDeployment = ({ deployment }) => (deployment && !facts.deployments.some(({ name }) => name === deployment) ? deployment : "");

/** Show these configurations in place of those on the page; false if none of them can be shown. @param {unknown} found */
function open(found) {
  const configs = usable(found);
  if (!configs.length) return false;
  for (const side of sides) {
    side.stop();
    side.element.remove();
  }
  sides = [];
  current = /** @type {Side} */ (configs.map(add)[0]);
  return true;
}

// ------------------------------------------------------------------ what is sent

/** @type {PromptReport | null} */
let inspected = null; // what was sent for one answer, while it is shown instead of the next prompt
let control = new AbortController();
/** @type {number | undefined} */
let timer;

/** Have the server build the next prompt, a moment after the last change. */
function preview() {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    control.abort();
    const { signal } = (control = new AbortController());
    const body = { setup: current.config, past: current.past(), question: words.value };
    try {
      showPreview(await ask("/studio/playground/look", body, signal));
    } catch (error) {
      if (!signal.aborted) $("weight").textContent = wordsOf(error);
    }
  }, 250);
}

/** @param {Preview} next */
function showPreview(next) {
  panel.showTokens(next.messages?.find(({ role }) => role === "system")?.tokens, next.examples);
  $("weight").textContent = next.messages ? `Next message: about ${tokens(next.tokens)}` : next.words;
  if (inspected) $("sent").replaceChildren(...promptView(inspected, "Prompt of this answer"), back);
  else if (next.messages) $("sent").replaceChildren(...promptView(next, "Next prompt"));
  else $("sent").replaceChildren(make("p", { class: "note" }, next.words));
}

const back = make("button", { type: "button", class: "plain", onclick: () => openTab("sent") }, icon("again"), "View next prompt");

/** @param {PromptReport} sent */
function inspect(sent) {
  openTab("sent", sent);
  showPanel(true);
}

/** @param {"setup" | "sent"} name @param {PromptReport | null} prompt shown instead of the next one */
function openTab(name, prompt = null) {
  inspected = prompt;
  for (const each of ["setup", "sent"]) {
    $(each).hidden = each !== name;
    $(`tab-${each}`).ariaSelected = String(each === name);
    $(`tab-${each}`).tabIndex = each === name ? 0 : -1;
  }
  preview();
}

/** @param {"setup" | "sent"} name @param {"setup" | "sent"} other */
function tab(name, other) {
  $(`tab-${name}`).addEventListener("click", () => openTab(name));
  $(`tab-${name}`).addEventListener("keydown", ({ key }) => {
    if (key !== "ArrowLeft" && key !== "ArrowRight") return;
    openTab(other);
    $(`tab-${other}`).focus();
  });
}
tab("setup", "sent");
tab("sent", "setup");

// ------------------------------------------------------------------ what the person does

const stop = () => sides.forEach((side) => side.stop());

const refreshComposer = composer({
  send: (text) => {
    const missing = sides.map(({ config }) => missingDeployment(config)).find(Boolean);
    if (missing) {
      notify(`The deployment “${missing}” doesn’t exist here. Choose another one before you send.`);
      showPanel(true);
      $("deployment").focus();
      return false;
    }
    for (const side of sides) side.ask(text);
    return true;
  },
  stop,
  writing: () => sides.some((side) => side.writing),
  waits: true,
  typed: () => {
    refreshComposer();
    preview();
  },
});

addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  if (document.body.classList.contains("panel")) showPanel(false);
  else stop();
});

$("compare").addEventListener("click", () => {
  const side = add(structuredClone(current.config));
  const kept = keptAs.get(current.config);
  if (kept) keptAs.set(side.config, kept);
  side.continues(current);
  choose(side);
  edited();
  $("template").focus();
});

$("clear").addEventListener("click", () => {
  sides.forEach((side) => side.clear());
  inspected = null;
  words.focus();
  refresh();
  preview();
});

/** On a narrow page, where the panel covers the answers. @param {boolean} shown */
function showPanel(shown) {
  document.body.classList.toggle("panel", shown);
  if (shown) $("hide-panel").focus();
}
$("show-panel").addEventListener("click", () => showPanel(true));
$("hide-panel").addEventListener("click", () => {
  showPanel(false);
  $("show-panel").focus();
});

const question = () => words.value || current.entries.at(-1)?.turn.words || "";

// ------------------------------------------------------------------ code, and a link to share

/** @type {Record<string, string>} */
let code = {};

$("view-code").addEventListener("click", async () => {
  const body = { setup: current.config, past: current.past(words.value ? undefined : -1), question: question() };
  try {
    code = await ask("/studio/playground/code", body);
    showCode("python");
    $("code").showModal();
  } catch (error) {
    notify(wordsOf(error));
  }
});

/** @param {string} language */
function showCode(language) {
  for (const button of $("code").querySelectorAll("button")) {
    if (button.dataset.language) button.ariaPressed = String(button.dataset.language === language);
  }
  $("code-body").replaceChildren(dress(code[language] ?? ""));
}

closable($("code")).addEventListener("click", (event) => {
  const button = closest(event, "button");
  if (button?.dataset.language) showCode(button.dataset.language);
  else if (button?.dataset.do === "copy") copy(button, $("code-body").querySelector("pre")?.textContent ?? "");
});

/** @param {Uint8Array<ArrayBuffer>} bytes @param {CompressionStream | DecompressionStream} stream */
async function through(bytes, stream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

$("share").addEventListener("click", async () => {
  const text = JSON.stringify(sides.map(({ config }) => config));
  const bytes = await through(new TextEncoder().encode(text), new CompressionStream("deflate-raw"));
  const packed = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  const link = `${location.origin}${location.pathname}#s=${packed}`;
  history.replaceState(null, "", link);
  copy($("share"), link);
});

/** The configurations that a link carries, if this is one. @returns {Promise<unknown>} */
async function shared() {
  const packed = /^#s=([\w-]+)$/.exec(location.hash)?.[1];
  if (!packed) return null;
  try {
    const text = atob(packed.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = await through(Uint8Array.from(text, (one) => one.charCodeAt(0)), new DecompressionStream("deflate-raw"));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    notify("The link is incomplete or damaged.");
    return null;
  }
}

// ------------------------------------------------------------------ keeping the page true

/** @param {string} text @param {Node[]} more */
function notify(text, ...more) {
  $("banner").replaceChildren(text, " ", ...more);
  $("banner").hidden = false;
  clearTimeout(noticed);
  noticed = setTimeout(() => ($("banner").hidden = true), more.length ? 20_000 : 8000);
}

const votes = new Votes(notify);
$("sides").after(votes.element);

function refresh() {
  refreshComposer();
  const many = sides.length > 1;
  sides.forEach((side, at) => {
    const { template, deployment } = side.config;
    const name = `Configuration ${LETTERS[at]}`;
    side.element.ariaLabel = many ? name : "Messages";
    side.element.classList.toggle("current", many && side === current);
    side.head.hidden = !many;
    const label = [LETTERS[at], template, deployment].filter(Boolean).join(" · ");
    side.head.replaceChildren(make("b", {}, label), tool("close", `Close ${name.toLowerCase()}`, { onclick: () => close(side) }));
    side.thread.dataset.empty = String(side.entries.length === 0);
  });
  $("letters").hidden = !many;
  const letters = sides.map((side, at) =>
    make("button", { type: "button", "aria-pressed": String(side === current), onclick: () => choose(side) }, LETTERS[at] ?? ""),
  );
  $("letters").replaceChildren(...letters);
  votes.show(sides.map((side) => side.run));
  // An answer that is being written would be missing on the other side.
  $("compare").disabled = sides.length === LETTERS.length || sides.some((side) => side.writing);
}

// ------------------------------------------------------------------ the start

const asked = new URLSearchParams(location.search);
/** @param {(template: TemplateCard) => boolean} wanted */
const first = (wanted) => [structuredClone(facts.templates.find(wanted)?.setup)];
const linked = Boolean(location.search || location.hash);
const before = usable(stored(KEY)).filter(unsaved); // a link must not cost what was edited here
const candidates = [await shared(), first(({ name }) => name === asked.get("template")), stored(KEY), first(({ name }) => name === facts.first), first(() => true)];
candidates.some(open);

const panel = new ConfigPanel(facts, current.config, { changed: edited, discards: () => discards([current.config]), notify });
draft.show();
/** @type {Playground} */
const playground = {
  config: () => current.config,
  configs: () => sides.map(({ config }) => config),
  changed,
  discards,
  kept: () => sides.forEach(({ config }) => keptAs.set(config, contentOf(config))),
  open: (found) => {
    const opened = open(found);
    if (opened) playground.kept();
    if (opened) changed();
    return opened;
  },
  question,
  notify,
};
publishing(playground);
pools(playground);
const openSaved = saving(playground);
refresh();
preview();
const id = asked.get("saved");
if (id) await openSaved(id, false);
if (before.length && linked) {
  const restore = () => {
    if (open(before)) changed();
    $("banner").hidden = true;
  };
  notify("This link was opened in place of your edits.", make("button", { type: "button", class: "plain", onclick: restore }, "Restore my edits"));
}
document.body.dataset.ready = "true";
