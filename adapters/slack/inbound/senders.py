"""Who sent a message, in which channel: what Slack's events leave out."""

from typing import Literal

from msgspec.structs import replace

from adapters.slack.payloads import Payload, organisation_of, part, string
from adapters.slack.workspaces.workspace import NAMES_PATIENCE_S, PRIVATE_CHANNEL, Workspace
from bot.domain.events import Event, MessageReceived
from bot.domain.words import write_for

PATIENCE_S = 1.5
"""An answer waits no longer for a name that is not known yet."""


def sender_id(payload: Payload) -> set[str]:
    """The id of whoever sent a message or a command; empty for other payloads."""
    event = part(payload, "event")
    of_message = part(event, "message") or event
    is_message = event.get("type") in ("message", "app_mention")
    user = string(of_message.get("user")) if is_message else string(payload.get("user_id"))
    return {user} - {""}


def actor_id(payload: Payload) -> str:
    """The id of whoever caused a payload: sent a message or a command, pressed a button, opened a tab; else empty."""
    event = part(payload, "event")
    known = (
        *sender_id(payload),
        string(part(payload, "user").get("id")),
        string(event.get("user")),
        string(part(event, "assistant_thread").get("user_id")),
    )
    return next((id for id in known if id), "")


async def write_for_person(workspace: Workspace, id: str, patience_s: float = NAMES_PATIENCE_S) -> None:
    """Word what this task tells in the language of a person, if Slack tells it within the patience."""
    if id:
        await workspace.names({id}, patience_s)
    person = workspace.person(id)
    write_for(person.locale, person.zone)


def with_known_sender(event: Event, workspace: Workspace, payload: Payload) -> Event:
    """An event with what is known of its sender by now."""
    user = replace(event.user, role=event.user.role or _told_role(event, payload))
    user = replace(user, home=event.address.data.get("user_team", "") if user.role == "partner" else "")
    return replace(event, user=workspace.person(user.id).as_user(user))


def _told_role(event: Event, payload: Payload) -> Literal["partner", ""]:
    """What the payload itself tells of somebody who is not known yet: that they are of another organisation.

    In an organisation with many workspaces, another workspace may be a colleague's.
    """
    data = event.address.data
    elsewhere = data.get("user_team", data.get("team")) != data.get("team")
    shared = payload.get("is_ext_shared_channel") is True
    return "partner" if elsewhere and (shared or not organisation_of(payload)) else ""


async def with_sender(received: MessageReceived, workspace: Workspace) -> MessageReceived:
    """A message with its sender's name, language and time zone, and the name of its channel, as far as Slack tells
    them within PATIENCE_S.
    """
    channel = "" if received.direct else received.channel
    names = await workspace.names({received.user.id, channel} - {""}, PATIENCE_S)
    name = names.get(channel, "")
    user = workspace.person(received.user.id).as_user(received.user)
    return replace(
        received,
        user=user,
        channel_name=f"#{name}" if name and name != PRIVATE_CHANNEL else received.channel_name,
    )
