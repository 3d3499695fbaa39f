// Examples from a pool: the nearest to a question first, each with what it costs.

import { ask, wordsOf } from "./api.js";
import { $, closable, icon, make, tokens } from "./dom.js";

/** @import { Playground, PoolExamples } from "./types.js" */

/** @param {Playground} playground */
export function pools({ config, changed, question }) {
  const dialog = closable($("pool"));
  let control = new AbortController();

  async function list() {
    control.abort();
    const { signal } = (control = new AbortController());
    try {
      show(await ask("/studio/playground/pool", { pool: $("pool-name").value, question: $("pool-question").value }, signal));
      $("pool-words").textContent = "";
    } catch (error) {
      if (!signal.aborted) $("pool-words").textContent = wordsOf(error);
    }
  }

  /** @param {PoolExamples} found */
  function show({ pools: names, pool, total, examples }) {
    $("pool-name").replaceChildren(...names.map((name) => make("option", {}, name)));
    $("pool-name").value = pool;
    $("pool-fields").hidden = names.length === 0;
    $("no-pool").hidden = names.length > 0;
    $("pool-total").textContent = total > examples.length ? `${examples.length} of ${total} examples` : "";
    $("pool-list").replaceChildren(...examples.map(item));
  }

  /** @param {PoolExamples["examples"][number]} example */
  function item({ user, assistant, near, tokens: count }) {
    const add = make("button", { type: "button", class: "plain", "aria-label": `Add “${user.slice(0, 60)}”` });
    const label = () => {
      add.disabled = config().examples.some((one) => one.user === user && one.assistant === assistant);
      add.replaceChildren(...(add.disabled ? ["Added"] : [icon("plus"), "Add"]));
    };
    label();
    const facts = [tokens(count), near === null ? "" : `similarity ${near.toFixed(2)}`].filter(Boolean).join(" · ");
    const row = make("li", {}, make("div", {}, make("b", {}, user), make("p", {}, assistant), make("span", { class: "note" }, facts)), add);
    add.addEventListener("click", () => {
      config().examples.push({ user, assistant });
      changed();
      label();
      const next = row.nextElementSibling ?? row.previousElementSibling;
      next?.querySelector("button")?.focus();
    });
    return row;
  }

  $("from-pool").addEventListener("click", () => {
    $("pool-question").value = question();
    dialog.showModal();
    list();
  });
  $("pool-name").addEventListener("change", list);
  /** @type {number | undefined} */
  let timer;
  $("pool-question").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(list, 250);
  });
  $("pool-fields").addEventListener("submit", (event) => event.preventDefault());
}
