// The playground: one to three set-ups side by side, asked the same question.

import { Ballot } from "./votes.js";
import { keeping } from "./publish_dialog.js";
import { Panel, sentView, tokens } from "./config_panel.js";
import { pools } from "./pools.js";
import "./nav.js";
import { Saved } from "./saved.js";
import { Turn, copy, dress, icon, make, tool } from "./turn_view.js";
import { ask, lines, newId } from "./api.js";

const $ = (id) => document.getElementById(id);
const KEY = `parley.playground.${document.body.dataset.person}`;
const LETTERS = ["A", "B", "C"];
const facts = JSON.parse($("facts").textContent);
const words = $("words");

let sides = [];
let current = 0;
let looking = new AbortController();
let lookTimer;
let pinnedSent = null; // what was sent for one answer, while it is shown instead of the next prompt

// ------------------------------------------------------------------ sides

class Side {
  entries = []; // { turn, question, answer, sent, control }

  constructor(setup) {
    this.setup = setup;
    this.turns = make("div", { class: "turns" });
    this.thread = make("div", { class: "thread", tabindex: "-1" }, this.turns);
    this.head = make("header", {});
    this.element = make("section", { class: "side" }, this.head, this.thread);
    this.element.addEventListener("click", (event) => {
      choose(sides.indexOf(this));
      const button = event.target.closest("[data-do]");
      if (button) this.#do(button);
    });
    this.turns.addEventListener("keydown", (event) => {
      if (!event.target.matches(".editor textarea") || event.isComposing) return;
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        this.#save(this.#entry(event.target));
      } else if (event.key === "Escape") {
        event.stopPropagation();
        const { turn } = this.#entry(event.target);
        turn.ask(turn.words);
        words.focus();
      }
    });
    new ResizeObserver(() => (this.thread.scrollTop = this.thread.scrollHeight)).observe(this.turns);
  }

  get writing() {
    return this.entries.some(({ turn }) => turn.open);
  }

  past(before = this.entries.length) {
    return this.entries
      .slice(0, before)
      .filter(({ answer }) => answer)
      .map(({ question, answer }) => ({ user: question, assistant: answer }));
  }

  /** Ask, in a new place or again in that of an entry; what came after it goes. */
  async ask(question, entry) {
    if (entry) {
      for (const gone of this.entries.splice(this.entries.indexOf(entry) + 1)) {
        gone.control?.abort();
        gone.turn.element.remove();
      }
    } else {
      entry = { turn: new Turn(newId()) };
      this.entries.push(entry);
      this.turns.append(entry.turn.element);
    }
    const { turn } = entry;
    const control = new AbortController();
    const run = { id: newId(), setup: structuredClone(this.setup), served: "" };
    Object.assign(entry, { question, answer: "", sent: null, control, run });
    turn.ask(question);
    turn.begin();
    refresh();
    const body = { setup: this.setup, past: this.past(this.entries.indexOf(entry)), question };
    try {
      for await (const frame of lines("/studio/playground/try", body, control.signal)) {
        if (entry.control !== control) return;
        if (frame.kind === "text") turn.write(frame);
        else if (frame.kind === "failed") turn.fail(frame.words, "Not answered.");
        else this.#finish(entry, frame);
      }
      if (turn.open && entry.control === control) {
        if (control.signal.aborted) this.#stopped(entry);
        else turn.fail("The connection was lost.", "Not answered.");
      }
    } catch (error) {
      turn.fail(error.message);
    }
    refresh();
  }

  #finish(entry, frame) {
    const { turn } = entry;
    Object.assign(entry, { answer: frame.answer, sent: frame.sent });
    entry.run.served = frame.served;
    turn.finish(frame);
    turn.tools.append(tool("again", "Ask again"));
    if (frame.sent) turn.tools.append(tool("eye", "Show what was sent"));
    turn.tools.append(make("span", { class: "cost", title: frame.cost }, frame.cost));
    $("spoken").textContent = turn.body.innerText;
  }

  #stopped(entry) {
    const { turn } = entry;
    const text = turn.html ? turn.body.innerText.trim() : "";
    entry.answer = text;
    turn.finish({ post: "", html: `${turn.html}<p><em>Stopped.</em></p>`, text });
    turn.tools.append(tool("again", "Ask again"));
  }

  stop() {
    for (const { turn, control } of this.entries) if (turn.open) control.abort();
  }

  #entry(element) {
    const id = element.closest("article").dataset.event;
    return this.entries.find(({ turn }) => turn.event === id);
  }

  #save(entry) {
    const text = entry.turn.question.querySelector("textarea").value;
    if (text.trim()) this.ask(text, entry);
    words.focus();
  }

  #do(button) {
    if (button.dataset.do === "close") return close(this);
    const entry = this.#entry(button);
    const { turn } = entry;
    const code = button.closest(".code");
    ({
      copy: () => copy(button, code ? code.querySelector("pre").textContent : turn.text),
      again: () => this.ask(entry.question, entry),
      edit: () => turn.edit(),
      cancel: () => turn.ask(turn.words),
      save: () => this.#save(entry),
      eye: () => {
        pinnedSent = entry.sent;
        openTab("sent");
        showPanel(true);
      },
    })[button.dataset.do]?.();
  }
}

function choose(place) {
  if (place < 0 || place === current) return;
  current = place;
  pinnedSent = null;
  panel.show(sides[current].setup);
  refresh();
  look();
}

function close(side) {
  side.stop();
  side.element.remove();
  sides = sides.filter((one) => one !== side);
  current = Math.min(current, sides.length - 1);
  panel.show(sides[current].setup);
  keep();
  look();
}

function add(setup) {
  const side = new Side(setup);
  sides.push(side);
  $("sides").append(side.element);
  return side;
}

// ------------------------------------------------------------------ what is sent

/** Have the server compose the next prompt, a moment after the last change. */
function look() {
  clearTimeout(lookTimer);
  lookTimer = setTimeout(async () => {
    looking.abort();
    const { signal } = (looking = new AbortController());
    const side = sides[current];
    try {
      const seen = await ask("/studio/playground/look", { setup: side.setup, past: side.past(), question: words.value }, signal);
      const system = seen.messages?.find(({ role }) => role === "system");
      panel.weigh(system?.tokens, seen.examples);
      $("weight").textContent = seen.words ?? `The next message sends about ${tokens(seen.tokens)}`;
      if (!pinnedSent) showSent(seen, "What the next message sends");
      if (pinnedSent) showSent(pinnedSent, "What was sent for this answer");
    } catch (error) {
      if (error.name !== "AbortError") $("weight").textContent = error.message;
    }
  }, 250);
}

function showSent(seen, title) {
  if (!seen.messages) return $("sent").replaceChildren(make("p", { class: "note" }, seen.words));
  const back = make("button", { type: "button", class: "plain" }, icon("again"), "Show the next message instead");
  back.addEventListener("click", () => {
    pinnedSent = null;
    look();
  });
  $("sent").replaceChildren(...sentView(seen, title), ...(pinnedSent ? [back] : []));
}

function openTab(name) {
  for (const each of ["setup", "sent"]) {
    $(each).hidden = each !== name;
    $(`tab-${each}`).setAttribute("aria-selected", String(each === name));
    $(`tab-${each}`).tabIndex = each === name ? 0 : -1;
  }
  look();
}

for (const name of ["setup", "sent"]) {
  $(`tab-${name}`).addEventListener("click", () => {
    pinnedSent = null;
    openTab(name);
  });
  $(`tab-${name}`).addEventListener("keydown", (event) => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    const other = name === "setup" ? "sent" : "setup";
    openTab(other);
    $(`tab-${other}`).focus();
  });
}

// ------------------------------------------------------------------ what the person does

const writing = () => sides.some((side) => side.writing);

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = words.value;
  if (!text.trim()) return stop();
  if (writing()) return;
  words.value = "";
  sides.forEach((side) => side.ask(text));
});
words.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (words.value.trim()) $("composer").requestSubmit();
});
words.addEventListener("input", () => {
  refresh();
  look();
});

const stop = () => sides.forEach((side) => side.stop());

addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  if (document.body.classList.contains("panel")) showPanel(false);
  else stop();
});

$("compare").addEventListener("click", () => {
  const side = add(structuredClone(sides[current].setup));
  choose(sides.indexOf(side));
  keep();
  $("template").focus();
});

$("clear").addEventListener("click", () => {
  stop();
  for (const side of sides) {
    side.entries = [];
    side.turns.replaceChildren();
  }
  pinnedSent = null;
  words.focus();
  refresh();
  look();
});

function showPanel(shown) {
  document.body.classList.toggle("panel", shown);
  if (shown) $("hide-panel").focus();
}
$("show-panel").addEventListener("click", () => showPanel(true));
$("hide-panel").addEventListener("click", () => {
  showPanel(false);
  $("show-panel").focus();
});

// ------------------------------------------------------------------ code, and a link to share

let code = {};

$("view-code").addEventListener("click", async () => {
  const side = sides[current];
  const asked = words.value || side.entries.at(-1)?.question || "";
  try {
    code = await ask("/studio/playground/code", { setup: side.setup, past: side.past(words.value ? undefined : -1), question: asked });
    showCode("python");
    $("code").showModal();
  } catch (error) {
    banner(error.message);
  }
});

function showCode(language) {
  for (const button of $("code").querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
  $("code-body").replaceChildren(dress(code[language]));
}
$("code").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (event.target === $("code") || button?.hasAttribute("data-close")) $("code").close();
  else if (button?.dataset.language) showCode(button.dataset.language);
  else if (button?.dataset.do === "copy") copy(button, button.closest(".code").querySelector("pre").textContent);
});

async function squeeze(bytes, stream) {
  const through = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(through).arrayBuffer());
}

$("share").addEventListener("click", async () => {
  const bytes = await squeeze(new TextEncoder().encode(JSON.stringify(sides.map(({ setup }) => setup))), new CompressionStream("deflate-raw"));
  const packed = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  const link = `${location.origin}${location.pathname}#s=${packed}`;
  history.replaceState(null, "", link);
  copy($("share"), link);
});

async function shared() {
  const packed = /^#s=([\w-]+)$/.exec(location.hash)?.[1];
  if (!packed) return null;
  try {
    const text = atob(packed.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = await squeeze(Uint8Array.from(text, (one) => one.charCodeAt(0)), new DecompressionStream("deflate-raw"));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    banner("That link is damaged: it holds no set-up.");
    return null;
  }
}

// ------------------------------------------------------------------ keeping the page true

function banner(text, ...more) {
  $("banner").replaceChildren(text, " ", ...more);
  $("banner").hidden = false;
  setTimeout(() => ($("banner").hidden = true), 8000);
}

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(sides.map(({ setup }) => setup)));
  } catch {
    // A full or forbidden store: the page works on.
  }
  // What a link led to is changed now: a reload shows what is kept here.
  if (location.search || location.hash) history.replaceState(null, "", location.pathname);
  refresh();
}

function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "null");
  } catch {
    return null;
  }
}

/** Only what the page can show: a set-up of an old page, or of a template that is gone, is left out. */
const usable = (found) =>
  Array.isArray(found)
    ? found.slice(0, LETTERS.length).flatMap((one) => {
        const template = facts.templates.find(({ name }) => name === one?.template);
        return template ? [{ ...structuredClone(template.setup), ...one }] : [];
      })
    : [];

function refresh() {
  const empty = !words.value.trim();
  const stops = empty && writing();
  const action = stops ? "Stop" : "Send";
  if ($("send").getAttribute("aria-label") !== action) {
    $("send").setAttribute("aria-label", action);
    $("send").replaceChildren(icon(action.toLowerCase()));
  }
  $("send").disabled = !stops && (empty || writing());
  words.style.height = "auto";
  words.style.height = `${words.scrollHeight}px`;
  const many = sides.length > 1;
  sides.forEach((side, place) => {
    const label = `${LETTERS[place]} · ${side.setup.template}${side.setup.deployment ? ` · ${side.setup.deployment}` : ""}`;
    side.element.setAttribute("aria-label", many ? `Set-up ${LETTERS[place]}` : "Messages");
    side.element.classList.toggle("current", many && place === current);
    side.head.hidden = !many;
    side.head.replaceChildren(make("b", {}, label), tool("close", `Close set-up ${LETTERS[place]}`));
    side.thread.dataset.empty = String(side.entries.length === 0);
  });
  $("letters").hidden = !many;
  $("letters").replaceChildren(
    ...sides.map((_, place) => {
      const button = make("button", { type: "button", "aria-pressed": String(place === current) }, LETTERS[place]);
      button.addEventListener("click", () => choose(place));
      return button;
    }),
  );
  ballot.show(sides.map(({ entries }) => (entries.at(-1)?.answer ? entries.at(-1).run : null)));
  $("compare").disabled = sides.length === LETTERS.length;
}

const ballot = new Ballot($("sides"), banner);

const panel = new Panel(facts, () => {
  keep();
  look();
});

keeping(
  () => sides[current].setup,
  (setup) => {
    Object.assign(sides[current].setup, setup);
    panel.show(sides[current].setup);
    keep();
    look();
  },
  banner,
);

/** Show these set-ups in place of those on the page; false where none of them can be shown. */
function replaceAll(found) {
  const setups = usable(found);
  if (!setups.length) return false;
  for (const side of sides) {
    side.stop();
    side.element.remove();
  }
  sides = [];
  current = 0;
  setups.forEach(add);
  panel.show(sides[0].setup);
  keep();
  look();
  return true;
}

pools(
  () => sides[current].setup,
  () => words.value || sides[current].entries.at(-1)?.question || "",
  () => {
    panel.show(sides[current].setup);
    keep();
    look();
  },
);

const saves = new Saved(() => sides.map(({ setup }) => setup), replaceAll, banner);

async function start() {
  const asked = new URLSearchParams(location.search);
  const wished = facts.templates.find(({ name }) => name === asked.get("template"));
  let setups = usable(await shared());
  if (!setups.length && wished) setups = [structuredClone(wished.setup)];
  if (!setups.length) setups = usable(kept());
  if (!setups.length) setups = [structuredClone((facts.templates.find(({ name }) => name === facts.first) ?? facts.templates[0]).setup)];
  setups.forEach(add);
  panel.show(sides[0].setup);
  refresh();
  look();
  if (asked.has("saved")) await saves.open(asked.get("saved"));
  document.body.dataset.ready = "true";
}

start();
