// Publishing, importing and exporting the set-up in hand.

import { make } from "./turn_view.js";
import { ask } from "./api.js";

const $ = (id) => document.getElementById(id);

/** `hand()` is the set-up in hand, `take(setup)` replaces it, `say(words)` tells the person something. */
export function keeping(hand, take, say) {
  const sheet = $("publish");
  let replace = false; // the person was told that somebody else published meanwhile
  $("open-publish").addEventListener("click", () => {
    $("publish-name").value = hand().template;
    $("publish-words").textContent = "";
    replace = false;
    sheet.showModal();
    $("publish-reason").focus();
  });
  sheet.addEventListener("click", (event) => {
    if (event.target === sheet || event.target.closest("[data-close]")) sheet.close();
  });
  $("publish-for").addEventListener("change", () => {
    for (const kind of ["percent", "channels"]) $(`publish-${kind}-label`).hidden = $("publish-for").value !== kind;
  });
  sheet.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const audience = $("publish-for").value;
    try {
      const done = await ask("/studio/playground/publish", {
        setup: hand(),
        name: $("publish-name").value,
        replace,
        reason: $("publish-reason").value,
        percent: audience === "percent" ? Number($("publish-percent").value) : 0,
        channels: audience === "channels" ? $("publish-channels").value.split(",") : [],
      });
      if (done.overtaken) {
        replace = true;
        $("publish-words").replaceChildren(done.overtaken, " ", make("a", { href: done.page, target: "_blank" }, "Its versions"));
        return;
      }
      hand().base = done.base;
      sheet.close();
      say(done.words, make("a", { href: done.page }, "Look at its versions"));
    } catch (error) {
      $("publish-words").textContent = error.message;
    }
  });

  $("import").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", async () => {
    const [file] = $("file").files;
    $("file").value = "";
    if (!file) return;
    try {
      const { setup } = await ask("/studio/playground/import", { template: hand().template, base: hand().base, file: file.name, text: await file.text() });
      take(setup);
      say(`“${file.name}” is in the set-up now.`);
    } catch (error) {
      say(error.message);
    }
  });

  $("export").addEventListener("change", async () => {
    const form = $("export").value;
    $("export").value = "";
    try {
      const { text, file } = await ask("/studio/playground/export", { setup: hand(), form });
      const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/plain" })), download: file });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    } catch (error) {
      say(error.message);
    }
  });
}
