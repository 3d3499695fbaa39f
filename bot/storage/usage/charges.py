"""What committed turns cost: settled at once, or, when a worker died before that, by any that comes next."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from bot.domain.errors import StateUnavailable
from bot.domain.events import Frozen, MessageReceived, now
from bot.domain.turns import Turn, Usage
from bot.storage.conversations.search import ConversationSearch
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

log = logging.getLogger(__name__)

_SETTLE = Script("settle")
TIDY_S = 0.5
"""How often what was settled is taken off what is owed, for all turns of that time in one step."""
SWEEP_S = 20.0
"""How often what others left owing is looked for."""
_TENANTS_KNOWN = 10_000


class Charge(Frozen):
    """What one event cost, and who pays. `at` is in UTC, to the day and month of which it counts.

    `turns` is how many answers it counts as: none for work that no person asked for. `channel` is empty in
    one-to-one chats; `place` is how the place stands in usage reports.
    """

    event: str
    tenant: str
    person: str
    place: str = msgspec.field(name="room")
    template: str
    conversation: str
    at: datetime
    turns: int
    channel: str = ""
    usage: tuple[Usage, ...] = ()


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Charge)


def channel_of(received: MessageReceived) -> str:
    """The channel whose limits hold for a message; empty in one-to-one chats."""
    return "" if received.direct else received.channel


def charge_of(
    received: MessageReceived, event: str, template: str, usage: Sequence[Usage], *, turns: int = 1
) -> Charge:
    """What an event cost until now. It differs from what was said when that was answered anew."""
    channel = channel_of(received)
    return Charge(
        event=event,
        tenant=received.user.tenant,
        person=received.user.id,
        place=f"{received.address.adapter} {channel or 'direct'}",
        template=template,
        conversation=received.address.conversation,
        at=now(),
        turns=turns,
        channel=channel,
        usage=tuple(usage),
    )


def charge(turn: Turn, event: str = "") -> Charge:
    """What a turn cost."""
    turns = int(bool(turn.usage) or turn.outcome == "answered")
    template = turn.template.partition("@")[0] or "none"
    return charge_of(turn.received, event or turn.id, template, turn.usage, turns=turns)


class Charges:
    """Settling is idempotent by the event, for as long as a reservation is remembered (`keys.HELD_S`)."""

    def __init__(self, redis: Redis, search: ConversationSearch) -> None:
        self._redis = redis
        self._search = search
        self._settled: list[Charge] = []
        self._tenants: set[str] = set()

    async def settle(self, one: Charge) -> None:
        """Turn what an event reserved into what it cost. Raises StateUnavailable."""
        await self._pay(one.tenant, one.event, _encode(one))
        self._settled.append(one)

    async def book(self, turn: Turn) -> None:
        """Count what a turn cost that no worker commits: of the playground, of an evaluation."""
        await self.settle(charge(turn))
        await self.tidy()

    async def give_back(self, tenant: str, event: str) -> None:
        """Drop the reservation of an event that nobody works on any more. Raises StateUnavailable."""
        await self._pay(tenant, event, b"")

    async def _pay(self, tenant: str, event: str, record: bytes) -> None:
        await self._redis.run(
            _SETTLE,
            [keys.of_tenant("held", tenant, event), keys.of_tenant("holds", tenant)],
            [keys.of_tenant("", tenant), event, record, keys.SPENT_S, keys.HELD_S],
        )

    async def run(self, ended: asyncio.Event) -> None:
        """Keep the books tidy until the event is set. Redis being away is waited out."""
        rounds = 0
        while not ended.is_set():
            try:
                if rounds % round(SWEEP_S / TIDY_S) == 0:
                    await self.sweep()
                await self.tidy()
            except StateUnavailable:
                pass
            except Exception:
                log.exception("The books can't be kept tidy; it is tried again")
            rounds += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), TIDY_S)
        with suppress(StateUnavailable):
            await self.tidy()

    async def tidy(self) -> None:
        """Take what was settled off what is owed, and note whose conversations it was. Raises
        StateUnavailable: then it is done the next time.
        """
        done, self._settled = self._settled, []
        if not done:
            return
        days = {(item.at.date(), item.tenant) for item in done}
        new = {f"{day} {tenant}" for day, tenant in days} - self._tenants
        try:
            await self._search.note({item.conversation: item.at for item in done})
            await self._redis.many(
                [
                    *(
                        ("HDEL", keys.pending_charges(keys.shard_of(item.conversation)), item.event)
                        for item in done
                    ),
                    *(
                        ("SADD", keys.tenants_of(day), tenant)
                        for day, tenant in days
                        if f"{day} {tenant}" in new
                    ),
                    *(
                        ("EXPIRE", keys.tenants_of(day), keys.SPENT_S)
                        for day in {day for day, _ in days}
                        if new
                    ),
                ]
            )
        except StateUnavailable:
            self._settled = done + self._settled
            raise
        if len(self._tenants) > _TENANTS_KNOWN:
            self._tenants.clear()
        self._tenants |= new

    async def sweep(self) -> int:
        """Settle what is owed still: a worker died, or Redis was away. How much that was.

        What a living worker settles just now is settled once all the same. Raises StateUnavailable.
        """
        looks = [("HVALS", keys.pending_charges(shard)) for shard in range(keys.SHARDS)]
        pending: Sequence[bytes] = [record for records in await self._redis.many(looks) for record in records]
        found = [item for item in map(_read, pending) if item is not None]
        for entry in found:
            await self.settle(entry)
        await self.tidy()
        if found:
            log.info("Settled %d turns that were still owing", len(found))
        return len(found)


def _read(record: bytes) -> Charge | None:
    try:
        return _decoder.decode(record)
    except msgspec.MsgspecError as error:
        log.error("A bill can't be read, and is left to the version that wrote it: %s", error)
        return None
