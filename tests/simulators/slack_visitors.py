"""What people do in a simulated Slack beside writing: buttons, forms, shortcuts, tabs."""

import json
import uuid
from typing import Any
from urllib.parse import urlencode

from tests.simulators.slack_courier import Delivery, Payload
from tests.simulators.slack_methods import Message
from tests.simulators.slack_people import People


class Visitors(People):
    """Every act returns once its delivery was answered."""

    def _person(self, user: str) -> Payload:
        name = self.workspace.people[user]
        return {"id": user, "username": name, "name": name, "team_id": self.workspace.team}

    def _response_url(self, channel: str, user: str) -> str:
        token = uuid.uuid4().hex
        self.responses[token] = {"channel": channel, "user": user, "uses": 0, "until": float("inf")}
        return f"{self.workspace.origin}/response/{token}"

    async def act(self, payload: Payload) -> Delivery:
        """Hand over what Slack calls an interaction."""
        whole = {
            "api_app_id": "A0SIM",
            "team": {"id": self.workspace.team, "domain": "simulated"},
            "enterprise": None,
            "is_enterprise_install": False,
        } | payload
        form = urlencode({"payload": json.dumps(whole)})
        return await self.hand_over("interactive", whole, form, str(uuid.uuid4()))

    async def press_button(
        self, message: Message, channel: str, user: str, action: str, *, ephemeral: bool = False
    ) -> Delivery:
        """A person presses an ordinary button under a message."""
        elements = [e for b in message["blocks"] if b["type"] == "actions" for e in b["elements"]]
        (element,) = [element for element in elements if element["action_id"] == action]
        thread = {"thread_ts": message["thread_ts"]} if message.get("thread_ts") else {}
        place = {"message_ts": message["ts"], "channel_id": channel, "is_ephemeral": ephemeral}
        return await self.act(
            {
                "type": "block_actions",
                "user": self._person(user),
                "container": {"type": "message", **place, **thread},
                "trigger_id": self.workspace.views.trigger(user),
                "channel": {"id": channel, "name": "general"},
                "response_url": self._response_url(channel, user),
                "actions": [element | {"block_id": "b2", "action_ts": self.workspace.ts()}],
            }
        )

    async def choose_at_home(self, user: str, action: str, name: str = "") -> Delivery:
        """A person picks a menu's entry by its words, or a channel by its id, or presses a button, in the home tab."""
        home = self.workspace.views.homes[user]
        elements = [
            item for block in home["blocks"] for item in (block.get("accessory"), *block.get("elements", []))
        ]
        (element,) = [item for item in elements if item and item.get("action_id") == action]
        done: Payload = {"type": element["type"], "action_id": action, "action_ts": self.workspace.ts()}
        if name and element["type"] == "conversations_select":
            done |= {"selected_conversation": name}
        elif name:
            (option,) = [item for item in element["options"] if item["text"]["text"] == name]
            done |= {"selected_option": option}
        return await self.act(
            {
                "type": "block_actions",
                "user": self._person(user),
                "container": {"type": "view", "view_id": "V0"},
                "trigger_id": self.workspace.views.trigger(user),
                "view": {"id": "V0", "type": "home", "private_metadata": home.get("private_metadata", "")},
                "actions": [done],
            }
        )

    async def shortcut(self, user: str, callback: str) -> Delivery:
        """A person picks a shortcut of the app from the menu of all."""
        trigger = self.workspace.views.trigger(user)
        payload = {"type": "shortcut", "callback_id": callback, "trigger_id": trigger}
        return await self.act(payload | {"user": self._person(user), "action_ts": self.workspace.ts()})

    async def shortcut_at(self, channel: str, ts: str, user: str, callback: str) -> Delivery:
        """A person picks a shortcut of the app from the menu of a message."""
        message = {k: v for k, v in self.workspace.messages[channel, ts].items() if k != "markdown"}
        return await self.act(
            {
                "type": "message_action",
                "callback_id": callback,
                "trigger_id": self.workspace.views.trigger(user),
                "user": self._person(user),
                "channel": {"id": channel, "name": "general"},
                "message_ts": ts,
                "message": message,
                "response_url": self._response_url(channel, user),
                "action_ts": self.workspace.ts(),
            }
        )

    async def submit(self, user: str, words: str) -> Delivery:
        """A person fills the form that is open and sends it."""
        view = self.workspace.views.forms[user]
        (field,) = [block for block in view["blocks"] if block["type"] == "input"]
        value = {"type": "plain_text_input", "value": words or None}
        state = {"values": {field["block_id"]: {field["element"]["action_id"]: value}}}
        delivery = await self.act(
            {
                "type": "view_submission",
                "user": self._person(user),
                "trigger_id": self.workspace.views.trigger(user),
                "view": view | {"state": state},
            }
        )
        if delivery.status == 200:
            del self.workspace.views.forms[user]
        return delivery

    async def start_assistant(self, user: str) -> str:
        """A person opens the older assistant; returns the ts of its thread."""
        channel = self.workspace.direct(user)
        root = self.workspace.add(channel, {"user": self.workspace.bot_user}, None, text="", markdown="")
        thread: Payload = {"user_id": user, "channel_id": channel, "thread_ts": root["ts"]}
        event: Payload = {"type": "assistant_thread_started", "assistant_thread": thread}
        await self.deliver([event | {"event_ts": self.workspace.ts()}])
        return str(root["ts"])

    async def tell(self, kind: str, **more: Any) -> None:
        """An event of the app's life: app_uninstalled, tokens_revoked, team_access_revoked."""
        await self.deliver([{"type": kind, "event_ts": self.workspace.ts(), **more}])
