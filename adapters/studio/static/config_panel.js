// The playground's panel: a configuration as a form, and what is sent, message by message.

import { Changes } from "./changes.js";
import { $, make, tokens, tool } from "./dom.js";

/** @import { Config, Example, ParameterRange, PlaygroundFacts, PromptReport, TemplateCard } from "./types.js" */

const BUILT_IN = new Set(["user_name", "date", "channel", "platform"]);
/** @type {Record<string, [label: string, help?: string]>} */
const PARAMETERS = {
  temperature: ["Temperature", "Higher values give more varied answers; lower values more consistent ones."],
  top_p: ["Top P", "Only the most likely tokens, up to this probability. Change this or the temperature, not both."],
  presence_penalty: ["Presence penalty", "Positive: introduce new topics. Negative: stay on topic."],
  frequency_penalty: ["Frequency penalty", "Positive: repeat the same words less often."],
  max_output_tokens: ["Max output tokens", "The answer is cut off at this length."],
  reasoning_effort: ["Reasoning effort"],
  verbosity: ["Verbosity"],
};

const option = (/** @type {string} */ value, label = value) => make("option", { value }, label);

/** The names between double braces that a variable has to fill. @param {string} text */
function variablesOf(text) {
  const names = Array.from(text.matchAll(/\{\{(.*?)\}\}/g), ([, name = ""]) => name.trim());
  return [...new Set(names)].filter((name) => name && !BUILT_IN.has(name));
}

/** What the form does not show: as the template has it, or an imported file. @param {TemplateCard} template @param {Config["rest"]} rest */
function about(template, rest) {
  const pool = rest.pool ? `${rest.shots ?? 0} nearest of the pool “${rest.pool}”` : template.pool;
  const [tools, knowledge] = [(rest.tools ?? template.tools).join(", "), (rest.knowledge ?? template.knowledge).join(", ")];
  return [rest.description || template.description, pool, tools && `tools: ${tools}`, knowledge && `knowledge: ${knowledge}`].filter(Boolean).join(" · ");
}

export class ConfigPanel {
  #config;
  #facts;
  #page;
  /** @type {WeakMap<Config, Changes>} */
  #changes = new WeakMap();

  /**
   * @param {PlaygroundFacts} facts @param {Config} config
   * @param {{ changed: () => void, discards: () => Promise<boolean>, notify: (text: string, ...more: Node[]) => void }} page
   * `changed` is called after each change that the person makes, `discards` asks whether edits may go
   */
  constructor(facts, config, page) {
    this.#facts = facts;
    this.#config = config;
    this.#page = page;
    const deployments = facts.deployments.map(({ name, model }) => option(name, model && model !== name ? `${name} (${model})` : name));
    $("template").append(...facts.templates.map(({ name }) => option(name)));
    $("deployment").append(option("", "Automatic"), ...deployments);
    $("template").addEventListener("change", async () => {
      const name = $("template").value;
      if (await page.discards()) this.#choose(name);
      else $("template").value = this.#config.template;
    });
    $("reset").addEventListener("click", () => {
      this.#choose(this.#config.template);
      this.#offerUndo("The configuration was reset to its template.");
    });
    this.#bind($("deployment"), "deployment", (value) => {
      this.#config.deployment = value;
      this.#showDeployment();
      this.#showParameters();
    });
    this.#bind($("system"), "system", (value) => {
      this.#config.system = value;
      this.#showVariables();
    });
    this.#bind($("past"), "past", (value) => (this.#config.past_messages = value === "" ? null : Math.max(0, Math.round(Number(value)))));
    $("add-example").addEventListener("click", () => {
      this.#config.examples.push({ user: "", assistant: "" });
      this.#showExamples();
      this.#noted();
      $("examples").lastElementChild?.querySelector("textarea")?.focus();
    });
    $("setup").addEventListener("submit", (event) => event.preventDefault());
    addEventListener("keydown", (event) => this.#onKey(event));
    this.show(config);
  }

  /** Show a configuration; the form changes the very object. @param {Config} config */
  show(config) {
    this.#config = config;
    this.#history.note();
    const template = this.#template(config.template);
    $("template").value = config.template;
    this.#showDeployment();
    $("about").textContent = template ? about(template, config.rest) : "";
    $("system").value = config.system;
    $("past").value = String(config.past_messages ?? "");
    this.#showVariables();
    this.#showExamples();
    this.#showParameters();
  }

  /** The changes of the configuration that is shown. */
  get #history() {
    const known = this.#changes.get(this.#config) ?? new Changes(this.#config);
    this.#changes.set(this.#config, known);
    return known;
  }

  /** The person made a change. @param {string} key of its field */
  #noted(key = "") {
    this.#history.note(key);
    this.#page.changed();
  }

  /** @param {string} words @param {Config} config in which the last change was made */
  #offerUndo(words, config = this.#config) {
    const undo = () => {
      if (config === this.#config) this.#undo("");
      $("banner").hidden = true;
    };
    this.#page.notify(words, make("button", { type: "button", class: "plain", onclick: undo }, "Undo"));
  }

  /** The browser's own undo knows nothing of removed examples, and would change another field. @param {KeyboardEvent} event */
  #onKey(event) {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || document.querySelector("dialog[open]")) return;
    const [key, focused] = [event.key.toLowerCase(), document.activeElement];
    const own = focused instanceof HTMLElement ? focused : document.body;
    if ((key !== "z" && key !== "y") || !(own === document.body || $("setup").contains(own))) return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) this.#shown(this.#history.redo());
    else this.#undo(own.dataset.key ?? "");
  }

  /** @param {string} key of the field that has the focus */
  #undo(key) {
    this.#shown(this.#history.undo(key));
  }

  /** Show what was undone, and where. @param {string | undefined} key */
  #shown(key) {
    if (key === undefined) return;
    this.show(this.#config);
    /** @type {HTMLElement | null} */
    const field = key ? $("setup").querySelector(`[data-key="${CSS.escape(key)}"]`) : null;
    field?.focus();
    this.#page.changed();
  }

  /** A deployment that does not exist here stays visible, and another one is asked for. */
  #showDeployment() {
    const { deployment } = this.#config;
    const known = !deployment || this.#facts.deployments.some(({ name }) => name === deployment);
    for (const gone of $("deployment").querySelectorAll("[data-gone]")) gone.remove();
    if (!known) $("deployment").append(make("option", { value: deployment, "data-gone": true }, `${deployment} (does not exist here)`));
    $("deployment").value = deployment;
    $("deployment").ariaInvalid = known ? null : "true";
    $("no-deployment").textContent = known ? "" : `The deployment “${deployment}” doesn’t exist here. Choose another one: nothing is sent before.`;
  }

  /** Show counted tokens: of the system message, and of each complete example. @param {number | undefined} system @param {number[]} examples */
  showTokens(system, examples) {
    const counted = [...examples];
    const outputs = $("examples").querySelectorAll("output");
    this.#config.examples.forEach(({ user, assistant }, at) => {
      const count = user.trim() && assistant.trim() ? counted.shift() : undefined;
      const output = outputs[at];
      if (output) output.textContent = count === undefined ? "incomplete" : tokens(count);
    });
    $("cost-system").textContent = system === undefined ? "" : tokens(system);
    $("cost-examples").textContent = examples.length ? tokens(examples.reduce((a, b) => a + b)) : "";
  }

  /** @param {string} name */
  #template(name) {
    return this.#facts.templates.find((one) => one.name === name);
  }

  /** @param {string} name */
  #choose(name) {
    Object.assign(this.#config, structuredClone(this.#template(name)?.setup));
    this.#noted();
    this.show(this.#config);
  }

  /**
   * Call `set` with the value of a field at each input.
   * @template {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} Field
   * @param {Field} field @param {string} key names it @param {(value: string) => void} set
   */
  #bind(field, key, set) {
    field.dataset.key = key;
    field.addEventListener("input", () => {
      set(field.value);
      this.#noted(key);
    });
    return field;
  }

  #showVariables() {
    const { inputs, system } = this.#config;
    const names = variablesOf(system);
    $("variables").hidden = names.length === 0;
    const fields = $("variables").querySelectorAll("input");
    if (String(Array.from(fields, ({ name }) => name)) === String(names)) {
      for (const field of fields) field.value = inputs[field.name] ?? ""; // the one that has the focus keeps it
      return;
    }
    const labels = names.map((name) => {
      const field = make("input", { name, dir: "auto", placeholder: "No value: it can’t be published", value: inputs[name] ?? "" });
      return make("label", {}, name, this.#bind(field, `input ${name}`, (value) => (this.#config.inputs[name] = value)));
    });
    $("variables").replaceChildren(make("legend", {}, "Variables"), ...labels);
  }

  #showExamples() {
    const { examples } = this.#config;
    $("examples").replaceChildren(...examples.map((example, at) => this.#example(example, at, at === examples.length - 1)));
    $("no-examples").hidden = examples.length > 0;
  }

  /** @param {Example} example @param {number} at @param {boolean} last */
  #example(example, at, last) {
    const name = `Example ${at + 1}`;
    /** @param {"user" | "assistant"} side @param {string} label */
    const field = (side, label) => {
      const box = make("textarea", { rows: 2, dir: "auto", "aria-label": `${name}: ${label}`, placeholder: label, value: example[side] });
      return this.#bind(box, `example ${at} ${side}`, (value) => (example[side] = value));
    };
    const head = make(
      "div",
      {},
      make("b", {}, name),
      make("output"),
      tool("up", `Move ${name.toLowerCase()} up`, { disabled: at === 0, onclick: () => this.#move(at, "up") }),
      tool("down", `Move ${name.toLowerCase()} down`, { disabled: last, onclick: () => this.#move(at, "down") }),
      tool("bin", `Remove ${name.toLowerCase()}`, { onclick: () => this.#move(at, "bin") }),
    );
    return make("li", {}, head, field("user", "User"), field("assistant", "Assistant"));
  }

  /** Move or remove an example; the button's neighbour gets the focus. @param {number} from @param {"up" | "down" | "bin"} action */
  #move(from, action) {
    const { examples } = this.#config;
    const to = { up: from - 1, down: from + 1, bin: Math.min(from, examples.length - 2) }[action];
    const taken = examples.splice(from, 1);
    if (action !== "bin") examples.splice(to, 0, ...taken);
    this.#showExamples();
    this.#noted();
    if (action === "bin") this.#offerUndo(`Example ${from + 1} was removed.`);
    const next = $("examples").children[to];
    /** @type {HTMLElement | null | undefined} */
    const button = next?.querySelector(`[data-do=${action}]:enabled`);
    (button ?? next?.querySelector("textarea") ?? $("add-example")).focus();
  }

  #showParameters() {
    const { deployments } = this.#facts;
    const { knobs = {} } = deployments.find(({ name }) => name === this.#config.deployment) ?? deployments[0] ?? {};
    const fields = Object.entries(knobs).map(([name, range]) => this.#parameter(name, range));
    if (knobs.temperature) fields.push(this.#stop());
    $("parameters").replaceChildren(make("legend", {}, "Parameters"), ...fields);
  }

  /** @param {string} name @param {ParameterRange} range */
  #parameter(name, range) {
    const [label, help = ""] = PARAMETERS[name] ?? [name];
    const [low, high] = range;
    if (typeof low === "number" && typeof high === "number") return this.#number(name, label, help, low, high);
    const select = make("select", {}, option("", "Default"), ...range.map((one) => option(String(one))));
    select.value = String(this.#config.parameters[name] ?? "");
    return make("label", {}, label, this.#bind(select, `parameter ${name}`, (value) => this.#set(name, value || null)));
  }

  /** @param {string} name @param {Config["parameters"][string]} value null leaves the choice to the deployment */
  #set(name, value) {
    if (value === null) delete this.#config.parameters[name];
    else this.#config.parameters[name] = value;
  }

  /** A slider and a number that mean the same. @param {string} name @param {string} label @param {string} help @param {number} low @param {number} high */
  #number(name, label, help, low, high) {
    const whole = high > 10;
    const [given, limits] = [this.#config.parameters[name], { min: low, max: high }];
    const unset = name === "top_p" || name === "temperature" ? 1 : whole ? high : 0;
    const number = make("input", { type: "number", ...limits, step: whole ? 1 : "any", placeholder: "default", "aria-label": label, value: String(given ?? "") });
    const slider = make("input", { type: "range", ...limits, step: whole ? 1 : 0.05, "aria-label": `${label}, slider`, value: String(given ?? unset) });
    this.#bind(slider, `slider ${name}`, (value) => {
      number.value = value;
      this.#set(name, Number(value));
    });
    this.#bind(number, `parameter ${name}`, (text) => {
      const value = Math.min(high, Math.max(low, whole ? Math.round(Number(text)) : Number(text)));
      if (text !== "") slider.value = String(value);
      this.#set(name, text === "" ? null : value);
    });
    number.addEventListener("change", () => (number.value = String(this.#config.parameters[name] ?? "")));
    return make("div", { class: "knob", title: help }, make("span", {}, label), number, slider);
  }

  #stop() {
    const { stop } = this.#config.parameters;
    const input = make("input", { placeholder: "none; separate several with |", value: Array.isArray(stop) ? stop.join("|") : "" });
    this.#bind(input, "stop", (value) => {
      const given = value.split("|").filter(Boolean).slice(0, 4);
      this.#set("stop", given.length ? given : null);
    });
    return make("label", {}, "Stop sequences", input);
  }
}

const ROLES = { system: "System", user: "User", assistant: "Assistant", tool: "Tool" };

/** What was sent, or would be: messages with their tokens, parameters, and what was left out and why. @param {PromptReport} sent @param {string} title */
export function promptView(sent, title) {
  const parameters = Object.entries(sent.parameters).map(([name, value]) => `${name} ${value}`);
  const facts = [`about ${tokens(sent.tokens)}`, sent.template, sent.deployment, ...parameters, sent.tools.length ? `tools ${sent.tools.join(", ")}` : ""];
  const messages = sent.messages.map(({ role, text, tokens: count, example }) => {
    const head = make("div", {}, make("b", {}, ROLES[role] + (example ? " (example)" : "")), make("output", {}, tokens(count)));
    return make("li", { "data-role": role }, head, make("pre", { dir: "auto" }, text));
  });
  const left = sent.left_out.map((words) => make("li", {}, words));
  return [
    make("h2", {}, title),
    make("p", { class: "note" }, facts.filter(Boolean).join(" · ")),
    ...(left.length ? [make("div", { class: "left" }, make("b", {}, "Left out"), make("ul", {}, ...left))] : []),
    make("ol", { class: "messages" }, ...messages),
  ];
}
