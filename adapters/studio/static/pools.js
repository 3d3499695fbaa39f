// Examples from a pool into the set-up: the nearest to a question first, each with what it costs.

import { tokens } from "./config_panel.js";
import { icon, make } from "./turn_view.js";
import { ask } from "./api.js";

const $ = (id) => document.getElementById(id);

/** `hand()` is the set-up in hand, `question()` what examples should be near to, `changed()` tells of an addition. */
export function pools(hand, question, changed) {
  const sheet = $("pool");
  let asking = new AbortController();

  async function list() {
    asking.abort();
    const { signal } = (asking = new AbortController());
    try {
      const body = { pool: $("pool-name").value, question: $("pool-question").value };
      show(await ask("/studio/playground/pool", body, signal));
      $("pool-words").textContent = "";
    } catch (error) {
      if (error.name !== "AbortError") $("pool-words").textContent = error.message;
    }
  }

  function show({ pools: names, pool, total, examples }) {
    $("pool-name").replaceChildren(...names.map((name) => make("option", {}, name)));
    $("pool-name").value = pool;
    $("pool-fields").hidden = names.length === 0;
    $("no-pool").hidden = names.length > 0;
    $("pool-total").textContent = total > examples.length ? `${examples.length} of ${total} examples` : "";
    $("pool-list").replaceChildren(...examples.map(item));
  }

  function item({ user, assistant, near, tokens: count }) {
    const there = () => hand().examples.some((one) => one.user === user && one.assistant === assistant);
    const add = make("button", { type: "button", class: "plain", "aria-label": `Add “${user.slice(0, 60)}”` });
    const label = () => {
      add.replaceChildren(...(there() ? ["Added"] : [icon("plus"), "Add"]));
      add.disabled = there();
    };
    add.addEventListener("click", () => {
      hand().examples.push({ user, assistant });
      changed();
      label();
      (add.closest("li").nextElementSibling ?? add.closest("li").previousElementSibling)?.querySelector("button:enabled")?.focus();
    });
    label();
    const facts = [tokens(count), near === null ? "" : `similarity ${near.toFixed(2)}`];
    return make("li", {}, make("div", {}, make("b", {}, user), make("p", {}, assistant), make("span", { class: "note" }, facts.filter(Boolean).join(" · "))), add);
  }

  $("from-pool").addEventListener("click", () => {
    $("pool-question").value = question();
    sheet.showModal();
    list();
  });
  sheet.addEventListener("click", (event) => {
    if (event.target === sheet || event.target.closest("[data-close]")) sheet.close();
  });
  $("pool-name").addEventListener("change", list);
  let soon;
  $("pool-question").addEventListener("input", () => {
    clearTimeout(soon);
    soon = setTimeout(list, 250);
  });
  sheet.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
}
