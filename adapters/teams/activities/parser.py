"""Parses activities of the Bot Framework into events."""

import hashlib
import mimetypes
import re
from datetime import UTC, datetime
from typing import Annotated, Any, cast

import msgspec
from msgspec.structs import replace

from adapters.shared.http_body import parse_json
from adapters.teams.activities.html_text import html_to_text
from adapters.teams.activities.lenient import convert_leniently
from bot.domain.errors import Malformed
from bot.domain.events import (
    Address,
    AppUninstalled,
    Attachment,
    Event,
    FeedbackGiven,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    QuotedMessage,
    User,
    now,
)

TEAM_DELETED = ("teamDeleted", "teamHardDeleted")
FILE = "application/vnd.microsoft.teams.file.download.info"
AGAIN, SENT, VARY = "Try again", "What did you send?", "Variations"
_BUTTONS = {AGAIN: "/again", SENT: "/sent", VARY: "/variations"}
"""The texts that buttons below an answer send, and the commands that they stand for."""
ABOUT = "about"
"""In the value of a card's button: "answer" for a command about that answer, or "command"."""
_REPLY = re.compile(
    r"<blockquote[^>]{0,200}schema\.skype\.com/Reply[^>]{0,200}>\s{0,9}"
    r"(?:<strong[^>]{0,200}>(?P<author>[^<]{0,200})</strong>)?"
    r"(?:(?!</blockquote>|<p ).){0,500}<p itemprop=\"(?:copy|preview)\">(?P<text>(?:(?!</p>).){0,4000})</p>",
    re.S,
)
_QUOTED = re.compile(r"<quoted messageId=\"[^\">]{1,64}\"\s*/>")


Id = Annotated[str, msgspec.Meta(max_length=1024)]
"""Ids of Teams have at most about 200 characters."""


class Account(msgspec.Struct, rename="camel"):
    """A person, a bot or an app; `is_targeted` is true if nobody else sees the message."""

    id: Id = ""
    name: str | None = None
    role: str | None = None
    is_targeted: bool | None = None


class Conversation(msgspec.Struct, rename="camel"):
    """A conversation. In a channel, `id` names the root of the thread after `;messageid=`."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    conversation_type: str | None = None
    tenant_id: Id | None = None
    is_group: bool | None = None


class File(msgspec.Struct, rename="camel"):
    """An attachment: a file, an image, a card, or the HTML copy of the text."""

    content_type: str = ""
    content_url: str | None = None
    name: str | None = None
    content: Any = None


class Activity(msgspec.Struct, rename="camel"):
    """The fields of an activity that Parley reads."""

    type: str
    conversation: Conversation
    service_url: Annotated[str, msgspec.Meta(max_length=2048)]
    sender: Account = msgspec.field(name="from", default_factory=Account)
    recipient: Account = msgspec.field(default_factory=Account)
    channel_id: Id = ""
    id: Id | None = None
    timestamp: str | None = None
    text: str | None = None
    name: str | None = None
    action: str | None = None
    reply_to_id: Id | None = None
    value: Any = None
    entities: list[dict[str, Any]] | None = None
    attachments: list[File] | None = None
    channel_data: Any = None

    @property
    def kind(self) -> str:
        """`personal`, `groupChat` or `channel`."""
        group = "groupChat" if self.conversation.is_group else "personal"
        return self.conversation.conversation_type or group

    @property
    def tenant(self) -> str:
        """The organisation, from the conversation or else the channel data."""
        named = as_object(as_object(self.channel_data).get("tenant")).get("id")
        return self.conversation.tenant_id or (named if isinstance(named, str) else "") or "-"

    @property
    def channel(self) -> str:
        """The id of the channel or chat, without the thread."""
        return self.conversation.id.partition(";")[0]

    @property
    def team(self) -> dict[str, str]:
        """The ids of the channel's team: Teams' own and, if given, that of its Microsoft 365 group."""
        team = as_object(as_object(self.channel_data).get("team"))
        known = {"team": team.get("id"), "group": team.get("aadGroupId")}
        return {name: id for name, id in known.items() if isinstance(id, str) and id}

    @property
    def change(self) -> str:
        """The kind of a messageUpdate or messageDelete: editMessage, softDeleteMessage, undeleteMessage."""
        return str(as_object(self.channel_data).get("eventType", ""))


def read(payload: object) -> Activity:
    """An activity from parsed JSON. Invalid optional parts count as missing. Raises Malformed."""
    try:
        return msgspec.convert(payload, Activity)
    except msgspec.ValidationError as error:
        activity = convert_leniently(payload, Activity)
        if activity.text is None and cast("dict[str, Any]", payload).get("text") is not None:
            raise Malformed("an activity whose text is not a string") from error
        return activity


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


def event_id(activity: Activity) -> str:
    """Equal for each delivery of the same message."""
    return f"teams:{activity.conversation.id}:{activity.id or ''}"


def address(activity: Activity) -> Address:
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
            "tenant": activity.tenant,
            "channel": activity.channel_id,
            "doing": _doing(activity),
            **activity.team,
            **targeted,
        },
    )


def conversation_id(tenant: str, conversation: str) -> str:
    """Parley's id of a conversation; with the tenant, because two tenants may use the same id."""
    return f"teams:{tenant}:{conversation}"


def post_id(conversation: str, activity: str) -> str:
    """The id of a `PostedMessage`; an activity id alone is unique only within its conversation."""
    return f"{conversation}|{activity}"


def _doing(activity: Activity) -> str:
    """The kind of attachment that the status line before the answer mentions."""
    kinds = {attachment.data["kind"] for attachment in _attachments(activity)}
    return "file" if "file" in kinds else "picture" if "inline" in kinds else ""


def _base_fields(activity: Activity, suffix: str = "") -> dict[str, Any]:
    """The fields that every event carries."""
    if not activity.id or not activity.sender.id:
        raise Malformed("an activity without an id or a sender")
    return {
        "id": event_id(activity) + suffix,
        "address": address(activity),
        "user": User(id=activity.sender.id, tenant=activity.tenant, name=activity.sender.name or ""),
        "at": time_of(activity),
    }


def _received_message(activity: Activity) -> Event | None:
    if not activity.text and activity.value is not None:
        return None  # a card's button
    text, addressed = _without_mentions(activity)
    text = _BUTTONS.get(text, text)
    direct = activity.kind == "personal"
    profile = as_object(activity.value).get(ABOUT)
    if profile == "answer" and activity.reply_to_id:
        text = f"{text} {post_id(activity.conversation.id, activity.reply_to_id)}"
    return MessageReceived(
        **_base_fields(activity),
        text=text,
        attachments=_attachments(activity),
        quotes=_quotes(activity),
        addressed=addressed or direct or bool(profile or activity.recipient.is_targeted),
        channel=activity.channel,
        direct=direct,
        threaded=activity.kind != "groupChat",
    )


def _edited(activity: Activity) -> Event:
    text, _ = _without_mentions(activity)
    return MessageEdited(
        **_base_fields(activity, f":edited:{_change_id(activity, text)}"),
        target=event_id(activity),
        text=text,
    )


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


def _without_mentions(activity: Activity) -> tuple[str, bool]:
    """The text without mentions of the bot, with others as names; and whether the bot was mentioned.

    Only the exact texts of mention entities are replaced, each once and in order.
    """
    text, at, addressed = (activity.text or "").replace("\xa0", " ").replace("&nbsp;", " "), 0, False
    for entity in activity.entities or []:
        mentioned, mention = as_object(entity.get("mentioned")), entity.get("text")
        if entity.get("type") != "mention":
            continue
        own = mentioned.get("id") == activity.recipient.id
        addressed = addressed or own
        begin = text.find(mention, at) if isinstance(mention, str) and mention else -1
        if begin < 0:
            continue
        end = begin + len(str(mention))
        name = "" if own else str(mentioned.get("name") or "")
        if own and text[end : end + 1] == " " and (begin == 0 or text[begin - 1].isspace()):
            end += 1
        text, at = text[:begin] + name + text[end:], begin + len(name)
    return _QUOTED.sub("", text).strip(), addressed


def _quotes(activity: Activity) -> tuple[QuotedMessage, ...]:
    """The quoted messages, from entities or, with older clients, from the HTML copy of the text."""
    quotes = tuple(filter(None, map(_quote, activity.entities or [])))
    return quotes or tuple(
        QuotedMessage(author=html_to_text(found["author"] or ""), text=quoted)
        for file in activity.attachments or []
        if file.content_type == "text/html" and isinstance(file.content, str)
        for found in _REPLY.finditer(file.content)
        if (quoted := html_to_text(found["text"]))
    )


def _quote(entity: dict[str, Any]) -> QuotedMessage | None:
    """A quoted message from an entity; Teams sends a preview of its text."""
    quoted = as_object(entity.get("quotedReply")) if entity.get("type") == "quotedReply" else {}
    preview = quoted.get("preview")
    if not isinstance(preview, str) or not preview.strip() or quoted.get("isReplyDeleted"):
        return None
    return QuotedMessage(author=str(quoted.get("senderName") or ""), text=preview)


def _attachments(activity: Activity) -> tuple[Attachment, ...]:
    return tuple(filter(None, map(_attachment, activity.attachments or [])))


def _attachment(file: File) -> Attachment | None:
    """A file or an image; None for cards and the HTML copy of the text."""
    if file.content_type == FILE:
        content = as_object(file.content)
        url = content.get("downloadUrl")
        name = file.name or "file"
        mime = mimetypes.guess_type(name)[0] or "application/octet-stream"
        known = content.get("uniqueId") or file.content_url or url
        data = {"kind": "file", "url": str(url)}
        return Attachment(id=str(known), name=name, mime=mime, data=data) if url else None
    if file.content_type.startswith("image/") and file.content_url:
        data = {"kind": "inline", "url": file.content_url}
        # Teams sends "image/*" for pasted images; models need a type, and detect the real one themselves.
        mime = "image/png" if file.content_type == "image/*" else file.content_type
        return Attachment(id=file.content_url, name=file.name or "image", mime=mime, data=data)
    return None


def as_object(value: object) -> dict[str, Any]:
    """A JSON object, or one that is encoded as a string; empty for anything else."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = parse_json(value)
        except Malformed:
            return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def time_of(activity: Activity) -> datetime:
    """The time of the activity in UTC; now if Teams does not give one."""
    try:
        at = datetime.fromisoformat(activity.timestamp or "")
    except ValueError:
        return now()
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
