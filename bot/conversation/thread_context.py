"""Adds the earlier messages of a thread to a message."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate

from msgspec.structs import replace

from bot.domain.errors import BotError, NotAllowed, Refused
from bot.domain.events import MessageReceived, QuotedMessage
from bot.domain.turns import Turn
from bot.generation import context_window

log = logging.getLogger(__name__)

Context = Callable[[bool], Awaitable[tuple[QuotedMessage, ...]]]
"""Returns the earlier messages of the thread; with True, for a new thread, those of the channel.

Raises BotError; Refused if the bot has no access.
"""

_PATIENCE_S = 8.0
"""How long an answer waits for these messages."""
_QUOTES = 50
_QUOTED_CHARACTERS = 12_000
_ASKED = 160
_SUM = re.compile(
    r"\b(?:summari[sz]e|summary|sum (?:it |this )?up|recap|tl;?dr|catch (?:me|us) up"
    r"|what (?:was|were|has been|did|have)\b[\w\s]{0,20}\b(?:said|say|miss(?:ed)?|discussed|decided))\b",
    re.IGNORECASE,
)
_NEW_THREAD = re.compile(
    r"\b(?:this|the|our)\b[\w\s]{0,20}\b(?:thread|channel|chat|conversation|discussion)\b|\b(?:here|above)\b",
    re.IGNORECASE,
)
_NOTHING = "There are no earlier messages here to summarize."
_UNAVAILABLE = "I can't read the earlier messages at the moment. Try again in a minute."
_PARTLY = "I could only read messages addressed to me in this thread."


async def nothing_before(include_channel: bool) -> tuple[QuotedMessage, ...]:
    """For places without threads."""
    return ()


def is_asked_for(received: MessageReceived) -> bool:
    """Whether the message requests a summary of this place: "summarise this thread", `/summarise`."""
    text = received.text.strip().removeprefix("/").rstrip(" .!?")
    if received.attachments or len(text) > _ASKED:
        return False
    found = _SUM.search(text)
    return found is not None and (found[0] == text or _NEW_THREAD.search(text) is not None)


async def with_thread(
    received: MessageReceived, turns: Sequence[Turn], question: str, context: Context
) -> tuple[MessageReceived, tuple[str, ...]]:
    """The message with the earlier messages as quotes, and notes for the person.

    Quotes are added if the bot is new to the thread or a summary is requested; in a chat without threads, they
    are the messages since its last answer. Raises Refused if a summary is requested but nothing can be read.
    """
    known, summary = context_window.remembered(turns), is_asked_for(received)
    was_reset = any(turn.resets for turn in turns)  # the platform still has messages from before the reset
    since = bool(known) and received.addressed and not received.threaded
    if received.direct or received.quotes or ((was_reset or (question and known)) and not (summary or since)):
        return received, ()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            quotes = (await context(summary))[-_QUOTES:]
    except Refused as refused:
        if summary and not known:
            raise
        log.info("No access to the earlier messages of a thread: %s", refused)
        return received, (_PARTLY,) if summary else ()
    except (BotError, TimeoutError) as error:
        log.warning("The earlier messages of a thread could not be read: %s", error or "timeout")
        if summary:
            raise NotAllowed(_UNAVAILABLE) from error
        return received, ()
    if summary and not known and not quotes:
        raise NotAllowed(_NOTHING)
    if since and not summary:
        quotes = tuple(quote for quote in quotes if quote.at is not None and quote.at > known[-1].received.at)
    return replace(received, quotes=_newest(quotes)), ()


def _newest(quotes: Sequence[QuotedMessage]) -> tuple[QuotedMessage, ...]:
    lengths = accumulate(len(quote.text) for quote in reversed(quotes))
    kept = sum(length <= _QUOTED_CHARACTERS for length in lengths)
    return tuple(quotes[len(quotes) - kept :])
