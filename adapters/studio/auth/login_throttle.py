"""Slows down senders of wrong tokens: each client address on its own, in a table of bounded size."""

import math
import time
from collections import OrderedDict

from adapters.shared.client_address import network_of

WRONG_TOKENS_PER_MINUTE = 10
"""So many a sender may try at once; then one every `PAUSE_S`, until it was quiet for a minute."""
PAUSE_S = 10.0
_FORGET_S = 60.0
_MOST_SENDERS = 10_000


class LoginThrottle:
    """Counts wrong tokens by sender. Where the table is full, the sender that was wrong longest ago goes."""

    def __init__(self) -> None:
        self._senders: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how many, and when the last came

    def wait_s(self, address: str) -> int:
        """Seconds until this sender may try again; 0 if it may now. Trying too early makes it no longer."""
        wrong, last_s = self._known(network_of(address))
        if wrong < WRONG_TOKENS_PER_MINUTE:
            return 0
        return max(0, math.ceil(last_s + PAUSE_S - time.monotonic()))

    def wrong(self, address: str) -> None:
        """This sender has tried a wrong token."""
        sender = network_of(address)
        wrong, _ = self._known(sender)
        self._senders[sender] = (wrong + 1, time.monotonic())
        self._senders.move_to_end(sender)
        if len(self._senders) > _MOST_SENDERS:
            self._senders.popitem(last=False)

    def _known(self, sender: str) -> tuple[int, float]:
        wrong, last_s = self._senders.get(sender, (0, 0.0))
        return (wrong, last_s) if time.monotonic() - last_s < _FORGET_S else (0, 0.0)

    def __len__(self) -> int:
        return len(self._senders)
