// Which of the answers side by side is better: one vote for each comparison, which can be changed.

import { make } from "./turn_view.js";
import { ask, newId } from "./api.js";

const CHOICES = { a: "A", b: "B", c: "C", tie: "As good", none: "None is good" };

export class Ballot {
  #runs = []; // the answers that are compared
  #comparison = "";
  #choice = "";

  /** `say(words)` tells the person something. */
  constructor(below, say) {
    this.say = say;
    this.words = make("span", {}, "Which answer is better?");
    this.buttons = make("div", { class: "segments", role: "group", "aria-label": "Which answer is better?" });
    this.element = make("div", { id: "ballot", class: "row" }, this.words, this.buttons);
    this.buttons.addEventListener("click", (event) => {
      const choice = event.target.closest("button")?.dataset.choice;
      if (choice) this.#vote(choice);
    });
    below.after(this.element);
  }

  /** `runs` are the newest answers, one for each side: { id, setup, served } once it is there, else nothing. */
  show(runs) {
    this.element.hidden = runs.length < 2;
    const key = (some) => some.map((run) => run?.id ?? "").join();
    if (key(runs) !== key(this.#runs)) {
      this.#comparison = newId();
      this.#choice = "";
      this.words.textContent = "Which answer is better?";
    }
    this.#runs = runs;
    const whole = runs.every(Boolean);
    const choices = Object.entries(CHOICES).filter(([choice]) => choice.length > 1 || "abc".indexOf(choice) < runs.length);
    const held = document.activeElement?.dataset.choice;
    this.buttons.replaceChildren(
      ...choices.map(([choice, name]) => {
        const button = make("button", { type: "button", "data-choice": choice, "aria-pressed": String(choice === this.#choice) }, name);
        button.disabled = !whole;
        return button;
      }),
    );
    if (held) this.buttons.querySelector(`[data-choice=${held}]`)?.focus();
  }

  async #vote(choice) {
    const sides = this.#runs.map(({ setup, served }) => ({ setup, served }));
    try {
      await ask("/studio/playground/vote", { comparison: this.#comparison, choice, sides });
      this.#choice = choice;
      this.words.textContent = "Counted under Feedback.";
      this.show(this.#runs);
    } catch (error) {
      this.say(error.message);
    }
  }
}
