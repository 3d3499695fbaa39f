"""Adds the messages to which a question links."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from bot.conversation.thread_context import newest, requests_summary
from bot.domain.errors import BotError, NotAllowed, Refused
from bot.domain.events import MessageReceived, QuotedMessage, UnreadPart

log = logging.getLogger(__name__)

LINKED = "linked"
ReadLinked = Callable[[str], Awaitable[tuple[QuotedMessage, ...]]]
"""Returns the message or thread of a link. Raises BotError; Refused, with a sentence, if it may not be read."""

_PATIENCE_S = 8.0
"""How long an answer waits for one link."""
_THE_LINK = "the linked message"
_LATER = "could not be read at the moment. Ask again in a minute."


async def no_links(link: str) -> tuple[QuotedMessage, ...]:
    """For platforms without links to messages."""
    return ()


async def with_links(
    received: MessageReceived, read: ReadLinked
) -> tuple[MessageReceived, tuple[UnreadPart, ...]]:
    """The message with the messages to which it links as quotes, and the links that could not be read.

    Raises Refused if their summary is requested but none can be read.
    """
    known = {quote.origin for quote in received.quotes}
    found: list[QuotedMessage] = []
    unread: list[UnreadPart] = []
    for link in received.links:
        if link in known:  # the question is answered again
            continue
        name = link if len(received.links) > 1 else _THE_LINK
        try:
            async with asyncio.timeout(_PATIENCE_S):
                found += _bounded(await read(link), name, unread)
        except Refused as refused:
            unread.append(UnreadPart(name=name, reason=str(refused)))
        except (BotError, TimeoutError) as error:
            log.warning("A linked message could not be read: %s", error or "timeout")
            unread.append(UnreadPart(name=name, reason=_LATER))
    if unread and not found and not received.quotes and requests_summary(received.text):
        raise NotAllowed("\n".join(part.sentence for part in unread))
    texts = [quote.text for quote in found]
    own = [quote for quote in received.quotes if quote.kind != LINKED or not _is_in(quote.text, texts)]
    return replace(received, quotes=(*found, *own)), tuple(unread)


def _bounded(
    quotes: tuple[QuotedMessage, ...], name: str, unread: list[UnreadPart]
) -> tuple[QuotedMessage, ...]:
    kept = newest(quotes)
    if len(kept) < len(quotes):
        count = len(quotes) - len(kept)
        unread.append(
            UnreadPart(
                name=name, reason=f"belongs to a long thread, whose oldest {count} messages were not read."
            )
        )
    return kept


def _is_in(text: str, texts: list[str]) -> bool:
    """Whether a preview shows what was read anyway."""
    return any(text and text in other for other in texts)
