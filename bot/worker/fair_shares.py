"""Decides whose question a worker claims next: tenants share its places evenly, and channels those of their tenant."""

from collections import Counter
from collections.abc import Iterable
from itertools import count

from bot.storage.redis import keys

_REMEMBERED = 10_000
"""Tenants and flows of which a worker remembers when it served them last."""


class _Service:
    """Answers in progress by name, and the order in which names were served last."""

    def __init__(self) -> None:
        self.running = Counter[str]()
        self._last: dict[str, int] = {}
        self._clock = count(1)

    def least(self, names: Iterable[str]) -> str:
        """Whom to serve next: who has fewest answers in progress and, of those, was served longest ago."""
        return min(names, key=lambda name: (self.running[name], self._last.get(name, 0)))

    def begin(self, name: str) -> None:
        self.running[name] += 1
        self._last.pop(name, None)
        self._last[name] = next(self._clock)
        if len(self._last) > _REMEMBERED:
            del self._last[next(iter(self._last))]

    def end(self, name: str) -> None:
        self.running[name] -= 1
        if self.running[name] <= 0:
            del self.running[name]


class FairShares:
    """Where something is due, as far as this process knows, and whom it serves: at most `places` of a tenant at once.

    Each worker divides its own places, so that their sum is divided, too, without a process that schedules.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._tenants, self._flows = _Service(), _Service()
        self._due: dict[str, dict[str, dict[int, None]]] = {}  # tenant -> flow -> shards, in order of arrival
        self._in_shard: dict[int, set[str]] = {}

    @property
    def full(self) -> tuple[str, ...]:
        """The tenants that may not have more places."""
        return tuple(name for name, running in self._tenants.running.items() if running >= self._places)

    def add(self, shard: int, flow: str) -> None:
        """Something of a flow may be due in a shard; of any flow if it is empty."""
        self._due.setdefault(keys.tenant_of(flow), {}).setdefault(flow, {})[shard] = None
        self._in_shard.setdefault(shard, set()).add(flow)

    def take(self) -> tuple[int, str, set[str]] | None:
        """The shard to claim from, the flow to claim, and what else was known of the shard.

        None if nothing is due that may have a place. All of the shard is forgotten: the response to the claim says it.
        """
        full = self.full
        tenants = [tenant for tenant in self._due if tenant not in full]
        if not tenants:
            return None
        flows = self._due[self._tenants.least(tenants)]
        flow = self._flows.least(flows)
        shard = next(iter(flows[flow]))
        others = self._in_shard.pop(shard)
        for known in others:
            self._forget(shard, known)
        return shard, flow, others - {flow}

    def begin(self, conversation: str) -> None:
        """An answer in this conversation has begun."""
        flow = keys.flow_of(conversation)
        self._flows.begin(flow)
        self._tenants.begin(keys.tenant_of(flow))

    def end(self, conversation: str) -> None:
        """It has ended."""
        flow = keys.flow_of(conversation)
        self._flows.end(flow)
        self._tenants.end(keys.tenant_of(flow))

    def _forget(self, shard: int, flow: str) -> None:
        tenant = keys.tenant_of(flow)
        flows = self._due[tenant]
        del flows[flow][shard]
        if not flows[flow]:
            del flows[flow]
        if not flows:
            del self._due[tenant]
