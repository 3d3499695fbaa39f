// Signing in: what stands after the # of a link is not sent to the server, and is carried along from here.

/** @type {HTMLAnchorElement | null} */
const onward = document.querySelector("#onward");
if (onward) location.replace(onward.href + location.hash);

const to = document.querySelector("form")?.dataset.to;
if (to && location.hash) {
  document.querySelector("[name=to]")?.setAttribute("value", to + location.hash);
  /** @type {HTMLAnchorElement | null} */
  const link = document.querySelector("#entra");
  if (link) {
    const url = new URL(link.href);
    url.searchParams.set("to", to + location.hash);
    link.href = url.href;
  }
}

// Whoever leaves this browser for good leaves no list of chats in it.
/** @type {HTMLFormElement | null} */
const leave = document.querySelector("#leave");
leave?.addEventListener("submit", () => {
  for (const key of Object.keys(localStorage)) if (key.startsWith("parley.") && key.endsWith(`.${leave.dataset.person}`)) localStorage.removeItem(key);
});
