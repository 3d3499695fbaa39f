"""How many turns a second, at what cost: a real `parley serve` between simulators, everything on loopback.

`python -m tests.benchmarks.turns` runs the bot on one core and the load on the other, and prints a table.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.processes import Process, free_port, listening, run
from tests.simulators.slack import SlackSimulator

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
    """What the load saw, in seconds."""

    first_s: list[float] = field(default_factory=list[float])
    whole_s: list[float] = field(default_factory=list[float])
    thanked_s: list[float] = field(default_factory=list[float])


async def converse(slack: SlackSimulator, channel: str, until: float, load: Load) -> None:
    """One person after another question in one thread, each asked when the last was answered."""
    thread: str | None = None
    while time.monotonic() < until:
        began = time.monotonic()
        ts = await slack.say(channel, "U0ADA", "Tell me more, please.", thread)
        load.thanked_s.append(time.monotonic() - began)
        thread = thread or ts
        answer = await _answer(slack, channel, thread, 30)
        load.first_s.append(time.monotonic() - began)
        while not answer.get("metadata"):  # noqa: ASYNC110 - the simulator's dictionary has no event
            await asyncio.sleep(0.004)
        load.whole_s.append(time.monotonic() - began)
        for message in slack.thread(channel, thread):  # the simulator looks through all that it holds
            del slack.workspace.messages[channel, message["ts"]]


async def _answer(slack: SlackSimulator, channel: str, thread: str, timeout_s: float) -> dict[str, Any]:
    """The bot's message in this thread, as soon as there is one."""
    async with asyncio.timeout(timeout_s):
        while True:
            for message in slack.thread(channel, thread):
                if message.get("bot_id"):
                    return message
            await asyncio.sleep(0.004)


@asynccontextmanager
async def stage(options: argparse.Namespace) -> AsyncGenerator[tuple[SlackSimulator, Process]]:
    """Slack here, Azure in a process of its own on this core, the bot in a process on the other."""
    model_port, port = free_port(), free_port()
    pace = ["--chunks", str(options.chunks), "--interval-ms", str(options.interval_ms)]
    model = [sys.executable, "-m", "tests.simulators.azure", "--port", str(model_port), *pace]
    with tempfile.TemporaryDirectory() as folder:
        async with SlackSimulator(limits={}) as slack:
            env = {
                "PORT": str(port),
                "PARLEY_DATA_DIR": folder,
                "PARLEY_CONCURRENCY": "256",
                "PARLEY_REQUESTS_PER_MINUTE": "0",
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
    """Warm up for two seconds, then measure."""
    async with stage(options) as (slack, bot):
        channels = [f"D{number:04d}" for number in range(options.conversations)]
        for channel in channels:
            slack.workspace.channels[channel] = {"U0ADA", slack.workspace.bot_user}
        await asyncio.gather(*(converse(slack, one, time.monotonic() + 2, Load()) for one in channels))
        warm_mb, cpu, began = resident_mb(bot.pid), cpu_s(bot.pid), time.monotonic()
        calls = sum(slack.calls.values())
        load = Load()
        until = began + options.seconds
        await asyncio.gather(*(converse(slack, one, until, load) for one in channels))
        turns = len(load.whole_s)
        return Measured(
            load=load,
            turns=turns,
            seconds=time.monotonic() - began,
            cpu_s=cpu_s(bot.pid) - cpu,
            calls=(sum(slack.calls.values()) - calls) / turns,
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
    words.add_argument("bot", nargs="*", default=PARLEY)
    return words


def main() -> None:
    """Parse, run, print."""
    options = parser().parse_args()
    for name, value in asyncio.run(measure(options)).rows().items():
        print(f"| {name:<40} | {value:>16} |")


if __name__ == "__main__":
    main()
