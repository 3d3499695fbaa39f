// What this browser remembers of the person: which conversations there are, and which messages have no answer yet.

import { store, stored } from "./dom.js";

/** @import { Remembered } from "./types.js" */

const KEY = `parley.conversations.${document.body.dataset.person}`;
const SHARED = "parley.conversations"; // an older version had one list for all who used this browser
const MOST = 100;

/** @param {string} key @returns {Remembered[]} */
function read(key) {
  const kept = stored(key);
  return Array.isArray(kept) ? kept : [];
}

/** @param {Remembered[]} all */
const write = (all) => store(KEY, all);

/** All of them, the newest first. */
export const conversations = () => read(KEY);

/** What an older version listed here, the first time that this person comes; some of it may be theirs. */
export function inherited() {
  if (localStorage.getItem(KEY) !== null) return [];
  write([]);
  return read(SHARED);
}

/** @param {string} id */
export const recall = (id) => conversations().find((each) => each.id === id);

/**
 * Change what is remembered of a conversation; one that isn't known yet is put on top.
 * @param {string} id @param {(one: Remembered) => void} change
 */
export function remember(id, change) {
  const all = conversations();
  let one = all.find((each) => each.id === id);
  if (!one) all.unshift((one = { id, title: "", at: Date.now(), pending: {} }));
  change(one);
  all.sort((a, b) => b.at - a.at);
  write(all.slice(0, MOST));
}

export const forgetAll = () => write([]);

/** @param {string} id */
export const forget = (id) => write(conversations().filter((each) => each.id !== id));
