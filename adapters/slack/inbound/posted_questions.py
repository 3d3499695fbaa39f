"""Posts questions that came by a command or form in their channel, so that the answer has a thread."""

import asyncio
import logging

from adapters.slack.formatting import blocks
from adapters.slack.messages.permalinks import MAX_LINKS, links_in
from adapters.slack.payloads import message_id, time_of
from adapters.slack.workspaces.workspace import Workspace
from bot.domain.errors import PlatformUnavailable
from bot.domain.events import Address, MessageReceived, User
from bot.domain.words import tr

log = logging.getLogger(__name__)

METADATA_TYPE = "parley_question"
PATIENCE_S = 1.5  # Slack expects an acknowledgement within three seconds
QUESTION_LIMIT = 10_000


async def post(workspace: Workspace, channel: str, user: User, text: str) -> MessageReceived | None:
    """Post a person's question in its channel. None if Slack refuses, or does not answer in time."""
    shown = text if len(text) <= QUESTION_LIMIT else text[:QUESTION_LIMIT] + "…"
    words = blocks.defused(shown).replace("\n", "\n> ")
    head = tr("You asked:")
    if not channel.startswith("D"):
        head = tr("**{name}** asks:", name=user.name or tr("Somebody"))
    args = {
        "channel": channel,
        **blocks.message(f"{head}\n> {words}"),
        "metadata": {"event_type": METADATA_TYPE, "event_payload": {"user": user.id}},
    }
    try:
        async with asyncio.timeout(PATIENCE_S):
            posted = await workspace.api.call("chat.postMessage", args)
    except (PlatformUnavailable, TimeoutError) as error:
        log.info("Could not post a question in its channel: %s", error)
        return None
    channel, ts = str(posted["channel"]), str(posted["ts"])
    direct = channel.startswith("D")
    data = {"team": user.tenant, "channel": channel, "thread": ts, "question": ts}
    data |= {"user": user.id, "user_team": user.tenant} | ({"direct": "1"} if direct else {})
    event_id = message_id(user.tenant, channel, ts)
    address = Address(conversation=event_id, event=event_id, data=data)
    return MessageReceived(
        id=event_id,
        address=address,
        user=user,
        at=time_of(ts),
        text=text,
        links=links_in(text)[:MAX_LINKS],
        channel=channel,
        direct=direct,
    )


async def retract(workspace: Workspace, received: MessageReceived) -> None:
    """Delete a posted question that could not be stored and so will not be answered."""
    data = received.address.data
    try:
        await workspace.api.call("chat.delete", {"channel": data["channel"], "ts": data["question"]})
    except PlatformUnavailable as error:
        log.warning("Could not delete a posted question that will not be answered: %s", error)
