"""Whether a master is still the master, according to its sentinels.

A master that was replaced does not know it until a sentinel tells it, and a replica that has not been told either
confirms what it writes. Sentinels replace a master that has not answered their PING for `down-after-milliseconds`. So
none does before that time is over, counted from the oldest PING that is not answered yet:
https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/
"""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any, TypeAlias

from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

from bot.domain.errors import StateUnavailable
from bot.storage.redis import tasks

Address: TypeAlias = tuple[str, int]

_ANSWER_S = 1.0
"""How long a sentinel may take to answer."""
_UNSURE = "Redis does not keep writes safely"


class Sentinels:
    """Asks all sentinels of a master, at most once at a time, and knows how long their answers hold."""

    def __init__(self, sentinels: Sentinel, name: str) -> None:
        self._sentinels, self._name = sentinels, name
        self._master: Address | None = None
        self._until = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def confirm(self, address: Address) -> None:
        """Return if the server at this address is the master, and was until now.

        Raises StateUnavailable if it is not, if a failover is going on, or if too few sentinels answer.
        """
        at = monotonic()
        if not self._is_known(address, at):
            await self._asked()  # may have been asked before `at`, and its answer may hold no longer
            if not self._is_known(address, at):
                await self._asked()
            if not self._is_known(address, at):
                raise StateUnavailable(f"{_UNSURE}: the sentinels do not confirm its master")

    def _is_known(self, address: Address, at: float) -> bool:
        return address == self._master and at < self._until

    async def _asked(self) -> None:
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._answered)
        await asyncio.shield(self._asking)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()

    async def _ask(self) -> None:
        at = monotonic()
        replies = await asyncio.gather(*map(self._state, self._sentinels.sentinels))
        states = [state for state in replies if state is not None]
        # With fewer answers, the others could agree on a failover among themselves.
        needed = max((_number(states) - state["quorum"] + 1 for state in states), default=1)
        if len(states) < needed:
            words = f"{len(states)} of {needed} sentinels that are needed answer"
            raise StateUnavailable(f"{_UNSURE}: {words}")
        masters = {(state["ip"], state["port"]) for state in states}
        if len(masters) > 1 or any(_fails_over(state) for state in states):
            raise StateUnavailable(f"{_UNSURE}: its sentinels are about to replace the master")
        silent = (state["down-after-milliseconds"] - state["last-ping-sent"] for state in states)
        self._master, self._until = masters.pop(), at + min(silent) / 1000

    async def _state(self, sentinel: Any) -> dict[str, Any] | None:
        """What one sentinel knows of the master; None if it does not answer."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                state = await sentinel.sentinel_master(self._name, return_responses=True)
        except (RedisError, OSError, TimeoutError):
            return None
        return state

    async def close(self) -> None:
        """End what is being asked. The sentinels' connections belong to the client."""
        if self._asking is not None:
            await tasks.end(self._asking)


def _number(states: Sequence[dict[str, Any]]) -> int:
    """The number of sentinels, also of those that REDIS_URL does not name."""
    return max(state["num-other-sentinels"] for state in states) + 1


def _fails_over(state: dict[str, Any]) -> bool:
    return not {"s_down", "o_down", "failover_in_progress"}.isdisjoint(state["flags"].split(","))
