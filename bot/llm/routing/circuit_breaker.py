"""The circuit breaker of a deployment."""

import time
from collections.abc import Callable

# Consecutive failures that open the circuit; one success resets the count.
PATIENCE = 3

# Exponential back-off while open, in seconds.
REST_S = 5.0
MOST_BACK_OFF_S = 60.0

_SAME_S = 0.1
"""A cool-down that is reported back by the shared state differs by less."""


class CircuitBreaker:
    """Open until a point in time, because the deployment asked to wait or failed too often.

    After that, one caller tests the deployment while the others wait.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = 0.0
        self._failures = 0
        self.began_at = 0.0
        """When the current cool-down began, in seconds since 1970."""
        self.asked_for = False
        """Whether the deployment asked for the current cool-down."""

    def wait_s(self) -> float:
        """Seconds until the deployment may be asked; 0 if it may be asked now."""
        return max(0.0, self._until - self._clock())

    def asked(self) -> None:
        """Record a call; after too many failures, it keeps other callers away for a moment."""
        if self._failures >= PATIENCE:
            self._until = self._clock() + REST_S

    def succeeded(self) -> None:
        """Record a success. A cool-down that the deployment asked for stays."""
        if self._failures >= PATIENCE:
            self._until = 0.0
        self._failures = 0

    def failed(self, retry_after_s: float | None = None) -> None:
        """Record a failure; `retry_after_s` is the wait that the deployment asked for. No wait (0) is a failure like
        any other, so that a deployment that always asks for none is left alone, too.
        """
        if retry_after_s:
            self.rest(retry_after_s)
            return
        self._failures += 1
        if self._failures >= PATIENCE:
            rest_s = min(REST_S * 2 ** (self._failures - PATIENCE), MOST_BACK_OFF_S)
            self.rest(rest_s, asked_for=retry_after_s is not None)

    def rest(self, seconds: float, *, asked_for: bool = True) -> None:
        """Open the circuit for `seconds`; `asked_for`: because the deployment asked for it."""
        until = self._clock() + seconds
        if until > self._until + _SAME_S:
            self.asked_for = asked_for
        if until > self._until:
            self._until = until
            self.began_at = time.time()

    def wake(self) -> None:
        """Close the circuit."""
        self._until, self._failures, self.asked_for = 0.0, 0, False
