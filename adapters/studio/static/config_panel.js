// The playground's panel: a set-up in a form, and what is sent, message by message.

import { icon, make } from "./turn_view.js";

const $ = (id) => document.getElementById(id);
const BUILT_IN = ["user_name", "date", "channel", "platform"];
const NAMES = {
  temperature: "Temperature",
  top_p: "Top P",
  presence_penalty: "Presence penalty",
  frequency_penalty: "Frequency penalty",
  max_output_tokens: "Longest answer, in tokens",
  reasoning_effort: "Reasoning effort",
  verbosity: "Verbosity",
};
const HELP = {
  temperature: "Higher is freer, lower is more alike from answer to answer.",
  top_p: "Only the likeliest words, up to this share. Change this or the temperature, not both.",
  presence_penalty: "Above 0: new subjects. Below: stay with what was said.",
  frequency_penalty: "Above 0: fewer repeated words.",
  max_output_tokens: "The answer is cut there.",
};

const option = (value, words) => make("option", { value }, words);

/** The names between double braces that a variable has to fill. */
const holes = (text) => [
  ...new Set([...text.matchAll(/\{\{(.*?)\}\}/g)].map((found) => found[1].trim())),
].filter((name) => name && !BUILT_IN.includes(name));

/** What the form does not show: as the template has it, or a file that was imported over it. */
function about(template, rest) {
  const pool = rest.pool ? `${rest.shots ?? 0} nearest of the pool “${rest.pool}”` : template.pool;
  const [tools, knowledge] = [rest.tools ?? template.tools, rest.knowledge ?? template.knowledge].map((names) => names.join(", "));
  return [rest.description || template.description, pool, tools && `tools: ${tools}`, knowledge && `knowledge: ${knowledge}`].filter(Boolean).join(" · ");
}

export class Panel {
  #setup;
  #facts;
  #changed;

  /** `changed()` is called after each change that the person made to the set-up in hand. */
  constructor(facts, changed) {
    this.#facts = facts;
    this.#changed = changed;
    $("template").append(...facts.templates.map(({ name }) => option(name, name)));
    $("deployment").append(option("", "Whichever serves"), ...facts.deployments.map(({ name, model }) => option(name, model && model !== name ? `${name} (${model})` : name)));
    $("template").addEventListener("change", () => this.#choose($("template").value));
    $("reset").addEventListener("click", () => this.#choose(this.#setup.template));
    $("deployment").addEventListener("change", () => {
      this.#setup.deployment = $("deployment").value;
      this.#parameters();
      changed();
    });
    $("system").addEventListener("input", () => {
      this.#setup.system = $("system").value;
      this.#variables();
      changed();
    });
    $("past").addEventListener("input", () => {
      this.#setup.past_messages = $("past").value === "" ? null : Math.max(0, Math.round(Number($("past").value)));
      changed();
    });
    $("add-example").addEventListener("click", () => {
      this.#setup.examples.push({ user: "", assistant: "" });
      this.#examples();
      $("examples").lastChild.querySelector("textarea").focus();
    });
    $("examples").addEventListener("click", (event) => this.#move(event.target.closest("button")));
    $("setup").addEventListener("submit", (event) => event.preventDefault());
  }

  /** Show a set-up; the form changes the very object. */
  show(setup) {
    this.#setup = setup;
    const template = this.#facts.templates.find(({ name }) => name === setup.template);
    $("template").value = setup.template;
    $("deployment").value = setup.deployment;
    $("about").textContent = template ? about(template, setup.rest ?? {}) : "";
    $("system").value = setup.system;
    $("past").value = setup.past_messages ?? "";
    this.#variables();
    this.#examples();
    this.#parameters();
  }

  /** The tokens that were counted: of the system message, and of each whole example. */
  weigh(system, examples) {
    const whole = this.#setup.examples.map(({ user, assistant }) => Boolean(user.trim() && assistant.trim()));
    let at = 0;
    [...$("examples").children].forEach((item, place) => {
      item.querySelector("output").textContent = whole[place] ? tokens(examples[at++]) : "needs both sides";
    });
    $("cost-system").textContent = system === undefined ? "" : tokens(system);
    $("cost-examples").textContent = examples.length ? tokens(examples.reduce((a, b) => a + b)) : "";
  }

  #choose(name) {
    const { setup } = this.#facts.templates.find((one) => one.name === name);
    Object.assign(this.#setup, structuredClone(setup));
    this.show(this.#setup);
    this.#changed();
  }

  #variables() {
    const names = holes(this.#setup.system);
    $("variables").hidden = names.length === 0;
    const shown = [...$("variables").querySelectorAll("input")].map((input) => input.name);
    if (String(shown) === String(names)) {
      for (const input of $("variables").querySelectorAll("input")) input.value = this.#setup.inputs[input.name] ?? "";
      return;
    }
    const fields = names.map((name) => {
      const input = make("input", { name, value: this.#setup.inputs[name] ?? "" });
      input.addEventListener("input", () => {
        this.#setup.inputs[name] = input.value;
        this.#changed();
      });
      return make("label", {}, name, input);
    });
    $("variables").replaceChildren(make("legend", {}, "Variables"), ...fields);
  }

  #examples() {
    const { examples } = this.#setup;
    const button = (action, name, label, disabled) => {
      const made = make("button", { type: "button", class: "icon", "data-do": action, "aria-label": label, title: label }, icon(name));
      made.disabled = disabled;
      return made;
    };
    const items = examples.map((example, place) => {
      const field = (key, label) => {
        const box = make("textarea", { rows: 2, "aria-label": `Example ${place + 1}: ${label}`, placeholder: label });
        box.value = example[key];
        box.addEventListener("input", () => {
          example[key] = box.value;
          this.#changed();
        });
        return box;
      };
      const head = make(
        "div",
        {},
        make("b", {}, `Example ${place + 1}`),
        make("output", {}),
        button("up", "up", `Move example ${place + 1} up`, place === 0),
        button("down", "down", `Move example ${place + 1} down`, place === examples.length - 1),
        button("remove", "bin", `Remove example ${place + 1}`, false),
      );
      return make("li", {}, head, field("user", "What the person says"), field("assistant", "The ideal answer"));
    });
    $("examples").replaceChildren(...items);
    $("no-examples").hidden = examples.length > 0;
  }

  #move(button) {
    if (!button) return;
    const { examples } = this.#setup;
    const from = [...$("examples").children].indexOf(button.closest("li"));
    const action = button.dataset.do;
    const [taken] = examples.splice(from, 1);
    const to = from + (action === "up" ? -1 : 1);
    if (action !== "remove") examples.splice(to, 0, taken);
    this.#examples();
    const place = action === "remove" ? Math.min(from, examples.length - 1) : to;
    const next = $("examples").children[place];
    (next?.querySelector(`[data-do=${action}]:enabled`) ?? next?.querySelector("textarea") ?? $("add-example")).focus();
    this.#changed();
  }

  #parameters() {
    const { deployments } = this.#facts;
    const deployment = deployments.find(({ name }) => name === this.#setup.deployment) ?? deployments[0];
    const fields = Object.entries(deployment?.knobs ?? {}).map(([name, knob]) =>
      typeof knob[0] === "number" ? this.#range(name, knob) : this.#words(name, knob),
    );
    if (deployment?.knobs.temperature) fields.push(this.#stop());
    $("parameters").replaceChildren(make("legend", {}, "Parameters"), ...fields);
  }

  #set(name, value) {
    if (value === null || Number.isNaN(value)) delete this.#setup.parameters[name];
    else this.#setup.parameters[name] = value;
    this.#changed();
  }

  /** A slider and a number that mean the same; an empty number leaves the choice to the deployment. */
  #range(name, [low, high]) {
    const whole = high > 10;
    const limits = { min: low, max: high, step: whole ? 1 : 0.05 };
    const number = make("input", { type: "number", ...limits, step: whole ? 1 : "any", placeholder: "default", "aria-label": NAMES[name] ?? name });
    const slider = make("input", { type: "range", ...limits, "aria-label": `${NAMES[name] ?? name}, slider` });
    const value = this.#setup.parameters[name];
    number.value = value ?? "";
    slider.value = value ?? (name === "top_p" || name === "temperature" ? 1 : whole ? high : 0);
    slider.addEventListener("input", () => {
      number.value = slider.value;
      this.#set(name, Number(slider.value));
    });
    number.addEventListener("input", () => {
      const given = number.value === "" ? null : Math.min(high, Math.max(low, Number(number.value)));
      if (given !== null) slider.value = given;
      this.#set(name, whole && given !== null ? Math.round(given) : given);
    });
    number.addEventListener("change", () => (number.value = this.#setup.parameters[name] ?? ""));
    return make("div", { class: "knob", title: HELP[name] ?? "" }, make("span", {}, NAMES[name] ?? name), number, slider);
  }

  #words(name, choices) {
    const select = make("select", {}, option("", "default"), ...choices.map((one) => option(one, one)));
    select.value = this.#setup.parameters[name] ?? "";
    select.addEventListener("change", () => this.#set(name, select.value || null));
    return make("label", {}, NAMES[name] ?? name, select);
  }

  #stop() {
    const input = make("input", { placeholder: "none; several with | between" });
    input.value = (this.#setup.parameters.stop ?? []).join("|");
    input.addEventListener("input", () => {
      const given = input.value.split("|").filter(Boolean).slice(0, 4);
      this.#set("stop", given.length ? given : null);
    });
    return make("label", {}, "Stop sequences", input);
  }
}

export const tokens = (count) => `${count.toLocaleString("en")} token${count === 1 ? "" : "s"}`;

const ROLES = { system: "System", user: "Person", assistant: "Answer", tool: "Tool" };

/** What was sent, or would be: messages with their tokens, parameters, and what was left out and why. */
export function sentView(sent, title) {
  const facts = [sent.template, sent.deployment, ...Object.entries(sent.parameters).map(([name, value]) => `${name} ${value}`), sent.tools.length ? `tools ${sent.tools.join(", ")}` : ""];
  const messages = sent.messages.map(({ role, text, tokens: count, example }) => {
    const head = make("div", {}, make("b", {}, ROLES[role] + (example ? ", in an example" : "")), make("output", {}, tokens(count)));
    return make("li", { "data-role": role }, head, make("pre", {}, text));
  });
  const left = sent.left_out.map((words) => make("li", {}, words));
  return [
    make("h2", {}, title),
    make("p", { class: "note" }, [`about ${tokens(sent.tokens)}`, ...facts].filter(Boolean).join(" · ")),
    ...(left.length ? [make("div", { class: "left" }, make("b", {}, "Left out"), make("ul", {}, ...left))] : []),
    make("ol", { class: "messages" }, ...messages),
  ];
}
