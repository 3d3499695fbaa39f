"""What people do in a simulated Slack, and what the app is told of it."""

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from tests.simulators.slack_courier import Courier, Delivery, Payload
from tests.simulators.slack_methods import Message


class People(Courier):
    """People of one workspace; every act returns once its deliveries were answered."""

    responses: dict[str, dict[str, Any]]

    async def say(
        self,
        channel: str,
        user: str,
        text: str,
        thread_ts: str | None = None,
        files: Sequence[Payload] = (),
        **more: Any,
    ) -> str:
        """A person writes; returns the message's ts once every delivery was answered."""
        content = {"text": text, "markdown": text} | (
            {"files": list(files), "subtype": "file_share"} if files else {}
        )
        message = self.workspace.add(channel, {"user": user}, thread_ts, **content, **more)
        self._changed.set()
        event = {k: v for k, v in message.items() if k != "markdown"} | {"channel": channel}
        event |= {"channel_type": "im" if channel.startswith("D") else "channel", "event_ts": message["ts"]}
        events: list[Payload] = []
        if self.workspace.bot_user in self.workspace.channels.get(channel, ()):
            events.append(event)
        if f"<@{self.workspace.bot_user}>" in text and not channel.startswith("D"):
            hidden = ("channel_type", "subtype")
            events.append({k: v for k, v in event.items() if k not in hidden} | {"type": "app_mention"})
        await self.deliver(events)
        return str(message["ts"])

    async def edit(self, channel: str, ts: str, text: str) -> None:
        """A person changes a message."""
        message = self.workspace.messages[channel, ts]
        before = _as_event(message)
        message |= {
            "text": text,
            "markdown": text,
            "edited": {"user": message["user"], "ts": self.workspace.ts()},
        }
        await self.deliver_change(
            channel, "message_changed", message=_as_event(message), previous_message=before
        )

    async def unfurl(self, channel: str, ts: str) -> None:
        """Slack adds a preview to a message: a change without changed text."""
        message = self.workspace.messages[channel, ts]
        before = _as_event(message)
        after = before | {"attachments": [{"from_url": "https://example.com", "title": "Example"}]}
        await self.deliver_change(channel, "message_changed", message=after, previous_message=before)

    async def delete(self, channel: str, ts: str) -> None:
        """A person deletes a message."""
        message = self.workspace.messages.pop((channel, ts))
        await self.deliver_change(
            channel, "message_deleted", deleted_ts=ts, previous_message=_as_event(message)
        )

    async def command(self, channel: str, user: str, command: str, text: str = "") -> Payload:
        """A person types a slash command; returns what Slack shows at once, if anything."""
        token = uuid.uuid4().hex
        self.responses[token] = {
            "channel": channel,
            "user": user,
            "uses": 0,
            "until": time.monotonic() + 1800,
        }
        form = {
            "token": "retired",
            "team_id": self.workspace.team,
            "team_domain": "simulated",
            "channel_id": channel,
            "channel_name": "directmessage" if channel.startswith("D") else "general",
            "user_id": user,
            "user_name": self.workspace.people.get(user, user),
            "command": command,
            "text": text,
            "api_app_id": "A0SIM",
            "is_enterprise_install": "false",
            "response_url": f"{self.workspace.origin}/response/{token}",
            "trigger_id": self.workspace.views.trigger(user),
        }
        delivery = await self.hand_over("slash_commands", form, urlencode(form), form["trigger_id"])
        received: Payload = (
            json.loads(delivery.body) if delivery.body.startswith("{") else {"text": delivery.body}
        )
        if received.get("text"):
            self.workspace.ephemeral.append(
                {"channel": channel, "user": user, "markdown": received["text"], **received}
            )
        return received

    async def press(self, message: Message, channel: str, user: str, good: bool = True) -> Delivery:
        """A person presses a rating button under a message."""
        elements = [e for b in message["blocks"] if b["type"] == "context_actions" for e in b["elements"]]
        element = elements[0]
        button = element["positive_button" if good else "negative_button"]
        payload = {
            "type": "block_actions",
            "user": {"id": user, "username": self.workspace.people[user], "team_id": self.workspace.team},
            "api_app_id": "A0SIM",
            "container": {
                "type": "message",
                "message_ts": message["ts"],
                "channel_id": channel,
                "is_ephemeral": False,
                **({"thread_ts": message["thread_ts"]} if message.get("thread_ts") else {}),
            },
            "trigger_id": self.workspace.views.trigger(user),
            "team": {"id": self.workspace.team, "domain": "simulated"},
            "channel": {"id": channel, "name": "general"},
            "message": {"ts": message["ts"], "text": message["text"], "team": self.workspace.team},
            "response_url": f"{self.workspace.origin}/response/unknown",
            "actions": [
                {
                    "type": "feedback_buttons",
                    "action_id": element["action_id"],
                    "block_id": "b1",
                    "value": button["value"],
                    "action_ts": self.workspace.ts(),
                }
            ],
        }
        form = urlencode({"payload": json.dumps(payload)})
        return await self.hand_over("interactive", payload, form, str(payload["trigger_id"]))

    async def stop_stream(self, channel: str, ts: str, user: str) -> None:
        """A person presses the stop button of a stream."""
        message = self.workspace.messages[channel, ts]
        message |= {"streaming": False, "streaming_state": "stopped", "stopped_by": user}
        event = {
            "type": "agent_session_stopped",
            "channel": channel,
            "streaming_message_ts": [ts],
            "thread_ts": message["thread_ts"],
            "user": user,
            "event_ts": self.workspace.ts(),
        }
        await self.deliver([event])

    async def open_home(self, user: str, tab: str = "messages") -> None:
        """A person opens the app."""
        channel = self.workspace.direct(user)
        event = {"type": "app_home_opened", "user": user, "channel": channel, "tab": tab}
        await self.deliver([event | {"event_ts": self.workspace.ts()}])

    async def change(self, user: str, **facts: Any) -> None:
        """A person is renamed (`name`), or something else of what users.info tells changes."""
        self.workspace.people[user] = facts.pop("name", self.workspace.people[user])
        self.workspace.facts[user] = self.workspace.facts.get(user, {}) | facts
        told = self.workspace.users_info({"user": user})["user"]
        event = {"type": "user_change", "user": told, "cache_ts": 1700000000, "event_ts": self.workspace.ts()}
        await self.deliver([event])


def _as_event(message: Message) -> Message:
    return {
        name: value
        for name, value in message.items()
        if name not in ("markdown", "streaming", "began", "grew")
    }
