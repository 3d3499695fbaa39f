"""Adds the earlier messages of a thread to a message."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from bot.domain.errors import BotError, ConfigError, NotAllowed, Refused
from bot.domain.events import EARLIER, GAP, Attachment, MessageReceived, QuotedMessage, UnreadPart
from bot.domain.turns import Turn
from bot.domain.words import Value, marked, tr
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
_FILE = re.compile(
    r"\b(?:this|that|the|these|those|his|her|their)\b[\w\s'’.-]{0,30}?\b(?:files?|logs?|documents?|attachments?|pdfs?|"
    r"images?|pictures?|photos?|screenshots?|spreadsheets?|sheets?|slides?|decks?|csvs?|reports?|recordings?|clips?)\b",
    re.IGNORECASE,
)
_LINK = re.compile(r"https?://\S+")
_QUOTED, _LINKED, _PREVIEW = "quoted", "linked", "preview"
_FILES = 5
"""Files of earlier messages that are read."""
_NEWEST_ONLY = marked("were not read: of the files of earlier messages, I read the newest {count}.")
_NO_VISION = marked("is an image, which the model that answers here can't see.")
_SOME = marked("Some of the earlier messages")
_LATER = marked("could not be read at the moment. Ask again in a minute.")
_NO_PERMISSION = marked(
    "could not be read, because the app lacks a permission. Your administrator can see which one with "
    "`parley check`."
)
_NOT_PERMITTED = marked(
    "I can't read the earlier messages here, because the app lacks a permission. Your administrator can see which one "
    "with `parley check`."
)
_TOO_LONG = marked("are too long together, so the oldest {count} were not read.")
_EARLIER_MESSAGES = marked("The earlier messages of this thread")
_NOTHING = marked("There are no earlier messages here to summarize.")
_UNAVAILABLE = marked("I can't read the earlier messages at the moment. Try again in a minute.")
_PARTLY = marked("I could only read messages addressed to me in this thread.")


async def nothing_before(include_channel: bool) -> tuple[QuotedMessage, ...]:
    """For places without threads."""
    return ()


def is_asked_for(received: MessageReceived) -> bool:
    """Whether the message requests a summary of this place: "summarise this thread", `/summarise`.

    With files, links to messages or forwarded messages, it is those that are meant.
    """
    own = [quote for quote in received.quotes if not quote.is_earlier and quote.kind != _PREVIEW]
    if received.attachments or received.links or own:
        return False
    text = _bare(received.text)
    found = _SUM.search(text) if len(text) <= _ASKED else None
    return found is not None and (found[0] == text or _NEW_THREAD.search(text) is not None)


def requests_summary(text: str) -> bool:
    """Whether a text requests a summary, of whatever."""
    bare = _bare(_LINK.sub("", text))
    return len(bare) <= _ASKED and _SUM.search(bare) is not None


def _bare(text: str) -> str:
    return text.strip().removeprefix("/").rstrip(" .!?")


async def with_thread(
    received: MessageReceived, turns: Sequence[Turn], question: str, context: Context
) -> tuple[MessageReceived, tuple[str, ...], tuple[UnreadPart, ...]]:
    """The message with the earlier messages as quotes, notes for the person, and what could not be read.

    Quotes are added if the bot is new to the thread or a summary is requested; in a chat without threads, they
    are the messages since its last answer. Raises Refused if a summary is requested but nothing can be read.
    """
    known, summary = context_window.remembered(turns), is_asked_for(received)
    was_reset = any(turn.resets for turn in turns)  # the platform still has messages from before the reset
    file = _asks_about_a_file(received)
    since = bool(known) and received.addressed and (file or not received.threaded)
    needed = summary or file or not (question and known)  # otherwise, what is missing is told once
    quoted = any(quote.is_earlier or quote.kind == _QUOTED for quote in received.quotes)
    elsewhere = requests_summary(received.text) and any(quote.kind == _LINKED for quote in received.quotes)
    known_here = (was_reset or (question and known)) and not (summary or since)
    if received.direct or quoted or elsewhere or known_here:
        return received, (), ()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            quotes = await context(summary)
    except Refused as refused:
        if summary and not known:
            raise
        log.info("No access to the earlier messages of a thread: %s", refused)
        return received, (tr(_PARTLY),) if summary else (), () if known else (_refused(refused),)
    except (BotError, TimeoutError) as error:
        log.warning("The earlier messages of a thread could not be read: %s", error or "timeout")
        return received, (), _failure(error, summary) if needed else ()
    gaps = tuple(_unread(quote.text, _SOME) for quote in quotes if needed and quote.kind == GAP)
    quotes = tuple(quote for quote in quotes if quote.kind != GAP)[-_QUOTES:]
    if summary and not known and not quotes:
        raise NotAllowed(_NOTHING)
    if since and not summary:
        quotes = tuple(quote for quote in quotes if quote.at is not None and quote.at > known[-1].received.at)
    kept = newest(quotes)
    if summary and (dropped := len(quotes) - len(kept)):
        gaps += (_unread(_TOO_LONG, values=(("count", dropped),)),)
    earlier = _earlier(kept, 0 if summary else len(quotes) - len(kept))
    return replace(received, quotes=(*earlier, *received.quotes)), (), gaps


def _earlier(quotes: Sequence[QuotedMessage], dropped: int) -> tuple[QuotedMessage, ...]:
    """Messages as earlier ones, and before them how many were dropped, if the person is not told that."""
    earlier = tuple(replace(quote, kind=quote.kind and quote.kind + EARLIER) for quote in quotes)
    if not dropped:
        return earlier
    text = f"{dropped} older messages are left out here: they are too long together."
    return (QuotedMessage(author="", text=text, kind=GAP + EARLIER), *earlier)


def _failure(error: Exception, summary: bool) -> tuple[UnreadPart, ...]:
    """Say why the thread could not be read. Raises NotAllowed if a summary of it is requested."""
    permission = isinstance(error, ConfigError)
    if summary:
        raise NotAllowed(_NOT_PERMITTED if permission else _UNAVAILABLE) from error
    return (_unread(_NO_PERMISSION if permission else _LATER),)


def _asks_about_a_file(received: MessageReceived) -> bool:
    """Whether it is about a file that somebody else sent. Where only mentions are answered, no turn holds that."""
    return not received.attachments and _FILE.search(received.text[:_ASKED]) is not None


def _unread(
    reason: str, name: str = _EARLIER_MESSAGES, values: tuple[tuple[str, Value], ...] = ()
) -> UnreadPart:
    return UnreadPart(name=name, reason=reason, values=values)


def _refused(refusal: Refused) -> UnreadPart:
    return _unread(refusal.message, values=tuple(refusal.values.items()))


def newest(quotes: Sequence[QuotedMessage]) -> tuple[QuotedMessage, ...]:
    """The newest quotes that fit into _QUOTED_CHARACTERS; of a single longer one, the beginning."""
    characters_left = _QUOTED_CHARACTERS
    for kept, quote in enumerate(reversed(quotes)):
        characters_left -= len(quote.text)
        if characters_left < 0 and kept == 0:
            return (replace(quote, text=f"{quote.text[:_QUOTED_CHARACTERS]}\n[cut off here]"),)
        if characters_left < 0:
            return tuple(quotes[len(quotes) - kept :])
    return tuple(quotes)


def earlier_files(
    received: MessageReceived, *, own_parts_only: bool, images: bool = True
) -> tuple[tuple[Attachment, ...], tuple[UnreadPart, ...]]:
    """The newest files of quoted messages, and those that are not read.

    With `own_parts_only`, those of the thread around the question do not count. Without `images`, images are not read.
    """
    quotes = [
        quote
        for quote in received.quotes
        if not own_parts_only or not (quote.is_earlier or quote.kind == _LINKED)
    ]
    files = {file.id: file for quote in quotes for file in quote.attachments}
    own = {file.id for file in received.attachments}
    found = tuple(file for id, file in files.items() if id not in own)
    unseen = [file for file in found if file.mime.startswith("image/") and not images]
    found = tuple(file for file in found if file not in unseen)
    unread = [
        UnreadPart(name=file.name or marked("an image"), reason=_NO_VISION) for file in unseen[-_FILES:]
    ]
    if names := ", ".join(file.name or tr("a file") for file in found[:-_FILES][-_FILES:]):
        unread.append(UnreadPart(name=names, reason=_NEWEST_ONLY, values=(("count", _FILES),)))
    return found[-_FILES:], tuple(unread)
