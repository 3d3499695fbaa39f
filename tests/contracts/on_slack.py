"""Slack, as the contract suite sees it: a direct message in the simulator, delivered by HTTP."""

import io
import re
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self
from unittest.mock import patch

from aiohttp import ClientSession, web
from pydantic import SecretStr

from adapters.slack import SlackAdapter, SlackCredentials
from bot.domain.adapter import Adapter
from tests.contracts.platform import FakeSelfService
from tests.simulators.slack import SlackSimulator
from tests.simulators.slack_methods import Message

ALICE = "U0ALICE"
PAGES = re.compile(r"<(?:[@#][A-Z0-9]|!)|@(?:here|channel|everyone)")


class OnSlack:
    """A failed delivery is repeated by the test, not by the simulator."""

    has_routes = True
    completes = True

    def __init__(self) -> None:
        self.self_service = FakeSelfService()
        self.slack = SlackSimulator(retry_pauses_s=())
        self.received: dict[int, str] = {}

    def _adapter(self) -> SlackAdapter:
        secret = SecretStr(self.slack.signing_secret)
        return SlackAdapter(
            SlackCredentials(SecretStr(self.slack.bot_token), secret), api_url=self.slack.api_url
        )

    async def __aenter__(self) -> Self:
        self.stack = AsyncExitStack()
        # An outage lasts as long as the test wants, so the adapter gives up early.
        self.stack.enter_context(patch("adapters.slack.answers.stream.FINISH_PATIENCE_S", 0.05))
        await self.stack.enter_async_context(self.slack)
        self.channel = self.slack.workspace.direct(ALICE)
        self.adapter: Adapter = await self.stack.enter_async_context(self._adapter())
        self.http = await self.stack.enter_async_context(ClientSession())
        app = web.Application()
        app.add_routes(self.adapter.routes(self.self_service.accept))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        self.stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.slack.bot_url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stack.aclose()

    async def say(self, text: str, number: int = 1) -> int:
        if number not in self.received:
            self.received[number] = await self.slack.say(self.channel, ALICE, text)
            return self.slack.deliveries[-1].status or 0
        ts = self.received[number]
        event = {"type": "message", "user": ALICE, "text": text, "ts": ts, "event_ts": ts, "team": "T0SIM"}
        (delivery,) = await self.slack.deliver([event | {"channel": self.channel, "channel_type": "im"}])
        return delivery.status or 0

    async def deliver(self, body: bytes, *, signed: bool = True) -> int:
        headers = self.slack.signed(body) if signed else {}
        headers["Content-Type"] = "application/json"
        async with self.http.post(self.slack.bot_url, data=io.BytesIO(body), headers=headers) as response:
            return response.status

    def _answers(self) -> list[Message]:
        ours = self.slack.workspace.bot_id
        messages = [item for item in self.slack.workspace.messages.values() if item.get("bot_id") == ours]
        return sorted(messages, key=lambda message: message["ts"])

    async def shown(self) -> list[str]:
        messages = [*self._answers(), *self.slack.workspace.ephemeral]
        return [message["markdown"] for message in messages if message["markdown"]]

    async def pictures(self) -> list[str]:
        return [file["alt_txt"] for message in self._answers() for file in message.get("files", [])]

    async def harm(self) -> list[str]:
        return [act for message in self._answers() for act in PAGES.findall(message["markdown"])]

    def outage(self, on: bool) -> None:
        self.slack.faults.clear()
        if on:
            self.slack.fault("*", "500", count=1_000_000)

    def refuse(self) -> None:
        """Slack takes nothing from this bot any more."""
        self.slack.fault("*", "error", count=1_000_000, code="token_revoked")

    async def another(self) -> Adapter:
        return await self._adapter().__aenter__()
