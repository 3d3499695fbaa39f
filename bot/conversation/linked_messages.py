"""Adds the messages to which a question links."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from bot.conversation.thread_context import newest, requests_summary
from bot.domain.errors import BotError, NotAllowed, Refused
from bot.domain.events import GAP, MessageReceived, QuotedMessage, UnreadPart
from bot.domain.words import marked

log = logging.getLogger(__name__)

LINKED = "linked"
ReadLinked = Callable[[str], Awaitable[tuple[QuotedMessage, ...]]]
"""Returns the message or thread of a link, and as a last quote of the kind "gap" why a part of it is missing.

Raises BotError; Refused, with a sentence, if it may not be read.
"""

_PATIENCE_S = 8.0
"""How long an answer waits for one link."""
_THE_LINK = marked("the linked message")
_SOME_OF_THE_THREAD = marked("some messages of the linked thread")
_SOME_OF = marked("some messages of {link}")
_TOO_LONG = marked("belongs to a long thread, of which I read the newest {count} messages.")
_LATER = marked("could not be read at the moment. Try again in a minute.")


async def no_links(link: str) -> tuple[QuotedMessage, ...]:
    """For platforms without links to messages."""
    return ()


async def with_links(
    received: MessageReceived, read: ReadLinked
) -> tuple[MessageReceived, tuple[UnreadPart, ...]]:
    """The message with the messages to which it links as quotes, and what could not be read of them.

    A link is read although its preview came with the question, or an earlier attempt has read it: a preview is only
    the beginning. What is known already is used if the link can't be read.
    Raises Refused if their summary is requested but none can be read.
    """
    several = len(received.links) > 1
    results = await asyncio.gather(*(_read(link, read, several) for link in received.links))
    found = [quote for quotes, _ in results for quote in quotes]
    unread = tuple(part for _, parts in results for part in parts)
    if unread and not found and not received.quotes and requests_summary(received.text):
        raise NotAllowed("\n".join(part.worded for part in unread))
    links = {link for link, (quotes, _) in zip(received.links, results, strict=True) if quotes}
    own = [quote for quote in received.quotes if quote not in found and not _is_known(quote, links, found)]
    return replace(received, quotes=(*found, *own)), unread


async def _read(
    link: str, read: ReadLinked, several: bool
) -> tuple[tuple[QuotedMessage, ...], tuple[UnreadPart, ...]]:
    """The messages of one link, and what could not be read of them; `several`: the link must be named."""
    name = link if several else _THE_LINK
    try:
        async with asyncio.timeout(_PATIENCE_S):
            quotes = await read(link)
    except Refused as refused:
        return (), (UnreadPart(name=name, reason=refused.message, values=tuple(refused.values.items())),)
    except (BotError, TimeoutError) as error:
        log.warning("A linked message could not be read: %s", error or "timeout")
        return (), (UnreadPart(name=name, reason=_LATER),)
    part, values = (_SOME_OF, (("link", name),)) if several else (_SOME_OF_THE_THREAD, ())
    unread = tuple(
        UnreadPart(name=part, reason=quote.text, values=values) for quote in quotes if quote.kind == GAP
    )
    # What they forward came with the link, too, and is not the asker's.
    quotes = tuple(replace(quote, kind=LINKED) for quote in quotes if quote.kind != GAP)
    kept = newest(quotes)
    if len(kept) < len(quotes):
        unread += (UnreadPart(name=name, reason=_TOO_LONG, values=(("count", len(kept)),)),)
    return kept, unread


def _is_known(quote: QuotedMessage, links: set[str], found: list[QuotedMessage]) -> bool:
    """Whether it is the preview of a link that was read, or what was read of it before."""
    if quote.kind != LINKED:
        return False
    return quote.origin in links or any(quote.text and quote.text in other.text for other in found)
