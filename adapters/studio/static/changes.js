// Undo and redo of a configuration: one step for each change, in order.

/** @import { Config } from "./types.js" */

const TOGETHER_MS = 1000; // what is typed in one field without a longer pause is one step
const MOST = 200;

/** @typedef {{ key: string, at: number, values: Partial<Config> }} Step the values of the fields before a change */

/** @param {Config} config @returns {Config} */
const copy = (config) => structuredClone(config);

export class Changes {
  #config;
  #state;
  /** @type {Step[]} */
  #done = [];
  /** @type {Step[]} */
  #undone = [];

  /** @param {Config} config the very object that is changed */
  constructor(config) {
    this.#config = config;
    this.#state = copy(config);
  }

  /** Note what has changed since the last call. @param {string} key names the field; empty for a change of several */
  note(key = "") {
    const values = this.#different();
    if (!values) return;
    const at = Date.now();
    const last = this.#done.at(-1);
    if (last && key && last.key === key && at - last.at < TOGETHER_MS) last.at = at;
    else this.#done.push({ key, at, values });
    this.#done.splice(0, this.#done.length - MOST);
    this.#undone = [];
    this.#state = copy(this.#config);
  }

  /**
   * Take back the last change of a field, or the last of all if another one came after it in the same part of the
   * configuration. Returns the key of the field; undefined if there is nothing to undo.
   * @param {string} [key]
   */
  undo(key = "") {
    this.note();
    return this.#take(this.#done, this.#undone, this.#place(key));
  }

  redo() {
    return this.#take(this.#undone, this.#done, this.#undone.length - 1);
  }

  /** @param {string} key */
  #place(key) {
    const last = this.#done.length - 1;
    const own = key ? this.#done.map((step) => step.key).lastIndexOf(key) : -1;
    if (own < 0) return last;
    const parts = Object.keys(this.#done[own]?.values ?? {});
    const later = this.#done.slice(own + 1);
    return later.some(({ values }) => parts.some((part) => part in values)) ? last : own;
  }

  /** @param {Step[]} from @param {Step[]} to @param {number} at */
  #take(from, to, at) {
    const [step] = at < 0 ? [] : from.splice(at, 1);
    if (!step) return undefined;
    const names = /** @type {(keyof Config)[]} */ (Object.keys(step.values));
    to.push({ ...step, at: 0, values: pick(this.#config, names) });
    Object.assign(this.#config, copy(/** @type {Config} */ (step.values)));
    this.#state = copy(this.#config);
    return step.key;
  }

  /** The values before the change, of what has changed. @returns {Partial<Config> | null} */
  #different() {
    const names = /** @type {(keyof Config)[]} */ (Object.keys(this.#config));
    const changed = names.filter((name) => JSON.stringify(this.#config[name]) !== JSON.stringify(this.#state[name]));
    return changed.length ? pick(this.#state, changed) : null;
  }
}

/** @param {Config} config @param {(keyof Config)[]} names @returns {Partial<Config>} */
const pick = (config, names) => structuredClone(Object.fromEntries(names.map((name) => [name, config[name]])));
