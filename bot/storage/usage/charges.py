"""Charges of committed turns: settled at once or, after a crash of the worker, by any other."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime

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
"""Interval for removing settled charges from the pending ones, in batches."""
SWEEP_S = 20.0
"""Interval for settling charges that other workers left pending."""
_TENANTS_KNOWN = 10_000


class Charge(Frozen):
    """The cost of one event, and to whom it is charged. `at` (UTC) decides the day and month.

    `turns` is the number of answers that it counts as: 0 for background work. `channel` is empty in
    one-on-one chats; `place` is the channel's name in usage reports.
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


_decoder = msgspec.json.Decoder(Charge)


def channel_of(received: MessageReceived) -> str:
    """The channel whose limits apply to a message; empty in one-on-one chats."""
    return "" if received.direct else received.channel


def charge_of(
    received: MessageReceived, event: str, template: str, usage: Sequence[Usage], *, turns: int = 1
) -> Charge:
    """The charge for an event until now. `event` differs from `received` when an answer is regenerated."""
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
    turns = int(bool(turn.usage) or turn.outcome == "answered")
    template = turn.template.partition("@")[0] or "none"
    return charge_of(turn.received, event or turn.id, template, turn.usage, turns=turns)


class Charges:
    """Settles charges, idempotently per event for `keys.HELD_S`."""

    def __init__(self, redis: Redis, search: ConversationSearch) -> None:
        self._redis = redis
        self._search = search
        self._settled: list[Charge] = []
        self._tenants: set[tuple[date, str]] = set()

    async def settle(self, charge: Charge) -> None:
        """Replace the reservation of an event by its cost. Raises StateUnavailable."""
        await self._settle(charge.tenant, charge.event, msgspec.json.encode(charge))
        self._settled.append(charge)

    async def book(self, turn: Turn) -> None:
        """Count what a turn cost that no worker commits: of the playground, of an evaluation."""
        await self.settle(charge(turn))
        await self.tidy()

    async def give_back(self, tenant: str, event: str) -> None:
        """Drop an abandoned reservation. Raises StateUnavailable."""
        await self._settle(tenant, event, b"")

    async def _settle(self, tenant: str, event: str, record: bytes) -> None:
        await self._redis.run(
            _SETTLE,
            [keys.of_tenant("held", tenant, event), keys.of_tenant("holds", tenant)],
            [keys.of_tenant("", tenant), event, record, keys.SPENT_S, keys.HELD_S],
        )

    async def run(self, ended: asyncio.Event) -> None:
        """Process pending and settled charges until `ended` is set. Retries while Redis is unavailable."""
        rounds = 0
        while not ended.is_set():
            try:
                if rounds % round(SWEEP_S / TIDY_S) == 0:
                    await self.sweep()
                await self.tidy()
            except StateUnavailable:
                pass
            except Exception:
                log.exception("Processing of pending charges failed and will be retried")
            rounds += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), TIDY_S)
        with suppress(StateUnavailable):
            await self.tidy()

    async def tidy(self) -> None:
        """Remove settled charges from the pending ones, and index their conversations.

        Raises StateUnavailable; then the next call does it.
        """
        done, self._settled = self._settled, []
        if not done:
            return
        new = {(item.at.date(), item.tenant) for item in done} - self._tenants
        try:
            await self._search.note({item.conversation: item.at for item in done})
            pending = ((keys.pending_charges(keys.shard_of(item.conversation)), item.event) for item in done)
            commands: list[tuple[str | int, ...]] = [("HDEL", *each) for each in pending]
            for day, tenant in new:
                name = keys.tenants_of(day)
                commands += [("SADD", name, tenant), ("EXPIRE", name, keys.SPENT_S)]
            await self._redis.many(commands)
        except StateUnavailable:
            self._settled = done + self._settled
            raise
        if len(self._tenants) > _TENANTS_KNOWN:
            self._tenants.clear()
        self._tenants |= new

    async def sweep(self) -> int:
        """Settle pending charges left by a crash or an outage. Returns their number.

        Charges that another worker settles at the same time count once. Raises StateUnavailable.
        """
        commands = [("HVALS", keys.pending_charges(shard)) for shard in range(keys.SHARDS)]
        pending = [record for records in await self._redis.many(commands) for record in records]
        found = [item for item in map(_read, pending) if item is not None]
        for entry in found:
            await self.settle(entry)
        await self.tidy()
        if found:
            log.info("Settled %d pending charges", len(found))
        return len(found)


def _read(record: bytes) -> Charge | None:
    try:
        return _decoder.decode(record)
    except msgspec.MsgspecError as error:
        log.error("Skipped a pending charge that can't be read, left to the version that wrote it: %s", error)
        return None
