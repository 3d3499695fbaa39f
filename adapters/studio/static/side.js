// One side of the playground: a configuration, and the turns that were tried with it.

import { lines, newId, wordsOf } from "./api.js";
import { $, make, tool } from "./dom.js";
import { Turn } from "./turn_view.js";

/** @import { Config, Example, PromptReport, Run, TryFrame } from "./types.js" */

/** @typedef {{ turn: Turn, answer: string, control: AbortController, run: Run }} Entry */

export class Side {
  /** @type {Entry[]} */
  entries = [];
  turns = make("div", { class: "turns" });
  thread = make("div", { class: "thread", tabindex: -1 }, this.turns);
  head = make("header");
  element = make("section", { class: "side" }, this.head, this.thread);

  /** @param {Config} config @param {{ changed: () => void, inspect: (sent: PromptReport) => void }} page */
  constructor(config, page) {
    this.config = config;
    this.page = page;
    new ResizeObserver(() => (this.thread.scrollTop = this.thread.scrollHeight)).observe(this.turns);
  }

  get writing() {
    return this.entries.some(({ turn }) => turn.open);
  }

  /** The newest question and its answer, if it was answered. */
  get run() {
    const last = this.entries.at(-1);
    return last?.answer ? last.run : null;
  }

  /** What was said before an entry. @returns {Example[]} */
  past(before = this.entries.length) {
    const answered = this.entries.slice(0, before).filter(({ answer }) => answer);
    return answered.map(({ turn, answer }) => ({ user: turn.words, assistant: answer }));
  }

  /** Ask a question after the others. @param {string} question */
  ask(question) {
    /** @type {Turn} */
    const turn = new Turn(newId(), { again: () => this.#askAgain(turn, turn.words) }, (text) => {
      if (text.trim()) this.#askAgain(turn, text);
      $("words").focus();
    });
    this.turns.append(turn.element);
    return this.#run(turn, question);
  }

  /** Ask again, in the place of a turn; what came after it goes. @param {Turn} turn @param {string} question */
  #askAgain(turn, question) {
    const at = this.entries.findIndex((one) => one.turn === turn);
    for (const gone of this.entries.splice(at)) {
      gone.control.abort();
      if (gone.turn !== turn) gone.turn.element.remove();
    }
    return this.#run(turn, question);
  }

  /** @param {Turn} turn @param {string} question */
  async #run(turn, question) {
    const body = { setup: this.config, past: this.past(), question };
    /** @type {Entry} */
    const entry = { turn, answer: "", control: new AbortController(), run: { id: newId(), setup: structuredClone(this.config), served: "" } };
    this.entries.push(entry);
    turn.ask(question);
    turn.begin();
    this.page.changed();
    try {
      await this.#follow(entry, lines("/studio/playground/try", body, entry.control.signal));
    } catch (error) {
      if (this.entries.includes(entry)) turn.fail(wordsOf(error));
    }
    this.page.changed();
  }

  /** @param {Entry} entry @param {AsyncIterable<TryFrame>} frames */
  async #follow(entry, frames) {
    const { turn, control } = entry;
    for await (const frame of frames) {
      if (!this.entries.includes(entry)) return; // asked again meanwhile
      if (frame.kind === "text") turn.write(frame);
      else if (frame.kind === "failed") turn.fail(frame.words, "Not answered.");
      else this.#finish(entry, frame);
    }
    if (!turn.open || !this.entries.includes(entry)) return;
    if (control.signal.aborted) this.#stopped(entry);
    else turn.fail("Connection lost.", "Not answered.");
  }

  /** @param {Entry} entry @param {TryFrame & { kind: "done" }} frame */
  #finish(entry, frame) {
    const { turn } = entry;
    const { answer, sent, cost, served } = frame;
    entry.answer = answer;
    entry.run.served = served;
    turn.finish(frame);
    turn.tools.append(tool("again", "Regenerate"));
    if (sent) turn.tools.append(tool("eye", "View prompt", { onclick: () => this.page.inspect(sent) }));
    turn.tools.append(make("span", { class: "cost", title: cost }, cost));
    $("spoken").textContent = turn.body.innerText;
  }

  /** What came until the person stopped it stays. @param {Entry} entry */
  #stopped(entry) {
    const { turn } = entry;
    entry.answer = turn.html ? turn.body.innerText.replace(/^Parley\s*/, "").trim() : "";
    turn.finish({ post: "", html: `${turn.html}<p><em>Stopped.</em></p>`, text: entry.answer });
    turn.tools.append(tool("again", "Regenerate"));
  }

  stop() {
    for (const { turn, control } of this.entries) if (turn.open) control.abort();
  }

  clear() {
    this.stop();
    this.entries = [];
    this.turns.replaceChildren();
  }
}
