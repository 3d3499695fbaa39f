"""Work that nobody waits for."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from bot.domain.errors import BotError, LeaseLost

log = logging.getLogger(__name__)


class BackgroundTasks:
    """Tasks that run until they end, or until `close`. Their errors are logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, object], what: str = "A background task") -> asyncio.Task[None]:
        """Start the work, which is named `what` in the log."""
        task = asyncio.get_running_loop().create_task(_logged(work, what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # if it was cancelled before it began
        return task

    async def close(self) -> None:
        """Cancel what still runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _logged(work: Coroutine[Any, Any, object], what: str) -> None:
    try:
        await work
    except LeaseLost as error:
        log.debug("%s ended: %s", what, error)
    except BotError as error:
        log.warning("%s failed: %s", what, error)
    except Exception:
        log.exception("%s failed", what)
