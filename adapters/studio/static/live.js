// Answers that are being written now, in every conversation; asked for only while the page is looked at.

import { follow } from "./api.js";
import { $, make } from "./dom.js";

/** @import { RunningAnswer } from "./types.js" */

const KEPT_DONE = 10; // answers that have ended since the page was opened
/** @type {Map<string, Row>} */
const rows = new Map(); // by event
let unfollow = () => {};

class Row {
  done = false;
  #head = make("p", { class: "note" });
  #asked = make("p");
  #text = make("pre", { tabindex: 0, "aria-label": "The answer so far" });
  #foot = make("p", { class: "note" });
  element = make("li", { class: "record" }, this.#head, make("div", { class: "question" }, this.#asked), this.#text, this.#foot);

  /** @param {RunningAnswer} answer */
  constructor(answer) {
    this.show(answer);
  }

  /** @param {RunningAnswer} answer */
  show(answer) {
    this.answer = answer;
    this.began = performance.now() - answer.for_s * 1000;
    const { adapter, channel, template, deployment, attempt } = answer;
    const facts = [channel ? `${adapter} ${channel}` : adapter, template.replace(/@.*/, ""), deployment, attempt > 1 ? `attempt ${attempt}` : ""];
    this.#head.replaceChildren(make("b", {}, answer.person), ` · ${facts.filter(Boolean).join(" · ")}`);
    this.#asked.textContent = answer.asked || "(no text)";
    if (this.#text.textContent !== answer.text) {
      this.#text.textContent = answer.text;
      this.#text.scrollTop = this.#text.scrollHeight;
    }
    this.count();
  }

  get #seconds() {
    return `${Math.round((performance.now() - (this.began ?? 0)) / 1000)} s`;
  }

  count() {
    if (this.done) return;
    const state = this.answer?.text ? "Writing" : this.answer?.deployment ? "Reading the response" : "Waiting for the model";
    this.#foot.textContent = `${state} · ${this.#seconds}`;
  }

  end() {
    this.done = true;
    const link = make("a", { href: `/studio/log/${encodeURIComponent(this.answer?.conversation ?? "")}` }, "Open conversation");
    this.#foot.replaceChildren(`Finished after ${this.#seconds} · `, link);
  }
}

/** @param {number} count @param {string} noun */
const some = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** @param {{ workers: number, scenes: RunningAnswer[] }} state */
function show({ workers, scenes: answers }) {
  for (const answer of answers) {
    const known = rows.get(answer.event);
    if (known && !known.done) known.show(answer);
    else {
      known?.element.remove();
      const row = new Row(answer);
      rows.set(answer.event, row);
      $("scenes").prepend(row.element);
    }
  }
  const here = new Set(answers.map(({ event }) => event));
  for (const [event, row] of rows) if (!here.has(event) && !row.done) row.end();
  const done = [...rows].filter(([, row]) => row.done);
  for (const [event, row] of done.slice(0, Math.max(0, done.length - KEPT_DONE))) {
    row.element.remove();
    rows.delete(event);
  }
  const words = `${some(answers.length, "answer")} in progress, ${some(workers, "worker")} running.`;
  $("state").textContent = workers ? words : "No updates from a worker. Is “parley worker” running?";
  $("nobody").hidden = rows.size > 0;
}

function open() {
  unfollow();
  unfollow = () => {};
  if (document.hidden) return;
  unfollow = follow(
    () => "/studio/live/events",
    show,
    (connected) => connected || ($("state").textContent = "Connection lost. Trying again…"),
  );
}

document.addEventListener("visibilitychange", open);
setInterval(() => rows.forEach((row) => row.count()), 1000);
open();
