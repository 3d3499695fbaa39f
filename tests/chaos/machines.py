"""The machines that chaos may kill: Redis with its append-only file, and Parley's own processes."""

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from signal import Signals
from types import TracebackType
from typing import Self

from bot.storage.embedded.lifecycle import find_server
from tests.chaos.nursery import Child, Nursery
from tests.support.processes import Process, end, free_port, listening, start


class RedisServer:
    """A real server on a TCP port, whose append-only file outlives a kill."""

    def __init__(self, folder: Path, *, databases: int = 16, fsync: str = "always") -> None:
        self.port = free_port()
        self._folder = folder
        self._settings = {
            "--port": str(self.port),
            "--bind": "127.0.0.1",
            "--dir": str(folder),
            "--save": "",
            "--appendonly": "yes",
            "--appendfsync": fsync,
            "--databases": str(databases),
            "--logfile": str(folder / "redis.log"),
        }
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Where it is, without a way around."""
        return f"redis://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            await end(self._process)

    async def start(self) -> None:
        """Begin, with what the append-only file holds."""
        words = [word for pair in self._settings.items() for word in pair]
        self._process = await start([await find_server(), *words], {}, stdout=asyncio.subprocess.DEVNULL)
        await listening(self.port)

    async def kill(self) -> None:
        """End it without a warning."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()


class Machine:
    """One process of Parley, started again whenever it ends, as a supervisor does."""

    def __init__(
        self, nursery: Nursery, command: str, env: Mapping[str, str], log: Path, chance: random.Random
    ) -> None:
        self._nursery = nursery
        self._command = command
        self._env = env
        self._log = log
        self._chance = chance
        self._child: Child | None = None
        self.kills = 0
        self.exits = 0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Self]:
        """Until the end of the block."""
        supervisor = asyncio.create_task(self._supervise())
        try:
            yield self
        finally:
            supervisor.cancel()
            if self._child is not None:
                self._child.signal(Signals.SIGKILL)

    async def _supervise(self) -> None:
        while True:
            self._child = await self._nursery.parley([self._command], self._env, self._log)
            await asyncio.wait([self._child.ended])
            self.exits += self._child.ended.result() != Signals.SIGKILL
            await asyncio.sleep(self._chance.uniform(0, 0.4))

    def kill(self) -> None:
        """End it without a warning."""
        if self._child is not None and not self._child.ended.done():
            self._child.signal(Signals.SIGKILL)
            self.kills += 1

    async def sleep(self, seconds: float) -> None:
        """Stop it for a while, and wake it, unless it was killed in its sleep."""
        if (child := self._child) is not None:
            child.signal(Signals.SIGSTOP)
            await asyncio.sleep(seconds)
            child.signal(Signals.SIGCONT)
