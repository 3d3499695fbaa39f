"""The order and the rate in which requests come to a busy deployment, as its refusals reveal them."""

import math
from collections import deque
from typing import NamedTuple

from bot.llm.failures.waits import LONGEST_REST_S

_FORGOTTEN_S = 15.0
"""Requests that are later than this are forgotten."""

_LATE_S = 2.0
"""Turns that nobody took in this time are still due."""

_MOST_TIMES = 500

# How fast the interval between requests shrinks with each turn that is taken, and grows when one is refused.
_FASTER, _SLOWER = 0.97, 1.15

_FEW = 3
"""Fewer recent answers say nothing about the rate: then a tenth of the cool-down is taken as the interval."""

_RECENT_S = 60.0
"""Older answers say nothing about the rate, because limits are per minute."""

_LONGEST_INTERVAL_S = 60.0
"""The interval of the lowest limit, one request per minute."""


class WaitingRequest(NamedTuple):
    """A request for a turn: a name that it keeps, seconds since it arrived, whether it was refused in its turn."""

    name: str
    age_s: float = 0.0
    again: bool = False


class ObservedRate:
    """The rate that a deployment accepts: its answers since the last refusal, over the time until it accepts more."""

    def __init__(self) -> None:
        self._answered: deque[float] = deque(maxlen=_MOST_TIMES)

    def answered(self, now: float) -> None:
        """Record that the deployment accepted a request."""
        self._answered.append(now)

    def interval_s(self, now: float, told_s: float) -> float:
        """Seconds between requests if the deployment asks to wait for `told_s` now; at most that. Begins anew."""
        times = [at for at in self._answered if at > now - _RECENT_S]
        self._answered.clear()
        return min(told_s, (now + told_s - times[0]) / len(times)) if len(times) >= _FEW else told_s / 10


class TurnQueue:
    """The waiting requests of this process for one deployment: what queue.lua does for all processes, while Redis is
    away. Times are in seconds, on the clock of the caller.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[float, float]] = {}  # arrival, when it is expected again
        self._interval_s = 0.0
        self._first = 0.0
        self._tail = 0.0

    def wait_s(
        self, now: float, request: WaitingRequest, till: float, observed_s: float, longest_s: float
    ) -> float:
        """Seconds until the turn of a request; see `Cooldowns.wait_turn`. `till` is the end of the cool-down."""
        self._waiting = {n: times for n, times in self._waiting.items() if times[1] > now - _FORGOTTEN_S}
        if request.again:
            self._first -= self._interval_s  # the turn was not used
        if request.again and till > now:
            self._interval_s = max(self._interval_s, observed_s) * _SLOWER
        elif observed_s:
            self._interval_s = min(self._interval_s or observed_s, observed_s)
        self._interval_s = min(self._interval_s, _LONGEST_INTERVAL_S)
        arrived, _ = self._waiting.get(
            request.name, (-math.inf if request.again else now - request.age_s, 0.0)
        )
        self._waiting[request.name] = arrived, now
        first = max(self._first, till if till > now else now - _LATE_S)
        if len(self._waiting) == 1:
            first = max(first, now)
        before = sum(times[0] < arrived for times in self._waiting.values())
        wait_s = min(LONGEST_REST_S, max(0.0, first + before * self._interval_s - now, till - now))
        if wait_s <= longest_s:
            del self._waiting[request.name]
            first += self._interval_s
            self._interval_s *= _FASTER
        else:
            self._waiting[request.name] = arrived, now + wait_s
        self._first = first
        self._tail = first + len(self._waiting) * self._interval_s
        return wait_s

    def free_s(self, now: float) -> float:
        """Seconds until a request may come that has not waited."""
        return min(LONGEST_REST_S, max(0.0, self._tail - now))

    def occupied(self, until: float) -> None:
        """Record that requests of other processes wait until then."""
        self._tail = max(self._tail, until)

    def forget(self) -> None:
        """Forget all that wait, and the rate."""
        self._waiting.clear()
        self._interval_s = self._first = self._tail = 0.0
