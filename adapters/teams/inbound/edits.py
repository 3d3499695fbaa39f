"""Decides what an edited message of Teams asks for: a new answer, an answer in place of the old one, or nothing."""

import hashlib
from typing import NamedTuple

from adapters.shared.bounded_cache import BoundedCache
from adapters.teams.activities.activity import Activity
from adapters.teams.activities.parser import question_of_edit
from bot.domain.events import Event, MessageEdited, MessageReceived

_MAX_MESSAGES = 4096


class _Known(NamedTuple):
    digest: bytes
    asked: bool


class RecentMessages:
    """What this process knows of recent messages: digests of their texts, and which of them were questions.

    Teams reports every edit in the same way: a changed text, formatting, a preview. The worker recognises an
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
        if known is not None and known.digest == _digest(event.text) and not asks:
            return []
        return [event, question] if asks and question is not None else [event]

    def remember(self, event: Event) -> None:
        """Remember an event that is stored."""
        match event:
            case MessageReceived():
                id, asked = event.restores or event.id, event.addressed
            case MessageEdited():
                known = self._known.get(event.target)
                id, asked = event.target, known is not None and known.asked
            case _:
                return
        self._known[id] = _Known(_digest(event.text), asked)


def _digest(text: str) -> bytes:
    return hashlib.sha256(" ".join(text.split()).encode()).digest()[:16]
