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

FASTER_S = 20.0
"""In this time without a refusal, the rate grows by e: each turn shortens the interval by its share of it, ...
The same as in bot/storage/usage/cooldowns.py, for the time when Redis is away."""
_MOST_FASTER = 0.2
"""... but by no more than this."""

_SLOWER = 1.15
"""How the interval grows if the first turn after a cool-down is refused."""

_FEW = 3
"""Fewer recent answers say nothing about the rate: then a tenth of the cool-down is taken as the interval."""

_LOOK_AGAIN_S = 0.05
"""How often a request whose turn has come looks whether an earlier one, which is late, has taken its own."""

_RECENT_S = 60.0
"""Older answers say nothing about the rate, because limits are per minute."""

_LONGEST_INTERVAL_S = 60.0
"""The interval of the lowest limit, one request per minute."""


class WaitingRequest(NamedTuple):
    """A request for a turn: a name that it keeps, seconds since it arrived, its arrival in ms since 1970 (see
    `Cooldowns.wait_turn`), and whether it was refused in its turn.
    """

    name: str
    age_s: float = 0.0
    arrived: str = "0"
    again: bool = False


class ObservedRate:
    """The rate that a deployment accepts: its answers since the last refusal, over the time until it accepts more."""

    def __init__(self) -> None:
        self._answered: deque[float] = deque(maxlen=_MOST_TIMES)

    def answered(self, now: float) -> None:
        """Record that the deployment accepted a request."""
        self._answered.append(now)

    def interval_s(self, now: float, told_s: float) -> float:
        """Seconds between requests if the deployment asks to wait for `told_s` now; at most that, and 0
        if that is not known. Begins anew.
        """
        times = [at for at in self._answered if at > now - _RECENT_S]
        self._answered.clear()
        return min(told_s, (now + told_s - times[0]) / len(times)) if len(times) >= _FEW else 0.0


class TurnQueue:
    """The waiting requests of this process for one deployment: what queue.lua does for all processes, while Redis is
    away. Times are in seconds, on the clock of the caller.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[float, float]] = {}  # arrival, when it is expected again
        self._interval_s = self._first = self._tail = 0.0
        self._granted, self._since, self._counted, self._last = 0, 0.0, 0.0, -math.inf

    def wait_s(
        self, now: float, request: WaitingRequest, till: float, observed_s: float, *, take: bool
    ) -> float:
        """Seconds until the turn of a request; see `Cooldowns.wait_turn`. `till` is the end of the cool-down."""
        self._waiting = {n: times for n, times in self._waiting.items() if times[1] > now - _FORGOTTEN_S}
        self._adjust(now, request, till, observed_s)
        arrived, _ = self._waiting.get(
            request.name, (-math.inf if request.again else now - request.age_s, 0.0)
        )
        self._waiting[request.name] = arrived, now
        first = max(self._first, till if till > now else now - _LATE_S)
        if len(self._waiting) == 1:
            first = max(first, now)
        before = sum(at < arrived and expected > now - _LATE_S for at, expected in self._waiting.values())
        sooner_s = FASTER_S * math.log1p(before * self._interval_s / FASTER_S)
        wait_s = max(0.0, before * _LOOK_AGAIN_S, first + sooner_s - now, till - now)
        wait_s = min(LONGEST_REST_S, max(wait_s, self._last + self._interval_s / 2 - now))
        if take and not wait_s:
            del self._waiting[request.name]
            first += self._interval_s
            self._granted, self._since = self._granted + 1, self._since or now
            self._last = now
            self._interval_s *= 1 - min(_MOST_FASTER, self._interval_s / FASTER_S)
        else:
            self._waiting[request.name] = arrived, now + wait_s
        self._first = first
        last = max((expected + _LATE_S for _, expected in self._waiting.values()), default=0.0)
        self._tail = max(first + len(self._waiting) * self._interval_s, last)
        return wait_s

    def _adjust(self, now: float, request: WaitingRequest, till: float, observed_s: float) -> None:
        """Learn the interval: at the first refusal of a cool-down, from the turns taken since the last one."""
        if not self._waiting and self._first < now - _LATE_S:
            self._granted, self._since = 0, 0.0  # nobody waited lately
        interval_s = self._interval_s
        if request.again:
            self._first -= interval_s  # the turn was not used
            self._granted = max(0, self._granted - 1)
            if till > now >= self._counted:
                interval_s = (till - self._since) / self._granted if self._granted else interval_s * _SLOWER
                self._granted, self._since, self._counted = 0, 0.0, till
        elif observed_s:
            interval_s = min(interval_s or observed_s, observed_s)
        self._interval_s = min(interval_s or max(0.0, till - now) / 10, _LONGEST_INTERVAL_S)

    def free_s(self, now: float) -> float:
        """Seconds until a request may come that has not waited."""
        return min(LONGEST_REST_S, max(0.0, self._tail - now))

    def occupied(self, until: float) -> None:
        """Record that requests of other processes wait until then."""
        self._tail = max(self._tail, until)

    def forget(self) -> None:
        """Forget all that wait, and the rate."""
        self.__init__()
