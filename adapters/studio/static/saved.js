// Configurations that are saved on the server: saved under a name, opened, renamed, shared, deleted, and linked to.

import { ask, load, wordsOf } from "./api.js";
import { $, closable, copy, icon, make, tool } from "./dom.js";

/** @import { Playground, SavedCard } from "./types.js" */

const PATH = "/studio/playground/saved";
const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/**
 * Returns a function that opens what is saved under an id.
 * @param {Playground} playground
 */
export function saving(playground) {
  const dialog = closable($("saved"));
  const [field, list] = [$("saved-name"), $("saved-list")];
  /** @type {SavedCard[]} */
  let saved = [];
  let current = ""; // the name of what was opened or saved last: saving again goes there

  /** @param {string} words */
  function tell(words) {
    if (dialog.open) $("saved-words").textContent = words;
    else playground.notify(words);
  }

  /** Does something, and tells what goes wrong. @param {() => Promise<void>} action */
  async function attempt(action) {
    $("saved-words").textContent = "";
    await action().catch((error) => tell(wordsOf(error)));
  }

  /** What saving under this name replaces: one's own before a shared one. */
  const replaced = () => {
    const named = saved.filter(({ name, shared, yours }) => name === field.value.trim() && (shared || yours));
    return named.find(({ yours }) => yours) ?? named[0];
  };
  function label() {
    const before = replaced();
    $("save").textContent = before ? "Replace" : "Save";
    $("saved-shared").disabled = Boolean(before); // replacing changes nothing about that
    if (before) $("saved-shared").checked = before.shared;
  }

  async function refresh() {
    ({ saved } = await load(PATH));
    list.replaceChildren(...saved.map(item));
    $("no-saved").hidden = saved.length > 0;
    label();
  }

  /** @param {string} id @param {boolean} careful asks before edits go */
  const open = (id, careful = true) =>
    attempt(async () => {
      const { name, author, setups } = await load(`${PATH}/${encodeURIComponent(id)}`);
      if (careful && !(await playground.discards(playground.configs()))) return;
      if (!playground.open(setups)) return tell(`Can’t open “${name}”: its template was removed.`);
      current = name;
      dialog.close();
      tell(`Opened “${name}”, saved by ${author}.`);
    });

  /** @param {SavedCard} card */
  function item({ id, name, author, at, shared, yours, may_change }) {
    const link = tool("link", `Copy link to “${name}”`, { onclick: () => copy(link, `${location.origin}${location.pathname}?saved=${id}`) });
    const edit = tool("edit", `Rename “${name}”`, { onclick: () => rename(row, id, name) });
    const bin = tool("bin", `Delete “${name}”`, {
      onclick: () => {
        bin.replaceWith(sure); // others may use it: one more click
        sure.focus();
      },
    });
    const sure = make("button", { type: "button", class: "plain", onclick: () => remove(id) }, icon("bin"), shared ? "Delete for everyone" : "Delete");
    const words = shared ? "Stop sharing" : "Share";
    const sharing = make("button", { type: "button", class: "plain", "aria-label": `${words} “${name}”`, onclick: () => share(id, !shared) }, words);
    const whose = shared ? "shared with all editors" : yours ? "only you" : "not shared";
    const row = make(
      "li",
      { "data-id": id },
      make("button", { type: "button", class: "name", onclick: () => open(id) }, name),
      make("span", { class: "note" }, `${author} · ${when.format(at)} · ${whose}`),
      make("span", { class: "tools" }, ...(shared ? [link] : []), ...(may_change ? [sharing, edit, bin] : [])),
    );
    return row;
  }

  /** @param {string} id @param {boolean} shared */
  async function share(id, shared) {
    await attempt(() => ask(`${PATH}/${id}/share`, { shared }).finally(refresh));
    list.querySelector(`[data-id="${id}"]`)?.querySelector("button")?.focus();
  }

  /** @param {string} id */
  async function remove(id) {
    await attempt(() => ask(`${PATH}/${id}/delete`, {}).finally(refresh));
    (list.querySelector("button") ?? field).focus();
  }

  /** @param {HTMLElement} row @param {string} id @param {string} name */
  function rename(row, id, name) {
    const box = make("input", { "aria-label": `New name of “${name}”`, maxlength: 80, value: name });
    const submit = () =>
      attempt(async () => {
        await ask(`${PATH}/${id}/rename`, { name: box.value });
        if (current === name) current = box.value.trim();
        await refresh();
        list.querySelector(`[data-id="${id}"]`)?.querySelector("button")?.focus();
      });
    const form = make("form", { class: "row" }, box, make("button", { class: "plain" }, "Rename"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      submit();
    });
    row.replaceChildren(form);
    box.select();
  }

  $("open-saved").addEventListener("click", async () => {
    field.value = current;
    list.replaceChildren(); // what was listed before goes when the new list comes, and with it a name that is being typed
    dialog.showModal();
    await attempt(refresh);
    field.focus();
  });
  field.addEventListener("input", label);
  dialog.querySelector("form")?.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      const body = { name: field.value, setups: playground.configs(), replace: Boolean(replaced()), shared: $("saved-shared").checked };
      const { name, shared } = await ask(PATH, body).catch((error) => refresh().then(() => Promise.reject(error)));
      current = name;
      playground.kept();
      dialog.close();
      tell(shared ? `Saved as “${name}” for all editors.` : `Saved as “${name}”. Only you can open it.`);
    });
  });
  return open;
}
