// The way in: what stands after the # of a link is not sent to the server, and comes along from here.

const onward = document.getElementById("onward");
if (onward) location.replace(onward.href + location.hash);

const way = document.querySelector("[data-to]")?.dataset.to;
if (way && location.hash) {
  const field = document.querySelector("[name=to]");
  if (field) field.value = way + location.hash;
  const link = document.getElementById("entra");
  if (link) {
    const url = new URL(link.href);
    url.searchParams.set("to", way + location.hash);
    link.href = url.href;
  }
}

// Whoever leaves this browser for good leaves no list of chats in it.
const leave = document.getElementById("leave");
leave?.addEventListener("submit", () => {
  for (const key of Object.keys(localStorage)) if (key.startsWith("parley.") && key.endsWith(`.${leave.dataset.person}`)) localStorage.removeItem(key);
});
