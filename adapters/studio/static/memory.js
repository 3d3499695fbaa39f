// What this browser remembers: which conversations there are, and what was typed but not answered yet.

const KEY = "parley.conversations";
const MOST = 100;

/** { id, title, at, pending: {event: {text, at, sent}} } each, the newest first. */
export function conversations() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
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

export const forget = (id) => keep(conversations().filter((each) => each.id !== id));

function keep(all) {
  try {
    localStorage.setItem(KEY, JSON.stringify(all));
  } catch {
    // A full or forbidden store: the page works on, and the list lasts as long as the page.
  }
}
