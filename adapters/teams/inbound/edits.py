"""Decides what an edited message of Teams asks for: a new answer, an answer in place of the old one, or nothing."""

import hashlib
from typing import NamedTuple

import msgspec

from adapters.shared.bounded_cache import BoundedCache
from adapters.teams.activities.activity import Activity
from adapters.teams.activities.parser import question_of_edit
from bot.domain.events import Event, MessageEdited, MessageReceived, own_parts

_MAX_MESSAGES = 4096


class _Known(NamedTuple):
    text: bytes
    parts: bytes
    asked: bool


class RecentMessages:
    """What this process knows of recent messages: digests of what they say, and which of them were questions.

    Teams reports every edit in the same way: a changed text or file, formatting, a preview. The worker recognises an
    unchanged question, too; here it costs nothing, and a command, of which no turn is stored, is not repeated.
    """

    def __init__(self) -> None:
        self._known = BoundedCache[str, _Known](_MAX_MESSAGES)

    def changes(self, activity: Activity, event: Event | None) -> list[Event]:
        """The events to store, in order; several for an edit that mentions the bot.

        The first of them repeats the answer to the message, if there is one; the second asks for one otherwise.
        """
        if not isinstance(event, MessageEdited):
            return [event] if event is not None else []
        known, question = self._known.get(event.target), question_of_edit(activity)
        asks = question is not None and not (known and known.asked)
        if known is not None and known == _known(event, known) and not asks:
            return []
        return [event, question] if asks and question is not None else [event]

    def remember(self, event: Event) -> None:
        """Remember an event that is stored."""
        match event:
            case MessageReceived():
                self._known[event.restores or event.id] = _known(event)
            case MessageEdited():
                self._known[event.target] = _known(event, self._known.get(event.target))
            case _:
                pass


def _known(message: MessageReceived | MessageEdited, before: _Known | None = None) -> _Known:
    """What to know of a message, or of an edited one of which `before` was known."""
    text = _digest(" ".join(message.text.split()).encode())
    if isinstance(message, MessageReceived):
        return _Known(text, _digest(msgspec.json.encode(own_parts(message))), message.addressed)
    parts = before.parts if before is not None else b""
    if message.parts is not None:
        parts = _digest(msgspec.json.encode(own_parts(message.parts)))
    return _Known(text, parts, before is not None and before.asked)


def _digest(words: bytes) -> bytes:
    return hashlib.sha256(words).digest()[:16]
