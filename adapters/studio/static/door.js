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
