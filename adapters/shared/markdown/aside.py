"""Processes long texts in a thread, so that the event loop does not wait."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

MAX_CHARACTERS = 4_000
"""Texts up to this length take a few milliseconds at most, and are processed directly."""

_thread = ThreadPoolExecutor(1, thread_name_prefix="markdown")

T = TypeVar("T")


async def aside(characters: int, work: Callable[..., T], *given: object) -> T:
    """`work(*given)`, in a thread if there are more than MAX_CHARACTERS.

    All long texts share one thread, so that the event loop competes with at most one of them for the GIL.
    Parsing and cleaning release the GIL. The context goes along, so that words are in the language of their reader.
    """
    if characters <= MAX_CHARACTERS:
        return work(*given)
    return await asyncio.get_running_loop().run_in_executor(
        _thread, partial(copy_context().run, work, *given)
    )
