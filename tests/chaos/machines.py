"""The machines that chaos may kill: Redis with its append-only file, and Parley's own processes."""

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from bot.state.embedded import find_server
from tests.processes import Process, end, free_port, listening, start

PARLEY = str(Path(sys.executable).parent / "parley")


class RedisServer:
    """A real server on a TCP port, whose append-only file outlives a kill.

    `appendfsync always` is what makes every acknowledged write outlive also the machine's end.
    """

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
        self._process = await start([await find_server(), *words], {})
        await listening(self.port)

    async def kill(self) -> None:
        """End it without a warning."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()


class Machine:
    """One process of Parley that somebody starts again whenever it ends."""

    def __init__(self, command: str, env: Mapping[str, str], log: Path) -> None:
        self.command = command
        self._env = dict(env)
        self._log = log
        self._process: Process | None = None

    async def start(self) -> None:
        """Begin it; what it says goes to its log."""
        with self._log.open("ab") as log:
            self._process = await start(
                [PARLEY, self.command], self._env, stdout=log.fileno(), stderr=log.fileno()
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self._process is not None and self.running:
            self._process.send_signal(number)

    async def ended(self) -> None:
        """Wait for its end."""
        assert self._process is not None
        await self._process.wait()

    async def end(self) -> None:
        """Politely; what is stopped can't be polite."""
        if self._process is not None:
            self.signal(signal.SIGCONT)
            await end(self._process)
