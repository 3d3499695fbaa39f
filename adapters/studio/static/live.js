// Answers that are being written now, in every conversation; asked for only while the page is looked at.

import { make } from "./turn_view.js";

const $ = (id) => document.getElementById(id);
const KEPT_DONE = 10; // answers that have ended since the page was opened
const rows = new Map(); // by the id of what was said
let source;
let timer;
let failures = 0;

class Row {
  constructor(scene) {
    this.head = make("p", { class: "note" });
    this.asked = make("p", {});
    this.text = make("pre", { tabindex: "0", "aria-label": "The answer so far" });
    this.foot = make("p", { class: "note" });
    this.element = make("li", { class: "record" }, this.head, make("div", { class: "question" }, this.asked), this.text, this.foot);
    this.show(scene);
  }

  show(scene) {
    this.scene = scene;
    this.began = performance.now() - scene.for_s * 1000;
    const place = scene.channel ? `${scene.adapter} ${scene.channel}` : scene.adapter;
    const tries = scene.attempt > 1 ? [`attempt ${scene.attempt}`] : [];
    this.head.replaceChildren(make("b", {}, scene.person), ` · ${[place, scene.template.split("@")[0], scene.deployment, ...tries].filter(Boolean).join(" · ")}`);
    this.asked.textContent = scene.asked || "(no words)";
    if (this.text.textContent !== scene.text) {
      this.text.textContent = scene.text;
      this.text.scrollTop = this.text.scrollHeight;
    }
    this.count();
  }

  count() {
    if (this.element.dataset.done) return;
    const doing = this.scene.text ? "Writing" : this.scene.deployment ? "Reading the answer" : "Waiting for the model";
    this.foot.textContent = `${doing} · ${Math.round((performance.now() - this.began) / 1000)} s`;
  }

  end() {
    this.element.dataset.done = "true";
    const seconds = Math.round((performance.now() - this.began) / 1000);
    const link = make("a", { href: `/studio/log/${encodeURIComponent(this.scene.conversation)}` }, "Open the conversation");
    this.foot.replaceChildren(`Ended after ${seconds} s · `, link);
  }
}

function show({ workers, scenes }) {
  const here = new Set(scenes.map(({ event }) => event));
  for (const scene of scenes) {
    const known = rows.get(scene.event);
    if (known && !known.element.dataset.done) known.show(scene);
    else {
      known?.element.remove();
      const row = new Row(scene);
      rows.set(scene.event, row);
      $("scenes").prepend(row.element);
    }
  }
  for (const [event, row] of rows) if (!here.has(event) && !row.element.dataset.done) row.end();
  const done = [...rows].filter(([, row]) => row.element.dataset.done);
  for (const [event, row] of done.slice(0, Math.max(0, done.length - KEPT_DONE))) {
    row.element.remove();
    rows.delete(event);
  }
  const [answers, by] = [scenes.length === 1 ? "1 answer is" : `${scenes.length} answers are`, workers === 1 ? "1 worker" : `${workers} workers`];
  const state = scenes.length ? `${answers} being written by ${by}.` : `Nothing is being written; ${by} ${workers === 1 ? "waits" : "wait"} for questions.`;
  $("state").textContent = workers ? state : "No worker tells anything: is one running?";
  $("nobody").hidden = rows.size > 0;
}

function open() {
  clearTimeout(timer);
  source?.close();
  source = undefined;
  if (document.hidden) return;
  source = new EventSource("/studio/live/events");
  source.onmessage = ({ data }) => {
    failures = 0;
    show(JSON.parse(data));
  };
  source.onerror = () => {
    source.close();
    $("state").textContent = "The connection is lost. Trying again …";
    timer = setTimeout(open, Math.min(15, 2 ** failures++) * 1000);
  };
}

document.addEventListener("visibilitychange", open);
setInterval(() => rows.forEach((row) => row.count()), 1000);
open();
