// Which of the answers side by side is better: one vote for each comparison, which can be changed.

import { ask, newId, wordsOf } from "./api.js";
import { make } from "./dom.js";

/** @import { Run } from "./types.js" */

const CHOICES = { a: "A", b: "B", c: "C", tie: "Tie", none: "Both are bad" };
const QUESTION = "Which answer is better?";

/** @param {(Run | null)[]} runs */
const ids = (runs) => runs.map((run) => run?.id).join();

export class Votes {
  /** @type {(Run | null)[]} */
  #runs = []; // what is compared
  #comparison = "";
  #choice = "";
  #words = make("span", {}, QUESTION);
  #buttons = make("div", { class: "segments", role: "group", "aria-label": QUESTION });
  element = make("div", { id: "votes", class: "row" }, this.#words, this.#buttons);

  /** @param {(words: string) => void} notify */
  constructor(notify) {
    this.notify = notify;
  }

  /** The newest answers, one for each side; null where there is none yet. @param {(Run | null)[]} runs */
  show(runs) {
    this.element.hidden = runs.length < 2;
    if (ids(runs) !== ids(this.#runs)) {
      this.#comparison = newId();
      this.#choice = "";
      this.#words.textContent = QUESTION;
    }
    this.#runs = runs;
    const held = [...this.#buttons.children].findIndex((button) => button === document.activeElement);
    const choices = Object.entries(CHOICES).filter(([choice]) => choice.length > 1 || "abc".indexOf(choice) < runs.length);
    const disabled = !runs.every(Boolean);
    const buttons = choices.map(([choice, name]) => {
      const label = choice === "none" && runs.length > 2 ? "All are bad" : name;
      return make("button", { type: "button", "aria-pressed": String(choice === this.#choice), disabled, onclick: () => this.#vote(choice) }, label);
    });
    this.#buttons.replaceChildren(...buttons);
    buttons[held]?.focus();
  }

  /** @param {string} choice */
  async #vote(choice) {
    const sides = this.#runs.map((run) => ({ setup: run?.setup, served: run?.served }));
    try {
      await ask("/studio/playground/vote", { comparison: this.#comparison, choice, sides });
      this.#choice = choice;
      this.#words.textContent = "Saved. See Feedback.";
      this.show(this.#runs);
    } catch (error) {
      this.notify(wordsOf(error));
    }
  }
}
