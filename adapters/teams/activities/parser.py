"""Parses activities of the Bot Framework into events."""

import hashlib
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from adapters.teams.activities.activity import FILE as FILE
from adapters.teams.activities.activity import (
    Activity,
    as_object,
    conversation_id,
    event_id,
    post_id,
    time_of,
    user_of,
)
from adapters.teams.activities.activity import read as read
from adapters.teams.activities.message_content import EMPTY, read_content, without_mentions
from bot.domain.errors import Malformed
from bot.domain.events import (
    Address,
    AppUninstalled,
    Attachment,
    Event,
    FeedbackGiven,
    MessageDeleted,
    MessageEdited,
    MessageParts,
    MessageReceived,
    User,
)
from bot.domain.words import in_every_language, marked

TEAM_DELETED = ("teamDeleted", "teamHardDeleted")
AGAIN, SENT, VARY = marked("Try again"), marked("What did you send?"), marked("Variations")
_BUTTONS = {AGAIN: "/again", SENT: "/sent", VARY: "/variations"}
"""The texts that buttons below an answer send, in English, and the commands that they stand for."""
ABOUT = "about"
"""In the value of a card's button: "answer" for a command about that answer, or "command"."""


def parse(activity: Activity) -> Event | None:
    """The event, or None for installs, typing, reactions, cards, and messages of bots."""
    if activity.type in ("installationUpdate", "conversationUpdate"):
        return _uninstalled(activity)
    if activity.sender.role == "bot" or activity.sender.id == activity.recipient.id:
        return None
    match activity.type:
        case "message":
            return _received_message(activity)
        case "messageUpdate" if activity.change in ("editMessage", ""):
            return _edited(activity)
        case "messageUpdate" if activity.change == "undeleteMessage":
            return _restored(activity)
        case "messageDelete":
            return MessageDeleted(
                **_base_fields(activity, f":deleted:{_change_id(activity)}"), target=event_id(activity)
            )
        case "invoke" if activity.name == "message/submitAction":
            return _rated(activity)
        case _:
            return None


def _uninstalled(activity: Activity) -> AppUninstalled | None:
    """The event that deletes the data of that chat, channel or team; equal for each delivery.

    A team's channels are found by the team's id, the threads of a channel by its id. An update of the app
    deletes nothing.
    """
    team = activity.team.get("team", "")
    if activity.action == "remove" and activity.type == "installationUpdate":
        removed_team = team if activity.kind == "channel" else ""
    elif activity.type == "conversationUpdate" and activity.change in TEAM_DELETED and team:
        removed_team = team
    elif activity.type == "conversationUpdate" and activity.change == "channelDeleted":
        removed_team = ""
    else:
        return None
    named = as_object(as_object(activity.channel_data).get("channel")).get("id")
    channel = named if isinstance(named, str) and named and not removed_team else activity.channel
    conversation = f"teams:departed:{activity.tenant}:{removed_team or channel}"
    event = f"{event_id(activity)}:departed"
    return AppUninstalled(
        id=event,
        address=Address(conversation=conversation, event=event),
        user=User(id="", tenant=activity.tenant),
        at=time_of(activity),
        conversation_prefix=conversation_id(activity.tenant, "" if removed_team else channel),
        marks={"team": removed_team} if removed_team else {},
    )


def installed(activity: Activity) -> bool:
    """Whether the bot was just added to this conversation."""
    return activity.type == "installationUpdate" and activity.action == "add"


def address(activity: Activity, attachments: Sequence[Attachment] = ()) -> Address:
    """Everything that answering needs, in this process or another.

    Targeted messages in a group form a conversation of their own for each person.
    """
    targeted = {"targeted": "1"} if activity.recipient.is_targeted else {}
    return Address(
        conversation=conversation_id(activity.tenant, activity.conversation.id)
        + (f"#{activity.sender.id}" if targeted else ""),
        event=event_id(activity),
        data={
            "service_url": activity.service_url,
            "conversation": activity.conversation.id,
            "kind": activity.kind,
            "activity": activity.id or "",
            "bot": activity.recipient.id,
            "user": activity.sender.id,
            "object": activity.sender.aad_object_id or "",
            "tenant": activity.tenant,
            "channel": activity.channel_id,
            "doing": _doing(attachments),
            **activity.team,
            **targeted,
        },
    )


def _doing(attachments: Sequence[Attachment]) -> str:
    """The kind of attachment that the status line before the answer mentions."""
    kinds = {attachment.data["kind"] for attachment in attachments}
    return "file" if "file" in kinds else "picture" if "inline" in kinds else ""


def _base_fields(
    activity: Activity, suffix: str = "", attachments: Sequence[Attachment] = ()
) -> dict[str, Any]:
    """The fields that every event carries."""
    if not activity.id or not activity.sender.id:
        raise Malformed("an activity without an id or a sender")
    return {
        "id": event_id(activity) + suffix,
        "address": address(activity, attachments),
        "user": user_of(activity),
        "at": time_of(activity),
    }


def _button(text: str) -> str:
    """The command for which a button below an answer stands, in whatever language it was shown; else empty."""
    words = " ".join(text.split())  # clients may replace spaces that don't break
    for message, command in _BUTTONS.items():
        if words in (" ".join(each.split()) for each in in_every_language(message)):
            return command
    return ""


def _received_message(activity: Activity) -> Event | None:
    content = read_content(activity)
    text = _button(content.text) or content.text
    direct = activity.kind == "personal"
    given = text or content.attachments or content.quotes or content.unread
    if not given and activity.value is not None:
        return None  # a card's button
    profile = as_object(activity.value).get(ABOUT)
    if profile == "answer" and activity.reply_to_id:
        text = f"{text} {post_id(activity.conversation.id, activity.reply_to_id)}"
    return MessageReceived(
        **_base_fields(activity, attachments=content.attachments),
        text=text,
        attachments=content.attachments,
        quotes=content.quotes,
        unread=content.unread or ((EMPTY,) if direct and not given and not content.addressed else ()),
        links=content.links,
        addressed=content.addressed or direct or bool(profile or activity.recipient.is_targeted),
        channel=activity.channel,
        channel_name=activity.channel_name,
        direct=direct,
        mentions_others=content.mentions_others,
        threaded=activity.kind != "groupChat",
        registered=bool(profile),
    )


def _edited(activity: Activity) -> Event:
    """An edit. Without attachments, of which Teams sends at least the HTML copy, it tells the text only."""
    content = read_content(activity)
    parts = MessageParts(
        attachments=content.attachments,
        quotes=content.quotes,
        unread=content.unread,
        links=content.links,
    )
    told = activity.attachments is not None or parts != MessageParts(links=content.links)
    change = _change_id(activity, content.text)
    return MessageEdited(
        **_base_fields(activity, f":edited:{change}", content.attachments),
        target=event_id(activity),
        text=content.text,
        parts=parts if told else None,
    )


def question_of_edit(activity: Activity) -> MessageReceived | None:
    """The question of an edited message that now mentions the bot, for the case that it was not one before.

    None in personal chats, where every message is a question already.
    """
    if activity.type != "messageUpdate" or activity.change not in ("editMessage", ""):
        return None
    received = _received_message(activity)
    if activity.kind == "personal" or not isinstance(received, MessageReceived):
        return None
    if not without_mentions(activity)[1]:
        return None
    change = _change_id(activity, received.text)
    return replace(received, id=f"{received.id}:asked:{change}", restores=received.id)


def _restored(activity: Activity) -> Event | None:
    """A deletion that was undone. The earlier answer may still be visible, but its record was deleted."""
    received = _received_message(activity)
    if not isinstance(received, MessageReceived) or not received.addressed:
        return None
    return replace(received, id=f"{received.id}:restored:{_change_id(activity)}", restores=received.id)


def _change_id(activity: Activity, text: str = "") -> str:
    """A digest that tells changes of the same message apart, because all of them carry its id."""
    return hashlib.sha256(f"{activity.timestamp}\n{text}".encode()).hexdigest()[:16]


def _rated(activity: Activity) -> Event | None:
    value = as_object(activity.value)
    rating = as_object(value.get("actionValue"))
    if value.get("actionName") != "feedback" or rating.get("reaction") not in ("like", "dislike"):
        return None
    comment = as_object(rating.get("feedback")).get("feedbackText", "")
    return FeedbackGiven(
        **_base_fields(activity),
        post=post_id(activity.conversation.id, activity.reply_to_id or ""),
        good=rating["reaction"] == "like",
        comment=comment if isinstance(comment, str) else "",
    )
