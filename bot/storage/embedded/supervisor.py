"""Watches the embedded Redis of a data directory, and restarts it if it ended or does not answer."""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import IO, cast

from bot.domain import telemetry
from bot.domain.errors import ConfigError
from bot.storage.embedded.data_directory import DataLost, DiskFull, gone
from bot.storage.embedded.server import Server
from bot.storage.redis import tasks

log = logging.getLogger(__name__)

_CHECK_S = 0.5
HANG_S = 15.0
"""How long a server may be silent before it counts as hanging."""
_HANG_CHECKS = 3
"""Consecutive failed checks for that, because time also passes while the machine is suspended."""
_ATTEMPTS = 6
_SPACE_S = 2.0
_REMIND_S = 60.0
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
_MEMORY_S = 60.0
"""Earlier restarts don't count for the back-off."""

_troubles: dict[str, str] = {}


def trouble(url: str) -> str:
    """The current problem of the embedded server of this URL, or empty."""
    return _troubles.get(url, "")


@asynccontextmanager
async def supervised(server: Server, users: IO[bytes]) -> AsyncGenerator[None]:
    """Keep the server running until the end of the block.

    `users` is the open lock file of its users. If a restart is impossible, the task that entered
    the block is cancelled, and the block ends with a ConfigError with the reason.
    """
    task = cast("asyncio.Task[object]", asyncio.current_task())
    cancellations = task.cancelling()
    failed: list[ConfigError] = []

    async def supervise() -> None:
        try:
            await Supervisor(server, users).run()
        except ConfigError as error:
            log.error("%s", error)
            failed.append(error)
            task.cancel()

    supervising = asyncio.create_task(supervise())
    try:
        yield
    except asyncio.CancelledError:
        if failed and task.uncancel() <= cancellations:
            raise failed[0] from None
        raise
    finally:
        supervising.cancel()
        await asyncio.wait([supervising])
        _troubles.pop(server.url, None)


class Supervisor:
    """Checks the server every half second; one per process."""

    def __init__(self, server: Server, users: IO[bytes]) -> None:
        self._server = server
        self._users = users
        self._silent = 0
        self._silent_since = 0.0
        self._ends: deque[float] = deque(maxlen=len(_BACKOFF_S))

    async def run(self) -> None:
        """Watch and restart until cancelled. Raises ConfigError if a restart is impossible."""
        while not tasks.cancelled():
            await asyncio.sleep(_CHECK_S)
            try:
                if why := await self._wrong():
                    await self._restore(why)
            except ConfigError:
                raise
            except Exception:
                log.exception("A check of the embedded Redis failed and will be repeated")

    async def _wrong(self) -> str:
        """The reason for a restart, or empty."""
        await asyncio.to_thread(self._check_folder)
        condition = await self._server.condition()
        if condition == "gone":
            self._silent = 0
            return self._server.how_it_ended()
        if condition != "silent":
            self._silent = 0
            return ""
        if self._silent == 0:
            self._silent_since = time.monotonic()
        self._silent += 1
        silent_s = time.monotonic() - self._silent_since
        if self._silent < _HANG_CHECKS or silent_s < HANG_S:
            return ""
        self._silent = 0
        return f"has not answered for {silent_s:.0f} s"

    def _check_folder(self) -> None:
        try:
            there = os.stat(self._server.folder / "redis.users")
        except (FileNotFoundError, NotADirectoryError):
            raise gone(self._server.folder) from None
        except OSError:
            return  # a temporary failure of a network file system
        if not os.path.samestat(there, os.fstat(self._users.fileno())):
            raise gone(self._server.folder)

    async def _restore(self, why: str) -> None:
        """Restart the server with back-off, and wait while the disk is full. Raises ConfigError."""
        began = time.monotonic()
        self._report(f"The embedded Redis {why}. Restarting it; until then no events are accepted.")
        failures, reminded_at = 0, -_REMIND_S
        while not tasks.cancelled():
            await asyncio.sleep(self._delay_s())
            try:
                await asyncio.to_thread(self._check_folder)
                async with self._server.starting():
                    # Without patience first, because it is known to have ended or to hang.
                    await self._server.ensure(HANG_S if failures else 0)
                break
            except DataLost:
                raise
            except DiskFull as error:
                if time.monotonic() - reminded_at >= _REMIND_S:
                    reminded_at = time.monotonic()
                    self._report(
                        f"{error} No events are accepted until there is space; then Redis is restarted."
                    )
                await asyncio.sleep(_SPACE_S)
            except ConfigError as error:
                failures += 1
                if failures >= _ATTEMPTS:
                    raise ConfigError(
                        f"The embedded Redis {why}, and {failures} attempts to restart it failed.\n{error}"
                    ) from None
                self._report(
                    f"Could not restart the embedded Redis, attempt {failures} of {_ATTEMPTS}: {error}"
                )
        _troubles.pop(self._server.url, None)
        telemetry.REDIS_RESTARTS.inc()
        log.warning("The embedded Redis is running again after %.1f s.", time.monotonic() - began)

    def _report(self, words: str) -> None:
        _troubles[self._server.url] = words
        log.warning("%s", words)

    def _delay_s(self) -> float:
        """The delay before a start, which grows with each start of the last minute."""
        now = time.monotonic()
        while self._ends and now - self._ends[0] > _MEMORY_S:
            self._ends.popleft()
        delay = _BACKOFF_S[min(len(self._ends), len(_BACKOFF_S) - 1)]
        self._ends.append(now)
        return delay
