"""Does the work on a long text beside the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

MOST_CHARACTERS = 4_000
"""A text up to this length takes less than a few milliseconds, and is worked on at once."""

_thread = ThreadPoolExecutor(1, thread_name_prefix="markdown")

T = TypeVar("T")


async def aside(characters: int, work: Callable[..., T], *given: object) -> T:
    """`work(*given)`, in a thread of its own if it is about so many characters that the loop would wait.

    One thread for all: long texts wait for each other, and the loop has to share the interpreter with no more than
    one of them. Parsing and cleaning release the interpreter's lock.
    """
    if characters <= MOST_CHARACTERS:
        return work(*given)
    return await asyncio.get_running_loop().run_in_executor(_thread, work, *given)
