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
        self._window_s = window_s
        self._served: deque[float] = deque()
        self.answered: list[str] = []
        self.refused = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        now, body = time.monotonic(), await request.json()
        while self._served and self._served[0] <= now - self._window_s:
            self._served.popleft()
        if len(self._served) >= REQUESTS:
            self.refused += 1
            headers, told = self._says(self._served[0] + self._window_s - now)
            return web.json_response(told, status=429, headers=headers)
        self._served.append(now)
        self.answered.append(body["messages"][-1]["content"])
        stream = (
            b'data: {"choices":[{"delta":{"content":"fine"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        )
        return web.Response(body=stream, content_type="text/event-stream")
