"""Workers are killed at every step of their way: nothing is lost, nothing is there twice.

Every conversation is a scene of its own: a platform, a Redis database, a bot's routes, a worker that is doomed
at one step, and a healthy one that comes after it. All scenes are played at once; the tests look at what is
left of them.
"""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast
from unittest.mock import patch

import pytest
import pytest_asyncio
from aiohttp import web

from bot.adapter import Adapter
from bot.app import find_adapters, web_app
from bot.house import House, open_house
from bot.settings import Settings
from bot.types import Turn
from tests.chaos.doomed import STEPS, Step
from tests.chaos.machines import RedisServer
from tests.conftest import immortal_keys
from tests.processes import end, start
from tests.simulators.azure import AzureSimulator
from tests.simulators.azure_wire import Answer, last_user_text
from tests.simulators.slack import SlackSimulator
from tests.simulators.teams import TeamsSimulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

Place = Literal["slack", "personal", "group"]
PLACES: tuple[Place, ...] = ("slack", "personal", "group")
LEASE_S = 1.5
KEY = "simulated-key"
QUESTIONS = ("alpha-1", "beta-2", "gamma-3")
"""Delivered once, twice and three times."""

SCENES: list[tuple[Place, Step]] = [
    (place, step)
    for place in PLACES
    for step in STEPS
    if (place, step)
    != ("group", "after-first-shown")  # in a group nothing is shown before the answer is whole
]
EXTRA: dict[tuple[Place, Step], int] = {("personal", "after-open"): 1, ("group", "after-close"): 1}
"""Messages too many that a person may see; elsewhere none.

Teams lets no bot search: what was posted there and not yet recorded stays, and another message is begun.
"""


@dataclass
class Outcome:
    """What is left of a scene: the history, and what a person reads of the bot, message by message."""

    turns: tuple[Turn, ...]
    shown: list[str]


# ------------------------------------------------------------------ the scenes


class Nursery:
    """Begins doomed workers, quickly: they are forked from a process that has imported everything."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._reading = asyncio.create_task(self._read())

    async def death(self, step: Step, env: dict[str, str]) -> None:
        """Begin a worker that is doomed at this step, and wait until it was killed there."""
        id = len(self._ends)
        self._ends[id] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": id, "step": step, "env": env}).encode() + b"\n")
        async with asyncio.timeout(60):
            assert await self._ends[id] == -signal.SIGKILL

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told: dict[str, int] = json.loads(line)
            self._ends[told["id"]].set_result(told["exit"])

    async def close(self) -> None:
        self._reading.cancel()
        await end(self._process)


@asynccontextmanager
async def a_nursery() -> AsyncGenerator[Nursery]:
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "tests.chaos.doomed", "--nursery"]
    one = Nursery(await start(command, {}, stdin=pipe, stdout=pipe))
    try:
        yield one
    finally:
        await one.close()


def told(messages: list[Any]) -> Answer:
    """The question's name, and more words than the first update shows."""
    name = last_user_text(messages).split()[-1]
    return Answer(text=f"{name}: " + " ".join(f"word{n:02}" for n in range(40)), chunks=30)


@dataclass
class Scene:
    """One conversation on one platform; `env` is what a worker would be started with."""

    place: Place
    url: str
    folder: Path
    azure: AzureSimulator
    env: dict[str, str] = field(default_factory=dict[str, str])

    async def play(self, step: Step, nursery: Nursery) -> Outcome:
        """Ask, let a worker die at the step, let another one finish."""
        async with AsyncExitStack() as stack:
            self._platform = await stack.enter_async_context(
                SlackSimulator() if self.place == "slack" else TeamsSimulator(authenticate=False)
            )
            self._set_up()
            house = await stack.enter_async_context(open_house(_settings(self.env)))
            adapters = [await stack.enter_async_context(one) for one in find_adapters(house)]
            await stack.enter_async_context(self._served(house, adapters))
            thread = await self._ask()
            await nursery.death(step, self.env)
            turns = await _finish(house, adapters)
            await immortal_keys(house.redis)
            return Outcome(turns, self._shown(thread))

    def _set_up(self) -> None:
        platform = self._platform
        self.env |= {
            "REDIS_URL": self.url,
            "PARLEY_DATA_DIR": str(self.folder),
            "PARLEY_LEASE_S": str(LEASE_S),
            "AZURE_OPENAI_ENDPOINT": f"{self.azure.endpoint}/openai/v1/",
            "AZURE_OPENAI_API_KEY": KEY,
            "AZURE_OPENAI_CHAT_DEPLOYMENT": "chat",
        }
        if isinstance(platform, SlackSimulator):
            self.env["SLACK_BOT_TOKEN"] = platform.bot_token
            self.env["SLACK_SIGNING_SECRET"] = platform.signing_secret
            self.env["SLACK_API_URL"] = platform.api_url
        else:
            self.env["PARLEY_TEAMS_AUTH"] = "off"

    @asynccontextmanager
    async def _served(self, house: House, adapters: list[Adapter]) -> AsyncGenerator[None]:
        runner = web.AppRunner(web_app(house, adapters), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            at = f"http://127.0.0.1:{runner.addresses[0][1]}"
            if isinstance(self._platform, SlackSimulator):
                self._platform.bot_url = f"{at}/slack/events"
            else:
                self._platform.bot = f"{at}/api/messages"
            yield
        finally:
            await runner.cleanup()

    async def _ask(self) -> str:
        thread = ""
        for times, name in enumerate(QUESTIONS, 1):
            if isinstance(self._platform, SlackSimulator):
                self._platform.times = times
                text = f"<@{self._platform.workspace.bot_user}> tell me of {name}"
                ts = await self._platform.say("C0GENERAL", "U0ALICE", text, thread or None)
                thread = thread or ts
            else:
                where = "a:alice" if self.place == "personal" else "19:room@thread.v2"
                said = await self._platform.say(where, "alice", f"tell me of {name}", self.place == "group")
                for _ in range(times - 1):
                    await self._platform.deliver(said.activity)
        return thread

    def _shown(self, thread: str) -> list[str]:
        platform = self._platform
        if isinstance(platform, SlackSimulator):
            return platform.answers("C0GENERAL", thread)
        return [message.text for where in platform.messages for message in platform.answers(where)]


async def _finish(house: House, adapters: list[Adapter]) -> tuple[Turn, ...]:
    """A healthy worker answers what is left; the history in the end."""
    until = asyncio.Event()
    work = asyncio.create_task(house.worker(adapters).run(until))
    try:
        async with asyncio.timeout(60):
            while [name async for name in house.redis.scan("parley:*:inbox:*")]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    finally:
        until.set()
        await work
    (conversation,) = [name async for name in house.turns.conversations()]
    return await house.turns.turns(conversation)


def _settings(env: dict[str, str]) -> Settings:
    make: Any = Settings
    return cast("Settings", make(_env_file=None, **{name.lower(): value for name, value in env.items()}))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[dict[tuple[Place, Step], Outcome]]:
    """Every scene, played."""
    folder = tmp_path_factory.mktemp("crash")
    async with AsyncExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {"AZURE_OPENAI_API_KEY": KEY}))
        redis = await stack.enter_async_context(RedisServer(folder, databases=len(SCENES)))
        azure = await stack.enter_async_context(AzureSimulator(interval_s=0.004))
        azure.answer = told
        nursery = await stack.enter_async_context(a_nursery())
        scenes = [
            Scene(place, f"{redis.url}/{number}", folder, azure) for number, (place, _) in enumerate(SCENES)
        ]
        played = await asyncio.gather(
            *(scene.play(step, nursery) for scene, (_, step) in zip(scenes, SCENES, strict=True))
        )
        yield dict(zip(SCENES, played, strict=True))


# ------------------------------------------------------------------ the proof


@pytest.mark.parametrize(("place", "step"), SCENES)
async def test_field_note_10_a_worker_killed_at_any_step_loses_and_doubles_nothing(
    place: Place, step: Step, outcomes: dict[tuple[Place, Step], Outcome]
) -> None:
    left = outcomes[place, step]
    assert [turn.said.text.split()[-1] for turn in left.turns] == list(QUESTIONS)
    assert {turn.outcome for turn in left.turns} == {"answered"}
    whole = [re.findall(r"^\w+-\d", text)[0] for text in left.shown if "word39" in text]
    assert sorted(set(whole)) == sorted(QUESTIONS), left.shown
    assert len(left.shown) - len(QUESTIONS) == EXTRA.get((place, step), 0), left.shown
