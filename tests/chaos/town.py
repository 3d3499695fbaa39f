"""The people of chaos: they ask in Slack and in Teams, and what they ask is delivered badly."""

import asyncio
import itertools
import random
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from bot.errors import StateUnavailable
from bot.state import keys
from bot.state.redis import Redis
from tests.chaos.senders import AGAIN_S, DELIVERIES, Slack, Teams
from tests.simulators.azure import AzureSimulator
from tests.simulators.azure_wire import Answer, last_user_text
from tests.simulators.teams import TENANT
from tests.simulators.teams import Fault as TeamsFault

Kind = Literal["thread", "direct", "personal", "group"]
KINDS: tuple[Kind, ...] = ("thread", "direct", "personal", "group")
NAME = re.compile(r"\bq\d{5}\b")
CHUNKS = 12
AT_ONCE = 3
"""Questions that a person leaves unanswered in one conversation before waiting."""


@dataclass
class Asked:
    """A question; times are in seconds of the clock, `acked_at` that of the platform's first 200."""

    name: str
    sent_at: float
    acked_at: float | None = None


@dataclass
class Talk:
    """One conversation; `conversation` is what Parley calls it, once it has begun."""

    kind: Kind
    number: int
    chance: random.Random
    conversation: str = ""
    thread: str = ""
    asked: list[Asked] = field(default_factory=list[Asked])
    answered_at: list[float] = field(default_factory=list[float])

    @property
    def answered(self) -> int:
        """How many turns were seen there."""
        return len(self.answered_at)

    @property
    def slack(self) -> bool:
        """Whether it is in Slack; in Teams otherwise."""
        return self.kind in ("thread", "direct")

    @property
    def channel(self) -> str:
        """Where it is, in the platform's words."""
        return {
            "thread": "C0GENERAL",
            "direct": f"D{self.number:05d}",
            "personal": f"a:{self.number}",
            "group": f"19:{self.number}@thread.v2",
        }[self.kind]


class Town:
    """Everybody who asks, and the three servers that they and the bot depend on."""

    def __init__(self, slack: Slack, teams: Teams, azure: AzureSimulator, redis: Redis, seed: int) -> None:
        self.slack, self.teams, self.azure = slack, teams, azure
        self.talks: list[Talk] = []
        self.faults: Counter[str] = Counter()
        self._redis = redis
        self._seed = seed
        self._names = (f"q{number:05d}" for number in itertools.count())
        self._takes = itertools.count(1)
        self._sent = asyncio.Condition()
        azure.answer = self._answer

    def _answer(self, messages: list[Any]) -> Answer:
        """Every attempt answers in other words, so that one can be told from another.

        Who is asked to go on with a broken answer is not asked by name, and finds it further back.
        """
        said = " ".join(last_user_text(messages[: end + 1]) for end in range(len(messages)))
        name = NAME.findall(said)[-1]
        words = " ".join(f"{name}w{number:02}" for number in range(36))
        return Answer(text=f"{name} take {next(self._takes)}: {words}", chunks=CHUNKS)

    # -------------------------------------------------------------- asking

    @property
    def sent(self) -> int:
        """How many questions were asked."""
        return sum(len(talk.asked) for talk in self.talks)

    async def until_sent(self, count: int) -> None:
        """Wait until so many questions were asked."""
        async with self._sent:
            await self._sent.wait_for(lambda: self.sent >= count)

    async def ask_everything(self, events: int, at_once: int, faults: float) -> None:
        """So many questions in so many conversations at once; `faults` is the chance of one with each."""
        talks = asyncio.Queue[tuple[Talk, int]]()
        left, number = events, 0
        chance = random.Random(f"{self._seed} talks")
        while left > 0:
            count = min(left, chance.randint(3, 9))
            own = random.Random(f"{self._seed} talk {number}")
            talks.put_nowait((Talk(KINDS[number % len(KINDS)], number, own), count))
            left, number = left - count, number + 1

        async def hold_talks() -> None:
            while not talks.empty():
                await self._talk(*talks.get_nowait(), faults)

        await asyncio.gather(*(hold_talks() for _ in range(at_once)))

    async def _talk(self, talk: Talk, count: int, faults: float) -> None:
        self.talks.append(talk)
        if talk.kind == "direct":
            self.slack.workspace.channels[talk.channel] = {"U0ALICE", self.slack.workspace.bot_user}
        while count:
            if talk.chance.random() < faults:
                self._go_wrong(talk.chance)
            both = count > 1 and bool(talk.asked) and talk.chance.random() < 0.2
            await asyncio.gather(*(self._ask(talk) for _ in range(1 + both)))
            count -= 1 + both
            await asyncio.sleep(talk.chance.uniform(0, 0.3))
            while len(talk.asked) - talk.answered >= AT_ONCE:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def _ask(self, talk: Talk) -> None:
        asked = Asked(next(self._names), time.time())
        talk.asked.append(asked)
        async with self._sent:
            self._sent.notify_all()
        times = talk.chance.choice((1, 1, 2, 3))
        if talk.slack:
            self.slack.times, self.slack.shuffle = times, talk.chance
            mention = f"<@{self.slack.workspace.bot_user}> " if talk.kind == "thread" else ""
            ts = await self.slack.say(
                talk.channel, "U0ALICE", f"{mention}What about {asked.name}?", talk.thread or None
            )
            await self._acked(asked, lambda: self.slack.acked.get(ts))
            talk.thread = talk.thread or ts
            talk.conversation = f"slack:{self.slack.workspace.team}:{talk.channel}:{talk.thread}"
        else:
            self.teams.times = times
            talk.conversation = f"teams:{TENANT}:{talk.channel}"
            said = await self.teams.say(
                talk.channel, "alice", f"What about {asked.name}?", talk.kind == "group"
            )
            asked.acked_at = self.teams.acked.get(said.activity["id"])

    async def _acked(self, asked: Asked, when: Callable[[], float | None]) -> None:
        for _ in range(DELIVERIES):
            asked.acked_at = when()
            if asked.acked_at is not None:
                return
            await asyncio.sleep(AGAIN_S / 2)

    # -------------------------------------------------------------- what goes wrong around the bot

    def _go_wrong(self, chance: random.Random) -> None:
        where = chance.choice((self._slack_fault, self._teams_fault, self._azure_fault))
        self.faults[where(chance)] += 1

    def _slack_fault(self, chance: random.Random) -> str:
        method = chance.choice(("startStream", "appendStream", "stopStream", "update", "postMessage", "*"))
        kind = chance.choice(("limited", "error", "500", "drop", "drop_after", "latency"))
        if len(self.slack.faults) < 5:
            self.slack.fault(method if method == "*" else f"chat.{method}", kind, seconds=0.5)
        return "Slack"

    def _teams_fault(self, chance: random.Random) -> str:
        on = chance.choice(("stream", "message", "typing", "put"))
        fault = chance.choice(
            (
                TeamsFault(status=502, on=on),
                TeamsFault(status=503, on=on),
                TeamsFault(status=429, on=on, retry_after="0.5"),
                TeamsFault(drop=True, on=on),
                TeamsFault(drop=True, after=True, on=on),
            )
        )
        if len(self.teams.faults) < 5:
            self.teams.faults.append(fault)
            self.teams.answers_lost += fault.after
        return "Teams"

    def _azure_fault(self, chance: random.Random) -> str:
        if len(self.azure.faults) > 20:
            self.azure.faults[:] = [fault for fault in self.azure.faults if fault.times]
        when = chance.choice(("before", "during", "after"))
        if when == "before":
            kind = chance.choice(("server_error", "rate_limited"))
            self.azure.fail(kind, retry_after_s=1)
        else:
            kind = chance.choice(("dropped", "malformed", "stream_error"))
            self.azure.fail(kind, after=chance.randrange(1, CHUNKS) if when == "during" else CHUNKS)
        return "Azure OpenAI"

    # -------------------------------------------------------------- looking

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator[None]:
        """Note when turns are there, until the end of the block."""
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        while True:
            begun = [talk for talk in self.talks if talk.conversation]
            open_talks = [talk for talk in begun if talk.answered < len(talk.asked)]
            try:
                counts = await self.turns_of(open_talks)
            except StateUnavailable:
                counts = []
            for talk, count in zip(open_talks, counts, strict=False):
                talk.answered_at += [time.time()] * (count - talk.answered)
            await asyncio.sleep(0.05)

    async def turns_of(self, talks: list[Talk]) -> list[int]:
        """How many turns each has. Raises StateUnavailable."""
        looks = [("LLEN", keys.of("turns", talk.conversation)) for talk in talks]
        return [int(count) for count in await self._redis.many(looks)] if looks else []
