"""How often Slack is called while an answer grows, measured with a fake clock."""

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.shared import edit_throttle
from bot.domain.turns import Reply
from tests.adapters.slack.conftest import FakeAdapter

TICK_S = 0.1
"""Time between two deltas of the model."""


class Clock:
    """Replaces the event loop for timers; tasks that they start are awaited."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def call_later(self, delay_s: float, act: Callable[[], None]) -> SimpleNamespace:
        timer = (self.now + delay_s, act)
        self._timers.append(timer)
        return SimpleNamespace(cancel=lambda: timer in self._timers and self._timers.remove(timer))

    def create_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self._tasks.append(asyncio.get_running_loop().create_task(work))
        return self._tasks[-1]

    async def advance(self, seconds: float) -> None:
        """Let time pass, and finish the tasks that were started in it."""
        self.now += seconds
        for timer in [timer for timer in self._timers if timer[0] <= self.now + 1e-9]:
            self._timers.remove(timer)
            timer[1]()
        while self._tasks:
            await self._tasks.pop()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(
        edit_throttle, "asyncio", SimpleNamespace(get_running_loop=lambda: clock, wait=asyncio.wait)
    )
    return clock


async def test_five_seconds_are_one_start_appends_one_stop(room: FakeAdapter, clock: Clock) -> None:
    """Field note 12: one start, one stop, and one append per second."""
    received = await room.asked()
    post = await room.open(received)
    text, appended_at = "", list[float]()
    for number in range(round(5 / TICK_S)):
        text = f"{text} word{number}".lstrip()
        before = room.slack.calls["chat.appendStream"]
        await room.adapter.update(post, text)
        await clock.advance(TICK_S)
        appended_at += [clock.now] * (room.slack.calls["chat.appendStream"] - before)
    await room.adapter.close(post, Reply(text=text, rate=True))
    assert room.shown(received) == [text]
    calls = {name: count for name, count in room.slack.calls.items() if name.startswith("chat.")}
    assert calls == {"chat.startStream": 1, "chat.appendStream": len(appended_at), "chat.stopStream": 1}
    assert [round(at) for at in appended_at] == [1, 2, 3, 4, 5]
