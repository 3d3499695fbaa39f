"""A private Redis server in the data directory, for when no REDIS_URL is set.

It only listens on a unix socket, and keeps an append-only file. Processes that share a data directory share
the server: the first starts it, each of them restarts it if it ended or hangs, and it ends with the
last of them, even if that one is killed.
"""

import asyncio
import fcntl
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import IO

from bot.domain.errors import ConfigError
from bot.storage.embedded.data_directory import acquire, find_server, lock, open_file, socket_path
from bot.storage.embedded.server import Server
from bot.storage.embedded.supervisor import HANG_S, supervised
from bot.storage.embedded.watchdog import END_S

_POLL_S = 0.02


@asynccontextmanager
async def embedded(folder: Path) -> AsyncGenerator[str]:
    """Run and supervise the server of this data directory. Yields its URL.

    Raises ConfigError if it does not start, and ends the block with one if it can't be restarted.
    """
    server = Server(folder)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.close)
        async with server.starting():
            users = stack.enter_context(open_file(server.folder / "redis.users"))
            await acquire(users, fcntl.LOCK_SH)  # waits while an earlier watchdog ends its server
            stack.push_async_callback(_leave, server, users)
            await server.ensure(HANG_S)
        await stack.enter_async_context(supervised(server, users))
        yield server.url


async def _leave(server: Server, users: IO[bytes]) -> None:
    """Stop using the server, and wait until it has ended unless others use it."""
    fcntl.flock(users, fcntl.LOCK_UN)
    give_up_at = time.monotonic() + 2 * END_S
    with suppress(ConfigError):  # the data directory is gone; the watchdog still ends the server
        while await asyncio.to_thread(server.runs):
            if _is_used(users):
                return
            if time.monotonic() > give_up_at:  # its watchdog is gone
                await server.end()
                return
            await asyncio.sleep(_POLL_S)
        await server.reap()


def _is_used(users: IO[bytes]) -> bool:
    """Whether others hold the shared lock; the watchdog that ends the server holds it exclusively."""
    used = not lock(users, fcntl.LOCK_EX) and lock(users, fcntl.LOCK_SH)
    fcntl.flock(users, fcntl.LOCK_UN)
    return used


__all__ = ["embedded", "find_server", "socket_path"]
