"""What was said in a thread before the bot was called into it."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from bot.domain.errors import BotError, NotAllowed, Refused
from bot.domain.events import MessageReceived, QuotedMessage
from bot.domain.turns import Turn
from bot.generation import context_window

log = logging.getLogger(__name__)

Context = Callable[[bool], Awaitable[tuple[QuotedMessage, ...]]]
"""What was said in the thread before the bot was called; told true, in the room around a new thread.

Raises BotError, Refused in words.
"""

_PATIENCE_S = 8.0
"""How long an answer waits for the platform to tell what was said before."""
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
_NOTHING = "There is nothing before your message here that I could sum up."
_AWAY = "I can't read what was said here at the moment. Please ask again in a minute."
_PARTLY = "I know only what was said to me here; what others said, I could not read."


async def nothing_before(include_channel: bool) -> tuple[QuotedMessage, ...]:
    """For places without a thread."""
    return ()


def is_asked_for(received: MessageReceived) -> bool:
    """Whether somebody wants to know what was said here: "summarise this thread", `/summarise`."""
    text = received.text.strip().removeprefix("/").rstrip(" .!?")
    if received.attachments or len(text) > _ASKED:
        return False
    found = _SUM.search(text)
    return found is not None and (found[0] == text or _NEW_THREAD.search(text) is not None)


async def with_thread(
    received: MessageReceived, turns: Sequence[Turn], question: str, context: Context
) -> tuple[MessageReceived, tuple[str, ...]]:
    """What was said, with the thread before it where the bot is new to it, or is asked about nothing else.

    In a chat without threads, which the bot need not have followed, it is what was said since it answered
    last. The words are for the person to know. Raises Refused where the thread is what somebody asks about,
    and there is none to be had.
    """
    known, asked = context_window.remembered(turns), is_asked_for(received)
    anew = any(turn.resets for turn in turns)  # the platform still shows what is not to be seen any more
    since = bool(known) and received.addressed and not received.threaded
    if received.direct or received.quotes or ((anew or (question and known)) and not (asked or since)):
        return received, ()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            quotes = (await context(asked))[-_QUOTES:]
    except Refused as refused:
        if asked and not known:
            raise
        log.info("What was said before in this thread is not for us to read: %s", refused)
        return received, (_PARTLY,) if asked else ()
    except (BotError, TimeoutError) as error:
        log.warning("What was said before in this thread can't be had: %s", error or "it took too long")
        if asked:
            raise NotAllowed(_AWAY) from error
        return received, ()
    if asked and not known and not quotes:
        raise NotAllowed(_NOTHING)
    if since and not asked:
        quotes = tuple(one for one in quotes if one.at is not None and one.at > known[-1].received.at)
    return replace(received, quotes=_newest(quotes)), ()


def _newest(quotes: Sequence[QuotedMessage]) -> tuple[QuotedMessage, ...]:
    """Those that fit, the oldest go first."""
    include_channel = _QUOTED_CHARACTERS
    for kept, quote in enumerate(reversed(quotes)):
        include_channel -= len(quote.text)
        if include_channel < 0:
            return tuple(quotes[len(quotes) - kept :])
    return tuple(quotes)
