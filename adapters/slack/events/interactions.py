"""Commands, buttons, forms and stop requests as events."""

from collections.abc import Mapping
from typing import Any

from adapters.shared.http_body import parse_json, parse_object
from adapters.slack.formatting import blocks
from adapters.slack.formatting.mrkdwn import plain
from adapters.slack.formatting.views import ASK_ABOUT_VIEW, COMMENT_VIEW, quoted, typed
from adapters.slack.messages.file_content import read_files
from adapters.slack.messages.permalinks import MAX_LINKS, links_in
from adapters.slack.payloads import Bot, Payload, message_id, part, time_of, user_of
from bot.domain.events import Address, FeedbackGiven, MessageReceived, QuotedMessage, StopRequested, User, now

Interaction = MessageReceived | FeedbackGiven | StopRequested


def command(payload: Payload, bot: Bot, names: Mapping[str, str]) -> MessageReceived:
    """A slash command; only its author sees the answer."""
    team = str(payload.get("team_id") or bot.team)
    channel, person = payload["channel_id"], payload["user_id"]
    event_id = f"slack:{team}:{channel}:command:{payload['trigger_id']}"
    data = {"kind": "command", "team": team, "channel": channel, "user": person}
    data["response_url"] = payload.get("response_url", "")
    text = _command_text(payload, bot, names)
    return MessageReceived(
        id=event_id,
        address=Address(conversation=f"slack:{team}:{channel}:command:{person}", event=event_id, data=data),
        user=User(id=person, tenant=team, name=str(payload.get("user_name") or "")),
        at=now(),
        text=text,
        links=links_in(text)[:MAX_LINKS],
        channel=channel,
        direct=payload.get("channel_name") == "directmessage",
        registered=payload["command"] != "/ask",
    )


def _command_text(payload: Payload, bot: Bot, names: Mapping[str, str]) -> str:
    word, words = str(payload["command"]), plain(str(payload.get("text") or ""), bot.user, names)
    if word == "/ask":
        return words
    if word == "/parley":
        return f"/{words or 'help'}"
    return f"{word} {words}".strip()


# ------------------------------------------------------------------ buttons

_WORDS = {blocks.AGAIN_ACTION: "again", blocks.SENT_ACTION: "sent", blocks.VARY_ACTION: "variations"}


def button_pressed(payload: Payload) -> Interaction | None:
    """A button below an answer; None for any other."""
    actions: list[Payload] = payload.get("actions") or []
    read = {
        blocks.RATING_ACTION: _rated,
        blocks.STOP_ACTION: _stopped,
        blocks.CONFIRM_ACTION: _command_button,
    }
    read |= dict.fromkeys(_WORDS, _command_button)
    action = next((action for action in actions if action.get("action_id") in read), None)
    if action is None:
        return None
    return read[action["action_id"]](payload, action, parse_object(action["value"]))


def _fields(payload: Payload, action: Payload, value: Payload) -> dict[str, Any]:
    """The fields that every event carries: the address of the answer, who pressed its button, and when."""
    conversation = str(value["conversation"])
    container, person = part(payload, "container"), part(payload, "user")
    team, ts = conversation.split(":")[1], str(container["message_ts"])
    channel = str(part(payload, "channel").get("id") or container["channel_id"])
    what = "rated" if action["action_id"] == blocks.RATING_ACTION else action["action_id"]
    event_id = f"{message_id(team, channel, ts)}:{what}:{person['id']}:{action['action_ts']}"
    data = {"team": team, "channel": channel, "user": str(person["id"])}
    if conversation.split(":")[3] == "command":
        data |= {"kind": "command", "response_url": str(payload.get("response_url") or "")}
    else:
        data |= {
            "thread": str(container.get("thread_ts") or ts),
            "question": str(action["action_ts"]),
            "user_team": str(person.get("team_id") or team),
        }
        if channel.startswith("D"):
            data["direct"] = "1"
    address = Address(conversation=conversation, event=event_id, data=data)
    at = time_of(action["action_ts"])
    return {"id": event_id, "address": address, "user": user_of(person, team), "at": at}


def _rated(payload: Payload, action: Payload, value: Payload) -> FeedbackGiven:
    fields = _fields(payload, action, value)
    return FeedbackGiven(**fields, post=_post(payload, fields["address"], value), good=value["good"] is True)


def _post(payload: Payload, address: Address, value: Payload) -> str:
    """The post that a button belongs to: named in its value, else the message that holds the button."""
    data, ts = address.data, part(payload, "container")["message_ts"]
    return str(value.get("post") or f"{data['team']}:{data['channel']}:{ts}")


def _command_button(payload: Payload, action: Payload, value: Payload) -> MessageReceived:
    """A button that stands for a command about its answer; the confirm button carries its own command."""
    fields = _fields(payload, action, value)
    address: Address = fields["address"]
    text = value.get("command") or f"/{_WORDS[action['action_id']]} {_post(payload, address, value)}"
    channel = address.data["channel"]
    direct = channel.startswith("D")
    return MessageReceived(**fields, text=str(text), channel=channel, direct=direct, registered=True)


def _stopped(payload: Payload, action: Payload, value: Payload) -> StopRequested:
    return StopRequested(**_fields(payload, action, value), target=str(value.get("event", "")))


def session_stopped(event: Payload, team: str) -> StopRequested:
    """The stop button of a stream (docs.slack.dev/reference/events/agent_session_stopped)."""
    channel, thread, person = event["channel"], event["thread_ts"], event["user"]
    event_id = f"{message_id(team, channel, thread)}:stopped:{event['event_ts']}"
    data = {"team": team, "channel": channel, "thread": thread, "user": person}
    return StopRequested(
        id=event_id,
        address=Address(conversation=message_id(team, channel, thread), event=event_id, data=data),
        user=User(id=person, tenant=team),
        at=time_of(event["event_ts"]),
    )


# ------------------------------------------------------------------ forms


def submitted(payload: Payload) -> Interaction | None:
    """A submitted form: a comment on a bad answer, or a question about a message; None for any other."""
    view = part(payload, "view")
    read = {COMMENT_VIEW: _commented, ASK_ABOUT_VIEW: _asked_about}
    if view.get("callback_id") not in read:
        return None
    metadata = parse_object(view["private_metadata"])
    known = {name: value for name, value in metadata.items() if isinstance(value, str)}
    person = part(payload, "user")
    event_id = f"slack:{known['team']}:{known['channel']}:view:{view['id']}"
    data = known | {"user": str(person["id"]), "user_team": str(person.get("team_id") or known["team"])}
    fields = {"id": event_id, "user": user_of(person, known["team"]), "at": now()}
    return read[view["callback_id"]](view, data, fields)


def _commented(view: Payload, data: dict[str, str], fields: dict[str, Any]) -> FeedbackGiven | None:
    """A comment on an answer that was already rated as bad; None without text."""
    post, conversation = data.pop("post"), data.pop("conversation")
    address = Address(conversation=conversation, event=fields["id"], data=data)
    comment = typed(view)
    return (
        FeedbackGiven(**fields, address=address, post=post, good=False, comment=comment) if comment else None
    )


def _asked_about(view: Payload, data: dict[str, str], fields: dict[str, Any]) -> MessageReceived:
    """A question about a message, answered in its thread."""
    quote = QuotedMessage(
        author=data.pop("author"),
        text=quoted(view),
        at=time_of(data["question"]),
        by=data.pop("by", ""),
        kind="quoted",
        origin=data.pop("origin", ""),
        attachments=read_files(parse_json(data.pop("files", "") or "[]")).attachments,
    )
    channel, direct, text = data["channel"], data["channel"].startswith("D"), typed(view)
    data |= {"direct": "1"} if direct else {}
    conversation = message_id(data["team"], channel, data["thread"])
    address = Address(conversation=conversation, event=fields["id"], data=data)
    return MessageReceived(
        **fields,
        address=address,
        text=text,
        quotes=(quote,),
        links=links_in(text)[:MAX_LINKS],
        channel=channel,
        direct=direct,
    )
