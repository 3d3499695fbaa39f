// What this browser remembers of the person: which conversations there are, and what was typed but not answered yet.

const KEY = `parley.conversations.${document.body.dataset.person}`;
const SHARED = "parley.conversations"; // an older version had one list for all who used this browser
const MOST = 100;

function read(key) {
  try {
    const kept = JSON.parse(localStorage.getItem(key) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}

/** { id, title, at, pending: {event: {text, at, sent}} } each, the newest first. */
export const conversations = () => read(KEY);

/** What an older version listed here, the first time that this person comes; some of it may be theirs. */
export function inherited() {
  if (localStorage.getItem(KEY) !== null) return [];
  keep([]);
  return read(SHARED);
}

export const recall = (id) => conversations().find((each) => each.id === id);

/** Change what is remembered of a conversation; one that isn't known yet is put on top. */
export function remember(id, change) {
  const all = conversations();
  let one = all.find((each) => each.id === id);
  if (!one) all.unshift((one = { id, title: "", at: Date.now(), pending: {} }));
  change(one);
  all.sort((a, b) => b.at - a.at);
  keep(all.slice(0, MOST));
}

export const forgetAll = () => keep([]);

export const forget = (id) => keep(conversations().filter((each) => each.id !== id));

function keep(all) {
  try {
    localStorage.setItem(KEY, JSON.stringify(all));
  } catch {
    // A full or forbidden store: the page works on, and the list lasts as long as the page.
  }
}
