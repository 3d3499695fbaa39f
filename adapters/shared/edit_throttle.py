"""Shows a growing text at a pace that a platform can bear."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bot.domain.errors import LeaseLost, Unavailable

log = logging.getLogger(__name__)


class EditThrottle:
    """Sends the newest whole text: the first at once, then one at a time, one per `interval_s` seconds.

    Invariants: `offer` never waits; texts are sent in the order in which they were offered, older ones that
    were overtaken are skipped; after `settle` nothing is sent. A failing send is logged and the next text is
    tried as usual, for it holds everything that the lost one held.
    """

    def __init__(self, send: Callable[[str], Awaitable[None]], interval_s: float) -> None:
        self.interval_s = interval_s
        self._send = send
        self._newest: str | None = None
        self._sending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._settled = False
        self._told = False

    def offer(self, text: str) -> None:
        """Let `text` be the newest whole text; it is sent in its turn, unless a newer one overtakes it."""
        if self._settled:
            return
        self._newest = text
        self._begin_if_free()

    async def settle(self) -> None:
        """Stop, and wait for the send in flight; what was offered and not sent yet is dropped."""
        self._settled = True
        self._newest = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
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
            log.info("a text is not shown any more: %s", error)
        except Unavailable as error:  # said once for each answer: it often lasts, and then every text fails
            log.log(
                logging.DEBUG if self._told else logging.WARNING,
                "a text could not be shown while it grew; the next one holds it too: %s",
                error,
            )
            self._told = True
        except Exception:
            log.warning("a text could not be shown while it grew; the next one holds it too", exc_info=True)
        finally:
            self._sending = None
        self._begin_if_free()
