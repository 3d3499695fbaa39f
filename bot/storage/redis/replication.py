"""How many replicas have to confirm a write, so that no failover loses it.

The replica with the most data is promoted, as far as sentinels and nodes know: what they know of it can be seconds old.
So each replica that may be promoted has to confirm: all that are connected, except those that hang.
https://redis.io/docs/latest/commands/wait/
"""

from collections.abc import Mapping
from time import monotonic
from typing import Any, cast

KNOWN_S = 1.0
"""How long a number of replicas is used before it is read again."""
HANGS_S = 5
"""Seconds without a word, which replicas say once a second, after which one is not waited for."""


class ConnectedReplicas:
    """The number of connected replicas by master, as last read. `least` have to confirm in any case."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._known: dict[str, tuple[int, float]] = {}

    def wanted(self, master: str) -> int | None:
        """How many have to confirm; None if that has to be read first."""
        number, at = self._known.get(master, (0, 0.0))
        return None if monotonic() - at > KNOWN_S else max(self._least, number)

    def read(self, master: str, info: Mapping[str, Any]) -> int:
        """How many have to confirm, according to INFO replication."""
        replicas = [cast("Mapping[str, Any]", one) for one in info.values() if isinstance(one, Mapping)]
        number = sum(one.get("state") == "online" and int(one.get("lag", 0)) <= HANGS_S for one in replicas)
        self._known[master] = number, monotonic()
        return max(self._least, number)
