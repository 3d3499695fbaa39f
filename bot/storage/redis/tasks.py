"""Ending a task that may be waiting for Redis."""

import asyncio
from typing import Any

_PAUSE_S = 0.2


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it ends; what it raises is dropped.

    On Python 3.11 `asyncio.timeout` and `wait_for`, which redis-py uses, can lose a cancellation that meets the answer
    (python/cpython#86296).
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_PAUSE_S)
    if not task.cancelled():
        task.exception()
