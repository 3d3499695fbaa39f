"""Reads what others wrote in a thread before a question, or in the channel around it."""

import logging
from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Any

from adapters.slack.api.files import NOT_A_MEMBER
from adapters.slack.api.web_api import SlackRateLimited, SlackRejected
from adapters.slack.events.parser import SPOKEN_SUBTYPES
from adapters.slack.formatting.mrkdwn import mentioned, plain
from adapters.slack.payloads import part
from adapters.slack.workspaces.workspace import Workspace
from bot.domain.errors import NotAllowed
from bot.domain.events import QuotedMessage

log = logging.getLogger(__name__)

MESSAGES = 50
PAGES = 5  # threads are read from their start, so in longer ones (1,000 messages) the newest are missed
PAGE = 200
PATIENCE_S = 10.0
NAMES_PATIENCE_S = 3.0
NO_MEMBER = "I'm not a member of this channel, so I can't read its messages. Invite me with /invite."


async def thread_messages(workspace: Workspace, data: Mapping[str, str]) -> tuple[QuotedMessage, ...]:
    """The newest messages of others before the question, oldest first. Raises PlatformUnavailable."""
    ours = await workspace.our_ids()
    kept: deque[dict[str, Any]] = deque(maxlen=MESSAGES)
    async for message in _messages(workspace, data):
        if message["ts"] < data["question"] and not _is_ours(message, ours):
            kept.append(message)
    return await _quoted(workspace, kept, ours)


async def channel_messages(workspace: Workspace, data: Mapping[str, str]) -> tuple[QuotedMessage, ...]:
    """The newest messages of others in the channel before a question. Raises PlatformUnavailable, NotAllowed."""
    ours = await workspace.our_ids()
    args = {"channel": data["channel"], "limit": MESSAGES}
    args |= {"latest": data["question"]} if "question" in data else {}
    try:
        page = await workspace.api.call("conversations.history", args, patience_s=PATIENCE_S)
    except SlackRejected as error:
        if error.code not in NOT_A_MEMBER:
            raise
        raise NotAllowed(NO_MEMBER) from error
    received: list[dict[str, Any]] = page.get("messages", [])
    others = [message for message in reversed(received) if not _is_ours(message, ours)]
    return await _quoted(workspace, others, ours)


def _is_ours(message: Mapping[str, Any], ours: frozenset[str]) -> bool:
    return bool(ours & {message.get("user"), message.get("bot_id")})


async def _quoted(
    workspace: Workspace, kept: Collection[dict[str, Any]], ours: frozenset[str]
) -> tuple[QuotedMessage, ...]:
    people = {str(message["user"]) for message in kept if message.get("user")}
    people |= {person for message in kept for person in mentioned(str(message.get("text") or ""))}
    names = await workspace.names(people - ours, NAMES_PATIENCE_S) if people - ours else {}
    bot = (await workspace.bot()).user
    received = [
        QuotedMessage(
            author=_author(message, names),
            text=_text(message, bot, names),
            by=str(message.get("user") or message.get("bot_id") or ""),
        )
        for message in kept
    ]
    return tuple(quote for quote in received if quote.text)


async def _messages(workspace: Workspace, data: Mapping[str, str]) -> AsyncGenerator[dict[str, Any]]:
    """The messages of the thread up to the question, page by page."""
    args = {"channel": data["channel"], "ts": data["thread"], "latest": data["question"], "limit": PAGE}
    for number in range(PAGES):
        try:
            page = await workspace.api.call("conversations.replies", args, patience_s=PATIENCE_S)
        except SlackRateLimited as error:
            # Apps that are distributed but not in the Marketplace may read once a minute.
            log.warning("Stopped reading a thread: %s", error)
            return
        for message in page.get("messages", []):
            if number == 0 or message["ts"] != data["thread"]:  # each page begins with the root
                yield message
        cursor = part(page, "response_metadata").get("next_cursor")
        if not cursor:
            return
        args["cursor"] = cursor


def _author(message: Mapping[str, Any], names: Mapping[str, str]) -> str:
    person = str(message.get("user") or "")
    bot = part(dict(message), "bot_profile").get("name") or message.get("username")
    return str(names.get(person) or bot or person or message.get("bot_id") or "somebody")


def _text(message: Mapping[str, Any], bot: str, names: Mapping[str, str]) -> str:
    if message.get("subtype") not in SPOKEN_SUBTYPES:
        return ""
    text = plain(str(message.get("text") or ""), bot, names)
    files = ", ".join(str(file.get("name") or "a file") for file in message.get("files") or ())
    return f"{text}\n[with {files}]".strip() if files else text
