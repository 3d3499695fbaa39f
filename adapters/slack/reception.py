"""What happens to a verified payload: it becomes an event, is written down, and only then acknowledged."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from adapters.slack.events import Payload, parse, part, people
from adapters.slack.manifest import SUGGESTED_PROMPTS
from adapters.slack.web_api import WebApi
from adapters.slack.workspace import Workspace
from bot.adapter import Accept
from bot.errors import PlatformUnavailable, StateUnavailable
from bot.types import Event, Said

log = logging.getLogger(__name__)

WORKING = "One moment, I am on it."
BUSY = "I still have several of your messages waiting here. Please try again in a moment."

Later = Callable[[Coroutine[Any, Any, None]], None]


class Reception:
    """Receives payloads for one engine."""

    def __init__(self, accept: Accept, api: WebApi, workspace: Workspace, later: Later) -> None:
        self._accept, self._api, self._workspace, self._later = accept, api, workspace, later

    async def receive(self, payload: Payload) -> str:
        """Returns what Slack is told at once: nothing, or words for whoever typed a command.

        Raises StateUnavailable, upon which Slack delivers again.
        """
        event = await self._read(payload)
        if event is None:
            self._greet(payload)
            return ""
        receipt = await self._accept(event)
        command = event.address.data.get("kind") == "command"
        if receipt == "busy" and not command:
            self._later(self._say_busy(event))
        if not command or receipt == "duplicate":
            return ""
        words = BUSY if receipt == "busy" else WORKING
        return msgspec.json.encode({"response_type": "ephemeral", "text": words}).decode()

    async def _read(self, payload: Payload) -> Event | None:
        try:
            bot = await self._workspace.bot()
        except PlatformUnavailable as error:
            # Without our own id nothing can be told apart; Slack is asked to deliver again.
            raise StateUnavailable(f"Slack does not say who we are: {error}") from error
        names = await self._workspace.names(who) if (who := people(payload) - bot.ids) else {}
        try:
            return parse(payload, bot, names)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            kind = payload.get("type")
            log.warning("a payload of type %r was not understood (%s)", kind, type(error).__name__)
            return None

    async def _say_busy(self, event: Event) -> None:
        data = event.address.data
        if not (isinstance(event, Said) and event.addressed and data.get("user")):
            return
        args = {
            "channel": data["channel"],
            "user": data["user"],
            "thread_ts": data["thread"],
            "text": BUSY,
        }
        try:
            await self._api.call("chat.postEphemeral", args)
        except PlatformUnavailable as error:
            log.info("nobody could be told that the bot is busy: %s", error)

    def _greet(self, payload: Payload) -> None:
        """The messages tab was opened: offer something to begin with."""
        event = part(payload, "event")
        if event.get("type") == "app_home_opened" and event.get("tab") == "messages":
            self._later(self._suggest(str(event.get("channel", ""))))

    async def _suggest(self, channel: str) -> None:
        # With a thread_ts the prompts of an agent's messages tab would not appear.
        args = {"channel_id": channel, "prompts": list(SUGGESTED_PROMPTS)}
        try:
            await self._api.call("assistant.threads.setSuggestedPrompts", args)
        except PlatformUnavailable as error:
            log.debug("no prompts are suggested: %s", error)
