"""A conversation on one platform, with a bot of its own around it."""

import asyncio
import itertools
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast
from unittest.mock import patch

from aiohttp import web

from bot.app.server import find_adapters, web_app
from bot.app.services import Services, open_services
from bot.app.settings import Settings
from bot.domain.adapter import Adapter
from bot.domain.turns import Turn
from bot.storage.redis import keys
from tests.chaos.doomed import Step
from tests.chaos.machines import RedisServer
from tests.chaos.nursery import Nursery, a_nursery
from tests.chaos.senders import Slack, Teams
from tests.conftest import immortal_keys
from tests.simulators.azure import AzureSimulator
from tests.simulators.azure_wire import Answer, last_user_text
from tests.support.patience import PATIENCE_S

Place = Literal["slack", "personal", "group"]
PLACES: tuple[Place, ...] = ("slack", "personal", "group")
LEASE_S = 10.0
KEY = "simulated-key"


# ------------------------------------------------------------------ the scene

_takes = itertools.count(1)


def told(messages: list[Any]) -> Answer:
    """The question's name, the number of the take, and more words than the first update shows."""
    name = last_user_text(messages).split()[-1]
    text = f"{name}: take {next(_takes)} " + " ".join(f"word{n:02}" for n in range(40))
    return Answer(text=text, chunks=30)


@dataclass
class Scene:
    """One conversation; `env` is what a worker would be started with, `settings` what is special in it."""

    place: Place
    url: str
    folder: Path
    azure: AzureSimulator
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    thread: str = ""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator["Scene"]:
        """The platform and the bot's routes, without a worker. Afterwards no key outlives its life."""
        async with AsyncExitStack() as stack:
            self.platform = await stack.enter_async_context(Slack() if self.place == "slack" else Teams())
            self._set_up()
            self.services = await stack.enter_async_context(open_services(_settings(self.env)))
            self.adapters = [
                await stack.enter_async_context(adapter) for adapter in find_adapters(self.services)
            ]
            at = await stack.enter_async_context(served(self.services, self.adapters))
            if isinstance(self.platform, Slack):
                self.platform.bot_url = f"{at}/slack/events"
            else:
                self.platform.bot = f"{at}/api/messages"
            yield self
            await immortal_keys(self.services.storage.redis)

    def _set_up(self) -> None:
        self.env = {
            "REDIS_URL": self.url,
            "PARLEY_DATA_DIR": str(self.folder),
            "PARLEY_LEASE_S": str(LEASE_S),
            "AZURE_OPENAI_ENDPOINT": f"{self.azure.endpoint}/openai/v1/",
            "AZURE_OPENAI_API_KEY": KEY,
            "AZURE_OPENAI_CHAT_DEPLOYMENT": "chat",
            **self.settings,
        }
        if isinstance(self.platform, Slack):
            self.env["SLACK_BOT_TOKEN"] = self.platform.bot_token
            self.env["SLACK_SIGNING_SECRET"] = self.platform.signing_secret
            self.env["SLACK_API_URL"] = self.platform.api_url
        else:
            self.env["PARLEY_TEAMS_AUTH"] = "off"

    async def ask(self, name: str, times: int = 1) -> None:
        """A question, delivered so many times."""
        platform = self.platform
        platform.times = times
        if isinstance(platform, Slack):
            text = f"<@{platform.workspace.bot_user}> tell me of {name}"
            ts = await platform.say("C0GENERAL", "U0ALICE", text, self.thread or None)
            self.thread = self.thread or ts
        else:
            where = "a:alice" if self.place == "personal" else "19:room@thread.v2"
            await platform.say(where, "alice", f"tell me of {name}", self.place == "group")

    @asynccontextmanager
    async def healthy_worker(self) -> AsyncGenerator[None]:
        """A worker that nothing happens to."""
        until = asyncio.Event()
        work = asyncio.create_task(self.services.worker(self.adapters).run(until))
        try:
            yield
        finally:
            until.set()
            await work

    async def end_leases(self) -> None:
        """Let every lease run out now, as if its time had passed."""
        for shard in range(keys.SHARDS):
            ready = keys.ready(shard)
            for conversation in await self.services.storage.redis.call("ZRANGE", ready, 0, -1):
                await self.services.storage.redis.call("ZADD", ready, "XX", 0, conversation)

    async def answered(self, count: int) -> tuple[Turn, ...]:
        """Wait until there are so many turns and nothing waits any more; the history then."""
        turns: tuple[Turn, ...] = ()
        async with asyncio.timeout(PATIENCE_S):
            while len(turns) < count or await self._waiting():
                await asyncio.sleep(0.1)
                names = [name async for name in self.services.storage.turns.conversations()]
                turns = await self.services.storage.turns.turns(names[0]) if names else ()
        return turns

    async def _waiting(self) -> bool:
        return bool([name async for name in self.services.storage.redis.scan("parley:*:inbox:*")])

    def shown(self) -> list[str]:
        """What a person reads of the bot, message by message."""
        platform = self.platform
        if isinstance(platform, Slack):
            return platform.answers("C0GENERAL", self.thread)
        return [message.text for where in platform.messages for message in platform.answers(where)]


@asynccontextmanager
async def served(services: Services, adapters: Sequence[Adapter]) -> AsyncGenerator[str]:
    """The routes on a free port; their address."""
    runner = web.AppRunner(web_app(services, adapters), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _settings(env: dict[str, str]) -> Settings:
    make: Any = Settings
    return cast("Settings", make(_env_file=None, **{name.lower(): value for name, value in env.items()}))


Left = TypeVar("Left")


async def play_each(
    play: Callable[[Scene, Step, Nursery], Awaitable[Left]],
    place: Place,
    steps: Sequence[Step],
    folder: Path,
    interval_s: float,
) -> dict[Step, Left]:
    """What is left of a scene for each step, all of them played at once on one platform.

    `interval_s` is the time between two pieces of an answer.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {"AZURE_OPENAI_API_KEY": KEY}))
        redis = await stack.enter_async_context(RedisServer(folder, databases=len(steps)))
        azure = await stack.enter_async_context(AzureSimulator(interval_s=interval_s))
        azure.answer = told
        nursery = await stack.enter_async_context(a_nursery())
        scenes = [Scene(place, f"{redis.url}/{number}", folder, azure) for number in range(len(steps))]
        outcomes = await asyncio.gather(*map(play, scenes, steps, [nursery] * len(steps)))
        return dict(zip(steps, outcomes, strict=True))
