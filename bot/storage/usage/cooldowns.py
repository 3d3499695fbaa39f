"""Shared state of deployments: cool-downs, rate limits, refused parameters."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

_PACE = Script("pace")
_QUEUE = Script("queue")
_MS = 1000
FASTER_S = 20.0
"""In this time without a refusal, the rate of turns at a busy deployment grows by e."""
_TURNS = ("until", "interval", "first", "tail", "granted", "since", "last", "counted")
"""The fields of a deployment that its refusals set; see queue.lua."""


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
        request: tuple[str, float, str, bool],
        *,
        told_s: float,
        interval_s: float,
        take: bool,
    ) -> tuple[float, str]:
        """Seconds until the turn of a request at a busy deployment, and its arrival; turns are in order of arrival.

        A request is its name, the seconds since it arrived, its arrival in ms since 1970, and whether it had had its
        turn and was refused; then its arrival is that which was returned. `told_s` is a cool-down that it was just
        told, `interval_s` the interval between requests that this process observed (0: none, unknown). If its turn
        has come (0), `take` takes it.
        """
        name, age_s, arrived, again = request
        times = [age_s * _MS, arrived, told_s * _MS, interval_s * _MS]
        arguments = [name, *times, int(again), int(take), FASTER_S * _MS, keys.PACE_S * _MS]
        wait_ms, at = await self._redis.run(_QUEUE, keys.queue_of(deployment), arguments)
        return int(wait_ms) / _MS, at.decode()

    async def wake(self, deployment: str) -> None:
        """End the cool-down of a deployment, and forget its rate and who waits: they come back when they were told."""
        name, *waiting = keys.queue_of(deployment)
        await self._redis.call("DEL", *waiting)
        await self._redis.call("HDEL", name, *_TURNS)
        await self._redis.call("HSET", name, "woken", str(time.time()))
        await self._redis.call("EXPIRE", name, keys.PACE_S)

    async def woken_at(self, deployment: str) -> float:
        """When an operator ended the last cool-down of a deployment, in seconds since 1970; 0 if not lately."""
        return float(await self._redis.call("HGET", keys.of_deployment(deployment)[0], "woken") or 0.0)
