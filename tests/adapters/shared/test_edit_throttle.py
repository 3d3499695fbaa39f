"""A growing text is shown at once, then throttled, and never after the end."""

import asyncio
from collections.abc import Callable

import pytest

from adapters.shared.edit_throttle import EditThrottle
from tests.support.patience import PATIENCE_S

NEVER_S = 3600.0


class Screen:
    """Records what was sent; a send waits while `gate` is not set."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def show(self, text: str) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        self.sent.append(text)
        self.at_once -= 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the condition is anything a test wants
            await asyncio.sleep(0.001)


async def test_the_second_text_waits_for_the_interval() -> None:
    screen = Screen()
    throttle = EditThrottle(screen.show, NEVER_S)
    throttle.offer("one")
    await until(lambda: screen.sent == ["one"])
    throttle.offer("one two")
    await asyncio.sleep(0.02)
    assert screen.sent == ["one"]
    await throttle.settle()


async def test_after_the_interval_only_the_newest_is_sent() -> None:
    screen = Screen()
    throttle = EditThrottle(screen.show, 0.02)
    for text in ("a", "ab", "abc", "abcd"):
        throttle.offer(text)
    await until(lambda: screen.sent[-1:] == ["abcd"])
    assert screen.sent in (["abcd"], ["a", "abcd"])
    await throttle.settle()


async def test_a_slow_send_is_never_overtaken_by_another() -> None:
    screen = Screen()
    screen.gate.clear()
    throttle = EditThrottle(screen.show, 0.001)
    throttle.offer("a")
    await until(lambda: screen.at_once == 1)
    throttle.offer("ab")
    await asyncio.sleep(0.02)
    assert screen.at_once == 1
    screen.gate.set()
    await until(lambda: screen.sent == ["a", "ab"])
    assert screen.most_at_once == 1
    await throttle.settle()


async def test_settle_waits_for_the_send_in_progress() -> None:
    screen = Screen()
    screen.gate.clear()
    throttle = EditThrottle(screen.show, 0.001)
    throttle.offer("a")
    await until(lambda: screen.at_once == 1)
    throttle.offer("ab")
    settled = asyncio.create_task(throttle.settle())
    await asyncio.sleep(0.01)
    assert not settled.done()
    screen.gate.set()
    await settled
    throttle.offer("abc")
    await asyncio.sleep(0.02)
    assert screen.sent == ["a"]


async def test_a_failed_send_is_logged_and_sending_continues(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[str] = []

    async def flaky(text: str) -> None:
        sent.append(text)
        if text == "a":
            raise RuntimeError("the platform is away")

    throttle = EditThrottle(flaky, 0.001)
    throttle.offer("a")
    await until(lambda: sent == ["a"])
    throttle.offer("ab")
    await until(lambda: sent == ["a", "ab"])
    await throttle.settle()
    assert "An update of an answer failed" in caplog.text


async def test_settle_without_a_text_returns() -> None:
    await EditThrottle(Screen().show, NEVER_S).settle()
