"""Shared state of deployments: cool-downs, rate limits, refused parameters."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

_PACE = Script("pace")
_QUEUE = Script("queue")
_MS = 1000


class CooldownDecision(NamedTuple):
    """The chosen candidate (None: none is free), and the wait in seconds (for none: at least until one is free).

    For each candidate: its remaining cool-down, and the parameters that its model refuses.
    """

    chosen: int | None
    wait_s: float
    rests_s: list[float]
    refused: list[frozenset[str]]


class Cooldowns:
    """One round trip per decision. Methods raise StateUnavailable.

    Deployments are identified by names that are the same in all processes.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def take(
        self,
        candidates: Sequence[str],
        charges: Sequence[tuple[float, float, float, float]],
        longest_s: float,
        rests_s: Mapping[str, float],
        refused: Mapping[str, Collection[str]],
    ) -> CooldownDecision:
        """Choose the first free candidate, else the one that is free soonest, and charge it.

        `charges` are, per candidate, cost and slack of its requests, then of its tokens, in seconds (see
        `bot.llm.routing.rate_limits`). Candidates that cool down, or are free only after `longest_s`, are not
        chosen. Reported cool-downs (`rests_s`) and `refused` parameters apply before the choice.
        """
        others = [*dict.fromkeys((*rests_s, *refused))]
        args: list[str | float] = [len(candidates), longest_s * _MS, keys.PACE_S * _MS, keys.REFUSED_S * _MS]
        args += [part * _MS for charge in charges for part in charge]
        for name in others:
            args += [rests_s.get(name, 0.0) * _MS, ",".join(sorted(refused.get(name, ())))]
        names = [key for name in (*candidates, *others) for key in keys.of_deployment(name)]
        if not names:
            return CooldownDecision(None, 0.0, [], [])
        answer: list[Any] = await self._redis.run(_PACE, names, args)
        return CooldownDecision(
            chosen=int(answer[0]) - 1 if answer[0] else None,
            wait_s=int(answer[1]) / _MS,
            rests_s=[int(rest) / _MS for rest in answer[2::2]],
            refused=[frozenset(text.decode().split(",")) - {""} for text in answer[3::2]],
        )

    async def wait_turn(
        self,
        deployment: str,
        request: tuple[str, float, bool],
        *,
        told_s: float,
        interval_s: float,
        longest_s: float,
    ) -> float:
        """Seconds until the turn of a request at a busy deployment; turns are in order of arrival.

        A request is its name, the seconds since it arrived, and whether it had had its turn and was refused.
        `told_s` is a cool-down that it was just told, `interval_s` the interval between requests that this process
        observed (0: none, unknown). If the wait is at most `longest_s`, the turn is taken.
        """
        name, age_s, again = request
        times = [told_s * _MS, interval_s * _MS]
        arguments = [name, age_s * _MS, *times, int(again), longest_s * _MS, keys.PACE_S * _MS]
        return int(await self._redis.run(_QUEUE, keys.queue_of(deployment), arguments)) / _MS

    async def wake(self, deployment: str) -> None:
        """End the cool-down of a deployment, and forget its rate."""
        name = keys.of_deployment(deployment)[0]
        await self._redis.call("HDEL", name, "until", "interval", "first", "tail")
        await self._redis.call("HSET", name, "woken", str(time.time()))
        await self._redis.call("EXPIRE", name, keys.PACE_S)

    async def woken_at(self, deployment: str) -> float:
        """When an operator ended the last cool-down of a deployment, in seconds since 1970; 0 if not lately."""
        return float(await self._redis.call("HGET", keys.of_deployment(deployment)[0], "woken") or 0.0)
