"""Ends a process whose event loop is blocked, after logging which event blocks it."""

import asyncio
import contextvars
import faulthandler
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

log = logging.getLogger(__name__)

EXIT_STATUS = 70  # EX_SOFTWARE of sysexits.h
_LOOK_S = 1.0
_GRACE_S = 10.0  # for releasing claims
_conversation: contextvars.ContextVar[str] = contextvars.ContextVar("working_on", default="")
_of_tasks: "WeakKeyDictionary[asyncio.Task[Any], str]" = WeakKeyDictionary()

Abandon = Callable[[str], Awaitable[None]]
"""Releases the claims of the process; gets the conversation that blocks it, or "" if that is unknown."""


def working_on(conversation: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Create a task for a conversation. Tasks that it creates belong to the conversation, too."""
    context = contextvars.copy_context()
    context.run(_conversation.set, conversation)
    return asyncio.get_running_loop().create_task(work, context=context)


def threshold_s(lease_s: float) -> float:
    """How long the loop may be blocked: less than a lease, but at least 10 s for slow machines."""
    return min(20.0, max(10.0, lease_s * 2 / 3))


class Watchdog:
    """A context manager that watches the running event loop from a thread.

    If the loop is blocked for `after_s`, the stack is logged, `abandon` runs on the thread's own loop, and
    the process exits with EXIT_STATUS, to be restarted by its supervisor. Code that holds the GIL blocks the
    thread, too; then faulthandler ends the process after twice that time.
    """

    def __init__(self, abandon: Abandon, after_s: float) -> None:
        self._abandon = abandon
        self._after_s = after_s
        self._over = threading.Event()
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._loop.set_task_factory(_owned)
        self._main = threading.get_ident()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._loop.set_task_factory(None)
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        while not self._over.is_set():
            faulthandler.dump_traceback_later(2 * self._after_s, exit=True)
            self._answered.clear()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # the loop is closed
                return
            if not self._is_answered() and not self._over.is_set():
                self._end()
            self._over.wait(_LOOK_S)

    def _is_answered(self) -> bool:
        """Whether the loop responds in time. Time in which this thread did not run either does not count, as
        after a suspended machine or process.
        """
        waited_s = 0.0
        while waited_s < self._after_s:
            began = time.monotonic()
            if self._answered.wait(_LOOK_S):
                return True
            waited_s += min(time.monotonic() - began, 2 * _LOOK_S)
        return False

    def _end(self) -> None:
        task = asyncio.current_task(self._loop)
        conversation = _of_tasks.get(task, "") if task is not None else ""
        frame = sys._current_frames().get(self._main)  # pyright: ignore[reportPrivateUsage]
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        log.critical(
            "The event loop was blocked for %.0f s by %s. The process exits and should be restarted.\n%s",
            self._after_s,
            f"conversation {conversation}" if conversation else "something other than an event",
            stack,
        )
        try:
            asyncio.run(asyncio.wait_for(self._abandon(conversation), _GRACE_S))
        except Exception as error:  # the leases will expire
            log.error("Claims could not be released: %s", error)
        os._exit(EXIT_STATUS)


def _owned(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
    """A task factory that records the conversation to which a task belongs."""
    task = asyncio.Task(work, loop=loop, **more)
    context: contextvars.Context | None = more.get("context")
    if conversation := context.get(_conversation, "") if context is not None else _conversation.get():
        _of_tasks[task] = conversation
    return task
