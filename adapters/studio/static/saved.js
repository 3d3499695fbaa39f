// Set-ups that are saved on the server: saved under a name, opened, renamed, deleted, and linked to.

import { copy, icon, make, tool } from "./turn_view.js";
import { ask, load } from "./api.js";

const $ = (id) => document.getElementById(id);
const PATH = "/studio/playground/saved";
const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** What is saved under an id: its name and set-ups. Throws as `load` does. */
export const saved = (id) => load(`${PATH}/${encodeURIComponent(id)}`);

export class Saved {
  #list = [];
  #name = ""; // of what was opened or saved last: saving again goes there
  #hand;
  #take;
  #say;

  /** `hand()` gives the set-ups on the page, `take(setups)` replaces them, `say(words)` tells the person. */
  constructor(hand, take, say) {
    this.#hand = hand;
    this.#take = take;
    this.#say = say;
    const sheet = $("saved");
    $("open-saved").addEventListener("click", async () => {
      $("saved-name").value = this.#name;
      $("saved-words").textContent = "";
      sheet.showModal();
      await this.#read();
      $("saved-name").focus();
    });
    sheet.addEventListener("click", (event) => {
      if (event.target === sheet || event.target.closest("[data-close]")) return sheet.close();
      const button = event.target.closest("[data-do]");
      if (button) this.#do(button, this.#list.find(({ id }) => id === button.closest("li").dataset.id));
    });
    $("saved-name").addEventListener("input", () => this.#label());
    sheet.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
  }

  /** Open one; what the person is told when that is not to be had. */
  async open(id) {
    try {
      const { name, author, setups } = await saved(id);
      if (!this.#take(setups)) return this.#say(`“${name}” can’t be opened: its template is gone.`);
      this.#name = name;
      $("saved").close();
      this.#say(`“${name}” is open, saved by ${author}.`);
    } catch (error) {
      this.#tell(error);
    }
  }

  #tell(error) {
    if ($("saved").open) $("saved-words").textContent = error.message;
    else this.#say(error.message);
  }

  async #read() {
    try {
      this.#list = (await load(PATH)).saved;
    } catch (error) {
      this.#tell(error);
    }
    $("saved-list").replaceChildren(...this.#list.map((one) => this.#item(one)));
    $("no-saved").hidden = this.#list.length > 0;
    this.#label();
  }

  #item({ id, name, author, at }) {
    const open = make("button", { type: "button", class: "name", "data-do": "open" }, name);
    const note = make("span", { class: "note" }, `${author} · ${when.format(at)}`);
    const tools = make("span", { class: "tools" }, tool("link", `Copy a link to “${name}”`), tool("edit", `Rename “${name}”`), tool("bin", `Delete “${name}”`));
    return make("li", { "data-id": id }, open, note, tools);
  }

  #taken = () => this.#list.some(({ name }) => name === $("saved-name").value.trim());

  #label() {
    $("save").textContent = this.#taken() ? "Replace" : "Save";
  }

  async #save() {
    const name = $("saved-name").value;
    try {
      const one = await ask(PATH, { name, setups: this.#hand(), replace: this.#taken() });
      this.#name = one.name;
      $("saved").close();
      this.#say(`Saved as “${one.name}”, for everybody who may try set-ups.`);
    } catch (error) {
      this.#tell(error);
      await this.#read();
    }
  }

  async #do(button, one) {
    const item = button.closest("li");
    $("saved-words").textContent = "";
    if (button.dataset.do === "open") return this.open(one.id);
    if (button.dataset.do === "link") return copy(button, `${location.origin}${location.pathname}?saved=${one.id}`);
    if (button.dataset.do === "edit") return this.#rename(item, one);
    if (button.dataset.do === "bin") {
      const sure = make("button", { type: "button", class: "plain", "data-do": "delete" }, icon("bin"), "Delete for everybody");
      button.replaceWith(sure);
      return sure.focus();
    }
    try {
      await ask(`${PATH}/${one.id}/delete`, {});
    } catch (error) {
      this.#tell(error);
    }
    await this.#read();
    ($("saved-list").querySelector("button") ?? $("saved-name")).focus();
  }

  #rename(item, one) {
    const box = make("input", { "aria-label": `New name of “${one.name}”`, maxlength: 80, value: one.name });
    const form = make("form", { class: "row" }, box, make("button", { class: "plain" }, "Rename"));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        await ask(`${PATH}/${one.id}/rename`, { name: box.value });
        if (this.#name === one.name) this.#name = box.value.trim();
        await this.#read();
        $("saved-list").querySelector(`[data-id="${one.id}"] button`)?.focus();
      } catch (error) {
        this.#tell(error);
      }
    });
    item.replaceChildren(form);
    box.select();
  }
}
