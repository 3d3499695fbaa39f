"""Reads what others wrote: in a thread before a question, in the channel around it, or where a link leads."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Any

from msgspec.structs import replace

from adapters.slack.api.files import NOT_A_MEMBER
from adapters.slack.api.web_api import SlackRateLimited, SlackRejected, SlackUnsure
from adapters.slack.events.lenient import tidy
from adapters.slack.events.parser import SPOKEN_SUBTYPES
from adapters.slack.messages import content
from adapters.slack.messages.content import MessageContent
from adapters.slack.payloads import Payload, objects, part, string, time_of
from adapters.slack.workspaces.workspace import Workspace
from bot.domain.errors import NotAllowed
from bot.domain.events import GAP, QuotedMessage
from bot.domain.words import marked

log = logging.getLogger(__name__)

MESSAGES = 50
PAGES = 5  # threads are read from their start, so in longer ones (1,000 messages) the newest are missed
PAGE = 200
PATIENCE_S = 5.0  # with the names, less than the 8 seconds for which an answer waits
NAMES_PATIENCE_S = 3.0
NO_MEMBER = marked("I'm not a member of this channel, so I can't read its messages. Invite me with /invite.")
LIMITED = marked("could not be read, because Slack limits how often apps may read. Ask again in a minute.")
NEWEST = marked("were not read: I read the newest 50.")  # MESSAGES
INTERRUPTED = marked("could not be read, because Slack did not answer. Ask again in a minute.")
TOO_MANY = marked("could not be read, because the thread has more than 1,000 messages.")  # PAGES * PAGE


async def thread_messages(
    workspace: Workspace, data: Mapping[str, str], summary: bool = False
) -> tuple[QuotedMessage, ...]:
    """The newest messages of others before the question, oldest first; for a `summary`, with what is left out.

    Raises PlatformUnavailable, NotAllowed.
    """
    ours = await workspace.our_ids()
    kept: deque[Payload] = deque(maxlen=MESSAGES)
    gap, older = "", False
    try:
        async for message in read_pages(workspace, data["channel"], data["thread"], data["question"]):
            if isinstance(message, str):
                gap = message
            elif message["ts"] < data["question"] and not ours & {message.get("user"), message.get("bot_id")}:
                older = older or len(kept) == MESSAGES
                kept.append(message)
    except SlackRejected as error:
        raise _refusal(error) from error
    quotes = await quoted(workspace, kept, data)
    gap = gap or (NEWEST if summary and older else "")
    return (*quotes, gap_of(gap)) if gap else quotes


async def channel_messages(workspace: Workspace, data: Mapping[str, str]) -> tuple[QuotedMessage, ...]:
    """The newest messages of others in the channel before a question, and whether there are older ones.

    Raises PlatformUnavailable, NotAllowed.
    """
    ours = await workspace.our_ids()
    args = {"channel": data["channel"], "limit": MESSAGES}
    args |= {"latest": data["question"]} if "question" in data else {}
    try:
        page = await workspace.api.call("conversations.history", args, patience_s=PATIENCE_S)
    except SlackRejected as error:
        raise _refusal(error) from error
    others = [
        message
        for message in reversed(tidied(page))
        if not ours & {message.get("user"), message.get("bot_id")}
    ]
    quotes = await quoted(workspace, others, data)
    return (*quotes, gap_of(NEWEST)) if page.get("has_more") is True else quotes


def _refusal(error: SlackRejected) -> Exception:
    return NotAllowed(NO_MEMBER) if error.code in NOT_A_MEMBER else error


async def quoted(
    workspace: Workspace, messages: Collection[Payload], data: Mapping[str, str]
) -> tuple[QuotedMessage, ...]:
    """Messages as quotes, each followed by what it forwards. `data` are those of the question's address."""
    bot = await workspace.bot()
    ids = {
        id for message in messages for id in (string(message.get("user")), *content.mentioned_ids(message))
    }
    names = await workspace.names(ids - bot.ids - {""}, NAMES_PATIENCE_S) if ids - bot.ids - {""} else {}
    place = {name: data[name] for name in ("team", "enterprise") if name in data}
    found: list[QuotedMessage] = []
    for message in messages:
        if message.get("subtype") in SPOKEN_SUBTYPES:
            read = content.read_message(message, bot.user, names)
            found += [content.quote_with_file_data(quote, place) for quote in _quotes(message, read, names)]
    return tuple(found)


def _quotes(message: Payload, read: MessageContent, names: Mapping[str, str]) -> list[QuotedMessage]:
    """A message with the parts that are its author's, and after it those that are others'."""
    own = (content.ALERT, content.TABLE, content.TRANSCRIPT)
    others = [quote for quote in read.quotes if quote.kind not in own]
    mine = read._replace(quotes=tuple(quote for quote in read.quotes if quote.kind in own), links=())
    text = content.as_text(mine)
    if not text:
        return others
    quote = QuotedMessage(
        author=content.author_of(message, names),
        text=text,
        at=time_of(message["ts"]),
        by=string(message.get("user")) or string(message.get("bot_id")),
        attachments=(*mine.attachments, *(file for part in mine.quotes for file in part.attachments)),
    )
    return [quote, *others]


async def read_pages(
    workspace: Workspace, channel: str, thread: str, latest: str = ""
) -> AsyncGenerator[Payload | str]:
    """The messages of a thread, up to `latest`, page by page; at the end, why some could not be read.

    Raises PlatformUnavailable and SlackRejected if none can be read, within PATIENCE_S.
    """
    args: dict[str, object] = {"channel": channel, "ts": thread, "limit": PAGE}
    args |= {"latest": latest} if latest else {}
    give_up_at = time.monotonic() + PATIENCE_S
    for number in range(PAGES):
        left_s = max(0.0, give_up_at - time.monotonic())
        try:
            async with asyncio.timeout(left_s):
                page = await workspace.api.call("conversations.replies", args, patience_s=left_s)
        except (SlackRateLimited, SlackUnsure, TimeoutError) as error:
            if number == 0:
                if isinstance(error, TimeoutError):
                    raise SlackUnsure("Slack did not answer conversations.replies in time") from error
                raise
            # Apps that are distributed but not in the Marketplace may read once a minute.
            log.warning("Stopped reading a thread: %s", error or "timeout")
            yield LIMITED if isinstance(error, SlackRateLimited) else INTERRUPTED
            return
        for message in tidied(page):
            if number == 0 or message["ts"] != thread:  # each page begins with the root
                yield message
        cursor = string(part(page, "response_metadata").get("next_cursor"))
        if not cursor:
            return
        args["cursor"] = cursor
    yield TOO_MANY


def tidied(page: Mapping[str, Any]) -> list[Payload]:
    """The messages of a page, without invalid fields, and without those that have no timestamp."""
    messages = [tidy({"message": message}).get("message", {}) for message in objects(page.get("messages"))]
    return [message for message in messages if message.get("ts")]


def gap_of(reason: str) -> QuotedMessage:
    """What stands for messages that were not read."""
    return QuotedMessage(author="", text=reason, kind=GAP)


def with_kind(quotes: tuple[QuotedMessage, ...], kind: str, origin: str) -> tuple[QuotedMessage, ...]:
    """Messages that were read elsewhere, and where."""
    return tuple(replace(quote, kind=quote.kind or kind, origin=quote.origin or origin) for quote in quotes)
