"""Questions that came without a message: they are posted for all to see, so that the answer has a thread."""

import asyncio
import logging

from adapters.slack.formatting import blocks
from adapters.slack.payloads import act_id, time_of
from adapters.slack.workspaces.workspace import Workspace
from bot.domain.errors import PlatformUnavailable
from bot.domain.events import Address, MessageReceived, User

log = logging.getLogger(__name__)

METADATA_TYPE = "parley_question"
PATIENCE_S = 1.5  # of the three seconds that Slack gives us
QUESTION_LIMIT = 10_000


async def in_channel(workspace: Workspace, channel: str, user: User, text: str) -> MessageReceived | None:
    """Post a person's question where it was asked; None where we may not post, or not in time."""
    shown = text if len(text) <= QUESTION_LIMIT else text[:QUESTION_LIMIT] + "…"
    words = blocks.defused(shown).replace("\n", "\n> ")
    head = "You asked:" if channel.startswith("D") else f"**{user.name or 'Somebody'}** asks:"
    args = {
        "channel": channel,
        **blocks.message(f"{head}\n> {words}"),
        "metadata": {"event_type": METADATA_TYPE, "event_payload": {"user": user.id}},
        "unfurl_links": False,
        "unfurl_media": False,
    }
    try:
        async with asyncio.timeout(PATIENCE_S):
            posted = await workspace.api.call("chat.postMessage", args)
    except (PlatformUnavailable, TimeoutError) as error:
        log.info("a question is not shown in its channel: %s", error)
        return None
    channel, ts = str(posted["channel"]), str(posted["ts"])
    data = {"team": user.tenant, "channel": channel, "thread": ts, "question": ts}
    data |= {"user": user.id, "user_team": user.tenant} | ({"direct": "1"} if channel[0] == "D" else {})
    act = act_id(user.tenant, channel, ts)
    return MessageReceived(
        id=act,
        address=Address(conversation=act, event=act, data=data),
        user=user,
        at=time_of(ts),
        text=text,
        channel=channel,
        direct=channel.startswith("D"),
    )


async def take_back(workspace: Workspace, received: MessageReceived) -> None:
    """Delete a question that could not be written down, and so will not be answered."""
    data = received.address.data
    try:
        await workspace.api.call("chat.delete", {"channel": data["channel"], "ts": data["question"]})
    except PlatformUnavailable as error:
        log.warning("a question that nobody will answer stays visible: %s", error)
