"""Slack's payloads as events: pure, and tolerant of everything that it does not know."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import msgspec

from adapters.slack.format import RATING_ACTION
from adapters.slack.mrkdwn import mentioned, plain
from bot.types import Address, Attachment, Deleted, Edited, Event, Rated, Said, Stopped, User, now

Payload = dict[str, Any]

# Subtypes under which a person's own words arrive (docs.slack.dev/reference/events/message).
SPOKEN_SUBTYPES = frozenset({None, "file_share", "thread_broadcast", "me_message", "bot_message"})
STOP_EVENTS = frozenset({"agent_session_stopped", "message_stream_stopped"})  # the second is the old name
SLACKBOT = "USLACKBOT"


class Bot(NamedTuple):
    """Who we are in a workspace, as auth.test says it."""

    team: str
    user: str
    bot: str

    @property
    def ids(self) -> frozenset[str]:
        """The ids under which our own messages appear."""
        return frozenset((self.user, self.bot)) - {""}


def people(payload: Payload) -> set[str]:
    """The ids of the people whose names `parse` would like to know."""
    event = part(payload, "event")
    said = str(event.get("text") or part(event, "message").get("text") or payload.get("text") or "")
    return mentioned(said) if "<@" in said else set()


def parse(payload: Payload, bot: Bot, names: Mapping[str, str]) -> Event | None:
    """What a person did, or None when it is nothing for us. Raises KeyError, TypeError or ValueError.

    `names` are people's names by id; a person without one is called by the id.
    """
    kind = payload.get("type")
    if kind == "event_callback":
        return _event(payload, bot, names)
    if kind == "block_actions":
        return _rating(payload)
    if "command" in payload and "response_url" in payload:
        return _command(payload, bot, names)
    return None


def _event(payload: Payload, bot: Bot, names: Mapping[str, str]) -> Event | None:
    event: Payload = payload["event"]
    team = str(payload.get("team_id") or bot.team)
    kind, subtype = event.get("type"), event.get("subtype")
    if kind in STOP_EVENTS:
        return _stopped(event, team)
    if kind not in ("message", "app_mention"):
        return None
    if subtype == "message_changed":
        return _changed(event, team, bot, names)
    if subtype == "message_deleted":
        return _deleted(event, team, bot, part(event, "previous_message"), str(event["deleted_ts"]))
    if subtype not in SPOKEN_SUBTYPES or event.get("hidden"):
        return None
    return _said(event, team, bot, names)


# ------------------------------------------------------------------ messages


def _said(event: Payload, team: str, bot: Bot, names: Mapping[str, str]) -> Said | None:
    text = str(event.get("text") or "")
    direct = event.get("channel_type") == "im"
    named = event["type"] == "app_mention" or _names(text, bot)
    if not _from_somebody_else(event, bot) or (event.get("bot_id") and not named):
        return None
    if not (named or direct or event.get("thread_ts")):
        return None
    return Said(
        id=_id(team, event["channel"], event["ts"]),
        address=_address(event, event["channel"], team, str(event["ts"])),
        user=_user(event, team, names),
        at=_time(event["ts"]),
        text=plain(text, bot.user, names),
        attachments=tuple(map(_attachment, event.get("files") or ())),
        addressed=named or direct,
        channel=event["channel"],
        direct=direct,
    )


def _changed(event: Payload, team: str, bot: Bot, names: Mapping[str, str]) -> Edited | Deleted | None:
    """Unfurls and replies arrive as changes too: only changed text is an edit."""
    after: Payload = event["message"]
    before = part(event, "previous_message")
    if after.get("subtype") == "tombstone":  # a deleted message that has replies
        return _deleted(event, team, bot, {**after, **before}, str(after["ts"]))
    text = str(after.get("text") or "")
    if after.get("subtype") not in SPOKEN_SUBTYPES or "text" not in before or before["text"] == text:
        return None
    if not _concerns_us(event, after, before, bot):
        return None
    channel, ts = event["channel"], str(after["ts"])
    edited = str(part(after, "edited").get("ts") or event.get("event_ts") or event["ts"])
    act = f"{_id(team, channel, ts)}:edit:{edited}"
    return Edited(
        id=act,
        address=_address(after, channel, team, ts, event=act, direct=event.get("channel_type") == "im"),
        user=_user(after, team, names),
        at=_time(edited),
        target=_id(team, channel, ts),
        text=plain(text, bot.user, names),
    )


def _deleted(event: Payload, team: str, bot: Bot, before: Payload, ts: str) -> Deleted | None:
    if not _concerns_us(event, before, before, bot):
        return None
    channel = event["channel"]
    act = f"{_id(team, channel, ts)}:deleted"
    return Deleted(
        id=act,
        address=_address(before, channel, team, ts, event=act, direct=event.get("channel_type") == "im"),
        user=_user(before, team, {}),
        at=_time(event.get("event_ts") or event["ts"]),
        target=_id(team, channel, ts),
    )


def _concerns_us(event: Payload, after: Payload, before: Payload, bot: Bot) -> bool:
    """A change counts where the message itself could have been for us."""
    if not _from_somebody_else(after, bot) or after.get("bot_id"):
        return False
    named = any(_names(str(version.get("text") or ""), bot) for version in (after, before))
    return named or bool(after.get("thread_ts")) or event.get("channel_type") == "im"


def _from_somebody_else(message: Payload, bot: Bot) -> bool:
    """Neither our own words nor Slack's."""
    author = message.get("user")
    if author in (bot.user, SLACKBOT) or (message.get("bot_id") and message["bot_id"] == bot.bot):
        return False
    return bool(author or message.get("bot_id"))


def _attachment(file: Payload) -> Attachment:
    url = file.get("url_private_download") or file.get("url_private")
    size = file.get("size")
    return Attachment(
        id=str(file["id"]),
        name=str(file.get("name") or file.get("title") or ""),
        mime=str(file.get("mimetype") or "application/octet-stream"),
        size_bytes=size if isinstance(size, int) and size > 0 else None,
        data={"url": str(url)} if url else {},
    )


# ------------------------------------------------------------------ commands, ratings, stops


def _command(payload: Payload, bot: Bot, names: Mapping[str, str]) -> Said:
    team = str(payload.get("team_id") or bot.team)
    channel, person = payload["channel_id"], payload["user_id"]
    words = plain(str(payload.get("text") or ""), bot.user, names)
    act = f"slack:{team}:{channel}:command:{payload['trigger_id']}"
    data = {
        "kind": "command",
        "team": team,
        "channel": channel,
        "user": person,
        "response_url": payload["response_url"],
    }
    return Said(
        id=act,
        address=Address(conversation=f"slack:{team}:{channel}:command:{person}", event=act, data=data),
        user=User(id=person, tenant=team, name=str(payload.get("user_name") or "")),
        at=now(),
        text=_command_text(str(payload["command"]), words),
        channel=channel,
        direct=payload.get("channel_name") == "directmessage",
    )


def _command_text(command: str, words: str) -> str:
    if command == "/ask":
        return words
    if command == "/parley":
        return f"/{words or 'help'}"
    return f"{command} {words}".strip()


def _rating(payload: Payload) -> Rated | None:
    """A pressed rating button; its value says which answer it rates, else the message that holds it does."""
    actions: list[Payload] = payload.get("actions") or []
    action = next((action for action in actions if action.get("action_id") == RATING_ACTION), None)
    if action is None:
        return None
    value: Payload = msgspec.json.decode(action["value"], type=dict[str, Any])
    container, person = part(payload, "container"), part(payload, "user")
    conversation, ts = str(value["conversation"]), str(container["message_ts"])
    team = conversation.split(":")[1]
    channel = str(part(payload, "channel").get("id") or container["channel_id"])
    act = f"{_id(team, channel, ts)}:rated:{person['id']}:{action['action_ts']}"
    data = {"team": team, "channel": channel, "thread": str(container.get("thread_ts") or ts)}
    return Rated(
        id=act,
        address=Address(conversation=conversation, event=act, data=data | {"user": person["id"]}),
        user=User(id=person["id"], tenant=team, name=str(person.get("username") or person.get("name") or "")),
        at=_time(action["action_ts"]),
        post=str(value.get("post") or f"{team}:{channel}:{ts}"),
        good=value["good"] is True,
    )


def _stopped(event: Payload, team: str) -> Stopped:
    """Somebody pressed the stop button (docs.slack.dev/reference/events/agent_session_stopped)."""
    channel, thread, person = event["channel"], event["thread_ts"], event["user"]
    act = f"{_id(team, channel, thread)}:stopped:{event['event_ts']}"
    data = {"team": team, "channel": channel, "thread": thread, "user": person}
    return Stopped(
        id=act,
        address=Address(conversation=_id(team, channel, thread), event=act, data=data),
        user=User(id=person, tenant=team),
        at=_time(event["event_ts"]),
    )


# ------------------------------------------------------------------ the parts of an event


def part(of: Payload, name: str) -> Payload:
    """An object inside an object; empty where there is none."""
    inside = of.get(name)
    return cast("Payload", inside) if isinstance(inside, dict) else {}


def _names(text: str, bot: Bot) -> bool:
    return "<@" in text and bot.user in mentioned(text)


def _id(team: str, channel: str, ts: Any) -> str:
    return f"slack:{team}:{channel}:{ts}"


def _address(
    message: Payload, channel: str, team: str, ts: str, event: str = "", direct: bool | None = None
) -> Address:
    thread = str(message.get("thread_ts") or ts)
    if direct is None:
        direct = message.get("channel_type") == "im"
    data = {"team": team, "channel": channel, "thread": thread, "question": ts}
    person = message.get("user")
    if person:
        home = message.get("user_team") or message.get("team") or team
        data |= {"user": str(person), "user_team": str(home)}
    if direct:
        data["direct"] = "1"
    return Address(conversation=_id(team, channel, thread), event=event or _id(team, channel, ts), data=data)


def _user(message: Payload, team: str, names: Mapping[str, str]) -> User:
    person = str(message.get("user") or message.get("bot_id") or "")
    profile = part(message, "user_profile") or part(message, "bot_profile")
    name = names.get(person) or profile.get("display_name") or profile.get("real_name") or profile.get("name")
    return User(id=person, tenant=team, name=str(name or message.get("username") or ""))


def _time(ts: Any) -> datetime:
    return datetime.fromtimestamp(float(ts), UTC)
