// How a turn looks: a question, and an answer that may still be growing.

import { $, closest, copy, icon, make, onEnter, tool } from "./dom.js";
import { excess } from "./fields.js";

/** @import { Answer, PartialImageFrame, ShownImage, Source } from "./types.js" */

/**
 * The server's HTML (made safe there) with the page's own furniture: frames for code and tables.
 * @param {string} html
 */
export function dress(html) {
  const template = make("template");
  template.innerHTML = html;
  const body = template.content;
  for (const pre of body.querySelectorAll("pre")) {
    const language = /language-(\S+)/.exec(pre.firstElementChild?.className ?? "")?.[1] ?? "";
    const head = make("div", { class: "code-head" }, make("span", {}, language), tool("copy", "Copy code"));
    const frame = make("div", { class: "code" });
    pre.tabIndex = 0;
    pre.replaceWith(frame);
    frame.append(head, pre);
  }
  for (const table of body.querySelectorAll("table")) {
    const frame = make("div", { class: "table", tabindex: 0 });
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const link of body.querySelectorAll("a")) if (link.href) link.target = "_blank";
  for (const box of body.querySelectorAll("input")) box.ariaLabel = "task";
  return body;
}

/**
 * Bring `old` to `fresh`, leaving alone what didn't change, so that a selection lives on.
 * @param {Node & ParentNode} old @param {Node} fresh
 */
function morph(old, fresh) {
  const before = [...old.childNodes];
  const after = [...fresh.childNodes];
  after.forEach((node, at) => {
    const there = before[at];
    if (!there) old.append(node);
    else if (!there.isEqualNode(node)) there.replaceWith(node);
  });
  before.slice(after.length).forEach((node) => node.remove());
}

/**
 * A caption that repeats the answer's text is left out; a long one, such as a prompt that a model rewrote, is folded.
 * @param {ShownImage} image @param {string} text of the answer
 */
function picture({ src, alt }, text) {
  const image = make("img", { src, alt });
  image.addEventListener("load", () => (image.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`));
  const button = make("button", { type: "button", class: "picture", "data-do": "enlarge", title: "Enlarge" }, image);
  const first = text.replace(/\n.*/s, "").replace(/^Another one: /, "");
  if (!alt || (first && alt.endsWith(first))) return make("figure", {}, button);
  const caption = alt.length > 90 ? make("details", {}, make("summary", {}, "Prompt"), alt) : alt;
  return make("figure", {}, button, make("figcaption", { dir: "auto" }, caption));
}

/** What failed, for those who can mend it. @param {string} cause */
const causeOf = (cause) => make("p", { class: "note cause", dir: "auto" }, make("b", {}, "Cause (for operators): "), cause);

/** @param {Source} source */
function item({ title, url, excerpt }) {
  const safe = url && /^https?:/i.test(url);
  const name = safe ? make("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, title) : title;
  return make("li", { dir: "auto" }, name, ...(excerpt ? [make("q", {}, excerpt)] : []));
}

/** A turn on the page. Copying and the editor of the question work by themselves, other buttons by `actions`. */
export class Turn {
  post = ""; // the id of the answer's place, once there is one
  words = ""; // the question
  text = ""; // the answer's Markdown
  html = ""; // the HTML of the answer so far
  open = false;
  /** @type {boolean | null} */
  good = null; // how the person rated the answer
  #finished = false;
  /** @type {Omit<PartialImageFrame, "kind" | "post"> | null} */
  #partialImage = null;
  /** @type {number | undefined} */
  #waiting;

  /**
   * @param {string} event
   * @param {Record<string, (button: HTMLElement) => void>} actions by the `data-do` of their buttons
   * @param {(text: string) => void} save gets the text of an edited question
   */
  constructor(event, actions, save) {
    this.event = event;
    this.question = make("div", { class: "question" });
    this.body = make("div", { class: "body" });
    this.tools = make("div", { class: "tools" });
    this.answer = make("div", { class: "answer", hidden: true }, this.body, this.tools);
    this.element = make("article", { "data-event": event }, this.question, this.answer);
    this.save = save;
    /** @type {typeof actions} */
    const all = {
      copy: (button) => copy(button, button.closest(".code")?.querySelector("pre")?.textContent ?? this.text),
      edit: () => this.edit(),
      ...actions,
    };
    this.element.addEventListener("click", (click) => {
      const button = closest(click, "[data-do]");
      if (button) all[button.dataset.do ?? ""]?.(button);
    });
  }

  /** @param {string} text */
  ask(text) {
    this.words = text;
    const shown = text.replace(/^(\/variations) \S*\..*$/s, "$1"); // which picture is meant, only the server reads
    this.question.replaceChildren(make("h3", { class: "unseen" }, "You"), tool("edit", "Edit message"), make("p", { dir: "auto" }, shown));
  }

  /** Let the person change the question. */
  edit(text = this.words) {
    const box = make("textarea", { "aria-label": "Edit message", rows: Math.min(12, text.split("\n").length + 1), dir: "auto", "data-limit": 48000, value: text });
    const words = make("p", { class: "alert", role: "alert" });
    const save = () => {
      words.textContent = excess(box);
      if (!words.textContent) this.save(box.value);
    };
    box.addEventListener("input", () => (words.textContent = excess(box)));
    const cancel = () => {
      this.ask(this.words);
      $("words").focus();
    };
    onEnter(box, save);
    box.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      cancel();
    });
    const buttons = [make("button", { type: "button", onclick: cancel }, "Cancel"), make("button", { type: "button", class: "main", onclick: save }, "Save and resend")];
    this.question.replaceChildren(make("div", { class: "editor" }, box, words, make("div", {}, ...buttons)));
    box.focus();
  }

  begin(post = "") {
    this.#becomes("answer waiting");
    this.post = post;
    this.open = true;
    this.#finished = false;
    this.html = "";
    this.#partialImage = null;
    this.answer.ariaBusy = "true";
    this.#show(`<p class="dots"><span></span><span></span><span></span></p>`);
    const begun = Date.now();
    this.#waiting = setInterval(() => this.#progress(Math.round((Date.now() - begun) / 1000)), 1000);
  }

  /** Say beside the dots that the answer is still coming. @param {number} seconds */
  #progress(seconds) {
    const dots = this.body.querySelector(".dots");
    if (!dots || !this.element.isConnected) return clearInterval(this.#waiting);
    if (seconds < 3) return;
    const words = seconds < 10 ? "Waiting for the model…" : `Still waiting for the model: ${seconds} s. You can stop and try again at any time.`;
    (dots.querySelector(".note") ?? dots.appendChild(make("i", { class: "note", role: "status" }))).textContent = words;
  }

  /** @param {{ post: string, keep: number, html: string }} frame */
  write({ post, keep, html }) {
    if (this.#finished) return; // from a worker that lost its lease after another one had finished
    if (!this.open) this.begin(post);
    if (keep > this.html.length) return; // a frame before it is not kept any more; the next whole one mends it
    this.html = this.html.slice(0, keep) + html;
    if (!this.html) return;
    this.answer.className = "answer writing";
    this.#show(this.html);
  }

  /**
   * Show a partial image, in the place that the whole one will have.
   * @param {PartialImageFrame} frame
   */
  showPartialImage({ post, src, alt, width, height }) {
    if (this.#finished) return;
    if (!this.open) this.begin(post);
    this.#partialImage = { src, alt: `${alt} (in progress)`, width, height };
    this.answer.className = "answer writing";
    this.#show(this.html);
  }

  /** @param {Answer} answer @param {boolean | null} good how the person rated it */
  finish({ post, html, text, images = [], sources = [], rate = false, prompt = "", failed = false, cause = "" }, good = null) {
    this.#becomes("answer");
    this.post = post;
    this.text = text;
    this.#finished = true;
    const fresh = dress(html);
    if (images.length) fresh.append(make("div", { class: "pictures" }, ...images.map((each) => picture(each, text.trim()))));
    if (sources.length) {
      const words = sources.length === 1 ? "1 source" : `${sources.length} sources`;
      fresh.append(make("details", {}, make("summary", {}, words), make("ol", {}, ...sources.map(item))));
    }
    if (prompt) fresh.append(make("p", {}, make("small", {}, `Prompt: ${prompt}`)));
    if (failed) {
      this.answer.classList.add("failed");
      if (cause) fresh.append(causeOf(cause));
      fresh.append(make("button", { type: "button", "data-do": "again" }, icon("again"), "Retry"));
    }
    this.#place(fresh);
    if (text) this.tools.append(tool("copy", "Copy answer"));
    if (rate && images.length) this.tools.append(tool("vary", "Create a variation"), tool("again", "Regenerate"));
    if (rate && post) {
      this.tools.append(tool("like", "Good answer"), tool("dislike", "Bad answer"));
      this.rate(good);
    }
  }

  /** @param {boolean | null} good */
  rate(good) {
    this.good = good;
    for (const button of this.tools.querySelectorAll("button")) {
      const { do: action } = button.dataset;
      if (action === "like" || action === "dislike") button.ariaPressed = String(good === (action === "like"));
    }
  }

  /** No answer came: say why, and offer to send the message again. */
  fail(/** @type {string} */ words, lead = "Not sent.", cause = "") {
    this.#becomes("answer failed");
    const again = make("button", { type: "button", "data-do": "again" }, icon("again"), "Retry");
    const why = cause && cause !== words ? [causeOf(cause)] : [];
    this.body.replaceChildren(make("p", { role: "alert", dir: "auto" }, `${lead} ${words}`), ...why, again);
  }

  /** @param {string} className */
  #becomes(className) {
    clearInterval(this.#waiting);
    this.open = false;
    this.answer.hidden = false;
    this.answer.className = className;
    this.answer.ariaBusy = null;
    this.tools.replaceChildren();
  }

  /** @param {string} html */
  #show(html) {
    const fresh = dress(html);
    if (this.#partialImage) {
      const { width, height } = this.#partialImage;
      const image = make("img", { ...this.#partialImage });
      image.style.aspectRatio = `${width} / ${height}`;
      fresh.append(make("div", { class: "pictures" }, make("figure", { class: "partial" }, make("span", { class: "picture" }, image))));
    }
    this.#place(fresh);
  }

  /** @param {DocumentFragment} fresh */
  #place(fresh) {
    if (!this.body.querySelector(":scope > .unseen")) this.body.replaceChildren();
    fresh.prepend(make("h3", { class: "unseen" }, "Parley"));
    morph(this.body, fresh);
  }
}
