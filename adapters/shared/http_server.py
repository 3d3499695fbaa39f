"""The web server, which accepts no more connections than the process can hold."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from adapters.shared.background_tasks import BackgroundTasks
from adapters.shared.client_address import TrustedProxies
from adapters.shared.http_connections import REFUSAL, ConnectionPool, HttpConnection
from bot.domain import telemetry

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 620.0
"""Longer than any sender keeps an idle connection, because a delivery on a connection that we close is lost."""
_MAX_CONNECTIONS = 4096
_RESERVED_FILES = 64
"""For logs, Redis and the like; half of the rest is for connections to models and platforms."""
_BATCH = 16
_BACKLOG = 512
_CHECK_S = 1.0
_RETRY_S = 0.2
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def connection_limit() -> int:
    """The maximum number of connections, derived from the limit of open files."""
    return max(16, min(_MAX_CONNECTIONS, (telemetry.open_files_limit() - _RESERVED_FILES) // 2))


@asynccontextmanager
async def serving(
    app: web.Application, host: str, port: int, proxies: TrustedProxies, most: int | None = None
) -> AsyncGenerator[int]:
    """Serve `app` until the end of the block, then finish running requests. Yields the port. Raises OSError.

    `most` limits the connections, by default to `connection_limit()`.
    """
    pool = ConnectionPool(most or connection_limit(), proxies)
    app.middlewares.insert(0, proxies.middleware)
    app.middlewares.insert(0, pool.middleware)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, keepalive_timeout=KEEP_ALIVE_S)
    await runner.setup()
    listeners: list[_Listener] = []
    try:
        sockets = await _bind(host, port)
        listeners += [_Listener(bound, runner.server, pool) for bound in sockets]
        checks = asyncio.create_task(_check(pool))
        try:
            yield int(sockets[0].getsockname()[1])
        finally:
            checks.cancel()
            for listener in listeners:
                listener.close()
    finally:
        await runner.cleanup()


async def _check(pool: ConnectionPool) -> None:
    while True:
        await asyncio.sleep(_CHECK_S)
        pool.close_overdue()


async def _bind(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of the host. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            try:
                bound.append(socket.create_server(address, family=family, backlog=_BACKLOG))
            except OSError as error:
                if error.errno == errno.EAFNOSUPPORT:  # the machine does not support this address family
                    continue
                raise OSError(error.errno, os.strerror(error.errno or 0)) from None
    except OSError:
        for listener in bound:
            listener.close()
        raise
    if not bound:
        raise OSError(errno.EADDRNOTAVAIL, "the host has no address on this machine")
    return bound


class _Listener:
    """Accepts connections itself, because uvloop closes the socket when file descriptors run out."""

    def __init__(self, bound: socket.socket, server: web.Server | None, pool: ConnectionPool) -> None:
        assert server is not None  # noqa: S101 - the runner is set up
        self._socket, self._server, self._pool = bound, server, pool
        self._loop = asyncio.get_running_loop()
        bound.setblocking(False)
        self._tasks = BackgroundTasks()
        self._closed = False
        self._resume()

    def close(self) -> None:
        self._closed = True
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(_BATCH):
            try:
                accepted, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            self._admit(accepted, str(address[0]))

    def _pause(self, error: OSError) -> None:
        """Retry a moment later, because the pending connection would wake the loop at once."""
        if error.errno in _OUT_OF_RESOURCES:
            self._pool.free_descriptors()
        log.warning("Could not accept a connection: %s", error.strerror)
        self._loop.remove_reader(self._socket)
        self._loop.call_later(_RETRY_S, self._resume)

    def _admit(self, accepted: socket.socket, address: str) -> None:
        client = self._pool.admit(address)
        accepted.setblocking(False)
        if client is None:
            telemetry.CONNECTIONS_CLOSED.labels("refused").inc()
            with suppress(OSError):
                accepted.send(REFUSAL % (b"503 Service Unavailable", b"Retry-After: 5\r\n"))
            accepted.close()
            return
        connection = HttpConnection(
            self._pool, self._server, client, access_log=None, keepalive_timeout=KEEP_ALIVE_S
        )
        self._pool.add(connection)
        self._tasks.start(self._connect(connection, accepted))

    async def _connect(self, connection: HttpConnection, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError as error:
            self._pool.remove(connection)
            accepted.close()
            log.warning("A connection failed immediately: %s", error.strerror)
