"""Parses Slack's payloads into events; what is unknown is ignored."""

from collections.abc import Mapping
from datetime import timedelta

from adapters.slack.events.interactions import button_pressed, command, session_stopped, submitted
from adapters.slack.formatting.mrkdwn import mentioned
from adapters.slack.messages.content import (
    MessageContent,
    mentioned_ids,
    own_mentions,
    read_message,
    tags_others,
)
from adapters.slack.payloads import Bot, Origin, Payload, message_id, organisation_of, origin, part, time_of
from bot.domain.events import (
    Address,
    AppUninstalled,
    Event,
    MessageDeleted,
    MessageEdited,
    MessageParts,
    MessageReceived,
    User,
    now,
)

# Subtypes that carry a person's own text (docs.slack.dev/reference/events/message).
SPOKEN_SUBTYPES = frozenset(
    {None, "file_share", "thread_broadcast", "reply_broadcast", "me_message", "bot_message", "message_share"}
)
STOP_EVENTS = frozenset({"agent_session_stopped", "message_stream_stopped"})  # the second is the old name
REMOVALS = frozenset({"app_uninstalled", "tokens_revoked", "team_access_revoked"})
SLACKBOT = "USLACKBOT"


def people(payload: Payload) -> set[str]:
    """The ids whose names `parse` uses: people, channels and groups that are mentioned, and the asker."""
    event = part(payload, "event")
    if not event:
        return mentioned_ids({"text": payload.get("text")})
    changed = part(event, "message") or event
    named = mentioned_ids(changed)
    asks = bool(named) or (event.get("type") == "message" and _is_direct(event))
    asker = event.get("user") if asks and not part(event, "user_profile") else None
    return named | {str(asker)} if asker else named


def parse(payload: Payload, bot: Bot, names: Mapping[str, str], team: str = "") -> Event | None:
    """The event, or None if it is not for the bot. Raises KeyError, TypeError or ValueError.

    `names` maps ids of people to names; without one, the id is used. `team` is the workspace whose installation
    answers, if that is not the one that the payload names.
    """
    match payload.get("type"):
        case "event_callback":
            return _event(payload, bot, names, team or origin(payload).team or bot.team)
        case "block_actions":
            return button_pressed(payload)
        case "view_submission":
            return submitted(payload)
        case _ if "command" in payload:
            bare = payload["command"] == "/ask" and not payload.get("text")
            return None if bare else command(payload, bot, names)  # without text it opens a form
        case _:
            return None


def _event(payload: Payload, bot: Bot, names: Mapping[str, str], team: str) -> Event | None:
    event: Payload = payload["event"]
    kind, subtype = event.get("type"), event.get("subtype")
    if kind in STOP_EVENTS:
        return session_stopped(event, team)
    if kind not in ("message", "app_mention"):
        return None
    if subtype == "message_changed":
        return _changed(event, team, bot, names)
    if subtype == "message_deleted":
        return _deleted(event, team, bot, part(event, "previous_message"), str(event["deleted_ts"]))
    if subtype not in SPOKEN_SUBTYPES or event.get("hidden"):
        return None
    return _received_message(event, team, bot, names)


# ------------------------------------------------------------------ messages


def _received_message(
    event: Payload, team: str, bot: Bot, names: Mapping[str, str]
) -> MessageReceived | None:
    direct = _is_direct(event)
    named = event["type"] == "app_mention" or _names(event, bot)
    if not _from_somebody_else(event, bot) or (event.get("bot_id") and not named):
        return None
    if not (named or direct or event.get("thread_ts")):
        return None
    content = read_message(event, bot.user, names)
    return MessageReceived(
        id=message_id(team, event["channel"], event["ts"]),
        address=_address(event, event["channel"], team, str(event["ts"]), direct=direct),
        user=_user(event, team, names),
        at=time_of(event["ts"]),
        text=content.text,
        attachments=content.attachments,
        quotes=content.quotes,
        unread=content.unread,
        links=content.links,
        addressed=named or direct,
        channel=event["channel"],
        direct=direct,
        mentions_others=tags_others(event, bot.ids),
    )


def _changed(
    event: Payload, team: str, bot: Bot, names: Mapping[str, str]
) -> MessageEdited | MessageDeleted | None:
    """Link previews and replies arrive as changes, too; only what the author changed is an edit."""
    after: Payload = event["message"]
    before = part(event, "previous_message")
    if after.get("subtype") == "tombstone":  # a deleted message that has replies
        return _deleted(event, team, bot, {**after, **before}, str(after["ts"]))
    if after.get("subtype") not in SPOKEN_SUBTYPES or not ({"text", "blocks"} & before.keys()):
        return None
    if not _concerns_us(event, after, before, bot):
        return None
    content = read_message(after, bot.user, names)
    if not _is_edit(after, before, content, read_message(before, bot.user, names)):
        return None
    channel, ts = event["channel"], str(after["ts"])
    edited = str(part(after, "edited").get("ts") or event.get("event_ts") or event["ts"])
    event_id = f"{message_id(team, channel, ts)}:edit:{edited}"
    return MessageEdited(
        id=event_id,
        address=_address(after, channel, team, ts, event=event_id, direct=_is_direct(event)),
        user=_user(after, team, names),
        at=time_of(edited),
        target=message_id(team, channel, ts),
        text=content.text,
        parts=MessageParts(
            attachments=content.attachments,
            quotes=content.quotes,
            unread=content.unread,
            links=content.links,
        ),
    )


def _is_edit(after: Payload, before: Payload, content: MessageContent, previous: MessageContent) -> bool:
    """Whether the author changed a message. Text changes only by an edit, or when a recording was transcribed."""
    if content.text != previous.text:
        return True
    if part(after, "edited").get("ts") == part(before, "edited").get("ts"):
        return False
    return content.own_parts != previous.own_parts


def _deleted(event: Payload, team: str, bot: Bot, before: Payload, ts: str) -> MessageDeleted | None:
    if not _concerns_us(event, before, before, bot):
        return None
    channel = event["channel"]
    event_id = f"{message_id(team, channel, ts)}:deleted"
    return MessageDeleted(
        id=event_id,
        address=_address(before, channel, team, ts, event=event_id, direct=_is_direct(event)),
        user=_user(before, team, {}),
        at=time_of(event.get("event_ts") or event["ts"]),
        target=message_id(team, channel, ts),
    )


def _concerns_us(event: Payload, after: Payload, before: Payload, bot: Bot) -> bool:
    """Whether a changed or deleted message could have been for the bot."""
    if not _from_somebody_else(after, bot) or after.get("bot_id"):
        return False
    named = any(_names(version, bot) for version in (after, before))
    return named or bool(after.get("thread_ts")) or _is_direct(event)


def _is_direct(event: Payload) -> bool:
    """Whether it is a one-to-one conversation; some events lack `channel_type`."""
    return event.get("channel_type") == "im" or str(event.get("channel") or "").startswith("D")


def _from_somebody_else(message: Payload, bot: Bot) -> bool:
    """Whether the author is neither this bot nor Slackbot."""
    author = message.get("user")
    if author in (bot.user, SLACKBOT) or (message.get("bot_id") and message["bot_id"] == bot.bot):
        return False
    return bool(author or message.get("bot_id"))


# ------------------------------------------------------------------ removal of the app


def removed(payload: Payload, place: Origin) -> list[Origin]:
    """The workspaces that lost the app, or the whole organisation (an origin without a team).

    Empty if only user tokens were revoked.
    """
    event = part(payload, "event")
    match event.get("type"):
        case "team_access_revoked":
            teams: list[object] = event.get("team_ids") or []
            return [Origin(str(team), "") for team in teams]
        case "tokens_revoked" if not part(event, "tokens").get("bot"):
            return []
        case _:
            gone = Origin("", place.enterprise) if place.enterprise else place
            return [gone] if any(gone) else []


def uninstalled(payload: Payload, place: Origin) -> AppUninstalled:
    """The event that deletes the data of that workspace; equal for each delivery."""
    conversation = f"slack:departed:{place.team or place.enterprise}"
    event_id = f"{conversation}:{payload['event_id']}"
    # event_time is in whole seconds; messages of the same second came before the removal.
    at = time_of(payload["event_time"]) + timedelta(seconds=1) if payload.get("event_time") else now()
    conversation_prefix = f"slack:{place.team}:" if place.team else "slack:"
    organisation = organisation_of(payload)
    revoked = part(payload, "event").get("type") == "team_access_revoked"
    return AppUninstalled(
        id=event_id,
        address=Address(conversation=conversation, event=event_id),
        user=User(id="", tenant=place.team),
        at=at,
        conversation_prefix=conversation_prefix,
        marks={} if place.team else {"enterprise": place.enterprise},
        whole=True,
        installation=organisation if revoked and organisation else place.team or place.enterprise,
        organisation=organisation,
    )


# ------------------------------------------------------------------ the parts of an event


def _names(message: Payload, bot: Bot) -> bool:
    """Whether the author of a message mentions the bot."""
    text = str(message.get("text") or "")
    return ("<@" in text and bot.user in mentioned(text)) or bot.user in own_mentions(message)


def _address(message: Payload, channel: str, team: str, ts: str, *, direct: bool, event: str = "") -> Address:
    thread = str(message.get("thread_ts") or ts)
    data = {"team": team, "channel": channel, "thread": thread, "question": ts}
    person = message.get("user")
    if person:
        home = message.get("user_team") or message.get("team") or team
        data |= {"user": str(person), "user_team": str(home)}
    if direct:
        data["direct"] = "1"
    event = event or message_id(team, channel, ts)
    return Address(conversation=message_id(team, channel, thread), event=event, data=data)


def _user(message: Payload, team: str, names: Mapping[str, str]) -> User:
    person = str(message.get("user") or message.get("bot_id") or "")
    profile = part(message, "user_profile") or part(message, "bot_profile")
    name = names.get(person) or profile.get("display_name") or profile.get("real_name") or profile.get("name")
    by_app = bool(message.get("bot_id")) or message.get("subtype") == "bot_message"
    return User(
        id=person,
        tenant=team,
        name=str(name or message.get("username") or ""),
        role="bot" if by_app else "",
    )
