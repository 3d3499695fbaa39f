// The menu on a narrow page: a drawer that opens and closes.

import { $ } from "./dom.js";

const rail = $("rail");
export const narrow = matchMedia("(max-width: 760px)");

export function fold() {
  if (!rail.classList.contains("shown")) return;
  rail.classList.remove("shown");
  rail.inert = narrow.matches;
  $("unfold").focus();
}

const rename = $("rename");
rename?.addEventListener("submit", () => rename.to.setAttribute("value", location.pathname + location.search + location.hash));
$("fold").addEventListener("click", fold);
$("scrim").addEventListener("click", fold);
$("unfold").addEventListener("click", () => {
  rail.classList.add("shown");
  rail.inert = false;
  $("fold").focus();
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !rail.classList.contains("shown")) return;
  event.stopImmediatePropagation();
  fold();
});
narrow.addEventListener("change", () => (rail.inert = narrow.matches && !rail.classList.contains("shown")));
rail.inert = narrow.matches;
