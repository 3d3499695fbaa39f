"""Connections to the web server: limits on their number and on slow clients."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, cast

from aiohttp import ClientConnectionResetError, web

from adapters.shared.client_address import Handler, TrustedProxies, is_loopback, network_of
from bot.domain import telemetry

log = logging.getLogger(__name__)

HEAD_S = 20.0
"""For the request line and the headers, from their first byte or, on a new connection, from its start."""
HEAD_BYTES = 64 * 1024
BODY_S = 30.0
"""For a body, plus one second for each `BODY_BYTES_PER_S` received."""
BODY_BYTES_PER_S = 8 * 1024
WRITE_S = 60.0
"""How long a client may read nothing of a response."""
CLOSE_S = 5.0
_FRESH_S = 1.0
"""A younger connection is not considered slow."""
_REPORT_S = 60.0

REFUSAL = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: 0\r\n%s\r\n"


class HttpConnection(web.RequestHandler):
    """One connection, with the state and start time of its current phase."""

    def __init__(self, pool: "ConnectionPool", server: web.Server, client: str, **options: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self.client = client
        self.closing = False
        self._pool = pool
        self._link: asyncio.Transport | None = None
        self._request: web.Request | None = None
        self._handling = False
        self._begun = 0
        self._head_bytes, self._body_bytes = 0, 0
        self._since_s = time.monotonic()
        self._unsent, self._sent_s = 0, self._since_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link = cast("asyncio.Transport", transport)
        super().connection_made(transport)
        if self.closing:
            self._link.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._pool.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_request:
            self._body_bytes += len(data)
            super().data_received(data)
            return
        if not self._head_bytes:
            self._since_s = time.monotonic()
        super().data_received(data)
        if self._waits_for_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.refuse(b"431 Request Header Fields Too Large", "headers too large")

    def begin(self, request: web.Request) -> None:
        """The headers of a request are complete; it is being handled."""
        self._request, self._handling, self._since_s = request, True, time.monotonic()
        self._head_bytes, self._body_bytes = 0, 0
        self._begun += 1

    def end(self) -> None:
        """The request was answered. The rest of its body is still read for a while, and ignored."""
        self._handling, self._since_s = False, time.monotonic()

    @property
    def _body_is_open(self) -> bool:
        return self._request is not None and not self._request.content.is_eof()

    @property
    def _in_request(self) -> bool:
        return self._handling or self._body_is_open

    @property
    def _waits_for_head(self) -> bool:
        return not self._in_request and self._request_count <= self._begun

    @property
    def _is_idle(self) -> bool:
        """Whether its last request was answered and no other has begun."""
        return self._waits_for_head and self._begun > 0 and not self._head_bytes

    def waits_for_client(self) -> bool:
        """Whether the server waits for data from the client."""
        return self._body_is_open or self._waits_for_head

    def order(self, now_s: float) -> tuple[int, float]:
        """The sort key for closing connections: incomplete requests first (highest), then idle ones."""
        age_s = now_s - self._since_s
        rank = 1 if self._is_idle else 2 if age_s >= _FRESH_S else 0
        return rank, age_s

    def overdue(self, now_s: float) -> str:
        """The phase that took too long, or empty. Idle connections are closed by aiohttp."""
        if self._link is not None and self._is_stuck(self._link.get_write_buffer_size(), now_s):
            return "reading"
        age_s = now_s - self._since_s
        if self._body_is_open:
            return "body" if age_s > BODY_S + self._body_bytes / BODY_BYTES_PER_S else ""
        return "headers" if self._waits_for_head and not self._is_idle and age_s > HEAD_S else ""

    def _is_stuck(self, unsent: int, now_s: float) -> bool:
        if not unsent or unsent < self._unsent:
            self._sent_s = now_s
        self._unsent = unsent
        return now_s - self._sent_s > WRITE_S

    def resume_writing(self) -> None:
        self._sent_s = time.monotonic()
        super().resume_writing()

    def refuse(self, status: bytes, reason: str) -> None:
        """Close the connection, with a status if no response has begun."""
        if self._link is None or self.closing:
            return
        self.closing = True
        telemetry.CONNECTIONS_CLOSED.labels(reason).inc()
        answered = self._handling and self._request is not None and self._request.writer.output_size > 0
        if not answered and (self._head_bytes or self._body_is_open):
            self._link.write(REFUSAL % (status, b""))
        self._link.close()
        asyncio.get_running_loop().call_later(CLOSE_S, self._link.abort)

    def drop(self, reason: str) -> None:
        self.closing = True
        telemetry.CONNECTIONS_CLOSED.labels(reason).inc()
        if self._link is not None:
            self._link.abort()

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Skip errors about broken bodies, which were answered with 400."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer invalid HTTP with a short response and a short log entry."""
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        log.warning("Rejected an invalid HTTP request: %s", type(exc).__name__)
        response = web.Response(status=status, text="Invalid HTTP request.")
        response.force_close()
        return response


class ConnectionPool:
    """The connections of a server: at most `most` in total, and `most_per_client`, except for trusted proxies."""

    def __init__(self, most: int, proxies: TrustedProxies) -> None:
        self.most = most
        self.most_per_client = max(1, most // 2)
        self._proxies = proxies
        self._connections: set[HttpConnection] = set()
        self._by_client: Counter[str] = Counter()
        self._reported_s = -_REPORT_S

    def __len__(self) -> int:
        return len(self._connections)

    def admit(self, address: str) -> str | None:
        """The key of the client, or None if it may have no further connection. Slow connections are closed first."""
        client = network_of(address)
        limited = not is_loopback(address) and address not in self._proxies
        if limited and self._by_client[client] >= self.most_per_client:
            theirs = [connection for connection in self._connections if connection.client == client]
            if not self._close_waiting(theirs, 1):
                return None
        if len(self) >= self.most and not self._close_waiting(self._connections, max(1, self.most // 32)):
            return None
        return client

    def add(self, connection: HttpConnection) -> None:
        self._connections.add(connection)
        self._by_client[connection.client] += 1
        telemetry.CONNECTIONS.set(len(self))

    def remove(self, connection: HttpConnection) -> None:
        """Stop counting a connection that is closed."""
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        self._by_client[connection.client] -= 1
        if not self._by_client[connection.client]:
            del self._by_client[connection.client]
        telemetry.CONNECTIONS.set(len(self))

    def free_descriptors(self) -> None:
        """Close connections after file descriptors have run out."""
        self._close_waiting(self._connections, max(1, self.most // 32))

    def _close_waiting(self, among: Iterable[HttpConnection], count: int) -> int:
        """Close up to `count` connections that wait for their clients. Returns how many were closed."""
        now_s = time.monotonic()

        def order(connection: HttpConnection) -> tuple[int, int, float]:
            rank, age_s = connection.order(now_s)
            return rank, self._by_client[connection.client], age_s

        waiting = [
            connection for connection in among if connection.waits_for_client() and not connection.closing
        ]
        chosen = sorted(waiting, key=order, reverse=True)[:count]
        for connection in chosen:
            connection.drop("too many connections")
            self.remove(connection)
        if chosen and now_s - self._reported_s > _REPORT_S:
            self._reported_s = now_s
            log.warning("All %s connections are in use; closing those that wait for their clients", self.most)
        return len(chosen)

    def close_overdue(self) -> None:
        """Close the connections whose clients take too long."""
        now_s = time.monotonic()
        for connection in [*self._connections]:
            match connection.overdue(now_s):
                case "":
                    pass
                case "reading":
                    connection.drop("reading took too long")
                case what:
                    connection.refuse(b"408 Request Timeout", f"{what} took too long")

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Track when a connection begins and ends a request."""
        connection = request.protocol
        if not isinstance(connection, HttpConnection):
            return await handler(request)
        connection.begin(request)
        try:
            return await handler(request)
        except ClientConnectionResetError:
            log.debug("a client closed its connection before it was answered")
            return web.Response(status=499)  # nobody reads it
        finally:
            connection.end()
