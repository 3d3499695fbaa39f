"""When a deployment may be asked again."""

import time
from collections.abc import Callable

# After so many failures in a row a deployment rests; one success clears them.
PATIENCE = 3

# The rest in seconds: it doubles while the deployment keeps failing.
REST_S = 5.0
LONGEST_REST_S = 60.0


class CircuitBreaker:
    """One moment before which a deployment is left alone: it asked to wait, or it failed too often.

    After a rest one caller tries it, and the others wait for what comes of that.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = 0.0
        self._failures = 0

    def wait_s(self) -> float:
        """Seconds until the deployment may be asked; 0: now."""
        return max(0.0, self._until - self._clock())

    def asked(self) -> None:
        """Somebody asks it now; where it failed too often, nobody else does for a moment."""
        if self._failures >= PATIENCE:
            self._until = self._clock() + REST_S

    def succeeded(self) -> None:
        """It answered. A rest that it asked for itself, by another call, is kept to."""
        if self._failures >= PATIENCE:
            self._until = 0.0
        self._failures = 0

    def failed(self, retry_after_s: float | None = None) -> None:
        """It did not answer; `retry_after_s` is what it asked for, and is kept to."""
        if retry_after_s is not None:
            self.rest(retry_after_s)
            return
        self._failures += 1
        if self._failures >= PATIENCE:
            self.rest(min(REST_S * 2 ** (self._failures - PATIENCE), LONGEST_REST_S))

    def rest(self, seconds: float) -> None:
        """Leave it alone for so long."""
        self._until = max(self._until, self._clock() + seconds)
