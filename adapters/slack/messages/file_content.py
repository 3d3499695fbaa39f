"""The files of a message: what can be fetched, what already arrived as text, and what can't be read, and why."""

from collections.abc import Sequence
from typing import NamedTuple, cast

from adapters.slack.payloads import Payload, objects, part, string
from bot.domain.events import Attachment, QuotedMessage, UnreadPart
from bot.domain.words import marked

CANVAS_MIME = "application/vnd.slack-docs"
MAX_FILES = 20
TEXT_CHARACTERS = 40_000
UNNAMED = marked("A file")
_ID_CHARACTERS, _URL_CHARACTERS = 255, 4_096

_CANVAS_MODES = frozenset(
    {"quip", "canvas", "space", "post", "docs"}
)  # space and post: the forms before canvases
_CANVAS_TYPES = frozenset({"quip", "canvas", "space", "post"})
_CLIPS = frozenset({"slack_audio", "slack_video"})
_SERVICES = {
    "gdrive": "Google Drive",
    "dropbox": "Dropbox",
    "box": "Box",
    "onedrive": "OneDrive",
    "sharepoint": "SharePoint",
}
_DELETED = marked("was deleted in Slack.")
_HIDDEN = marked("can't be opened: it is older than what this workspace's Slack plan keeps visible.")
_DENIED = marked("can't be opened: Slack gives me no access to it. Upload it in this conversation, please.")
_LIST = marked("is a Slack list, which I can't read. Export it as a CSV file, and send that, please.")
_NO_ID = marked("can't be opened: Slack sent no details about it. Upload it again, please.")
_NO_TRANSCRIPT = marked(
    "is a recording without a transcript, so I can't listen to it. Write what it says, please."
)
_TRANSCRIBING = marked("is a recording that Slack hasn't transcribed yet. Ask again in a minute, please.")
_ONLY_TRANSCRIPT = marked("is a video; I only read what is said in it.")
_CUT_TRANSCRIPT = marked("has a long transcript; I only read its beginning.")
_EMAIL_FILE = marked("came with an e-mail, and I can't open it there. Upload it as a file, please.")
_STORED_IN = marked("is stored in {service}, where I can't open it. Download it and upload it here, please.")
_STORED_OUTSIDE = marked(
    "is stored outside Slack, where I can't open it. Download it and upload it here, please."
)
_ACCESS = {
    "access_denied": _DENIED,
    "file_not_found": _DELETED,
    "file_deleted": _DELETED,
    "external_file_removed": _DELETED,
}
_MODES = {"tombstone": _DELETED, "hidden_by_limit": _HIDDEN, "list": _LIST}


class FileContents(NamedTuple):
    """The files of one message. `transcripts` are (name, text) of recordings."""

    attachments: tuple[Attachment, ...] = ()
    transcripts: tuple[tuple[str, str], ...] = ()
    quotes: tuple[QuotedMessage, ...] = ()
    unread: tuple[UnreadPart, ...] = ()

    def plus(self, other: "FileContents") -> "FileContents":
        """The contents of both."""
        return FileContents(
            self.attachments + other.attachments,
            self.transcripts + other.transcripts,
            self.quotes + other.quotes,
            self.unread + other.unread,
        )


def read_files(files: object) -> FileContents:
    """What is known of the files of a message before any of them is fetched."""
    listed = objects(files)
    contents = FileContents()
    for file in listed[:MAX_FILES]:
        contents = contents.plus(_file(file))
    if (more := len(listed) - MAX_FILES) > 0:
        rest = UnreadPart(
            name="The other files ({count})",
            reason="were not read: I read at most {limit} files of a message.",
            values=(("count", more), ("limit", MAX_FILES)),
        )
        contents = contents.plus(FileContents(unread=(rest,)))
    return contents


def name_of(file: Payload, unnamed: str = UNNAMED) -> str:
    """What people call a file; the title of a canvas or an e-mail, whose names are technical."""
    name, title = string(file.get("name")).strip(), string(file.get("title")).strip()
    titled = _is_canvas(file) or _is_email(file)
    return " ".join(((title or name) if titled else (name or title)).split())[:200] or unnamed


def unread_part(file: Payload) -> UnreadPart | None:
    """A file that can't be fetched, and why; None if it can."""
    reason, values = _obstacle(file)
    return UnreadPart(name=name_of(file), reason=reason, values=values) if reason else None


def _obstacle(file: Payload) -> tuple[str, tuple[tuple[str, str], ...]]:
    access, mode = string(file.get("file_access")), string(file.get("mode"))
    if reason := _MODES.get(mode) or _ACCESS.get(access):
        return reason, ()
    if string(file.get("filetype")) == "list" or string(file.get("mimetype")).startswith(
        "application/vnd.slack-list"
    ):
        return _LIST, ()
    if file.get("is_external") is True or mode == "external":
        kind = string(file.get("external_type")).lower()
        service = _SERVICES.get(kind) or string(file.get("external_type"))
        if service and service != "unknown":
            return _STORED_IN, (("service", service),)
        return _STORED_OUTSIDE, ()
    return ("" if string(file.get("id")) else _NO_ID), ()


def transcript_of(file: Payload) -> str:
    """The words of a recording, as far as Slack delivered them."""
    preview = part(part(file, "transcription"), "preview")
    return string(preview.get("content")).strip()[:TEXT_CHARACTERS]


def missing_transcript(file: Payload) -> str:
    """Why a recording has no transcript."""
    return _TRANSCRIBING if part(file, "transcription").get("status") == "processing" else _NO_TRANSCRIPT


def _file(file: Payload) -> FileContents:
    name = name_of(file)
    if why := unread_part(file):
        return FileContents(unread=(why,))
    if words := transcript_of(file):
        return FileContents(transcripts=((name, words),)).plus(_rest_of_clip(file, name))
    if _is_email(file) and (email := _email(file, name)):
        return email
    return FileContents(attachments=(attachment_of(file),))


def _rest_of_clip(file: Payload, name: str) -> FileContents:
    """The complete transcript of a long recording, or a note; and a note on the pictures of a video."""
    more = part(part(file, "transcription"), "preview").get("has_more") is True
    vtt = string(file.get("vtt"))
    notes: list[UnreadPart] = []
    attachments: tuple[Attachment, ...] = ()
    if more and vtt:
        whole = Attachment(
            id=f"{string(file.get('id'))}-vtt",
            name=f"{name} (transcript)",
            mime="text/vtt",
            data={"url": vtt},
        )
        attachments = (whole,)
    elif more:
        notes.append(UnreadPart(name=name, reason=_CUT_TRANSCRIPT))
    if string(file.get("subtype")) == "slack_video":
        notes.append(UnreadPart(name=name, reason=_ONLY_TRANSCRIPT))
    return FileContents(attachments=attachments, unread=tuple(notes))


def attachment_of(file: Payload) -> Attachment:
    """A file that the adapter fetches on demand. `data["kind"]` says what to expect of its bytes."""
    url = string(file.get("url_private_download")) or string(file.get("url_private"))
    size = file.get("size")
    kind = "canvas" if _is_canvas(file) else "email" if _is_email(file) else "clip" if _is_clip(file) else ""
    return Attachment(
        id=string(file.get("id"))[:_ID_CHARACTERS],
        name=name_of(file, unnamed=""),
        mime=string(file.get("mimetype"))[:_ID_CHARACTERS] or "application/octet-stream",
        size_bytes=size if isinstance(size, int) and size > 0 and not kind else None,
        data=({"url": url} if 0 < len(url) < _URL_CHARACTERS else {}) | ({"kind": kind} if kind else {}),
    )


def _is_canvas(file: Payload) -> bool:
    return (
        string(file.get("mimetype")) == CANVAS_MIME
        or string(file.get("mode")) in _CANVAS_MODES
        or string(file.get("filetype")) in _CANVAS_TYPES
    )


def _is_email(file: Payload) -> bool:
    return "email" in (string(file.get("mode")), string(file.get("filetype")))


def _is_clip(file: Payload) -> bool:
    return string(file.get("subtype")) in _CLIPS or string(file.get("mimetype")).startswith(
        ("audio/", "video/")
    )


# ------------------------------------------------------------------ e-mails


def _email(file: Payload, name: str) -> FileContents | None:
    """An e-mail that was forwarded to Slack; None if its text did not come with the message."""
    text = string(file.get("plain_text")) or string(file.get("preview_plain_text"))
    if not text.strip():
        return None
    subject = string(file.get("subject")) or name
    head = [f"Subject: {subject}", *(f"{label}: {who}" for label, who in _recipients(file) if who)]
    cut = len(text) > TEXT_CHARACTERS
    quote = QuotedMessage(
        author=_addresses(file.get("from")) or "an e-mail",
        text="\n".join([*head, "", text[:TEXT_CHARACTERS].strip()]),
        kind="e-mail",
    )
    unread = [UnreadPart(name=name, reason="is long; I only read its beginning.")] if cut else []
    unread += [
        UnreadPart(name=_attached(one), reason=_EMAIL_FILE) for one in objects(file.get("attachments"))
    ]
    return FileContents(quotes=(quote,), unread=tuple(unread[:MAX_FILES]))


def _recipients(file: Payload) -> Sequence[tuple[str, str]]:
    return [("To", _addresses(file.get("to"))), ("Cc", _addresses(file.get("cc")))]


def _attached(one: Payload) -> str:
    return string(one.get("filename")) or string(one.get("name")) or UNNAMED


def _addresses(people: object) -> str:
    if isinstance(people, str):
        return people[:200]
    found = cast("list[object]", people)[:10] if isinstance(people, list) else []
    read = [_address(one) for one in found]
    return ", ".join(address for address in read if address)[:500]


def _address(one: object) -> str:
    if not isinstance(one, dict):
        return string(one)
    person = cast("Payload", one)
    return string(person.get("original")) or string(person.get("name")) or string(person.get("address"))
