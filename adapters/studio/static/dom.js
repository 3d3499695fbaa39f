// Building blocks of every page: finding and making elements, buttons with icons, dialogs, the message box.

import { tellExcess } from "./fields.js";

/** @import { Attributes, Elements } from "./types.js" */

/**
 * The element of the page with this id.
 * @template {string} Id
 * @param {Id} id
 * @returns {Id extends keyof Elements ? Elements[Id] : HTMLElement}
 */
export const $ = (id) => /** @type {any} */ (document.getElementById(id));

/**
 * The innermost element at an event that matches, if there is one.
 * @param {Event} event @param {string} selector
 * @returns {HTMLElement | null}
 */
export const closest = ({ target }, selector) => (target instanceof Element ? target.closest(selector) : null);

/**
 * An element. Of its attributes a function is an event listener (`onclick`), and what is false is left out.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {Attributes} attributes @param {(Node | string)[]} children
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  element.append(...children);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "value") Object.assign(element, { value }); // the attribute would only be the initial value
    else if (value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} name of a symbol in symbols.html */
export function icon(name) {
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/**
 * A button that is only an icon; `data-do` names its action.
 * @param {string} action also the icon @param {string} label @param {Attributes} attributes
 */
export const tool = (action, label, attributes = {}) =>
  make("button", { type: "button", class: "icon", "data-do": action, "aria-label": label, title: label, ...attributes }, icon(action));

/** @param {number} count */
export const tokens = (count) => `${count.toLocaleString("en")} token${count === 1 ? "" : "s"}`;

/**
 * Close a dialog with its close button, and with a click beside it.
 * @param {HTMLDialogElement} dialog
 */
export function closable(dialog) {
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || closest(event, "[data-close]")) dialog.close();
  });
  return dialog;
}

/**
 * Call `action` for Enter; Shift and Enter together, or an input method, still write.
 * @param {HTMLElement} box @param {() => void} action
 */
export function onEnter(box, action) {
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    action();
  });
}

/**
 * Keep the end of a growing text in view, until the person scrolls up; at the end again, it is kept in view again.
 * Returns a function that goes to the end.
 * @param {HTMLElement} box that scrolls @param {Element} content that grows @param {(pinned: boolean) => void} changed
 */
export function stickToEnd(box, content, changed = () => {}) {
  let pinned = true;
  let last = 0;
  const scroll = () => {
    if (pinned) box.scrollTop = box.scrollHeight;
  };
  box.addEventListener("scroll", () => {
    const rest = box.scrollHeight - box.scrollTop - box.clientHeight;
    if (box.scrollTop < last - 1 && rest > 1) pinned = false;
    else if (rest < 60) pinned = true;
    last = box.scrollTop;
    changed(pinned);
  });
  new ResizeObserver(scroll).observe(content);
  return () => {
    pinned = true;
    scroll();
    changed(pinned);
  };
}

/**
 * The message box: Enter sends, and the button of an empty box stops the answer that is `writing`. With `waits`,
 * nothing is sent meanwhile; `send` returns false to keep the text. Returns a function that updates the button and the height of the box.
 * @param {{ send: (text: string) => void | boolean, stop: () => void, writing: () => boolean, typed: () => void, waits?: boolean }} page
 */
export function composer({ send, stop, writing, typed, waits = false }) {
  const [form, box, button] = [$("composer"), $("words"), $("send")];
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = box.value;
    if (!text.trim()) return stop();
    if (waits && writing()) return;
    if (tellExcess()) return;
    box.value = "";
    if (send(text) === false) box.value = text;
    box.dispatchEvent(new Event("input"));
  });
  onEnter(box, () => box.value.trim() && form.requestSubmit());
  box.addEventListener("input", typed);
  return () => {
    const empty = !box.value.trim();
    const stops = empty && writing();
    const action = stops ? "Stop" : "Send";
    if (button.ariaLabel !== action) {
      button.ariaLabel = action;
      button.replaceChildren(icon(action.toLowerCase()));
    }
    const long = tellExcess();
    button.disabled = !stops && (long || empty || (waits && writing()));
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight}px`;
  };
}

/**
 * Put a text on the clipboard, and say so on the button.
 * @param {HTMLElement} button @param {string} text
 */
export async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // The clipboard is for secure pages only; on plain http the old way still works.
    const box = make("textarea", { class: "unseen", value: text });
    button.after(box);
    box.select();
    document.execCommand("copy");
    box.remove();
    button.focus();
  }
  const before = [...button.childNodes];
  const label = button.ariaLabel;
  button.replaceChildren(icon("done"), ...(label ? [] : [make("span", {}, "Copied")]));
  if (label) button.ariaLabel = "Copied";
  setTimeout(() => {
    button.replaceChildren(...before);
    button.ariaLabel = label;
  }, 1500);
}

/**
 * What this browser keeps under a key, and null if there is nothing or it can't be read.
 * @param {string} key
 */
export function stored(key) {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/** @param {string} key @param {unknown} value */
export function store(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // The storage is full or forbidden: the page works on.
  }
}
