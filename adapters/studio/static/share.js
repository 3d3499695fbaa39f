// Sharing a conversation by link: whether it is shared, the link, and the end of it.

import { linkOf, share, wordsOf } from "./api.js";
import { $, closable, copy } from "./dom.js";

const dialog = closable($("sharing"));
const SHARED = "Everybody who can sign in here and has the link can read this conversation, and what you add to it. Nobody else can write in it.";
const PRIVATE = "Only you can open this conversation. With a link, everybody who can sign in here can read it, and what you add to it, until you stop sharing it.";

let conversation = ""; // the one that is shown, as far as it is stored
let link = ""; // its path; empty while it is not shared

function draw() {
  const button = $("share");
  button.hidden = !conversation;
  button.ariaPressed = String(Boolean(link)); // and its label says so
  button.querySelector("span")?.replaceChildren(link ? "Shared" : "Share");
  $("sharing-words").textContent = link ? SHARED : PRIVATE;
  $("link-on").hidden = Boolean(link);
  for (const id of ["link-copy", "link-off"]) $(id).hidden = !link;
}

/** Say whether this conversation is shared; "" is one that is not stored yet. @param {string} id */
export async function showSharing(id) {
  if (id === conversation) return;
  conversation = id;
  link = "";
  draw();
  const found = id ? await linkOf(id).catch(() => "") : "";
  if (conversation !== id) return;
  link = found;
  draw();
}

/** @param {boolean} shared */
async function turn(shared) {
  const id = conversation;
  $("sharing-alert").textContent = "";
  try {
    const path = await share(id, shared);
    if (conversation !== id) return;
    link = path;
    draw();
    $(link ? "link-copy" : "link-on").focus();
  } catch (error) {
    $("sharing-alert").textContent = wordsOf(error);
  }
}

$("share").addEventListener("click", () => {
  $("sharing-alert").textContent = "";
  draw();
  dialog.showModal();
});
$("link-on").addEventListener("click", () => turn(true));
$("link-off").addEventListener("click", () => turn(false));
$("link-copy").addEventListener("click", () => copy($("link-copy"), location.origin + link));
