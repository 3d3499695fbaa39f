"""Throttles the updates of a growing text to what a platform allows."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bot.domain.errors import LeaseLost, Unavailable

log = logging.getLogger(__name__)


class EditThrottle:
    """Sends the newest text: the first at once, then one at a time, at most one per `interval_s` seconds.

    Invariants: `offer` never waits; texts are sent in order, and outdated ones are skipped; after `settle`
    nothing is sent. A failed send is logged and not retried, because the next text contains it.
    """

    def __init__(self, send: Callable[[str], Awaitable[None]], interval_s: float) -> None:
        self.interval_s = interval_s
        self._send = send
        self._newest: str | None = None
        self._sending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._settled = False
        self._warned = False

    def offer(self, text: str) -> None:
        """Send `text` when its turn comes, unless a newer one replaces it."""
        if self._settled:
            return
        self._newest = text
        self._begin_if_free()

    def end(self) -> None:
        """Stop, and drop what is not sent yet."""
        self._settled = True
        self._newest = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def settle(self) -> None:
        """Stop, drop what is not sent yet, and wait for the send in progress."""
        self.end()
        if self._sending is not None:
            await asyncio.wait({self._sending})

    def _begin_if_free(self) -> None:
        if self._newest is None or self._sending is not None or self._timer is not None:
            return
        text, self._newest = self._newest, None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.interval_s, self._interval_over)
        self._sending = loop.create_task(self._deliver(text))

    def _interval_over(self) -> None:
        self._timer = None
        self._begin_if_free()

    async def _deliver(self, text: str) -> None:
        try:
            await self._send(text)
        except LeaseLost as error:
            log.info("Stopped updating an answer: %s", error)
        except Unavailable as error:  # one warning per answer, because outages often make every update fail
            level = logging.DEBUG if self._warned else logging.WARNING
            log.log(level, "An update of an answer failed; the next one contains it: %s", error)
            self._warned = True
        except Exception:
            log.warning("An update of an answer failed; the next one contains it", exc_info=True)
        finally:
            self._sending = None
        self._begin_if_free()
