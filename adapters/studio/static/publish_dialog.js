// Publishing, importing and exporting a configuration.

import { ask, wordsOf } from "./api.js";
import { $, closable, make } from "./dom.js";

/** @import { Playground } from "./types.js" */

/** @param {Playground} playground */
export function publishing({ config, changed, discards, kept, notify }) {
  const dialog = closable($("publish"));
  const words = $("publish-words");
  let replace = false; // the person was told that somebody else published meanwhile

  $("open-publish").addEventListener("click", () => {
    $("publish-name").value = config().template;
    words.textContent = "";
    replace = false;
    dialog.showModal();
    $("publish-reason").focus();
  });
  $("publish-for").addEventListener("change", () => {
    const audience = $("publish-for").value;
    $("publish-percent-label").hidden = audience !== "percent";
    $("publish-channels-label").hidden = audience !== "channels";
  });
  dialog.querySelector("form")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const audience = $("publish-for").value;
    const [channels, percent] = [$("publish-channels").value.split(/[,\s]+/).filter(Boolean), Number($("publish-percent").value)];
    const missing = { all: "", channels: channels.length ? "" : "Enter the id of at least one channel, or choose another audience.", percent: percent >= 1 && percent <= 100 ? "" : "Enter a percentage from 1 to 100." };
    words.textContent = missing[/** @type {keyof typeof missing} */ (audience)] ?? "";
    if (words.textContent) return;
    try {
      const done = await ask("/studio/playground/publish", {
        setup: config(),
        name: $("publish-name").value,
        replace,
        reason: $("publish-reason").value,
        percent: audience === "percent" ? percent : 0,
        channels: audience === "channels" ? channels : [],
      });
      if (done.overtaken) {
        replace = true;
        words.replaceChildren(done.overtaken, " ", make("a", { href: done.page, target: "_blank" }, "View versions"));
        return;
      }
      config().base = done.base;
      kept();
      dialog.close();
      notify(done.words, make("a", { href: done.page }, "View versions"));
    } catch (error) {
      words.textContent = wordsOf(error);
    }
  });

  $("import").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", async () => {
    const file = $("file").files?.[0];
    $("file").value = "";
    if (!file) return;
    try {
      const { template, base } = config();
      const { setup, words: told } = await ask("/studio/playground/import", { template, base, file: file.name, text: await file.text() });
      if (!(await discards([config()]))) return;
      Object.assign(config(), setup);
      changed();
      notify(told);
    } catch (error) {
      notify(wordsOf(error));
    }
  });

  $("export").addEventListener("change", async () => {
    const form = $("export").value;
    $("export").value = "";
    try {
      const { text, file } = await ask("/studio/playground/export", { setup: config(), form });
      const href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
      make("a", { href, download: file }).click();
      setTimeout(() => URL.revokeObjectURL(href), 10_000);
    } catch (error) {
      notify(wordsOf(error));
    }
  });
}
