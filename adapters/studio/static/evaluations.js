// Starting an evaluation, and how far it is.

import { lines } from "./api.js";

const $ = (id) => document.getElementById(id);
let control;

$("start")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (control) return control.abort();
  const files = [...document.querySelectorAll("[name=file]:checked")].map(({ value }) => value);
  control = new AbortController();
  $("run").textContent = "Stop";
  $("trouble").textContent = "";
  $("progress").hidden = false;
  $("progress").removeAttribute("value");
  $("state").textContent = "Asking …";
  let ended = false;
  try {
    for await (const frame of lines("/studio/evaluations", { files, deployment: $("deployment").value }, control.signal)) {
      if (frame.kind === "progress") {
        $("progress").max = frame.of;
        $("progress").value = frame.answered;
        $("state").textContent = `${frame.answered} of ${frame.of}${frame.failed ? `, ${frame.failed} failed` : ""}`;
      } else if (frame.kind === "done") {
        ended = true;
        location.assign(frame.page);
      } else {
        ended = true;
        $("trouble").textContent = frame.words;
      }
    }
    if (!ended && !control.signal.aborted) $("trouble").textContent = "The connection was lost, and the run ended with it.";
  } catch (error) {
    $("trouble").textContent = error.message;
  }
  if (control.signal.aborted) $("trouble").textContent = "Stopped: nothing of this run is kept.";
  control = undefined;
  $("run").textContent = "Run";
  $("progress").hidden = true;
  $("state").textContent = "";
});
