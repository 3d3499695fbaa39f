"""A worker that kills itself (SIGKILL), or stops until it is woken (SIGSTOP), at a step of its way.

`python -m tests.chaos.doomed --step after-close` takes its settings from the environment, as `parley worker`
does.
"""

import argparse
import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Literal, get_args

import adapters.slack.answers.stream
import adapters.teams.answers.stream
from adapters.shared import edit_throttle
from bot.app import settings
from bot.app.server import find_adapters
from bot.app.services import Services, open_services
from bot.domain import telemetry
from bot.domain.adapter import Adapter
from bot.domain.events import PostedMessage
from bot.storage.queue.inbox import Claim

Step = Literal[
    "after-claim",
    "after-open",
    "after-record",
    "first-update",
    "after-first-shown",
    "in-stream",
    "before-close",
    "after-close",
    "after-commit",
]
STEPS: tuple[Step, ...] = get_args(Step)

Call = Callable[..., Awaitable[Any]]


class Fall:
    """Sends this process the signal, once."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._fallen = False

    def __call__(self) -> None:
        """Fall here, without a word to anybody."""
        if not self._fallen:
            self._fallen = True
            os.kill(os.getpid(), self._number)

    def after(self, call: Call, when: Callable[..., bool] = lambda *given: True) -> Call:
        """The same call, and then the fall, if `when` says so of the result and the arguments."""

        async def doomed(*args: Any, **named: Any) -> Any:
            result = await call(*args, **named)
            if when(result, *args):
                self()
            return result

        return doomed

    def before(self, call: Call) -> Call:
        """The fall, and then the call, by whoever wakes up again."""

        async def doomed(*args: Any, **named: Any) -> Any:
            self()
            return await call(*args, **named)

        return doomed


def doom(step: Step, fall: Fall, services: Services, platforms: list[Adapter]) -> None:
    """Let this process fall when it passes the step."""
    inbox = services.storage.inbox
    match step:
        case "after-claim":
            _wrap(inbox, "claim", partial(fall.after, when=_claimed))
        case "after-record":
            _wrap(inbox, "hold", partial(fall.after, when=_recorded))
        case "after-commit":
            _wrap(inbox, "commit", fall.after)
        case "after-first-shown":
            _fall_after_the_first_text_was_sent(fall)
        case _:
            for platform in platforms:
                _doom_platform(step, fall, platform)


def _doom_platform(step: Step, fall: Fall, platform: Adapter) -> None:
    match step:
        case "after-open":
            _wrap(platform, "open", fall.after)
        case "first-update":
            _wrap(platform, "update", fall.after)
        case "in-stream":
            _wrap(platform, "update", partial(fall.after, when=_long))
        case "before-close":
            _wrap(platform, "close", fall.before)
        case _:
            _wrap(platform, "close", fall.after)


def _claimed(claim: Claim | int, *_: object) -> bool:
    return isinstance(claim, Claim)


def _recorded(_: bool, claim: Claim, begun: PostedMessage | None = None) -> bool:
    return begun is not None


def _long(_: bool, post: PostedMessage, text: str) -> bool:
    return len(text) > 120


def _wrap(owner: object, name: str, how: Callable[[Call], Call]) -> None:
    setattr(owner, name, how(getattr(owner, name)))


def _fall_after_the_first_text_was_sent(fall: Fall) -> None:
    """As soon as the platform has acknowledged it, and nobody has written it down yet."""

    class DoomedPace(edit_throttle.EditThrottle):
        def __init__(self, send: Callable[[str], Awaitable[None]], interval_s: float) -> None:
            super().__init__(fall.after(send), interval_s)

    for module in (adapters.slack.answers.stream, adapters.teams.answers.stream):
        setattr(module, "EditThrottle", DoomedPace)  # noqa: B010 - typed as the class that it replaces


async def work(step: Step, fall: Fall) -> None:
    """What `parley worker` does, until the step is passed."""
    chosen = settings.load()
    telemetry.start_logging("text", "error")
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(chosen))
        platforms = [await stack.enter_async_context(adapter) for adapter in find_adapters(services)]
        doom(step, fall, services, platforms)
        await services.worker(platforms).run(asyncio.Event())


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", choices=STEPS, required=True)
    parser.add_argument("--stop", action="store_true", help="stop at the step, instead of dying there")
    given = parser.parse_args()
    asyncio.run(work(given.step, Fall(signal.SIGSTOP if given.stop else signal.SIGKILL)))


if __name__ == "__main__":
    main()
