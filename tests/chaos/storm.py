"""One run of chaos: the servers, the machines, the people, the havoc, and the counting."""

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bot.state.redis import Redis
from tests.chaos.havoc import Havoc, Plan
from tests.chaos.machines import Machine, RedisServer
from tests.chaos.nursery import a_nursery
from tests.chaos.senders import Slack, Teams
from tests.chaos.tally import Tally, count, middle_and_most, recoveries, resumptions
from tests.chaos.town import Town
from tests.conftest import immortal_keys
from tests.processes import free_port, listening
from tests.simulators.azure import AzureSimulator
from tests.simulators.proxy import Proxy

KEY = "simulated-key"
_QUIET_S = 60.0
"""Without a new turn for so long, what is missing counts as lost."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run is made of; `faults` is the chance of a fault of a platform or the model with a question."""

    seed: int = 1
    events: int = 60
    kills: int = 8
    stops: int = 1
    restarts: int = 1
    outages: int = 1
    web: int = 2
    workers: int = 2
    talks: int = 12
    lease_s: float = 1.0
    faults: float = 0.15
    fsync: str = "always"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of it."""

    options: Options
    tally: Tally
    done: dict[str, int]
    faults: dict[str, int]
    exits: int
    recovered_s: list[float]
    resumed_s: list[float]
    duration_s: float

    def failures(self) -> list[str]:
        """What must not be, in words; empty when all is well."""
        tally = self.tally
        wrongs: dict[str, object] = {
            "lost": tally.lost,
            "doubled turns": tally.doubled,
            "out of order": tally.disordered,
            "still waiting": tally.left_waiting,
            "buried": tally.buried,
            "doubled on Slack": tally.slack.doubled,
            "orphaned drafts on Slack": tally.slack.drafts,
            "shown otherwise than recorded on Slack": tally.slack.otherwise,
            "shown otherwise than recorded in Teams": tally.teams.otherwise,
        }
        found = [f"{name}: {what}" for name, what in wrongs.items() if what]
        extra = [*tally.teams.doubled, *tally.teams.drafts]
        if len(extra) > tally.doubles_allowed:
            found.append(f"second messages in Teams: {extra}, explained: {tally.doubles_allowed}")
        if tally.answered < self.options.events:
            found.append(f"never accepted: {self.options.events - tally.answered}")
        return found

    def table(self) -> str:
        """One Markdown table."""
        tally = self.tally
        rows: list[tuple[str, object]] = [
            ("seed", self.options.seed),
            ("web processes, workers", f"{self.options.web}, {self.options.workers}"),
            ("events accepted", tally.accepted),
            ("answered", tally.answered),
            ("lost", len(tally.lost)),
            ("doubled turns", len(tally.doubled)),
            ("out of order", len(tally.disordered)),
            ("doubled answers on the screen: Slack", len(tally.slack.doubled)),
            ("doubled answers on the screen: Teams", len(tally.teams.doubled)),
            ("orphaned drafts: Slack", len(tally.slack.drafts)),
            ("orphaned drafts: Teams", len(tally.teams.drafts)),
            ("bound of both in Teams", tally.doubles_allowed),
            ("screen differs from history", len(tally.slack.otherwise) + len(tally.teams.otherwise)),
            ("buried", tally.buried),
            ("attempts per answer", f"{tally.attempts / max(1, tally.answered):.2f}"),
            ("answers that broke off, and say so", tally.outcomes["failed"]),
            *self.done.items(),
            ("processes that ended by themselves", self.exits),
            *((f"faults of {name}", number) for name, number in self.faults.items()),
            ("s until all that waited was answered (median, most)", middle_and_most(self.recovered_s)),
            ("s from Redis' return to the next turn (median, most)", middle_and_most(self.resumed_s)),
            ("duration, s", f"{self.duration_s:.0f}"),
        ]
        return "\n".join(["| chaos | |", "|---|--:|", *(f"| {name} | {value} |" for name, value in rows)])


async def storm(options: Options, folder: Path) -> Report:
    """Run to the end, which comes by itself."""
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(RedisServer(folder / "redis", fsync=options.fsync))
        network = await stack.enter_async_context(Proxy([server.port]))
        slack = await stack.enter_async_context(Slack())
        teams = await stack.enter_async_context(Teams())
        azure = await stack.enter_async_context(AzureSimulator(first_s=0.05, interval_s=0.04))
        redis = Redis(server.url)
        stack.push_async_callback(redis.close)
        nursery = await stack.enter_async_context(a_nursery())
        ports = [free_port() for _ in range(options.web)]
        env = _environment(options, network.port, slack, azure, folder)
        chance = random.Random(f"{options.seed} machines")

        def machine(name: str, command: str, **more: str) -> Machine:
            return Machine(nursery, command, {**env, **more}, folder / f"{name}.log", chance)

        webs = [machine(f"web{n}", "web", PORT=str(port)) for n, port in enumerate(ports)]
        workers = [machine(f"worker{n}", "worker") for n in range(options.workers)]
        for one in (*webs, *workers):
            await stack.enter_async_context(one.running())
        for port in ports:
            await listening(port)
        entrance = await stack.enter_async_context(Proxy(ports))
        slack.bot_url = f"http://127.0.0.1:{entrance.port}/slack/events"
        teams.bot = f"http://127.0.0.1:{entrance.port}/api/messages"

        town = Town(slack, teams, azure, redis, options.seed)
        havoc = Havoc(town, server, network, workers, webs, options.lease_s, options.seed)
        plan = Plan(
            kills=options.kills, stops=options.stops, restarts=options.restarts, outages=options.outages
        )
        async with town.watched():
            wreaking = asyncio.create_task(havoc.wreak(plan, options.events))
            await town.ask_everything(options.events, options.talks, options.faults)
            await wreaking
            await _quiet(town)
        tally = await count(town, redis)
        await immortal_keys(redis)
        return Report(
            options=options,
            tally=tally,
            done=dict(havoc.done),
            faults=dict(town.faults),
            exits=sum(one.exits for one in (*webs, *workers)),
            recovered_s=recoveries(town.talks, havoc.blows),
            resumed_s=resumptions(town.talks, havoc.back_at),
            duration_s=time.monotonic() - began,
        )


def _environment(
    options: Options, redis_port: int, slack: Slack, azure: AzureSimulator, folder: Path
) -> dict[str, str]:
    return {
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}",
        "PARLEY_DATA_DIR": str(folder),
        "PARLEY_LEASE_S": str(options.lease_s),
        "PARLEY_ATTEMPTS": "50",
        "PARLEY_CONCURRENCY": "16",
        "PARLEY_LIMITS": "person: unlimited",
        "PARLEY_LOG_LEVEL": "warning",
        "PARLEY_TEAMS_AUTH": "off",
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_SIGNING_SECRET": slack.signing_secret,
        "SLACK_API_URL": slack.api_url,
        "AZURE_OPENAI_ENDPOINT": f"{azure.endpoint}/openai/v1/",
        "AZURE_OPENAI_API_KEY": KEY,
        "AZURE_OPENAI_CHAT_DEPLOYMENT": "chat",
    }


async def _quiet(town: Town) -> None:
    """Wait until every question has its turn, or nothing has moved for long."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < _QUIET_S:
        answered = sum(talk.answered for talk in town.talks)
        if answered >= town.sent:
            return
        if answered != seen:
            seen, since = answered, time.monotonic()
        await asyncio.sleep(0.1)
