"""A task that loses a cancellation is ended all the same."""

import asyncio
from contextlib import suppress

from bot.storage.redis import tasks


async def test_a_task_that_loses_a_cancellation_ends() -> None:
    """On Python 3.11 a cancellation can be lost when a response of Redis arrives."""
    begun = asyncio.Event()

    async def deaf_once() -> None:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(deaf_once())
    await begun.wait()
    async with asyncio.timeout(120):
        await tasks.end(task)
    assert task.cancelled()


async def test_the_exception_of_a_task_is_dropped() -> None:
    async def broken() -> None:
        raise ValueError("broken")

    task = asyncio.create_task(broken())
    await asyncio.wait([task])
    await tasks.end(task)
