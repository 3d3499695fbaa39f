"""Activities of the Bot Framework: the fields that Parley reads."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, cast

import msgspec

from adapters.shared.http_body import parse_json
from adapters.teams.activities.lenient import convert_leniently
from bot.domain.errors import Malformed
from bot.domain.events import Role, User, now
from bot.domain.local_time import zone_of, zone_with

FILE = "application/vnd.microsoft.teams.file.download.info"
HTML = "text/html"
"""The content type of the HTML copy of the text."""

_APP = "28:"
"""How the ids of bots, connectors and outgoing webhooks begin."""
_LOCALE_CHARACTERS = 35
"""The length that BCP 47 (RFC 5646, 4.4.1) asks of those who store language tags."""

Id = Annotated[str, msgspec.Meta(max_length=1024)]
"""Ids of Teams have at most about 200 characters."""


class Account(msgspec.Struct, rename="camel"):
    """A person, a bot or an app; `is_targeted` is true if nobody else sees the message.

    `user_role` and `tenant_id` are those of the roster, which Teams rarely sends along.
    """

    id: Id = ""
    name: str | None = None
    role: str | None = None
    is_targeted: bool | None = None
    user_role: str | None = None
    tenant_id: Id | None = None
    aad_object_id: Id | None = None


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
    local_timestamp: str | None = None
    local_timezone: str | None = None
    locale: str | None = None
    text: str | None = None
    text_format: str | None = None
    name: str | None = None
    action: str | None = None
    reply_to_id: Id | None = None
    value: Any = None
    value_type: str | None = None
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
        return self.conversation.tenant_id or self._named_tenant or "-"

    @property
    def sender_tenant(self) -> str:
        """The organisation of the sender, where Teams tells it beside that of the conversation; else empty."""
        return self.sender.tenant_id or self._named_tenant

    @property
    def _named_tenant(self) -> str:
        named = as_object(as_object(self.channel_data).get("tenant")).get("id")
        return named if isinstance(named, str) else ""

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
    def channel_name(self) -> str:
        """The name of the channel, if Teams gives it."""
        name = as_object(as_object(self.channel_data).get("channel")).get("name")
        return name if isinstance(name, str) else ""

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


def event_id(activity: Activity) -> str:
    """Equal for each delivery of the same message."""
    return f"teams:{activity.conversation.id}:{activity.id or ''}"


def conversation_id(tenant: str, conversation: str) -> str:
    """Parley's id of a conversation; with the tenant, because two tenants may use the same id."""
    return f"teams:{tenant}:{conversation}"


def post_id(conversation: str, activity: str) -> str:
    """The id of a `PostedMessage`; an activity id alone is unique only within its conversation."""
    return f"{conversation}|{activity}"


def as_object(value: object) -> dict[str, Any]:
    """A JSON object, or one that is encoded as a string; empty for anything else."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = parse_json(value)
        except Malformed:
            return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def user_of(activity: Activity) -> User:
    """Who sent the activity, with their language and time zone as far as Teams tells them."""
    clients = [one for one in activity.entities or () if one.get("type") == "clientInfo"]
    client = clients[0] if clients else dict[str, Any]()
    told = (activity.local_timezone, client.get("timezone"))
    named = next((zone for zone in told if isinstance(zone, str) and zone_of(zone) is not None), "")
    locale = activity.locale or client.get("locale")
    role = _role(activity)
    return User(
        id=activity.sender.id,
        tenant=activity.tenant,
        name=activity.sender.name or "",
        locale=locale if isinstance(locale, str) and len(locale) <= _LOCALE_CHARACTERS else "",
        zone=named or _offset_of(activity.local_timestamp or ""),
        role=role,
        home=activity.sender_tenant if role == "partner" else "",
    )


def _role(activity: Activity) -> Role | Literal[""]:
    """What the activity tells of its sender; empty for most people."""
    sender, home = activity.sender, activity.sender_tenant.casefold()
    if sender.role == "bot" or sender.id.startswith(_APP):
        return "bot"
    if home and home != activity.tenant.casefold():
        return "partner"
    return "guest" if (sender.user_role or "").casefold() in ("guest", "anonymous") else ""


def _offset_of(local_timestamp: str) -> str:
    """The zone of a local time with its offset from UTC, "2026-11-30T09:00:00+02:00"."""
    try:
        return zone_with(datetime.fromisoformat(local_timestamp).utcoffset())
    except ValueError:
        return ""


def time_of(activity: Activity) -> datetime:
    """The time of the activity in UTC; now if Teams does not give one."""
    try:
        at = datetime.fromisoformat(activity.timestamp or "")
    except ValueError:
        return now()
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
