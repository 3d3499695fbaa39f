"""Charges of provider calls: settled at once or, after a crash of the worker, by any other."""

import asyncio
import logging
from contextlib import suppress
from datetime import date, datetime, timedelta
from uuid import uuid4

import msgspec

from bot.domain import telemetry
from bot.domain.calls import CallLog, unattributed
from bot.domain.errors import StateUnavailable
from bot.domain.events import Frozen, MessageReceived, User, now
from bot.domain.turns import Usage
from bot.storage.conversations.search import ConversationSearch
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script
from bot.storage.usage.notices import LimitNotices

log = logging.getLogger(__name__)

_SETTLE, _REATTRIBUTE = Script("settle", "book"), Script("reattribute")
TIDY_S = 0.5
"""Interval for removing settled charges from the pending ones, in batches."""
SWEEP_S = 20.0
"""Interval for settling charges that other workers left pending."""
_TENANTS_KNOWN = 10_000
OPERATOR = "operator"
"""The tenant and person of calls that nobody asked for."""


class Charge(Frozen):
    """The provider calls of one attempt at an event, and to whom they are charged. `at` (UTC) is when it ended.

    `turns` is the number of answers that it counts as: 0 for background work. `channel` is empty in
    one-on-one chats; `place` is the channel's name in usage reports. `attempt` is that of `CallLog`. `guest` is the
    tenant that a guest comes from, where it counts against the limits of guests.
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
    attempt: str = ""
    guest: str = ""


_decoder = msgspec.json.Decoder(Charge)


def channel_of(received: MessageReceived) -> str:
    """The channel whose limits apply to a message; empty in one-on-one chats."""
    return "" if received.direct else received.channel


def charge_of(
    received: MessageReceived,
    event: str,
    template: str,
    calls: CallLog,
    *,
    turns: int = 1,
    payer: User | None = None,
) -> Charge:
    """The charge for an event until now. `event` differs from `received` when an answer is regenerated; `payer` is
    who asked for that, if not the sender.
    """
    channel, user = channel_of(received), payer or received.user
    return Charge(
        event=event,
        tenant=user.tenant,
        person=user.id,
        place=f"{received.address.adapter} {channel or 'direct'}",
        template=template.partition("@")[0] or "none",
        conversation=received.address.conversation,
        at=now(),
        turns=turns,
        channel=channel,
        usage=calls.usage,
        attempt=calls.attempt,
        guest=user.visits_from,
    )


def operators(calls: tuple[Usage, ...]) -> Charge:
    """The charge for calls that nobody asked for."""
    return Charge(
        event=f"operator:{uuid4().hex}",
        tenant=OPERATOR,
        person=OPERATOR,
        place=f"{OPERATOR} direct",
        template="none",
        conversation=OPERATOR,
        at=now(),
        turns=0,
        usage=calls,
    )


class Charges:
    """Settles charges, idempotently per event for `keys.HELD_S`. What they use of limits is watched by `notices`."""

    def __init__(self, redis: Redis, search: ConversationSearch, notices: LimitNotices | None = None) -> None:
        self._redis = redis
        self._search = search
        self.notices = notices or LimitNotices(redis)
        self._settled: list[Charge] = []
        self._tenants: set[tuple[date, str]] = set()
        self._unbooked: Charge | None = None

    def counted(self, charge: Charge) -> Charge:
        """The charge as it counts: that of a guest like everybody's, if the setting says so."""
        return charge if self.notices.limits.guests_apart else msgspec.structs.replace(charge, guest="")

    async def settle(self, charge: Charge) -> None:
        """Replace the reservation of an event by its cost. Raises StateUnavailable."""
        charge = self.counted(charge)
        await self._settle(charge.tenant, charge.event, msgspec.json.encode(charge), final=True)
        self._settled.append(charge)

    async def book(self, charge: Charge) -> None:
        """Count what work cost that no worker commits: of the playground, of an evaluation, of the operator."""
        telemetry.called(charge.usage)
        await self.settle(charge)
        await self.tidy()

    async def book_attempt(self, charge: Charge) -> None:
        """Count what an attempt cost that did not answer its event, and release what it had reserved.

        Raises StateUnavailable.
        """
        record = msgspec.json.encode(self.counted(charge))
        await self._settle(charge.tenant, charge.event, record, final=False)

    async def store(self, charge: Charge) -> None:
        """Store what another process books if this one dies, in place of what was stored when the attempt reserved.

        Raises StateUnavailable.
        """
        held = keys.of_tenant("held", charge.tenant, charge.event)
        await self._redis.many(
            [
                ("HSET", held, f"charge:{charge.attempt}", msgspec.json.encode(self.counted(charge))),
                ("EXPIRE", held, keys.HELD_S),
            ]
        )

    async def give_back(self, tenant: str, event: str) -> None:
        """Drop an abandoned reservation; what its attempts cost is counted. Raises StateUnavailable."""
        await self._settle(tenant, event, b"", final=True)

    async def _settle(self, tenant: str, event: str, record: bytes, *, final: bool) -> None:
        watched = self.notices.watched(tenant) if tenant != OPERATOR else b""
        noted = await self._redis.run(
            _SETTLE,
            [keys.of_tenant("held", tenant, event), keys.of_tenant("holds", tenant)],
            [
                *(keys.of_tenant("", tenant), event, record, int(final)),
                *(keys.SPENT_S, keys.HELD_S, keys.CALLS_S, watched),
            ],
        )
        self.notices.added(tenant, noted)

    async def records(self, tenant: str, person: str, day: date) -> list[Charge]:
        """The charges of a person on a day (UTC), in the order in which they were booked; "" are deleted people.

        They are kept for `keys.CALLS_S`. Raises StateUnavailable.
        """
        found = await self._redis.call("LRANGE", keys.calls(tenant, day, person), 0, -1)
        return [charge for charge in map(read, found) if charge is not None]

    async def forget(self, user: User) -> None:
        """Keep the records of a person without saying whose they are. Raises StateUnavailable."""
        days = [now().date() - timedelta(days=n) for n in range(keys.CALLS_S // keys.DAY_S + 1)]
        names = [keys.calls(user.tenant, day, user.id) for day in days]
        for day, name, records in zip(
            days,
            names,
            await self._redis.many([("LRANGE", name, 0, -1) for name in names]),
            strict=True,
        ):
            kept = [_nameless(charge) for charge in map(read, records) if charge is not None]
            if records:
                arguments = [len(records), keys.CALLS_S, *map(msgspec.json.encode, kept)]
                await self._redis.run(_REATTRIBUTE, [name, keys.calls(user.tenant, day, "")], arguments)

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
        await self.close()

    async def close(self) -> None:
        """Process what is left, if Redis is available."""
        with suppress(StateUnavailable):
            await self.tidy()

    async def tidy(self) -> None:
        """Book the calls that nobody asked for, remove settled charges from the pending ones, and index their
        conversations.

        Raises StateUnavailable; then the next call does it.
        """
        await self._book_unattributed()
        done, self._settled = self._settled, []
        if not done:
            return
        new = {(item.at.date(), item.tenant) for item in done} - self._tenants
        try:
            answered = {item.conversation: item.at for item in done if item.conversation != OPERATOR}
            if answered:
                await self._search.note(answered)
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

    async def _book_unattributed(self) -> None:
        """Calls that could not be booked are kept for the next time."""
        if self._unbooked is None and (calls := unattributed.take()):
            self._unbooked = operators(calls)
            telemetry.called(calls)
        if self._unbooked is not None:
            await self.settle(self._unbooked)
            self._unbooked = None

    async def sweep(self) -> int:
        """Settle pending charges left by a crash or an outage. Returns their number.

        Charges that another worker settles at the same time count once. Raises StateUnavailable.
        """
        commands = [("HVALS", keys.pending_charges(shard)) for shard in range(keys.SHARDS)]
        pending = [record for records in await self._redis.many(commands) for record in records]
        found = [item for item in map(read, pending) if item is not None]
        for entry in found:
            await self.settle(entry)
        await self.tidy()
        if found:
            log.info("Settled %d pending charges", len(found))
        return len(found)


def _nameless(charge: Charge) -> Charge:
    return msgspec.structs.replace(charge, event="", person="", conversation="")


def read(record: bytes) -> Charge | None:
    """A stored charge; None if another version wrote it, which is logged."""
    try:
        return _decoder.decode(record)
    except msgspec.MsgspecError as error:
        log.error("Skipped a pending charge that can't be read, left to the version that wrote it: %s", error)
        return None
