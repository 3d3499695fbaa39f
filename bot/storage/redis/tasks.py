"""Cancels tasks that may be waiting for Redis.

On Python 3.11, `asyncio.timeout` and `wait_for`, which redis-py uses, can lose a cancellation (python/cpython#86296).
"""

import asyncio
from typing import Any

_PAUSE_S = 0.2


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task repeatedly until it ends; its exception is dropped."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_PAUSE_S)
    if not task.cancelled():
        task.exception()


def cancelled() -> bool:
    """Whether the current task was cancelled, even if the cancellation was lost."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
