"""Slows down senders of wrong tokens, each client address on its own, in a table of bounded size."""

import math
import time

from adapters.shared.bounded_cache import BoundedCache
from adapters.shared.client_address import network_of

WRONG_TOKENS_PER_MINUTE = 10
"""A sender may try this many at once, then one every `PAUSE_S`, until a minute passes without one."""
PAUSE_S = 10.0
_FORGET_S = 60.0
_MOST_SENDERS = 10_000


class LoginThrottle:
    """Counts wrong tokens by sender. When the table is full, the sender that failed longest ago is dropped."""

    def __init__(self) -> None:
        self._senders = BoundedCache[str, tuple[int, float]](_MOST_SENDERS)  # how many, the time of the last

    def wait_s(self, address: str) -> int:
        """Seconds until this sender may try again, 0 if now. Trying too early doesn't extend it."""
        wrong, last_s = self._known(network_of(address))
        if wrong < WRONG_TOKENS_PER_MINUTE:
            return 0
        return max(0, math.ceil(last_s + PAUSE_S - time.monotonic()))

    def wrong(self, address: str) -> None:
        """Count a wrong token of this sender."""
        sender = network_of(address)
        wrong, _ = self._known(sender)
        self._senders[sender] = (wrong + 1, time.monotonic())

    def _known(self, sender: str) -> tuple[int, float]:
        wrong, last_s = self._senders.get(sender, (0, 0.0))
        return (wrong, last_s) if time.monotonic() - last_s < _FORGET_S else (0, 0.0)

    def __len__(self) -> int:
        return len(self._senders)
