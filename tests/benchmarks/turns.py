"""How many turns a second, at what cost: a real `parley serve` between simulators, everything on loopback.

`python -m tests.benchmarks.turns` runs the bot on one core; Redis, the model and the load on the other; and
prints a table.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from bot.storage.embedded.lifecycle import embedded
from tests.simulators.slack import SlackSimulator
from tests.simulators.slack_methods import Answer, Args
from tests.support.processes import Process, free_port, listening, run

PARLEY = [str(Path(sys.executable).parent / "parley"), "serve"]
_TICK = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@dataclass
class Load:
    """What the load saw, in seconds, of the turns begun at `since` (of `time.monotonic()`) or later."""

    since: float = 0.0
    turns: int = 0  # that ended at `since` or later, whenever they were begun
    first_s: list[float] = field(default_factory=list[float])
    whole_s: list[float] = field(default_factory=list[float])
    thanked_s: list[float] = field(default_factory=list[float])


class Slack(SlackSimulator):
    """Tells whoever watches a channel of each call on it: looking again and again costs more than a turn."""

    def __init__(self) -> None:
        super().__init__(limits={})
        self.called: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def _answer(self, method: str, args: Args, authorization: str) -> Answer:
        answer = super()._answer(method, args, authorization)
        self.called[str(args.get("channel"))].set()
        return answer

    async def look(self, channel: str) -> None:
        """Wait for the next call on this channel."""
        self.called[channel].clear()
        await self.called[channel].wait()


async def converse(slack: Slack, channel: str, until: float, load: Load) -> None:
    """One person with one question after another in one thread, each asked when the last was answered."""
    thread: str | None = None
    while (began := time.monotonic()) < until:
        ts = await slack.say(channel, "U0ADA", "Tell me more, please.", thread)
        thanked = time.monotonic()
        thread = thread or ts
        answer = await _answer(slack, channel, thread, 30)
        first = time.monotonic()
        while not answer.get("metadata"):
            await slack.look(channel)
        ended = time.monotonic()
        load.turns += load.since <= ended <= until
        if began >= load.since:
            load.thanked_s.append(thanked - began)
            load.first_s.append(first - began)
            load.whole_s.append(ended - began)
        for message in slack.thread(channel, thread):  # the simulator looks through all that it holds
            del slack.workspace.messages[channel, message["ts"]]


async def _answer(slack: Slack, channel: str, thread: str, timeout_s: float) -> dict[str, Any]:
    """The bot's message in this thread, as soon as there is one."""
    async with asyncio.timeout(timeout_s):
        while True:
            for message in slack.thread(channel, thread):
                if message.get("bot_id"):
                    return message
            await slack.look(channel)


@asynccontextmanager
async def stage(options: argparse.Namespace) -> AsyncGenerator[tuple[Slack, Process]]:
    """Slack here, Redis and Azure in processes of their own on this core, the bot in one on the other."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {1})
    model_port, port = free_port(), free_port()
    pace = ["--chunks", str(options.chunks), "--interval-ms", str(options.interval_ms)]
    model = [sys.executable, "-m", "tests.simulators.azure", "--port", str(model_port), *pace]
    with tempfile.TemporaryDirectory() as folder:
        async with embedded(Path(folder)), Slack() as slack:
            env = {
                "PORT": str(port),
                "PARLEY_DATA_DIR": folder,
                "PARLEY_LIMITS": "person: unlimited",
                "PARLEY_LOG_LEVEL": "warning",
                "SLACK_BOT_TOKEN": slack.bot_token,
                "SLACK_SIGNING_SECRET": slack.signing_secret,
                "SLACK_API_URL": slack.api_url,
                "AZURE_OPENAI_ENDPOINT": f"http://127.0.0.1:{model_port}/openai/v1/",
                "AZURE_OPENAI_API_KEY": "simulated-key",
                "AZURE_OPENAI_CHAT_DEPLOYMENT": "chat",
            }
            slack.bot_url = f"http://127.0.0.1:{port}/slack/events"
            first = ["--first-ms", str(options.first_ms)]
            async with run([*model, *first], {}, core=1), run(options.bot, env, core=0) as bot:
                await listening(model_port)
                await listening(port)
                yield slack, bot


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one run showed."""

    load: Load
    turns: int
    seconds: float
    cpu_s: float
    calls: float
    memory_mb: tuple[float, float]

    @property
    def per_second(self) -> float:
        """Turns per second."""
        return self.turns / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Processor time of the bot per turn, in milliseconds."""
        return self.cpu_s / self.turns * 1000

    def rows(self) -> dict[str, str]:
        """The table, a row for each figure."""
        return {
            "turns per second": f"{self.per_second:.1f}",
            "CPU of the bot per turn, ms": f"{self.cpu_ms:.2f}",
            "first text, ms (median, p99)": milliseconds(self.load.first_s),
            "whole answer, ms (median, p99)": milliseconds(self.load.whole_s),
            "thanked, ms (median, p99)": milliseconds(self.load.thanked_s),
            "Slack calls per turn": f"{self.calls:.2f}",
            "resident memory, MB (warm, at the end)": "{:.0f}, {:.0f}".format(*self.memory_mb),
        }


async def measure(options: argparse.Namespace) -> Measured:
    """Let the conversations begin one after another within `spread` seconds, warm up, then measure."""
    async with stage(options) as (slack, bot):
        channels = [f"D{number:04d}" for number in range(options.conversations)]
        since = time.monotonic() + options.spread + 2
        until = since + options.seconds
        load = Load(since=since)

        async def begin(number: int, channel: str) -> None:
            slack.workspace.channels[channel] = {"U0ADA", slack.workspace.bot_user}
            await asyncio.sleep(options.spread * number / options.conversations)
            await converse(slack, channel, until, load)

        talks = asyncio.gather(*(begin(number, one) for number, one in enumerate(channels)))
        await asyncio.sleep(since - time.monotonic())
        warm_mb, cpu, calls = resident_mb(bot.pid), cpu_s(bot.pid), sum(slack.calls.values())
        await asyncio.sleep(until - time.monotonic())
        cpu, calls = cpu_s(bot.pid) - cpu, sum(slack.calls.values()) - calls
        await talks
        return Measured(
            load=load,
            turns=load.turns,
            seconds=options.seconds,
            cpu_s=cpu,
            calls=calls / load.turns,
            memory_mb=(warm_mb, resident_mb(bot.pid)),
        )


def milliseconds(values: list[float]) -> str:
    """Median and 99th percentile."""
    ordered = sorted(values)
    return f"{statistics.median(ordered) * 1000:.0f}, {ordered[int(len(ordered) * 0.99) - 1] * 1000:.0f}"


def parser() -> argparse.ArgumentParser:
    """What a run may be told."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--conversations", type=int, default=16)
    words.add_argument("--seconds", type=float, default=10)
    words.add_argument("--chunks", type=int, default=50)
    words.add_argument("--interval-ms", type=float, default=0)
    words.add_argument("--first-ms", type=float, default=0)
    words.add_argument("--spread", type=float, default=0, help="seconds in which the conversations begin")
    words.add_argument("bot", nargs="*", default=PARLEY)
    return words


def main() -> None:
    """Parse, run, print."""
    options = parser().parse_args()
    for name, value in uvloop.run(measure(options)).rows().items():
        print(f"| {name:<40} | {value:>16} |")


if __name__ == "__main__":
    main()
