// The chat: which conversation is shown, what the person does, and what comes back.

import { conversations, forget, forgetAll, inherited, recall, remember } from "./local_history.js";
import { $, closest, composer, make, stickToEnd, tool } from "./dom.js";
import { keepDraft } from "./fields.js";
import { RequestError, followConversation, history as load, newId, post, wordsOf } from "./api.js";
import { rememberLink, showSharing } from "./share.js";
import { Turn } from "./turn_view.js";
import { fold, narrow } from "./nav.js";

/** @import { ChatFrame } from "./types.js" */

const thread = $("thread");
const turnsElement = $("turns");
const words = $("words");
const draft = keepDraft(words, () => conversation || "new");
const toEnd = stickToEnd(thread, turnsElement, (pinned) => ($("latest").hidden = pinned));
const PENDING_MS = 10 * 60 * 1000; // as long as the server keeps what it was writing

let conversation = ""; // empty until the first message of a new chat
/** @type {Map<string, Turn>} */
let turns = new Map(); // by event
/** @type {Map<string, number>} */
let ended = new Map(); // Unix ms at which the turn in the history ended, by event
let unfollow = () => {};
/** @type {Set<string>} */
const typed = new Set(); // events of this page: what they ask to confirm is asked here, and in no other window

// ------------------------------------------------------------------ conversations

/** @param {string} id */
async function show(id) {
  unfollow();
  conversation = id;
  draft.show();
  turns = new Map();
  ended = new Map();
  turnsElement.replaceChildren();
  $("banner").hidden = true;
  toEnd();
  refresh();
  if (!id) return;
  thread.ariaBusy = "true";
  try {
    const { turns: past, link } = await load(id);
    if (conversation !== id) return;
    rememberLink(id, link);
    for (const { asked, closed, good } of past) {
      ended.set(closed.event, closed.at);
      const turn = turnOf(asked.event);
      turn.ask(asked.text);
      turn.finish(closed, good);
    }
  } catch (error) {
    if (conversation !== id) return;
    if (error instanceof RequestError && error.status === 404) {
      forget(id);
      startNew();
      return banner(error.message);
    }
    banner(`${wordsOf(error)} Trying again…`);
    setTimeout(() => conversation === id && show(id), 3000);
    return;
  } finally {
    thread.ariaBusy = null;
  }
  const [first] = turns.values();
  if (first && !recall(id)) remember(id, (one) => (one.title = titleOf(first.words)));
  restorePending(id);
  refresh();
  follow(id);
}

/** What was typed here and is in no turn yet: still on its way, or never sent. @param {string} id */
function restorePending(id) {
  for (const [event, { text, at, sent }] of Object.entries(recall(id)?.pending ?? {})) {
    if (turns.has(event) || (sent && Date.now() - at > PENDING_MS)) {
      remember(id, (one) => delete one.pending[event]);
      continue;
    }
    const turn = turnOf(event);
    turn.ask(text);
    if (sent) turn.begin();
    else turn.fail("The page was closed first.");
  }
}

/** @param {string} id */
function follow(id) {
  unfollow = followConversation(id, take, (connected) => {
    if (connected) $("banner").hidden = true;
    else banner("Connection lost. Trying again…");
  });
}

/** @param {string} text */
const titleOf = (text) => text.trim().replace(/\n.*/s, "").slice(0, 120);

/** The turn of an event, a new one at the end if there is none. @param {string} event */
function turnOf(event) {
  const there = turns.get(event);
  if (there) return there;
  /** @type {Turn} */
  const turn = new Turn(
    event,
    {
      like: () => rate(turn, true),
      dislike: () => rate(turn, false),
      again: () => {
        words.focus();
        if (turn.post) regenerate(turn, turn.words);
        else say(turn.words, event);
      },
      vary: () => {
        words.focus();
        if (!writing()) say(`/variations ${turn.post}`);
      },
      enlarge: (button) => enlarge(button.querySelector("img")),
    },
    (text) => (!text.trim() || text === turn.words ? turn.ask(turn.words) : regenerate(turn, text)),
  );
  turns.set(event, turn);
  turnsElement.append(turn.element);
  return turn;
}

/**
 * A frame of the stream; one that is older than what the history showed changes nothing.
 * @param {ChatFrame} frame
 */
function take(frame) {
  if (frame.at <= (ended.get(frame.event) ?? 0)) return;
  const turn = turnOf(frame.event);
  if (frame.kind === "said") {
    turn.ask(frame.text);
    if (!turn.post && !turn.open) turn.begin();
  } else if (frame.kind === "open") {
    turn.begin(frame.post);
  } else if (frame.kind === "text") {
    turn.write(frame);
  } else if (frame.kind === "sketch") {
    turn.showPartialImage(frame);
  } else if (frame.kind === "done") {
    turn.finish(frame);
    if (frame.failed) explain(turn);
    if (recall(conversation)) remember(conversation, (one) => delete one.pending[frame.event]);
    $("spoken").textContent = turn.body.innerText;
    if (frame.forgotten) forgotten(frame.event);
    if (frame.confirm && typed.has(frame.event)) confirmFirst(turn, frame.confirm, frame.confirm_label);
  }
  refresh();
}

/** Show operators the cause of a failure, which the stream does not carry. @param {Turn} turn */
async function explain(turn) {
  const past = await load(conversation).catch(() => null);
  const found = past?.turns.find(({ asked }) => asked.event === turn.event);
  if (found?.closed.cause && turns.get(turn.event) === turn && !turn.open) turn.finish(found.closed, found.good);
}

// ------------------------------------------------------------------ what the person does

/** @param {string} text */
function say(text, event = newId()) {
  if (!text.trim()) return;
  if (!conversation) {
    if (!words.value) draft.keep();
    conversation = newId();
    history.pushState(null, "", `#${conversation}`);
    follow(conversation);
  }
  const id = conversation;
  const turn = turnOf(event);
  typed.add(event);
  turnsElement.append(turn.element);
  turn.ask(text);
  turn.begin();
  remember(id, (one) => {
    one.at = Date.now();
    one.title ||= titleOf(text);
    one.pending[event] = { text, at: one.at, sent: false };
  });
  refresh();
  toEnd();
  const { timeZone, locale } = Intl.DateTimeFormat().resolvedOptions();
  post(id, "messages", { id: event, text, zone: timeZone ?? "", locale })
    .then(() => remember(id, ({ pending: { [event]: pending } }) => pending && (pending.sent = true)))
    .catch((error) => {
      turn.fail(wordsOf(error));
      refresh();
    });
}

/**
 * Ask before what can't be undone; whoever closes this has changed nothing.
 * @param {Turn} turn @param {string} command what is said to confirm it @param {string} label its button
 */
function confirmFirst(turn, command, label = "Delete") {
  const box = $("confirm");
  $("confirm-title").textContent = label === "Delete" ? "Delete all your data?" : `${label}?`;
  $("confirm-label").textContent = label;
  $("confirm-words").replaceChildren(...turn.body.cloneNode(true).childNodes);
  const closed = () => {
    if (box.returnValue === "delete") say(command);
    words.focus();
  };
  box.returnValue = "";
  box.addEventListener("close", closed, { once: true });
  box.showModal();
  $("keep").focus();
}

/** Everything about this person was deleted: this page does not go on showing it. @param {string} event */
function forgotten(event) {
  forgetAll();
  for (const [id, turn] of turns) {
    if (id === event) continue;
    turn.element.remove();
    turns.delete(id);
  }
}

function stop() {
  if (writing()) post(conversation, "stop", { id: newId() }).catch((error) => banner(wordsOf(error)));
}

/** @param {Turn} turn @param {boolean} good */
function rate(turn, good) {
  const before = turn.good;
  turn.rate(good);
  post(conversation, "rating", { id: newId(), post: turn.post, good }).catch((error) => {
    turn.rate(before);
    banner(wordsOf(error));
  });
}

/** Have a question answered again, in its place. @param {Turn} turn @param {string} text */
function regenerate(turn, text) {
  const id = conversation;
  turn.ask(text);
  turn.begin(turn.post);
  refresh();
  words.focus();
  post(id, "edit", { id: newId(), target: turn.event, text }).catch(async (error) => {
    await show(id);
    turns.get(turn.event)?.edit(text);
    banner(wordsOf(error));
  });
}

/** @param {HTMLImageElement | null} image */
function enlarge(image) {
  if (!image) return;
  const { src, alt } = image;
  $("large").replaceChildren(make("img", { src, alt }), make("figcaption", {}, alt));
  $("download").href = src;
  $("lightbox").showModal();
}

$("lightbox").addEventListener("click", (event) => closest(event, "img, a, figcaption") || $("lightbox").close());

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) stop();
});

$("welcome").addEventListener("click", (event) => {
  const prompt = closest(event, "[data-prompt]")?.dataset.prompt;
  if (!prompt) return;
  words.focus();
  say(prompt);
});

// ------------------------------------------------------------------ the list of conversations

function startNew() {
  if (location.hash) history.pushState(null, "", location.pathname);
  show("");
  fold();
  words.focus();
}

$("new").addEventListener("click", startNew);
$("new-small").addEventListener("click", startNew);

/** @param {string} id */
function open(id) {
  if (id !== conversation) {
    history.pushState(null, "", `#${id}`);
    show(id);
  }
  fold();
}

/** @param {string} id @param {string} [next] the conversation that gets the focus */
function remove(id, next) {
  forget(id);
  if (id === conversation) startNew();
  else refresh();
  if (next) shownButton(next)?.focus();
}

/** @param {string} id @returns {HTMLElement | null} */
const shownButton = (id) => $("conversations").querySelector(`[data-id="${id}"] button`);

let listed = "";

function listConversations() {
  const all = conversations();
  $("none").hidden = all.length > 0;
  const state = JSON.stringify([conversation, all.map(({ id, title }) => [id, title])]);
  if (state === listed) return; // the focus stays where it is
  listed = state;
  const items = all.map(({ id, title }, at) => {
    const current = id === conversation && "page";
    const button = make("button", { type: "button", title, dir: "auto", "aria-current": current, onclick: () => open(id) }, title || "Conversation");
    const bin = tool("bin", `Remove “${title}”`, { onclick: () => remove(id, all[at + 1]?.id) });
    return make("li", { "data-id": id }, button, bin);
  });
  $("conversations").replaceChildren(...items);
}

/** Of the list that an older version kept for all who used this browser, take what is this person's. */
async function adopt() {
  await Promise.all(
    inherited().map(async ({ id, title, at }) => {
      const theirs = await load(id).catch(() => null);
      if (theirs?.turns.length) remember(id, (one) => Object.assign(one, { title, at }));
    }),
  );
  listConversations();
}

// ------------------------------------------------------------------ keeping the page true

const writing = () => [...turns.values()].some((turn) => turn.open);

/** @param {string} text */
function banner(text) {
  $("banner").textContent = text;
  $("banner").hidden = false;
}

const refreshComposer = composer({ send: say, stop, writing, typed: () => refresh() });

function refresh() {
  refreshComposer();
  const title = recall(conversation)?.title || "New chat";
  $("welcome").hidden = Boolean(conversation);
  showSharing([...turns.values()].some((turn) => turn.post && !turn.open) ? conversation : "");
  $("title").textContent = title;
  document.title = `${title} · Parley studio`;
  listConversations();
}

$("latest").addEventListener("click", toEnd);

const showAddressed = () => show(/^#[0-9a-f]{32}$/.test(location.hash) ? location.hash.slice(1) : "");
addEventListener("popstate", showAddressed);
showAddressed();
adopt();
if (!narrow.matches) words.focus();
