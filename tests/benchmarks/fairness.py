"""How long one question waits while another tenant, or another channel, has 300: `python -m tests.benchmarks.fairness`.

The inbox, the claims and a real Redis with `appendfsync always`; an answer is a pause. Each row has one question alone,
and then beside the 300, which were there first and are threads of one channel.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from bot.domain.events import MessageReceived, User
from bot.storage.queue.inbox import Claim, CommitRequest, Inbox
from bot.storage.redis.client import Redis
from bot.worker.poller import Poller
from tests.support import servers
from tests.support.acts import received

BACKLOG = 300
_THREADS = ("slack:T1:C1:17{number}.0001", "slack:{other}:17000.{number}")


@dataclass(frozen=True, kw_only=True)
class Waited:
    """Seconds from asking to the answer, alone and beside the others, and until the last of the others was answered."""

    alone_s: float
    beside_s: float
    others_s: float


def question(conversation: str, event: str) -> MessageReceived:
    """A question in a thread of a Slack channel."""
    tenant = conversation.split(":")[1]
    asked = received(event=event, conversation=conversation)
    return replace(asked, user=User(id="U1", tenant=tenant))


class Answering:
    """Workers with so many places each, whose answers take `answer_s` seconds."""

    def __init__(self, url: str, workers: int, places: int, answer_s: float) -> None:
        self._redis = [Redis(url) for _ in range(workers)]
        self._places, self._answer_s = places, answer_s
        self.answered: dict[str, float] = {}
        self._until, self._more = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> "Answering":
        self._running = [asyncio.create_task(self._work(redis)) for redis in self._redis]
        await asyncio.sleep(0.3)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._until.set()
        await asyncio.gather(*self._running)
        for redis in self._redis:
            await redis.close()

    async def until(self, test: Sequence[str]) -> None:
        """Wait until all of these events are answered."""
        while not self.answered.keys() >= set(test):
            self._more.clear()
            await self._more.wait()

    async def _work(self, redis: Redis) -> None:
        inbox = Inbox(redis, lease_s=30, limit=20, retention_s=3600)

        async def answer(claim: Claim) -> None:
            await asyncio.sleep(self._answer_s)
            await inbox.commit(claim, CommitRequest())
            assert claim.event is not None
            self.answered[claim.event.id] = time.monotonic()
            self._more.set()

        def begin(claim: Claim, requested_at: float) -> asyncio.Task[None]:
            return asyncio.create_task(answer(claim))

        await Poller(inbox, self._places, begin=begin, stop=lambda _: None).run(self._until)


async def wait(url: str, other: str, workers: int, places: int, answer_s: float) -> Waited:
    """Ask alone, the median of five, and once while 300 others wait, of which the first is answered."""
    redis = Redis(url)
    inbox = Inbox(redis, lease_s=30, limit=20, retention_s=3600)
    async with Answering(url, workers, places, answer_s) as working:

        async def asked(event: str) -> float:
            began = time.monotonic()
            await inbox.accept(question(_THREADS[1].format(other=other, number=event), event))
            await working.until([event])
            return working.answered[event] - began

        alone = statistics.median([await asked(f"1{number}") for number in range(5)])
        began = time.monotonic()
        others = [f"9{number}" for number in range(BACKLOG)]
        await asyncio.gather(
            *(
                inbox.accept(question(_THREADS[0].format(number=number), event))
                for number, event in enumerate(others)
            )
        )
        await working.until(others[:1])
        beside = await asked("2")
        await working.until(others)
    await redis.close()
    return Waited(alone_s=alone, beside_s=beside, others_s=max(working.answered.values()) - began)


async def table(scale: float) -> None:
    """Print a row for each set-up."""
    print(
        "| who asks beside 300 | workers | places | an answer, s | alone, s | beside, s | at most, s | all 300, s |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for workers, places, full_s in ((1, 1, 0.06), (1, 16, 0.5), (4, 16, 2.0)):
        answer_s = full_s * scale
        for who, other in (("another tenant", "T2:C9"), ("another channel", "T1:C9")):
            with tempfile.TemporaryDirectory() as folder:
                server = servers.Server(Path(folder), "--appendonly", "yes", "--appendfsync", "always")
                with servers.running(server):
                    waited = await wait(server.url, other, workers, places, answer_s)
            allowed = 2 * waited.alone_s + answer_s
            seconds = f"{waited.alone_s:.2f} | {waited.beside_s:.2f} | {allowed:.2f} | {waited.others_s:.1f}"
            print(f"| {who} | {workers} | {places} | {answer_s:g} | {seconds} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the time that answers take")
    asyncio.run(table(parser.parse_args().scale))
