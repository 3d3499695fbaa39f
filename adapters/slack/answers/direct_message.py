"""Messages to a person who has asked nothing, each sent once."""

import logging
from typing import Any

from adapters.slack.answers.elsewhere import in_forms
from adapters.slack.api.web_api import SlackRejected
from adapters.slack.payloads import Payload, objects, part, string
from adapters.slack.workspaces.workspace import Workspace

log = logging.getLogger(__name__)

METADATA_TYPE = "parley_notice"
_LOOKED_AT = 50
"""The newest messages of a chat among which an earlier attempt is looked for."""


async def send_once(workspace: Workspace, user: str, id: str, text: str) -> None:
    """Send a direct message, unless one with this id is there. Raises SlackRejected and the other errors of calls."""
    opened = await workspace.api.call("conversations.open", {"users": user})
    channel = string(part(opened, "channel").get("id"))
    if await _is_there(workspace, channel, id):
        return
    metadata = {"event_type": METADATA_TYPE, "event_payload": {"id": id}}

    async def post(body: dict[str, Any]) -> dict[str, Any]:
        return await workspace.api.call("chat.postMessage", {"channel": channel, "metadata": metadata} | body)

    await in_forms(post, text)


async def _is_there(workspace: Workspace, channel: str, id: str) -> bool:
    """Whether an earlier attempt has sent the message; false where the chat may not be read."""
    args = {"channel": channel, "limit": _LOOKED_AT, "include_all_metadata": True}
    try:
        history = await workspace.api.call("conversations.history", args)
    except SlackRejected as error:
        log.info("An earlier attempt at a message can't be looked up: %s", error)
        return False
    return any(_id_of(message) == id for message in objects(history.get("messages")))


def _id_of(message: Payload) -> str:
    metadata = part(message, "metadata")
    if metadata.get("event_type") != METADATA_TYPE:
        return ""
    return string(part(metadata, "event_payload").get("id"))
