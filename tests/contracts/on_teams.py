"""Teams, as the contract suite sees it: a personal chat in the simulator, with authentication."""

import io
import json
import re
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from aiohttp import ClientSession, web
from pydantic import SecretStr

from adapters.teams import Credentials, TeamsAdapter
from bot.domain.adapter import Adapter
from tests.contracts.platform import FakeSelfService
from tests.simulators import teams_tokens
from tests.simulators.teams import APP_ID, PASSWORD, Delivery, Fault, Message, TeamsSimulator

CHAT = "a:alice"


class OnTeams:
    """A quick pace, so that no test waits for a clock."""

    has_routes = True
    completes = True

    def __init__(self) -> None:
        self.self_service = FakeSelfService()
        self.teams = TeamsSimulator()
        self.received: dict[int, Delivery] = {}

    def _adapter(self) -> TeamsAdapter:
        return TeamsAdapter(
            Credentials.checked(APP_ID, SecretStr(PASSWORD)),
            cloud=self.teams.cloud,
            pace_s=0.01,
            backoff_s=0.01,
        )

    async def __aenter__(self) -> Self:
        self.stack = AsyncExitStack()
        await self.stack.enter_async_context(self.teams)
        self.adapter: Adapter = await self.stack.enter_async_context(self._adapter())
        self.http = await self.stack.enter_async_context(ClientSession())
        app = web.Application()
        app.add_routes(self.adapter.routes(self.self_service.accept))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        self.stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.teams.bot = f"http://127.0.0.1:{runner.addresses[0][1]}/api/messages"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stack.aclose()

    async def say(self, text: str, number: int = 1) -> int:
        if number in self.received:
            return (await self.teams.deliver(self.received[number].activity)).status
        self.received[number] = await self.teams.say(CHAT, "alice", text)
        return self.received[number].status

    async def deliver(self, body: bytes, *, signed: bool = True) -> int:
        headers = {"Content-Type": "application/json"}
        if signed:
            claims = teams_tokens.inbound_claims(APP_ID, self.teams.service_url)
            headers["Authorization"] = f"Bearer {teams_tokens.sign(claims)}"
        async with self.http.post(self.teams.bot, data=io.BytesIO(body), headers=headers) as response:
            return response.status

    def _answers(self) -> list[Message]:
        return self.teams.answers(CHAT)

    async def shown(self) -> list[str]:
        return [message.text for message in self._answers()]

    async def pictures(self) -> list[str]:
        return [
            str(attachment["name"])
            for message in self._answers()
            for attachment in message.activity.get("attachments", [])
        ]

    async def harm(self) -> list[str]:
        """Teams acts on entities, obeys some HTML, and loads the pictures of Markdown."""
        entities = [entity for message in self._answers() for entity in message.activity.get("entities", [])]
        mentions = [json.dumps(entity) for entity in entities if entity["type"] == "mention"]
        obeyed = [found[0] for text in await self.shown() for found in re.finditer(r"<\w+|!\[", text)]
        return [*mentions, *obeyed]

    def outage(self, on: bool) -> None:
        self.teams.faults = [Fault(status=502, times=1_000_000)] if on else []

    def refuse(self) -> None:
        """Teams takes nothing from this bot any more."""
        self.teams.faults = [Fault(status=403, times=1_000_000)]

    async def another(self) -> Adapter:
        return await self._adapter().__aenter__()
