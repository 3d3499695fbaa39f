"""Attachments of a Teams message: files, pictures, quotes, cards, and what can't be read."""

import mimetypes
from typing import Any, NamedTuple

from adapters.teams.activities.activity import FILE, File, as_object
from adapters.teams.activities.card_text import card_text
from adapters.teams.activities.html_text import LOOP, html_to_text, media_part
from adapters.teams.activities.quotes import Quote, text_of
from bot.domain.events import Attachment, UnreadPart
from bot.domain.words import marked

UNLINKED = marked("reached me without a link to its content. Please attach it again.")
LINKED = marked(
    "is only linked here, and I can't open the link. Please attach the file to a message in a one-on-one chat "
    "with me."
)
UNKNOWN = marked("reached me without content that I can read. Please paste its text.")
VOICE = UnreadPart(
    name="The voice message", reason="can't be heard by me: Teams doesn't pass on its sound. Please type it."
)
_NO_CODE = marked("is stored where I can't read it. Please paste the code into the message.")
_LATER = marked("can't be opened by me. Please write down what matters in it.")
_PATH = "/v3/attachments/"


class OwnText(NamedTuple):
    """Words of the sender that are in an attachment: a code snippet, a headline."""

    text: str


Part = Attachment | Quote | UnreadPart | OwnText


def read_attachment(file: File) -> Part | None:
    """What an attachment is; None if it says nothing. HTML copies of the text are not for this function."""
    kind = file.content_type.partition(";")[0].strip()
    content = as_object(file.content)
    if kind in (FILE, "reference"):
        return _file(file, content, FILE if text_of(content, "downloadUrl") else kind)
    if kind.startswith("image/"):
        return _picture(file, kind)
    if kind.startswith(("video/", "audio/")):
        return media_part(file.name or "", "video" if kind.startswith("video/") else "recording")
    if kind in ("messageReference", "forwardedMessageReference"):
        return _reference(content, "forwarded" if kind.startswith("forwarded") else "quoted")
    if kind in ("text/plain", "text/markdown") and isinstance(file.content, str):
        return OwnText(file.content)
    if file.content_url and _PATH in file.content_url:
        return _stored(file, kind)
    return _card(file, kind.casefold(), content)


def _named(file: File, content: dict[str, Any], noun: str) -> str:
    """“The video” or, with a name, that name."""
    return ((file.name or "").strip() or text_of(content, "name", "title", "subject") or noun)[:200]


def _file(file: File, content: dict[str, Any], kind: str) -> Part:
    name = _named(file, content, "file")
    extension = text_of(content, "fileType")
    mime = (
        mimetypes.guess_type(name)[0]
        or mimetypes.guess_type(f"x.{extension}")[0]
        or "application/octet-stream"
    )
    if mime.startswith(("video/", "audio/")):
        return media_part(name, "video" if mime.startswith("video/") else "recording")
    if kind != FILE:
        return UnreadPart(name=name if name != "file" else marked("A file"), reason=LINKED)
    url = text_of(content, "downloadUrl")
    if not url:
        return UnreadPart(name=name if name != "file" else marked("A file"), reason=UNLINKED)
    known = text_of(content, "uniqueId") or file.content_url or url
    return Attachment(id=known, name=name, mime=mime, data={"kind": "file", "url": url})


def _picture(file: File, kind: str) -> Part:
    if not file.content_url:
        return UnreadPart(name=file.name or marked("The image"), reason=UNLINKED)
    return picture(file.content_url, file.name or "image", kind)


def picture(url: str, name: str = "image", mime: str = "image/*") -> Attachment:
    """An image that the service which delivered the message stores."""
    # Teams sends "image/*" for pasted images; models need a type, and detect the real one themselves.
    mime = "image/png" if mime == "image/*" else mime
    return Attachment(id=url, name=name, mime=mime, data={"kind": "inline", "url": url})


def _stored(file: File, kind: str) -> Part:
    """A file that is stored like a pasted image."""
    name = file.name or "file"
    mime = mimetypes.guess_type(name)[0] or (kind if "/" in kind else "application/octet-stream")
    url = file.content_url or ""
    return Attachment(id=url, name=name, mime=mime, data={"kind": "inline", "url": url})


def _reference(content: dict[str, Any], kind: str) -> Quote:
    """A message that is quoted or forwarded (Microsoft Graph, chatMessageAttachment)."""
    sender = as_object(content.get("messageSender") or content.get("originalMessageSender"))
    person = as_object(sender.get("user") or sender.get("application"))
    body = as_object(content.get("body"))
    text = text_of(content, "originalMessageContent", "messagePreview", "preview") or text_of(body, "content")
    id = text_of(content, "messageId", "originalMessageId")
    conversation = text_of(content, "originalConversationId")
    return Quote(
        kind=kind,
        author=text_of(person, "displayName"),
        text=html_to_text(text) if "<" in text else text,
        id=id,
        origin=f"https://teams.microsoft.com/l/message/{conversation}/{id}" if conversation and id else "",
    )


def _card(file: File, kind: str, content: dict[str, Any]) -> Part | None:
    """A card, or one of the things that Teams sends as cards."""
    name = (file.name or "").strip()
    if "fluid" in kind or "loop" in kind:
        return LOOP
    if "announcement" in kind:
        return OwnText(text_of(content, "title"))
    if "codesnippet" in kind:
        code = text_of(content, "code", "codeSnippet", "text", "content")
        if code:
            return OwnText(f"```\n{code}\n```")
        title = marked("The code snippet “{title}”") if name else marked("The code snippet")
        return UnreadPart(name=title, reason=_NO_CODE, values=(("title", name),))
    if kind.endswith((".audio", ".video", ".animation")):
        return _played(file, kind.rpartition(".")[2], content)
    if kind.endswith(("file.info", "file.consent")):
        return UnreadPart(name=_named(file, content, marked("A file")), reason=UNLINKED)
    if text := card_text(content):
        return Quote(kind="card", author=name, text=text)
    for noun, title in (("meeting", marked("The meeting")), ("tab", marked("The tab"))):
        if kind.startswith(f"{noun}reference") or f".{noun}" in kind:
            return UnreadPart(name=_named(file, content, title), reason=_LATER)
    if not (name or file.content_url or content):
        return None
    return UnreadPart(
        name=name or (marked("The card") if "card" in kind else marked("An attachment")), reason=UNKNOWN
    )


def _played(file: File, kind: str, content: dict[str, Any]) -> Part:
    title = (file.name or "").strip() or text_of(content, "title")
    if kind == "audio" and not title:
        return VOICE
    if kind == "animation":
        return UnreadPart(
            name=marked("The GIF “{title}”") if title else marked("The GIF"),
            reason="can't be opened by me. Please describe it in words.",
            values=(("title", title),),
        )
    return media_part(title, "video" if kind == "video" else "recording")
