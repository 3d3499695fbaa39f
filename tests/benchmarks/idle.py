"""What an idle worker costs, and how soon it wakes up: accepted in one process, claimed in another.

`python -m tests.benchmarks.idle` starts a real Redis and a real `parley worker` on it, and prints a table.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bot.storage.queue.inbox import Claim, CommitRequest, Inbox
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.worker.poller import Poller
from tests.benchmarks.turns import cpu_s
from tests.support import servers
from tests.support.acts import received
from tests.support.processes import end, start
from tests.support.servers import Server

_PARLEY = str(Path(sys.executable).parent / "parley")


def _inbox(redis: Redis) -> Inbox:
    return Inbox(redis, lease_s=30, limit=20, retention_s=3600)


async def claim_and_tell(url: str) -> None:
    """The other process: a rota that prints when it was given a claim, by the clock that both share."""
    redis = Redis(url)
    inbox = _inbox(redis)

    def begin(claim: Claim, asked_at: float) -> asyncio.Task[None]:
        print(time.monotonic(), flush=True)
        return asyncio.create_task(inbox.commit(claim, CommitRequest()))

    await Poller(inbox, 4, begin=begin, stop=lambda _: None).run(asyncio.Event())


async def wake_up(url: str, count: int) -> list[float]:
    """Seconds from before `accept` here to the claim there, with the other side at rest each time."""
    redis = Redis(url)
    inbox = _inbox(redis)
    command = [sys.executable, "-m", "tests.benchmarks.idle", "--claim-at", url]
    other = await start(command, {}, stdout=asyncio.subprocess.PIPE)
    assert other.stdout is not None
    seconds: list[float] = []
    try:
        for number in range(count + 20):
            asked = time.monotonic()
            await inbox.accept(received(event=f"e{number}", conversation=f"test:{number}"))
            claimed = float(await asyncio.wait_for(other.stdout.readline(), 30))
            seconds.append(claimed - asked)
            await asyncio.sleep(random.uniform(0.005, 0.03))  # at rest, and not in step with anything
    finally:
        await end(other)
        await redis.close()
    return seconds[20:]  # the first ones load scripts and open connections


async def idle_share(server: Server, seconds: float) -> tuple[float, float]:
    """The share of a core that an idle `parley worker`, and Redis for it, take."""
    with tempfile.TemporaryDirectory() as folder:
        env = {"REDIS_URL": server.url, "PARLEY_DATA_DIR": folder, "PARLEY_LOG_LEVEL": "warning"}
        worker = await start([_PARLEY, "worker"], env)
        try:
            while keys.WAKEUPS not in str(server.ask("PUBSUB", "CHANNELS")):  # noqa: ASYNC110 - not our process
                await asyncio.sleep(0.1)
            await asyncio.sleep(3)  # the first look at every shard, and what is left of starting
            before = cpu_s(worker.pid), cpu_s(server.pid)
            await asyncio.sleep(seconds)
            return (cpu_s(worker.pid) - before[0]) / seconds, (cpu_s(server.pid) - before[1]) / seconds
        finally:
            await end(worker)


async def measure(count: int, seconds: float) -> dict[str, str]:
    """The table, by the names of its rows."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), "--appendonly", "yes")
        with servers.running(server):
            woken = sorted(await wake_up(server.url, count))
            share, redis = await idle_share(server, seconds)
    return {
        "wake-up, ms (median)": f"{statistics.median(woken) * 1000:.2f}",
        "wake-up, ms (p99)": f"{woken[int(len(woken) * 0.99) - 1] * 1000:.2f}",
        "idle worker, % of a core": f"{share * 100:.2f}",
        "Redis for it, % of a core": f"{redis * 100:.2f}",
    }


def main() -> None:
    """Parse, and run one side or the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="how often it is woken")
    parser.add_argument("--seconds", type=float, default=20, help="how long it idles")
    parser.add_argument("--claim-at", metavar="URL", help="be the process that claims")
    options = parser.parse_args()
    if options.claim_at:
        asyncio.run(claim_and_tell(options.claim_at))
        return
    rows = asyncio.run(measure(options.count, options.seconds))
    print("| | |\n|---|---:|", *(f"| {name} | {value} |" for name, value in rows.items()), sep="\n")


if __name__ == "__main__":
    main()
