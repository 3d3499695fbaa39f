"""What one turn asks of Redis, counted on the wire: a pipeline is one round trip, a script is one."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from bot.domain.events import now
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script
from tests.support.acts import ADA, received
from tests.support.harness import Harness
from tests.support.patience import PATIENCE_S
from tests.support.servers import HOST

SHARED = ("due", "ZADD + ZREMRANGEBYSCORE", "HDEL")
"""The sweep, and what takes settled charges off what is owed (`Charges.tidy`)."""
SCRIPTS = {
    script.digest.encode(): name
    for name in ("accept", "claim", "hold", "admit", "generated", "commit", "settle", "release", "due")
    for script in (Script(name), *(Script(name, beginning) for beginning in ("post", "book", "flow")))
}


class Wire:
    """A proxy before Redis that writes down what goes over it, one entry for each round trip."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self.trips: list[str] = []
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[str]:
        """Yields the URL of the proxy."""
        server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield f"redis://{HOST}:{self.port}"
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_unix_connection(self._socket)
        asked: list[bytes] = []  # what was asked since the last answer

        async def up() -> None:
            while data := await reader.read(1 << 20):
                if not asked:
                    self.trips.append("")
                asked.append(data)
                self.trips[-1] = _named(b"".join(asked))
                downstream.write(data)
                await downstream.drain()
            downstream.close()

        async def down() -> None:
            while data := await upstream.read(1 << 20):
                asked.clear()
                writer.write(data)
                await writer.drain()
            writer.close()

        with suppress(OSError):
            await asyncio.gather(up(), down())
        writer.transport.abort()
        downstream.transport.abort()


def _named(request: bytes) -> str:
    """The commands of a request in words: `accept`, `TIME + 64 ZRANGE`."""
    commands: list[tuple[bytes, bytes]] = re.findall(
        rb"(?:^|\r\n)\*\d+\r\n\$\d+\r\n([A-Z]+)(?:\r\n\$40\r\n([0-9a-f]{40}))?", request
    )
    return " + ".join(SCRIPTS.get(digest, name.decode()) for name, digest in commands)


async def settled(redis: Redis, turns: int) -> bool:
    """Whether so many turns are paid for, which is the last thing that is done about one."""
    count = await redis.call("HGET", keys.spent(ADA.tenant, f"{now():%Y-%m-%d}", "person", ADA.id), "turns")
    return int(count or 0) == turns


async def of_one_turn(server: str) -> list[str]:
    """The round trips from the event's arrival to its charge, without what is done once a second for all turns.

    `server` is the URL of a Redis server on a Unix socket; it is emptied.
    """
    # What is only looked at does not go over the wire.
    aside = Redis(server, timeout_s=PATIENCE_S)
    await aside.call("FLUSHALL")
    wire = Wire(urlsplit(server).path)
    async with wire.listening() as url:
        redis = Redis(url, timeout_s=PATIENCE_S)
        harness = Harness(redis)
        async with harness.working():
            await harness.accept(received("warm up", event="first"))
            await harness.until(lambda: settled(aside, 1))
            # A worker that starts looks at every shard; when it only sweeps, it has done with that.
            await harness.until(lambda: wire.trips[-2:] == ["due", "due"])
            wire.trips.clear()
            await harness.accept(received("what is up?", event="second"))
            await harness.until(lambda: settled(aside, 2))
            trips = [trip for trip in wire.trips if not trip.startswith(SHARED)]
        await redis.close()
    await aside.close()
    return trips
