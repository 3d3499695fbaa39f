// Fields that lose nothing: drafts are kept, and what is too long is said before it is cut.

import { $, make, store, stored } from "./dom.js";

const number = new Intl.NumberFormat("en");

/**
 * Keep what is typed in a field in this browser until it is sent. Returns a function that shows the draft of
 * another key, or of this one again.
 * @param {HTMLTextAreaElement | HTMLInputElement} field @param {() => string} key names what the draft belongs to
 */
export function keepDraft(field, key) {
  const name = () => `parley.draft.${document.body.dataset.person}.${key()}`;
  const keep = () => {
    if (field.value) store(name(), field.value);
    else localStorage.removeItem(name());
  };
  field.addEventListener("input", keep);
  return {
    keep,
    show: () => {
      const draft = stored(name());
      field.value = typeof draft === "string" ? draft : "";
    },
  };
}

/**
 * What is too much in a text, as a sentence; empty if it fits. Nothing is cut.
 * @param {HTMLTextAreaElement} field
 */
export function excess(field) {
  const most = Number(field.dataset.limit ?? Infinity);
  const over = field.value.length - most;
  if (over <= 0) return "";
  const end = field.value.slice(most).trim().slice(0, 40);
  return `This text has ${number.format(field.value.length)} characters; the maximum is ${number.format(most)}. Nothing was cut. Shorten it by ${number.format(over)}: what doesn’t fit begins with “${end}…”.`;
}

/** Say below the message box that its text is too long; returns whether it is. */
export function tellExcess() {
  const words = excess($("words"));
  let box = document.getElementById("too-long");
  if (!box && words) $("composer").after((box = make("p", { id: "too-long", class: "alert", role: "alert" })));
  if (box) {
    box.textContent = words;
    box.hidden = !words;
  }
  return Boolean(words);
}

/** A browser cuts what is pasted into a short field without a word: leave the field as it is, and say so. */
document.addEventListener("paste", (event) => {
  const field = event.target;
  if (!(field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement) || field.maxLength <= 0) return;
  const pasted = event.clipboardData?.getData("text").length ?? 0;
  const length = field.value.length - ((field.selectionEnd ?? 0) - (field.selectionStart ?? 0)) + pasted;
  if (length <= field.maxLength) return;
  event.preventDefault();
  field.setCustomValidity(`That is ${number.format(length)} characters; at most ${number.format(field.maxLength)} fit here. Nothing was pasted: shorten it first.`);
  field.reportValidity();
  field.addEventListener("input", () => field.setCustomValidity(""), { once: true });
  setTimeout(() => field.setCustomValidity(""), 6000);
});
