// How a turn looks: a question, and an answer that may still be growing.

export const icon = (name) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "use"));
  svg.firstChild.setAttribute("href", `#i-${name}`);
  svg.setAttribute("aria-hidden", "true");
  return svg;
};

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const tool = (action, label) =>
  make("button", { type: "button", class: "icon", "data-do": action, "aria-label": label, title: label }, icon(action));

/** The server's HTML (made safe there) with the page's own furniture: frames for code and tables. */
export function dress(html) {
  const template = make("template");
  template.innerHTML = html;
  const body = template.content;
  for (const pre of body.querySelectorAll("pre")) {
    const language = /language-(\S+)/.exec(pre.firstElementChild?.className ?? "")?.[1] ?? "";
    const head = make("div", { class: "code-head" }, make("span", {}, language), tool("copy", "Copy the code"));
    const frame = make("div", { class: "code" });
    pre.tabIndex = 0;
    pre.replaceWith(frame);
    frame.append(head, pre);
  }
  for (const table of body.querySelectorAll("table")) {
    const frame = make("div", { class: "table", tabindex: "0" });
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const link of body.querySelectorAll("a[href]")) link.target = "_blank";
  for (const box of body.querySelectorAll("input")) box.setAttribute("aria-label", "task");
  return body;
}

/** Bring `old` to `fresh`, leaving alone what didn't change, so that a selection lives on. */
function morph(old, fresh) {
  const before = [...old.childNodes];
  const after = [...fresh.childNodes];
  after.forEach((node, at) => {
    if (!before[at]) old.append(node);
    else if (!before[at].isEqualNode(node)) before[at].replaceWith(node);
  });
  before.slice(after.length).forEach((node) => node.remove());
}

/**
 * `said` is the answer's text: a description that stands there already is not written below again. A long one,
 * such as the words that a model made of the wish, is there for whoever wants it.
 */
function picture({ src, alt }, said) {
  const image = make("img", { src, alt });
  image.onload = () => (image.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`);
  const button = make("button", { type: "button", class: "picture", "data-do": "enlarge", title: "Enlarge" }, image);
  const told = said.split("\n")[0].replace(/^Another one: /, "");
  if (!alt || (told && alt.endsWith(told))) return make("figure", {}, button);
  const words = alt.length > 90 ? make("details", {}, make("summary", {}, "Drawn as"), alt) : alt;
  return make("figure", {}, button, make("figcaption", {}, words));
}

function source({ title, url, excerpt }) {
  const safe = /^https?:/i.test(url ?? "");
  const name = safe ? make("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, title) : title;
  return make("li", {}, name, ...(excerpt ? [make("q", {}, excerpt)] : []));
}

/** Put a text on the clipboard, and say so on the button. */
export async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // The clipboard is for secure pages only; on plain http the old way still works.
    const box = make("textarea", { class: "unseen" });
    box.value = text;
    button.after(box);
    box.select();
    document.execCommand("copy");
    box.remove();
    button.focus();
  }
  const before = [...button.childNodes];
  const label = button.getAttribute("aria-label");
  button.replaceChildren(icon("done"), ...(label ? [] : [make("span", {}, "Copied")]));
  if (label) button.setAttribute("aria-label", "Copied");
  setTimeout(() => {
    button.replaceChildren(...before);
    if (label) button.setAttribute("aria-label", label);
  }, 1500);
}

export class Turn {
  post = ""; // the id of the answer's place, once there is one
  words = ""; // the question
  text = ""; // the answer's Markdown
  open = false;
  #finished = false;
  #html = "";
  #sketch = null; // a picture as far as it is drawn

  constructor(event) {
    this.event = event;
    this.question = make("div", { class: "question" });
    this.body = make("div", { class: "body" });
    this.tools = make("div", { class: "tools" });
    this.answer = make("div", { class: "answer" }, this.body, this.tools);
    this.element = make("article", { "data-event": event }, this.question, this.answer);
    this.answer.hidden = true;
  }

  ask(text) {
    this.words = text;
    const shown = text.replace(/^(\/variations) \S*\..*$/s, "$1"); // which picture is meant, only the server reads
    this.question.replaceChildren(make("h3", { class: "unseen" }, "You"), tool("edit", "Edit the message"), make("p", {}, shown));
  }

  /** Let the person change the question; `cancel` and `save` are actions of the page. */
  edit(text = this.words) {
    const box = make("textarea", { "aria-label": "Edit the message", rows: Math.min(12, text.split("\n").length + 1), maxlength: 48000 });
    box.value = text;
    const cancel = make("button", { type: "button", "data-do": "cancel" }, "Cancel");
    const save = make("button", { type: "button", "data-do": "save", class: "main" }, "Ask again");
    this.question.replaceChildren(make("div", { class: "editor" }, box, make("div", {}, cancel, save)));
    box.focus();
  }

  begin(post = "") {
    this.post = post;
    this.open = true;
    this.#finished = false;
    this.#html = "";
    this.#sketch = null;
    this.answer.hidden = false;
    this.answer.className = "answer waiting";
    this.answer.setAttribute("aria-busy", "true");
    this.tools.replaceChildren();
    this.#show(`<p class="dots"><span></span><span></span><span></span></p>`);
  }

  write({ post, keep, html }) {
    if (this.#finished) return; // from a worker that lost its lease after another one had finished
    if (!this.open) this.begin(post);
    if (keep > this.#html.length) return; // a frame before it is not kept any more; the next whole one mends it
    this.#html = this.#html.slice(0, keep) + html;
    if (!this.#html) return;
    this.answer.className = "answer writing";
    this.#show(this.#html);
  }

  /** Show a picture as far as it is drawn, in the place that the whole one will have. */
  sketch({ post, src, alt, width, height }) {
    if (this.#finished) return;
    if (!this.open) this.begin(post);
    this.#sketch = { src, alt: `${alt} (still being drawn)`, width, height };
    this.answer.className = "answer writing";
    this.#show(this.#html);
  }

  finish({ post, html, text, images = [], sources = [], rate = false }, good = null) {
    this.post = post;
    this.text = text;
    this.open = false;
    this.#finished = true;
    this.answer.hidden = false;
    this.answer.className = "answer";
    this.answer.removeAttribute("aria-busy");
    const fresh = dress(html);
    if (images.length) fresh.append(make("div", { class: "pictures" }, ...images.map((each) => picture(each, text.trim()))));
    if (sources.length) {
      const words = sources.length === 1 ? "1 source" : `${sources.length} sources`;
      fresh.append(make("details", {}, make("summary", {}, words), make("ol", {}, ...sources.map(source))));
    }
    this.#place(fresh);
    this.tools.replaceChildren(...(text ? [tool("copy", "Copy the answer")] : []));
    if (rate && images.length) this.tools.append(tool("vary", "Draw a variation"), tool("again", "Draw it again, in its place"));
    if (rate && post) {
      this.tools.append(tool("like", "Good answer"), tool("dislike", "Bad answer"));
      this.rate(good);
    }
  }

  rate(good) {
    for (const [action, mine] of [["like", true], ["dislike", false]]) {
      this.tools.querySelector(`[data-do=${action}]`)?.setAttribute("aria-pressed", String(good === mine));
    }
  }

  /** The HTML of the answer so far. */
  get html() {
    return this.#html;
  }

  /** No answer came: say why, and offer to send the message again. */
  fail(words, lead = "Not sent.") {
    this.open = false;
    this.answer.hidden = false;
    this.answer.className = "answer failed";
    this.answer.removeAttribute("aria-busy");
    const again = make("button", { type: "button", "data-do": "again" }, icon("again"), "Send again");
    this.body.replaceChildren(make("p", { role: "alert" }, `${lead} ${words}`), again);
    this.tools.replaceChildren();
  }

  #show(html) {
    const fresh = dress(html);
    if (this.#sketch) {
      const { src, alt, width, height } = this.#sketch;
      const image = make("img", { src, alt, width, height });
      image.style.aspectRatio = `${width} / ${height}`;
      fresh.append(make("div", { class: "pictures" }, make("figure", { class: "sketch" }, make("span", { class: "picture" }, image))));
    }
    this.#place(fresh);
  }

  #place(fresh) {
    this.body.querySelector(":scope > .unseen") ?? this.body.replaceChildren(make("h3", { class: "unseen" }, "Parley"));
    fresh.prepend(make("h3", { class: "unseen" }, "Parley"));
    morph(this.body, fresh);
  }
}
