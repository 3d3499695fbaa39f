"""Messages that a Teams message quotes or forwards, from entities, attachments and HTML."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from bot.domain.events import QuotedMessage, UnreadPart
from bot.domain.words import marked

_WORD = re.compile(r"[^\s!-/:-@\[-`{-~]+")
_COMPARED = 60
"""Characters; previews are cut after about 200."""
NAMES = {"quoted": marked("The quoted message"), "forwarded": marked("The forwarded message")}

_DELETED = marked("was deleted.")
_WITHOUT_TEXT = marked("reached me without its text. Please paste it.")


class Quote(NamedTuple):
    """A quoted or forwarded message (`kind`); `id` is its id in Teams, `by` its author's, if known."""

    kind: str
    author: str
    text: str
    id: str = ""
    by: str = ""
    origin: str = ""
    deleted: bool = False


def words(text: str) -> list[str]:
    """The words of a text in lower case, for comparisons."""
    return _WORD.findall(text.casefold())


def merged(quotes: Iterable[Quote]) -> list[Quote]:
    """One quote for each message, because the same one comes as an entity, as an attachment and as HTML."""
    found: list[Quote] = []
    for quote in quotes:
        for at, known in enumerate(found[:_COMPARED]):
            if _is_same(known, quote):
                found[at] = _joined(known, quote)
                break
        else:
            found.append(quote)
    return found


def _is_same(one: Quote, other: Quote) -> bool:
    if one.id and other.id:
        return one.id == other.id
    first, second = ("".join(words(quote.text))[:_COMPARED] for quote in (one, other))
    if not first or not second:
        return one.kind == other.kind and (not one.id or not other.id)
    return first.startswith(second) or second.startswith(first)


def _joined(one: Quote, other: Quote) -> Quote:
    return Quote(
        kind=one.kind if one.kind == other.kind else "forwarded",
        author=one.author or other.author,
        text=max(one.text, other.text, key=len),
        id=one.id or other.id,
        by=one.by or other.by,
        origin=one.origin or other.origin,
        deleted=one.deleted or other.deleted,
    )


def split_unread(quotes: Iterable[Quote]) -> tuple[tuple[QuotedMessage, ...], list[UnreadPart]]:
    """The quotes that have a text, and the parts of the message that have none."""
    quoted: list[QuotedMessage] = []
    unread: list[UnreadPart] = []
    for quote in quotes:
        if quote.deleted or not quote.text.strip():
            why = _DELETED if quote.deleted else _WITHOUT_TEXT
            unread.append(UnreadPart(name=NAMES.get(quote.kind, marked("The card")), reason=why))
            continue
        quoted.append(
            QuotedMessage(
                author=quote.author,
                text=quote.text.strip(),
                at=time_of_id(quote.id),
                by=quote.by,
                kind=quote.kind,
                origin=quote.origin,
            )
        )
    return tuple(quoted), unread


def time_of_id(id: str) -> datetime | None:
    """The time of a message, whose id is its time in milliseconds; None for other ids."""
    if not (id.isascii() and id.isdigit() and 12 <= len(id) <= 14):
        return None
    return datetime.fromtimestamp(int(id) / 1000, UTC)


def quoted_reply(entity: dict[str, Any]) -> Quote | None:
    """The quote of an entity `quotedReply`; Teams sends a preview of its text. None for other entities."""
    quoted = entity.get("quotedReply")
    if entity.get("type") != "quotedReply" or not isinstance(quoted, dict):
        return None
    fields = cast("dict[str, object]", quoted)
    return Quote(
        kind="quoted",
        author=text_of(fields, "senderName"),
        text=text_of(fields, "preview"),
        id=text_of(fields, "messageId"),
        by=_comparable(text_of(fields, "senderId")),
        deleted=bool(fields.get("isReplyDeleted")),
    )


def text_of(fields: dict[str, Any], *names: str) -> str:
    """The first text with one of these names; empty if there is none."""
    return next((text for name in names if isinstance(text := fields.get(name), str) and text.strip()), "")


def _comparable(id: str) -> str:
    """An id as in `from.id` of activities; ids of other kinds identify nobody here."""
    return id if id.startswith("29:") else ""
