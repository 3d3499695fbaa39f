"""What a thousand open conversations add to the memory of `parley serve`, and to that of its Redis.

`python -m tests.benchmarks.open_conversations` prints a table: at rest before and after a thousand
conversations of four turns each; with a thousand questions waiting at once; with a thousand being answered.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.storage.redis.client import Redis
from tests.benchmarks.turns import PARLEY, Slack, resident_mb
from tests.chaos.machines import RedisServer
from tests.simulators.azure import AzureSimulator
from tests.simulators.azure_wire import Answer
from tests.support.processes import Process, end, free_port, listening, start

AT_ONCE = 32
"""Conversations that are led side by side while the thousand come to be."""
_SETTLED_S = 3.0
_ANSWER = Answer(text=" ".join(f"word{number:03}" for number in range(120)), chunks=60)


@dataclass
class Surroundings:
    """A bot between a simulated Slack and a model that can be made to think for long."""

    slack: Slack
    azure: AzureSimulator
    bot: Process
    redis: Redis

    async def row(self, what: str, count: int, before: tuple[float, float]) -> tuple[float, float]:
        """Print what is held now, and what each conversation added; returns what is held."""
        held: dict[str, Any] = await self.redis.call("INFO", "memory")
        now = resident_mb(self.bot.pid), float(held["used_memory"]) / 2**20
        added = [(after - earlier) * 1024 / count for after, earlier in zip(now, before, strict=True)]
        each = [f"{kb:.1f}" if before[0] else "" for kb in added]
        print(f"| {what} | {now[0]:.0f} | {each[0]} | {now[1]:.1f} | {each[1]} |", flush=True)
        return now

    def people(self, first: int, count: int) -> list[str]:
        """So many people with the bot's direct messages, each in a channel of their own."""
        channels = [f"D{number:06d}" for number in range(first, first + count)]
        for channel in channels:
            self.slack.workspace.channels[channel] = {"U0ADA", self.slack.workspace.bot_user}
        return channels


@asynccontextmanager
async def stage(concurrency: int) -> AsyncGenerator[Surroundings]:
    """Everything that is needed; the bot and Redis in processes of their own."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        async with (
            RedisServer(Path(folder) / "redis") as server,
            Slack() as slack,
            AzureSimulator() as azure,
        ):
            azure.answer = lambda messages: _ANSWER
            env = {
                "REDIS_URL": server.url,
                "PORT": str(port),
                "PARLEY_DATA_DIR": folder,
                "PARLEY_CONCURRENCY": str(concurrency),
                "PARLEY_TENANT_LIMIT": "100000",
                "PARLEY_LIMITS": "person: unlimited",
                "PARLEY_LOG_LEVEL": "warning",
                "PARLEY_DRAIN_S": "0",
                "SLACK_BOT_TOKEN": slack.bot_token,
                "SLACK_SIGNING_SECRET": slack.signing_secret,
                "SLACK_API_URL": slack.api_url,
                "AZURE_OPENAI_ENDPOINT": f"{azure.endpoint}/openai/v1/",
                "AZURE_OPENAI_API_KEY": "simulated-key",
                "AZURE_OPENAI_CHAT_DEPLOYMENT": "chat",
            }
            slack.bot_url = f"http://127.0.0.1:{port}/slack/events"
            bot, redis = await start(PARLEY, env, stdout=asyncio.subprocess.DEVNULL), Redis(server.url)
            try:
                await listening(port)
                yield Surroundings(slack, azure, bot, redis)
            finally:
                await redis.close()
                await end(bot)


async def lead(stage: Surroundings, channels: list[str], turns: int) -> None:
    """So many turns in each, a few conversations at once."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(channel: str) -> None:
        thread = ""
        async with places:
            for _ in range(turns):
                ts = await stage.slack.say(channel, "U0ADA", "Tell me more, please.", thread or None)
                thread = thread or ts
                while not any(one.get("metadata") for one in stage.slack.thread(channel, thread)):
                    await stage.slack.look(channel)
                for message in stage.slack.thread(channel, thread):
                    del stage.slack.workspace.messages[channel, message["ts"]]

    await asyncio.gather(*map(one, channels))


async def ask(stage: Surroundings, channels: list[str]) -> None:
    """One question in each, whose answers do not come yet."""
    stage.azure.first_s = 3600.0
    for first in range(0, len(channels), AT_ONCE):
        some = channels[first : first + AT_ONCE]
        await asyncio.gather(*(stage.slack.say(one, "U0ADA", "Tell me more, please.") for one in some))


async def measure(count: int, turns: int) -> None:
    """The table."""
    print("\n| `parley serve` | resident, MB | KB each | Redis, MB | KB each |\n|---|--:|--:|--:|--:|")
    async with stage(AT_ONCE) as one:
        await lead(one, one.people(0, AT_ONCE), 2)  # what is loaded once is loaded now
        await asyncio.sleep(_SETTLED_S)
        rest = await one.row("at rest", count, (0, 0))
        await lead(one, one.people(1000, count), turns)
        await asyncio.sleep(_SETTLED_S)
        rest = await one.row(f"at rest, after {count:,} conversations of {turns} turns", count, rest)
        await ask(one, one.people(100_000, count))
        await asyncio.sleep(_SETTLED_S)
        await one.row(f"{count:,} questions waiting, {AT_ONCE} of them being answered", count, rest)
    async with stage(min(count, 1024)) as one:
        await lead(one, one.people(0, AT_ONCE), 2)
        await asyncio.sleep(_SETTLED_S)
        rest = await one.row(f"at rest, with `PARLEY_CONCURRENCY={min(count, 1024)}`", count, (0, 0))
        await ask(one, one.people(100_000, count))
        await asyncio.sleep(_SETTLED_S)
        await one.row(f"{count:,} being answered at once", count, rest)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--conversations", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=4)
    given = parser.parse_args()
    asyncio.run(measure(given.conversations, given.turns))


if __name__ == "__main__":
    sys.exit(main())
