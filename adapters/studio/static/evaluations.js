// Starting an evaluation, and how far it is.

import { lines, wordsOf } from "./api.js";
import { $ } from "./dom.js";

/** @import { EvaluationFrame } from "./types.js" */

const form = $("start");
/** @type {AbortController | undefined} */
let control;

/** Follows a run to its end; what went wrong, in words. @param {AbortSignal} signal */
async function follow(signal) {
  const files = [...document.querySelectorAll("[name=file]:checked")].map((box) => box.getAttribute("value"));
  /** @type {AsyncIterable<EvaluationFrame>} */
  const frames = lines("/studio/evaluations", { files, deployment: $("deployment").value }, signal);
  for await (const frame of frames) {
    if (frame.kind === "failed") return frame.words;
    if (frame.kind === "done") {
      location.assign(frame.page);
      return "";
    }
    $("progress").max = frame.of;
    $("progress").value = frame.answered;
    $("state").textContent = `${frame.answered} of ${frame.of}${frame.failed ? `, ${frame.failed} failed` : ""}`;
  }
  return signal.aborted ? "Stopped. The results were discarded." : "Connection lost. The run was stopped.";
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (control) return control.abort();
  control = new AbortController();
  $("run").textContent = "Stop";
  $("trouble").textContent = "";
  $("progress").hidden = false;
  $("progress").removeAttribute("value");
  $("state").textContent = "Running…";
  $("trouble").textContent = await follow(control.signal).catch(wordsOf);
  control = undefined;
  $("run").textContent = "Run";
  $("progress").hidden = true;
  $("state").textContent = "";
});
