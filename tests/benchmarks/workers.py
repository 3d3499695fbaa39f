"""How throughput grows with `parley worker` processes on one Redis, and with their `--concurrency`.

`python -m tests.benchmarks.workers` prints a table: one web process, a real Redis with `appendfsync always`,
and a model that takes a second to answer and next to no processor time: waiting is what there is to share.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.turns import Load, Slack, converse, cpu_s, milliseconds
from tests.chaos.machines import RedisServer
from tests.support.processes import Process, end, free_port, listening, run, start

_PARLEY = str(Path(sys.executable).parent / "parley")
_WARM_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Staffed:
    """What so many workers did: what one person after another saw, and what it cost."""

    workers: int
    concurrency: int
    load: Load
    seconds: float
    cpu_s: float

    def row(self) -> str:
        """A row of the table."""
        turns = self.load.turns
        places = self.workers * self.concurrency
        cells = (
            self.workers,
            self.concurrency,
            places,
            f"{turns / self.seconds:.1f}",
            f"{turns / self.seconds / places:.2f}",
            milliseconds(self.load.first_s),
            f"{self.cpu_s / max(1, turns) * 1000:.1f}",
        )
        return f"| {' | '.join(map(str, cells))} |"


HEAD = (
    "| workers | concurrency | places | turns per second | per place "
    "| first text, ms (median, p99) | CPU of all workers per turn, ms |\n"
    "|--:|--:|--:|--:|--:|--:|--:|"
)


@asynccontextmanager
async def staffed(
    options: argparse.Namespace, workers: int, concurrency: int
) -> AsyncGenerator[tuple[Slack, list[Process]]]:
    """Slack here, the model, Redis, the web process and the workers each in a process of their own."""
    model_port, port = free_port(), free_port()
    pace = options.answer_s * 1000 / (options.chunks + 1)
    model = [sys.executable, "-m", "tests.simulators.azure", "--port", str(model_port)]
    model += ["--chunks", str(options.chunks), "--interval-ms", str(pace), "--first-ms", str(pace)]
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        redis = await stack.enter_async_context(RedisServer(Path(folder) / "redis"))
        slack = await stack.enter_async_context(Slack())
        env = {
            "REDIS_URL": redis.url,
            "PORT": str(port),
            "PARLEY_DATA_DIR": folder,
            "PARLEY_LIMITS": "person: unlimited",
            "PARLEY_LOG_LEVEL": "warning",
            "PARLEY_DRAIN_S": "0",
            "SLACK_BOT_TOKEN": slack.bot_token,
            "SLACK_SIGNING_SECRET": slack.signing_secret,
            "SLACK_API_URL": slack.api_url,
            "AZURE_OPENAI_ENDPOINT": f"http://127.0.0.1:{model_port}/openai/v1/",
            "AZURE_OPENAI_API_KEY": "simulated-key",
            "AZURE_OPENAI_CHAT_DEPLOYMENT": "chat",
        }
        slack.bot_url = f"http://127.0.0.1:{port}/slack/events"
        await stack.enter_async_context(run(model, {}))
        quiet = asyncio.subprocess.DEVNULL
        web = await start([_PARLEY, "web"], env, stdout=quiet)
        stack.push_async_callback(end, web)
        command = [_PARLEY, "worker", "--concurrency", str(concurrency)]
        staff = [await start(command, env, stdout=quiet) for _ in range(workers)]
        for worker in staff:
            stack.push_async_callback(end, worker)
        await listening(model_port)
        await listening(port)
        yield slack, staff


async def measure(options: argparse.Namespace, workers: int, concurrency: int) -> Staffed:
    """Warm up, then count: always more people than there are places."""
    async with staffed(options, workers, concurrency) as (slack, staff):
        channels = [f"D{number:04d}" for number in range(max(8, workers * concurrency * 3 // 2))]
        for channel in channels:
            slack.workspace.channels[channel] = {"U0ADA", slack.workspace.bot_user}
        since = time.monotonic() + _WARM_S
        load, until = Load(since=since), since + options.seconds
        talking = asyncio.gather(*(converse(slack, one, until, load) for one in channels))
        await asyncio.sleep(_WARM_S)
        cpu = sum(cpu_s(worker.pid) for worker in staff)
        await asyncio.sleep(options.seconds)
        cpu = sum(cpu_s(worker.pid) for worker in staff) - cpu
        await talking
        return Staffed(
            workers=workers,
            concurrency=concurrency,
            load=load,
            seconds=options.seconds,
            cpu_s=cpu,
        )


async def table(options: argparse.Namespace) -> None:
    """One row for each number of workers and each concurrency, as it is there."""
    print(
        f"\n{options.answer_s:g} s to an answer of {options.chunks} chunks, {os.cpu_count()} cores\n\n{HEAD}"
    )
    for concurrency in options.concurrency:
        for workers in options.workers:
            print((await measure(options, workers, concurrency)).row(), flush=True)


def numbers(text: str) -> Sequence[int]:
    """`1,2,4`."""
    return [int(word) for word in text.split(",")]


def parser() -> argparse.ArgumentParser:
    """What a run may be told."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    words.add_argument("--workers", type=numbers, default=[1, 2, 4], metavar="N,N")
    words.add_argument("--concurrency", type=numbers, default=[8, 16], metavar="N,N")
    words.add_argument("--answer-s", type=float, default=1.0, help="how long the model takes")
    words.add_argument("--chunks", type=int, default=4)
    words.add_argument("--seconds", type=float, default=10)
    return words


if __name__ == "__main__":
    asyncio.run(table(parser().parse_args()))
