// The page: which conversation is shown, what the person does, and what comes back.

import { conversations, forget, forgetAll, inherited, recall, remember } from "./local_history.js";
import { fold } from "./nav.js";
import { Turn, copy, icon, make } from "./turn_view.js";
import { Stream, history as kept, newId, post } from "./api.js";

const $ = (id) => document.getElementById(id);
const [thread, turnsElement, words, send] = ["thread", "turns", "words", "send"].map($);
const MOST_PATIENCE_MS = 10 * 60 * 1000; // as long as the server keeps what it was writing
const narrow = matchMedia("(max-width: 760px)");

let conversation = ""; // empty until the first message of a new chat
let turns = new Map(); // event -> Turn
let ended = new Map(); // event -> Unix ms at which the turn in the history ended
let stream;
let pinned = true; // the newest line stays in view
const typed = new Set(); // events of this page: what they ask to confirm is asked here, and in no other window

// ------------------------------------------------------------------ conversations

async function show(id) {
  stream?.close();
  conversation = id;
  turns = new Map();
  ended = new Map();
  turnsElement.replaceChildren();
  $("banner").hidden = true;
  pinned = true;
  refresh();
  if (!id) return;
  thread.setAttribute("aria-busy", "true");
  try {
    for (const { asked, closed, good } of await kept(id)) {
      if (conversation !== id) return;
      ended.set(closed.event, closed.at);
      const turn = slot(asked.event);
      turn.ask(asked.text);
      turn.finish(closed, good);
    }
  } catch (error) {
    if (conversation !== id) return;
    if (error.status === 404) {
      forget(id);
      fresh();
      return banner(error.message);
    }
    banner(`${error.message} Trying again…`);
    setTimeout(() => conversation === id && show(id), 3000);
    return;
  } finally {
    thread.removeAttribute("aria-busy");
  }
  const first = turns.values().next().value;
  if (first && !recall(id)) remember(id, (one) => (one.title = titleOf(first.words)));
  bringBack(id);
  refresh();
  follow(id);
}

/** What was typed here and is in no turn yet: still on its way, or never sent. */
function bringBack(id) {
  for (const [event, { text, at, sent }] of Object.entries(recall(id)?.pending ?? {})) {
    if (turns.has(event) || (sent && Date.now() - at > MOST_PATIENCE_MS)) {
      remember(id, (one) => delete one.pending[event]);
      continue;
    }
    const turn = slot(event);
    turn.ask(text);
    if (sent) turn.begin();
    else turn.fail("The page was closed before it got away.");
  }
}

function follow(id) {
  stream = new Stream(id, take, (stands) => {
    if (stands) $("banner").hidden = true;
    else banner("The connection is lost. Trying again…");
  });
}

const titleOf = (text) => text.trim().split("\n")[0].slice(0, 120);

function slot(event) {
  let turn = turns.get(event);
  if (!turn) {
    turn = new Turn(event);
    turns.set(event, turn);
    turnsElement.append(turn.element);
  }
  return turn;
}

/** A frame of the feed; one that is older than what the history showed changes nothing. */
function take(frame) {
  if (frame.at <= (ended.get(frame.event) ?? 0)) return;
  const turn = slot(frame.event);
  if (frame.kind === "said") {
    turn.ask(frame.text);
    if (!turn.post && !turn.open) turn.begin();
  } else if (frame.kind === "open") {
    turn.begin(frame.post);
  } else if (frame.kind === "text") {
    turn.write(frame);
  } else if (frame.kind === "sketch") {
    turn.sketch(frame);
  } else if (frame.kind === "done") {
    turn.finish(frame);
    if (recall(conversation)) remember(conversation, (one) => delete one.pending[frame.event]);
    $("spoken").textContent = turn.body.innerText;
    if (frame.forgotten) forgotten(frame.event);
    if (frame.confirm && typed.has(frame.event)) askAgain(turn, frame.confirm);
  }
  refresh();
}

// ------------------------------------------------------------------ what the person does

function say(text, event = newId()) {
  if (!text.trim()) return;
  if (!conversation) {
    conversation = newId();
    history.pushState(null, "", `#${conversation}`);
    follow(conversation);
  }
  const id = conversation;
  const turn = slot(event);
  typed.add(event);
  turnsElement.append(turn.element);
  turn.ask(text);
  turn.begin();
  remember(id, (one) => {
    one.at = Date.now();
    one.title ||= titleOf(text);
    one.pending[event] = { text, at: one.at, sent: false };
  });
  pinned = true;
  refresh();
  post(id, "messages", { id: event, text })
    .then(() => remember(id, (one) => one.pending[event] && (one.pending[event].sent = true)))
    .catch((error) => {
      turn.fail(error.message);
      refresh();
    });
}

/** Ask before what can't be undone; whoever closes this has changed nothing. */
function askAgain(turn, confirm) {
  const box = $("confirm");
  $("confirm-words").replaceChildren(...turn.body.cloneNode(true).childNodes);
  $("delete").onclick = () => {
    box.close();
    say(confirm);
  };
  box.showModal();
  $("keep").focus();
}

$("keep").addEventListener("click", () => $("confirm").close());
$("confirm").addEventListener("close", () => words.focus());

/** Nothing is kept of this person any more: this page does not go on showing it. */
function forgotten(event) {
  forgetAll();
  for (const [id, turn] of turns) {
    if (id === event) continue;
    turn.element.remove();
    turns.delete(id);
  }
}

function stop() {
  if (!writing()) return;
  post(conversation, "stop", { id: newId() }).catch((error) => banner(error.message));
}

function rate(turn, good) {
  const pressed = turn.tools.querySelector("[aria-pressed=true]")?.dataset.do;
  turn.rate(good);
  post(conversation, "rating", { id: newId(), post: turn.post, good }).catch((error) => {
    turn.rate(pressed ? pressed === "like" : null);
    banner(error.message);
  });
}

function edit(turn) {
  const text = turn.question.querySelector("textarea").value;
  if (!text.trim() || text === turn.words) return turn.ask(turn.words);
  redo(turn, text);
}

/** Have a question answered anew, in its place. */
function redo(turn, text) {
  const id = conversation;
  turn.ask(text);
  turn.begin(turn.post);
  refresh();
  words.focus();
  post(id, "edit", { id: newId(), target: turn.event, text }).catch(async (error) => {
    await show(id);
    turns.get(turn.event)?.edit(text);
    banner(error.message);
  });
}

function enlarge(image) {
  const box = $("lightbox");
  Object.assign(box.querySelector("img"), { src: image.src, alt: image.alt });
  box.querySelector("figcaption").textContent = image.alt;
  box.querySelector("a").href = image.src;
  box.showModal();
}

turnsElement.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (!button) return;
  const turn = turns.get(button.closest("article").dataset.event);
  const code = button.closest(".code");
  const actions = {
    copy: () => copy(button, code ? code.querySelector("pre").textContent : turn.text),
    like: () => rate(turn, true),
    dislike: () => rate(turn, false),
    again: () => {
      words.focus();
      if (turn.post) redo(turn, turn.words);
      else say(turn.words, turn.event);
    },
    vary: () => {
      words.focus();
      if (!writing()) say(`/variations ${turn.post}`);
    },
    edit: () => turn.edit(),
    cancel: () => turn.ask(turn.words),
    save: () => edit(turn),
    enlarge: () => enlarge(button.querySelector("img")),
  };
  actions[button.dataset.do]();
});

$("lightbox").addEventListener("click", (event) => {
  if (!event.target.closest("img, a, figcaption")) $("lightbox").close();
});

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = words.value;
  if (!text.trim()) return stop();
  words.value = "";
  say(text);
});

words.addEventListener("input", refresh);
words.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (words.value.trim()) $("composer").requestSubmit();
  }
});

turnsElement.addEventListener("keydown", (event) => {
  const turn = event.target.matches("textarea") && turns.get(event.target.closest("article").dataset.event);
  if (!turn || event.isComposing) return;
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    edit(turn);
  } else if (event.key === "Escape") {
    event.stopPropagation();
    turn.ask(turn.words);
    words.focus();
  }
});

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) stop();
});

$("welcome").addEventListener("click", (event) => {
  const prompt = event.target.closest("[data-prompt]")?.dataset.prompt;
  if (!prompt) return;
  words.focus();
  say(prompt);
});

// ------------------------------------------------------------------ the list of conversations

function fresh() {
  if (location.hash) history.pushState(null, "", location.pathname);
  show("");
  fold();
  words.focus();
}

$("new").addEventListener("click", fresh);
$("new-small").addEventListener("click", fresh);
$("conversations").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const id = event.target.closest("li")?.dataset.id;
  if (!button || !id) return;
  if (button.dataset.do === "bin") {
    const next = event.target.closest("li").nextElementSibling;
    forget(id);
    if (id === conversation) fresh();
    else refresh();
    (next && $("conversations").querySelector(`[data-id="${next.dataset.id}"] button`))?.focus();
    return;
  }
  if (id !== conversation) {
    history.pushState(null, "", `#${id}`);
    show(id);
  }
  fold();
});

function listConversations() {
  const items = conversations().map(({ id, title }) => {
    const open = make("button", { type: "button", title }, title || "Conversation");
    if (id === conversation) open.setAttribute("aria-current", "page");
    const label = `Take “${title}” off this list`;
    const bin = make("button", { type: "button", class: "icon", "data-do": "bin", "aria-label": label, title: label }, icon("bin"));
    return make("li", { "data-id": id }, open, bin);
  });
  const list = make("ul", {}, ...items);
  const shown = $("conversations");
  if (shown.innerHTML !== list.innerHTML) shown.replaceChildren(...items);
  $("none").hidden = items.length > 0;
}

/** Of the list that an older version kept for all who used this browser, take what is this person's. */
async function adopt() {
  for (const { id, title, at } of inherited()) {
    const theirs = await kept(id).catch(() => []);
    if (theirs.length) remember(id, (one) => Object.assign(one, { title, at }));
  }
  listConversations();
}

// ------------------------------------------------------------------ keeping the page true

const writing = () => [...turns.values()].some((turn) => turn.open);

function banner(text) {
  $("banner").textContent = text;
  $("banner").hidden = false;
}

function refresh() {
  const empty = !words.value.trim();
  const stops = empty && writing();
  const action = stops ? "Stop" : "Send";
  if (send.getAttribute("aria-label") !== action) {
    send.setAttribute("aria-label", action);
    send.replaceChildren(icon(action.toLowerCase()));
  }
  send.disabled = empty && !stops;
  words.style.height = "auto";
  words.style.height = `${words.scrollHeight}px`;
  $("welcome").hidden = Boolean(conversation);
  $("title").textContent = recall(conversation)?.title || "New chat";
  document.title = `${$("title").textContent} · Parley studio`;
  listConversations();
  if (pinned) thread.scrollTop = thread.scrollHeight;
}

thread.addEventListener("scroll", () => {
  pinned = thread.scrollHeight - thread.scrollTop - thread.clientHeight < 60;
  $("latest").hidden = pinned;
});
new ResizeObserver(() => pinned && (thread.scrollTop = thread.scrollHeight)).observe(turnsElement);
$("latest").addEventListener("click", () => {
  pinned = true;
  thread.scrollTo({ top: thread.scrollHeight, behavior: "smooth" });
});

const place = () => show(/^#[0-9a-f]{32}$/.test(location.hash) ? location.hash.slice(1) : "");
addEventListener("popstate", place);
place();
adopt();
if (!narrow.matches) words.focus();
