"""Turns what the person at the page does into events."""

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web

from adapters.shared.http_body import TooLarge, parse_as, parse_form, read_body
from adapters.studio.auth.guard import HttpError
from adapters.studio.chat.frames import QuestionFrame, milliseconds
from bot.domain.errors import Malformed
from bot.domain.events import (
    Address,
    Event,
    FeedbackGiven,
    MessageEdited,
    MessageReceived,
    StopRequested,
    User,
    now,
)

MAX_BODY_BYTES = 256 * 1024
MAX_TEXT = 48_000
"""Characters of one message: about the smallest context window of the chat models in use."""

Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
"""128 random bits, made by the page: a message sent again is the same event, and no id can be guessed."""

NOT_YOURS = "This conversation doesn't exist or belongs to someone else."
_ID = re.compile(r"[0-9a-f]{32}")


class _TextRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`zone` and `locale` are those of the browser: "Europe/Berlin", "de-DE"."""

    id: Id
    text: str
    zone: Annotated[str, msgspec.Meta(max_length=64)] = ""
    locale: Annotated[str, msgspec.Meta(max_length=64)] = ""


class _EditRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Id
    target: Id
    text: str


class _StopRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Id


class _FeedbackRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Id
    post: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\.[0-9a-f]{32}\Z")]
    good: bool
    comment: Annotated[str, msgspec.Meta(max_length=4000)] = ""


_Kind = TypeVar("_Kind")
Taken = tuple[Event, QuestionFrame | None]
"""An event, and what the open pages are told about it."""
Act = Callable[[str, bytes, User], Taken]
"""Makes the event from a conversation, the body of a request, and who sent it. Raises HttpError."""


def message(conversation: str, body: bytes, user: User) -> Taken:
    """The person sent a message."""
    asked = parsed(body, _TextRequest)
    user = msgspec.structs.replace(user, zone=asked.zone, locale=asked.locale)
    act, text = _act(conversation, asked.id, user), _checked(asked.text)
    event = MessageReceived(**act, text=text, channel="studio", direct=True)
    return event, QuestionFrame(event=asked.id, at=milliseconds(event.at), text=text)


def edited(conversation: str, body: bytes, user: User) -> Taken:
    """The person edited a message: its answer is regenerated in its place."""
    correction = parsed(body, _EditRequest)
    text, target = _checked(correction.text), _act(conversation, correction.target, user)
    act = _act(conversation, correction.id, user) | {"address": target["address"]}
    event = MessageEdited(**act, target=target["id"], text=text, regenerate=True)
    return event, QuestionFrame(event=correction.target, at=milliseconds(event.at), text=text)


def stopped(conversation: str, body: bytes, user: User) -> Taken:
    """The person pressed Stop."""
    return StopRequested(**_act(conversation, parsed(body, _StopRequest).id, user)), None


def rated(conversation: str, body: bytes, user: User) -> Taken:
    """The person rated an answer of this conversation."""
    rating = parsed(body, _FeedbackRequest)
    if rating.post.partition(".")[0] != conversation.removeprefix("studio:"):
        raise HttpError(400, "This answer belongs to another conversation.")
    act = _act(conversation, rating.id, user)
    return FeedbackGiven(**act, post=rating.post, good=rating.good, comment=rating.comment), None


ACTS: dict[str, Act] = {"messages": message, "edit": edited, "stop": stopped, "rating": rated}
"""By the last part of the path."""


def conversation_of(request: web.Request) -> str:
    """The conversation that the path names. Raises HttpError."""
    id = request.match_info["id"]
    if not _ID.fullmatch(id):
        raise HttpError(400, "The id of a conversation has 32 hexadecimal digits.")
    return f"studio:{id}"


async def body_of(request: web.Request, mime: str, most_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The body; one that is too large is not read to its end. Raises HttpError."""
    if request.content_type != mime:
        raise HttpError(415, f"The body of this request must be {mime}.")
    try:
        return await read_body(request, most_bytes)
    except TooLarge:
        raise HttpError(413, f"This request is too large. The maximum is {most_bytes // 1024} kB.") from None
    except Malformed as error:
        raise HttpError(400, f"Invalid request: {error}.") from None


async def json_of(request: web.Request, kind: type[_Kind], most_bytes: int = MAX_BODY_BYTES) -> _Kind:
    """The body as JSON of a known shape. Raises HttpError."""
    return parsed(await body_of(request, "application/json", most_bytes), kind)


def parsed(body: bytes, kind: type[_Kind]) -> _Kind:
    """JSON of a known shape. Raises HttpError."""
    try:
        return parse_as(body, kind)
    except Malformed as error:
        raise HttpError(400, f"Invalid request: {error}.") from None


async def form_of(request: web.Request) -> dict[str, str]:
    """The fields of a form. Raises HttpError."""
    try:
        return parse_form(await body_of(request, "application/x-www-form-urlencoded"))
    except Malformed as error:
        raise HttpError(400, f"Invalid form: {error}.") from None


def _checked(text: str) -> str:
    if not text.strip():
        raise HttpError(400, "Enter a message.")
    if len(text) > MAX_TEXT:
        raise HttpError(413, f"This message is too long: {len(text):,} characters of at most {MAX_TEXT:,}.")
    return text


def _act(conversation: str, id: str, user: User) -> dict[str, Any]:
    """The fields that every event carries."""
    event = f"{conversation}:{id}"
    address = Address(conversation=conversation, event=event, data={"message": id}, owner=user.id)
    return {"id": event, "address": address, "user": user, "at": now()}
