"""The people of chaos: what they do, in Slack and in Teams, all at once, and what the model is told of it."""

import asyncio
import itertools
import random
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from bot.domain.errors import StateUnavailable
from bot.storage.conversations.turns import Turns
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.chaos.in_slack import SlackPeople
from tests.chaos.in_teams import TeamsPeople
from tests.chaos.senders import Azure, Slack, Teams
from tests.chaos.talks import MARK, NAME, PLACES, SHARES, WORDS, Act, Kind, Talk
from tests.chaos.weather import CHUNKS, Weather
from tests.simulators.azure_wire import Answer, last_user_text

STILL_S = 0.4
"""When nothing moved here for so long, nothing did in the workers: a machine at its limits stops them too."""
AT_ONCE = 3
"""What a person leaves undone in one conversation before waiting."""


class Town:
    """Everybody who asks, and the three servers that they and the bot depend on.

    `told` is what the model was told for each question, in all of its attempts together: names of questions,
    and of files. `cut_off` are the messages in Teams that nobody had written down when a lease ran out,
    when a blow fell, or when the machine stood still, which is counted. `interrupted` are the names of the acts
    whose lease ran out. `refusals` is the share of threads in Slack in which something is refused for good.
    """

    def __init__(
        self,
        slack: Slack,
        teams: Teams,
        azure: Azure,
        redis: Redis,
        seed: int,
        shares: Mapping[Kind, int] = SHARES,
        refusals: float = 0.0,
    ) -> None:
        self.slack, self.teams, self.azure = slack, teams, azure
        self.talks: list[Talk] = []
        self.told: defaultdict[str, set[str]] = defaultdict(set[str])
        self.cut_off: set[str] = set()
        self.stood_still = 0
        self.interrupted: set[str] = set()
        self._refusals = refusals
        slack.refuses = bool(refusals)
        self.weather = Weather(slack, teams, azure)
        self._in_slack, self._in_teams = SlackPeople(slack), TeamsPeople(teams, Turns(redis))
        self._redis = redis
        self._seed = seed
        self._shares = shares
        self._names = (f"q{number:05d}" for number in itertools.count())
        self._takes = itertools.count(1)
        self._sent = asyncio.Condition()
        azure.answer = self._answer

    def _answer(self, messages: list[Any]) -> Answer:
        """Every attempt answers in other words, so that one can be told from another.

        Who is asked to go on with a broken answer is not asked by name, and finds it further back.
        """
        received = " ".join(last_user_text(messages[: end + 1]) for end in range(len(messages)))
        name = NAME.findall(received)[-1]
        self.told[name].update(MARK.findall(str([message.get("content") for message in messages])))
        words = " ".join(f"{name}w{number:02}" for number in range(36))
        return Answer(text=f"{name} take {next(self._takes)}: {words}", chunks=CHUNKS)

    # -------------------------------------------------------------- doing

    @property
    def sent(self) -> int:
        """How much was done."""
        return sum(len(talk.acts) for talk in self.talks)

    async def until_sent(self, count: int) -> None:
        """Wait until so much was done."""
        async with self._sent:
            await self._sent.wait_for(lambda: self.sent >= count)

    async def do_everything(self, events: int, at_once: int, faults: float) -> None:
        """So many acts in so many conversations at once; `faults` is the chance of one with each."""
        talks = asyncio.Queue[tuple[Talk, int]]()
        left, number = events, 0
        chance = random.Random(f"{self._seed} talks")
        while left > 0:
            place = PLACES[number % len(PLACES)]
            count = 1 if place == "asked" else min(left, chance.randint(3, 12))
            talk = Talk(place, number, random.Random(f"{self._seed} talk {number}"))
            if place == "thread" and chance.random() < self._refusals:
                talk.refused = chance.choice(("blocks", "place"))
            talks.put_nowait((talk, count))
            left, number = left - count, number + 1

        async def hold_talks() -> None:
            while not talks.empty():
                await self._talk(*talks.get_nowait(), faults)

        await asyncio.gather(*(hold_talks() for _ in range(at_once)))

    async def _talk(self, talk: Talk, count: int, faults: float) -> None:
        self.talks.append(talk)
        while len(talk.acts) < count:
            if talk.chance.random() < faults:
                self.weather.strike(talk.chance)
            possible: list[Kind] = [kind for kind in self._shares if talk.possible(kind)]
            kind = talk.chance.choices(possible, [self._shares[item] for item in possible])[0]
            both = kind == "question" and bool(talk.acts) and len(talk.acts) + 1 < count
            both = both and talk.place != "slash" and talk.chance.random() < 0.2
            await asyncio.gather(*(self._do(talk, kind) for _ in range(1 + both)))
            await asyncio.sleep(talk.chance.uniform(0, 0.3))
            while talk.open >= AT_ONCE:  # noqa: ASYNC110 - looked at from outside
                await asyncio.sleep(0.1)

    async def _do(self, talk: Talk, kind: Kind) -> None:
        act = Act(kind, next(self._names), time.time())
        if kind in ("edit", "deletion", "rating"):
            act.target = talk.chance.choice(talk.targets(kind))
        people = self._in_slack if talk.slack else self._in_teams
        if kind == "rating":
            act.good = talk.chance.random() < 0.5
            if await people.rate(talk, act):
                await self._note(talk, act)
            return
        await self._note(talk, act)
        match kind:
            case "edit":
                await people.edit(talk, act, f"Rather, what about {act.name}?")
            case "deletion":
                await people.delete(talk, act)
            case "picture":
                await people.say(talk, act, f"/image a bicycle of {act.name}")
            case "command":
                act.word = talk.chance.choice(WORDS)
                await people.say(talk, act, f"/{act.word}" if talk.place == "slash" else act.word)
            case _:
                await people.say(talk, act, f"What about {act.name}?")
                if kind == "stop":
                    await people.stop(talk, act)

    async def _note(self, talk: Talk, act: Act) -> None:
        talk.acts.append(act)
        async with self._sent:
            self._sent.notify_all()

    # -------------------------------------------------------------- looking

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator[None]:
        """Note when acts are done, until the end of the block."""
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        looked_at = time.monotonic()
        while True:
            open_talks = [
                talk for talk in self.talks if not talk.slack and talk.conversation and talk.open > 0
            ]
            await asyncio.sleep(0.05)
            with suppress(StateUnavailable):
                if time.monotonic() - looked_at > STILL_S:
                    self.stood_still += 1
                    self.cut_off |= {id for talk in open_talks for id in await self._unrecorded(talk)}
                await self._look()
                looked_at = time.monotonic()

    async def _look(self) -> None:
        talks = [talk for talk in self.talks if talk.conversation and talk.open > 0]
        taken = [len(talk.acked) for talk in talks]
        waiting = await self._waiting(talks)
        for talk, acked, (left, token, attempt) in zip(talks, taken, waiting, strict=True):
            talk.done_at += [time.time()] * (acked - left - len(talk.done_at))
            if talk.ran_out(token, attempt):
                self.interrupted |= {act.name for act in acked_first(talk)}
                if not talk.slack:
                    self.cut_off |= await self._unrecorded(talk)

    async def _waiting(self, talks: list[Talk]) -> list[tuple[int, int, int]]:
        """How much waits in each, and the token and the attempt of its lease. Raises StateUnavailable."""
        if not talks:
            return []
        looks: list[tuple[str, ...]] = [("LLEN", keys.of("inbox", talk.conversation)) for talk in talks]
        looks += [("HMGET", keys.of("lease", talk.conversation), "token", "attempt") for talk in talks]
        found = await self._redis.many(looks)
        return [
            (int(left), int(lease[0] or 0), int(lease[1] or 0))
            for left, lease in zip(found[: len(talks)], found[len(talks) :], strict=True)
        ]

    @property
    def typed_again(self) -> set[str]:
        """The names of commands that were not taken, although they may have arrived."""
        return {act.name for talk in self.talks for act in talk.acts if act.again}

    @property
    def under_way(self) -> set[str]:
        """The names of what comes next in each conversation, and may be worked on."""
        return {act.name for talk in self.talks for act in acked_first(talk)}

    async def unrecorded(self) -> set[str]:
        """The messages of the bot in Teams that no lease and no turn knows of, yet.

        Raises StateUnavailable.
        """
        talks = [talk for talk in self.talks if not talk.slack and talk.conversation and talk.open > 0]
        return {id for talk in talks for id in await self._unrecorded(talk)}

    async def _unrecorded(self, talk: Talk) -> set[str]:
        gone = {
            act.target.name
            for act in talk.acked[: len(talk.done_at)]
            if act.kind == "deletion" and act.target is not None
        }
        shown = {
            message.id
            for message in self.teams.answers(talk.channel)
            if gone.isdisjoint(message.text.split()[:1])
        }
        known = [await self._redis.call("HGET", keys.of("lease", talk.conversation), "post") or b""]
        known += await self._redis.call("LRANGE", keys.of("turns", talk.conversation), 0, -1)
        text = b"\n".join(known).decode()
        return {id for id in shown if id not in text}


def acked_first(talk: Talk) -> list[Act]:
    """What comes next in a conversation, if anything does.

    Two acts: `done_at` is noted a moment after the first of them is done.
    """
    return talk.acked[len(talk.done_at) :][:2]
