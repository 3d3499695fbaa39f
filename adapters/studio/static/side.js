// One side of the playground: a configuration, and the turns that were tried with it.

import { lines, newId, wordsOf } from "./api.js";
import { $, make, stickToEnd, tool } from "./dom.js";
import { Turn } from "./turn_view.js";

/** @import { Call, Config, Example, PromptReport, Run, TryFrame } from "./types.js" */
/** @typedef {TryFrame & { kind: "done" }} DoneFrame */

/**
 * A question at its place in the conversation; `done` is its whole answer, `run` what a vote is about.
 * @typedef {{ turn: Turn, answer: string, control: AbortController, run: Run | null, done: DoneFrame | null }} Entry
 */

/**
 * `answered` says whether a question was answered on every side: only then is it part of what they are told was
 * said before. `edited` asks a changed question again on every side.
 * @typedef {{ changed: () => void, inspect: (sent: PromptReport) => void, answered: (at: number) => boolean, askAgain: (side: Side, at: number, question: string) => void }} SidePage
 */

/** What an answer cost; its calls are listed below that on demand. @param {string} cost @param {Call[]} calls */
function costs(cost, calls) {
  if (!calls.length) return make("span", { class: "cost", title: cost }, cost);
  const rows = calls.map((call) =>
    make("tr", {}, make("td", {}, call.purpose), make("td", {}, call.deployment), make("td", {}, call.tokens), make("td", {}, call.cost)),
  );
  const heads = ["Purpose", "Deployment", "Input + output tokens", "Cost"].map((head) => make("th", { scope: "col" }, head));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
  const frame = make("div", { class: "table", tabindex: 0, role: "region", "aria-label": "Calls of this answer" }, table);
  return make("details", { class: "calls" }, make("summary", { class: "cost", title: "Show the calls of this answer" }, cost), frame);
}

export class Side {
  /** @type {Entry[]} */
  entries = [];
  turns = make("div", { class: "turns" });
  thread = make("div", { class: "thread", tabindex: -1 }, this.turns);
  head = make("header");
  element = make("section", { class: "side" }, this.head, this.thread);

  #toEnd = stickToEnd(this.thread, this.turns);

  /** @param {Config} config @param {SidePage} page */
  constructor(config, page) {
    this.config = config;
    this.page = page;
  }

  get writing() {
    return this.entries.some(({ turn }) => turn.open);
  }

  /** The newest question and its answer, if it was answered. */
  get run() {
    const last = this.entries.at(-1);
    return last?.answer ? last.run : null;
  }

  /** What was said before an entry, the same questions on every side. @returns {Example[]} */
  past(before = this.entries.length) {
    const answered = this.entries.slice(0, before).filter((_, at) => this.page.answered(at));
    return answered.map(({ turn, answer }) => ({ user: turn.words, assistant: answer }));
  }

  /** Ask a question after the others. @param {string} question */
  ask(question) {
    const turn = this.#turn();
    this.#toEnd();
    return this.#run(turn, question);
  }

  #turn() {
    const place = () => this.entries.findIndex((one) => one.turn === turn);
    /** @type {Turn} */
    const turn = new Turn(newId(), { again: () => this.page.askAgain(this, place(), turn.words) }, (text) => {
      if (text.trim()) this.page.askAgain(this, place(), text);
      $("words").focus();
    });
    this.turns.append(turn.element);
    return turn;
  }

  /** Begin with the conversation of another side. @param {Side} other */
  continues(other) {
    for (const { turn: there, answer, done } of other.entries) {
      const turn = this.#turn();
      /** @type {Entry} */
      const entry = { turn, answer, control: new AbortController(), run: null, done };
      this.entries.push(entry);
      turn.ask(there.words);
      if (done) this.#show(entry, done);
      else turn.fail("It was not answered before the comparison began.", "Not answered.");
    }
    this.#toEnd();
  }

  /** Ask again, in the place of a turn; what came after it goes. @param {number} at @param {string} question */
  askAgain(at, question) {
    const turn = this.entries[at]?.turn;
    if (!turn) return;
    for (const gone of this.entries.splice(at)) {
      gone.control.abort();
      if (gone.turn !== turn) gone.turn.element.remove();
    }
    this.#run(turn, question);
  }

  /** @param {Turn} turn @param {string} question */
  async #run(turn, question) {
    const body = { setup: this.config, past: this.past(), question };
    /** @type {Entry} */
    const entry = { turn, answer: "", done: null, control: new AbortController(), run: { id: newId(), setup: structuredClone(this.config), served: "" } };
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
      else if (frame.kind === "failed") turn.fail(frame.words, "Not answered.", frame.cause);
      else this.#finish(entry, frame);
    }
    if (!turn.open || !this.entries.includes(entry)) return;
    if (control.signal.aborted) this.#stopped(entry);
    else turn.fail("The connection to the server was lost. Check your network, then retry.", "Not answered.");
  }

  /** @param {Entry} entry @param {DoneFrame} frame */
  #finish(entry, frame) {
    entry.answer = frame.answer;
    if (entry.run) entry.run.served = frame.served;
    this.#show(entry, frame);
    $("spoken").textContent = entry.turn.body.innerText;
  }

  /** @param {Entry} entry @param {DoneFrame} frame */
  #show(entry, frame) {
    const { turn } = entry;
    const { sent, cost, calls = [] } = frame;
    entry.done = frame;
    turn.finish(frame);
    turn.tools.append(tool("again", "Regenerate"));
    if (sent) turn.tools.append(tool("eye", "View prompt", { onclick: () => this.page.inspect(sent) }));
    if (cost) turn.tools.append(costs(cost, calls));
  }

  /** What came until the person stopped it stays. @param {Entry} entry */
  #stopped(entry) {
    const { turn } = entry;
    entry.answer = turn.html ? turn.body.innerText.replace(/^Parley\s*/, "").trim() : "";
    const html = `${turn.html}<p><em>Stopped.</em></p>`;
    this.#show(entry, { kind: "done", post: "", html, text: entry.answer, answer: entry.answer, sent: null, cost: "", served: "" });
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
