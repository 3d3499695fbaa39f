// Sharing a conversation by link: whether it is shared, the link, and the end of it.

import { share, wordsOf } from "./api.js";
import { $, closable, copy } from "./dom.js";

const dialog = closable($("sharing"));
const SHARED = "Everybody who can sign in here and has the link can read this conversation, and what you add to it. Nobody else can write in it.";
const PRIVATE = "Only you can open this conversation, and operators can read it in their log. With a link, everybody who can sign in here can read it, and what you add to it, until you stop sharing it.";

/** @type {Map<string, string>} */
const links = new Map(); // paths, empty for conversations that are not shared
let conversation = ""; // the one that is shown, as far as it is stored

/** @param {string} id @param {string} path */
export function rememberLink(id, path) {
  links.set(id, path);
  if (id === conversation) draw();
}

/** Say whether this conversation is shared; "" is one that is not stored yet. @param {string} id */
export function showSharing(id) {
  if (id === conversation) return;
  conversation = id;
  draw();
}

function draw() {
  const link = links.get(conversation);
  const button = $("share");
  button.hidden = !conversation;
  button.ariaPressed = String(Boolean(link)); // and its label says so
  button.querySelector("span")?.replaceChildren(link ? "Shared" : "Share");
  $("sharing-words").textContent = link ? SHARED : PRIVATE;
  $("link-on").hidden = Boolean(link);
  for (const id of ["link-copy", "link-off"]) $(id).hidden = !link;
}

/** @param {boolean} shared */
async function turn(shared) {
  const id = conversation;
  $("sharing-alert").textContent = "";
  try {
    rememberLink(id, await share(id, shared));
    $(shared ? "link-copy" : "link-on").focus();
  } catch (error) {
    $("sharing-alert").textContent = wordsOf(error);
  }
}

$("share").addEventListener("click", () => {
  $("sharing-alert").textContent = "";
  dialog.showModal();
});
$("link-on").addEventListener("click", () => turn(true));
$("link-off").addEventListener("click", () => turn(false));
$("link-copy").addEventListener("click", () => copy($("link-copy"), `${location.origin}${links.get(conversation)}`));
