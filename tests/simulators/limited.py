"""A deployment that accepts few requests, and says so in one of the ways in use."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from aiohttp import web

Says = Callable[[float], tuple[dict[str, str], Any]]
"""Headers and body of a refusal, from the seconds until the next request is accepted."""

SAYS: dict[str, Says] = {
    "retry-after": lambda s: (
        {"retry-after": f"{s:.3f}"},
        {"error": {"code": "429", "message": "Slow down."}},
    ),
    "milliseconds": lambda s: (
        {"x-ms-retry-after-ms": f"{s * 1000:.0f}"},
        {"error": {"message": "Slow down."}},
    ),
    "remaining and reset": lambda s: (
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": f"{s * 1000:.0f}ms"},
        {"error": {"message": "Slow down."}},
    ),
    "text": lambda s: ({}, {"error": {"code": "429", "message": f"Please retry after {s:.3f} seconds."}}),
    "a gateway": lambda s: (
        {},
        {"statusCode": 429, "message": f"Rate limit is exceeded. Try again in {s:.3f} seconds."},
    ),
}


REQUESTS = 6


class Limited:
    """A deployment that accepts REQUESTS in any `window_s`, and says in one way when it accepts more."""

    def __init__(self, says: Says, window_s: float) -> None:
        self._says = says
        self.window_s = window_s
        self._served: deque[float] = deque()
        self.answered: list[str] = []
        self.refused = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        body = await request.json()
        if wait_s := self.take(time.monotonic()):
            self.refused += 1
            headers, told = self._says(wait_s)
            return web.json_response(told, status=429, headers=headers)
        self.answered.append(body["messages"][-1]["content"])
        stream = (
            b'data: {"choices":[{"delta":{"content":"fine"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        )
        return web.Response(body=stream, content_type="text/event-stream")

    def take(self, now: float) -> float:
        """Seconds until another request is accepted; 0: this one is."""
        while self._served and self._served[0] <= now - self.window_s:
            self._served.popleft()
        if len(self._served) >= REQUESTS:
            return self._served[0] + self.window_s - now
        self._served.append(now)
        return 0.0


class FixedWindows(Limited):
    """The same with windows that follow each other; the first one begins with `begin`, and lasts until then, too."""

    def __init__(self, says: Says, window_s: float) -> None:
        super().__init__(says, window_s)
        self._from: float | None = None
        self._window = self._used = 0

    def begin(self) -> None:
        """Let the first window begin, if it has not."""
        self._from = self._from or time.monotonic()

    def take(self, now: float) -> float:
        """As in Limited."""
        age_s = 0.0 if self._from is None else now - self._from
        window = int(age_s // self.window_s)
        if window > self._window:
            self._window, self._used = window, 0
        if self._used == REQUESTS:
            return (window + 1) * self.window_s - age_s
        self._used += 1
        return 0.0
