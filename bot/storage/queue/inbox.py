"""The inbox: events are stored before they are acknowledged, and answered one at a time per conversation.

A conversation sits in its shard's sorted set `ready` with the time at which it is next due. Claiming moves
that time forward by the lease, so one score encodes waiting, leased and backing off, on Redis' clock.
"""

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any

import msgspec

from bot.domain.adapter import Receipt
from bot.domain.errors import LeaseLost, StateUnavailable
from bot.domain.events import (
    Event,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    PostedMessage,
    StopRequested,
    now,
)
from bot.storage.conversations.turns import read_placed
from bot.storage.queue.claims import Claim as Claim
from bot.storage.queue.claims import CommitRequest as CommitRequest
from bot.storage.queue.claims import Due as Due
from bot.storage.queue.claims import Wakeup as Wakeup
from bot.storage.queue.dead_letters import DeadLetter, read_event
from bot.storage.queue.unanswered import record
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, Script

_ACCEPT, _STOP, _SUPERSEDE = map(Script, ("accept", "stop", "supersede"))
_CLAIM, _DUE = Script("claim", "flow"), Script("due", "flow")
_HOLD, _RELEASE = Script("hold", "post"), Script("release", "post")
_FORGIVE, _GENERATED, _COMMIT = map(Script, ("forgive", "generated", "commit"))
_post = msgspec.json.Decoder(PostedMessage)
_json = msgspec.json.Encoder()


class Inbox:
    """Accept, claim, hold, release, commit. Every method raises StateUnavailable.

    `limit` is the maximum number of waiting messages per conversation, `tenant_limit` per tenant. Each shard
    counts waiting events by tenant, and accepts them up to the tenant's even share; beyond that, the counts of
    all shards are added up. So a tenant may use its limit in a few shards, stays below twice the limit (except
    for concurrent events), and accepting is one script in one slot. People can repeat a message, but would not
    notice a lost deletion, edit or rating: for those, the conversation's limit is doubled and the tenant's
    does not apply.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        lease_s: float,
        limit: int,
        retention_s: int,
        tenant_limit: int = 1000,
        window: int = 50,
        keep: int = 200,
    ) -> None:
        self._redis = redis
        self._lease_ms = int(lease_s * 1000)
        self._limit = limit
        self._tenant_limit = tenant_limit
        self._retention_s = retention_s
        self._window = window
        self._keep = keep
        self._unanswered: dict[int, str] = {}  # tickets of claims without a response, by shard

    @asynccontextmanager
    async def elsewhere(self) -> AsyncGenerator["Inbox"]:
        """The same inbox for another event loop, with its own connection."""
        inbox = copy(self)
        inbox._redis = Redis(self._redis.url, replicas=self._redis.replicas)
        try:
            yield inbox
        finally:
            await inbox._redis.close()

    async def accept(self, event: Event) -> Receipt:
        """Store an event, once for all its deliveries."""
        if isinstance(event, StopRequested):
            return await self.stop(event)
        receipt = await self._accept(
            event, self._tenant_limit // keys.SHARDS if isinstance(event, MessageReceived) else -1
        )
        if receipt == "share":
            counts = [("HGET", keys.waiting(shard), event.user.tenant) for shard in range(keys.SHARDS)]
            if sum(int(count or 0) for count in await self._redis.many(counts)) >= self._tenant_limit:
                return "busy"
            receipt = await self._accept(event, -1)
        return msgspec.convert(receipt, Receipt)

    async def _accept(self, event: Event, share: int) -> str:
        conversation = event.address.conversation
        addressed = not isinstance(event, MessageReceived) or event.addressed
        shard = keys.shard_of(conversation)
        answer: bytes = await self._redis.run(
            _ACCEPT,
            [
                keys.of("seen", conversation, event.id),
                keys.of("inbox", conversation),
                keys.ready(shard),
                keys.of("turns", conversation),
                keys.waiting(shard),
                keys.of("owner", conversation),
            ],
            [
                _json.encode(event),
                conversation,
                int(addressed),
                self._limit if isinstance(event, MessageReceived) else 2 * self._limit,
                keys.SEEN_S,
                keys.WAKEUPS,
                event.user.tenant,
                share,
                keys.WAITING_S,
                event.address.owner,
                self._retention_s + keys.DAY_S,
            ],
        )
        return answer.decode()

    async def stop(self, event: StopRequested, *, leave: bool = False) -> Receipt:
        """Stop the current answer of this conversation; without `leave`, only the asker may.

        The request survives a crash of the worker, and ends with the answer. A second delivery, or a request for
        a complete answer, is a `duplicate` and stops nothing.
        """
        conversation, user = event.address.conversation, event.user
        answer: bytes = await self._redis.run(
            _STOP,
            [
                keys.of("seen", conversation, event.id),
                keys.of("lease", conversation),
                keys.of("inbox", conversation),
                keys.of("owner", conversation),
            ],
            [
                user.id,
                user.tenant,
                conversation,
                keys.STOPS,
                keys.LEASE_S,
                int(leave),
                event.target,
                keys.SEEN_S,
                event.address.owner,
            ],
        )
        return msgspec.convert(answer.decode(), Receipt)

    async def supersede(self, event: MessageReceived | MessageEdited | MessageDeleted) -> bool:
        """Stop the running answer to the same person in this conversation. Returns whether there was one.

        Their earlier waiting questions are marked `superseded`. An edit or deletion stops only the answer to
        its own message; an edit of which only the formatting has changed stops nothing.
        """
        conversation = event.address.conversation
        names = [keys.of("lease", conversation), keys.of("inbox", conversation)]
        user, target = event.user, "" if isinstance(event, MessageReceived) else event.target
        why = str(event.__struct_config__.tag)
        if isinstance(event, MessageEdited) and await self._stays(event):
            return False
        arguments = [event.id, user.id, user.tenant, conversation, keys.STOPS, target, why]
        return bool(await self._redis.run(_SUPERSEDE, names, arguments))

    async def _stays(self, edited: MessageEdited) -> bool:
        """Whether an edit leaves the oldest event, the only one that may be being answered, as it is."""
        oldest = await self._redis.call("LINDEX", keys.of("inbox", edited.address.conversation), 0)
        event = read_event(oldest or b"")
        return isinstance(event, MessageReceived) and event.id == edited.target and not edited.changes(event)

    async def claim(self, shard: int, flow: str = "", full: Collection[str] = ()) -> Claim | Due:
        """Claim a conversation of a shard: of this flow, else of its tenant, else any, the longest due one of those.

        Those of the tenants in `full` stay. Without a conversation to claim, returns what is due. If the response is
        lost, the next call returns the same claim.
        """
        ticket = self._unanswered.pop(shard, None)
        repeated, ticket = ticket is not None, ticket or token_hex(8)
        try:
            answer: list[Any] = await self._redis.run(
                _CLAIM,
                [keys.ready(shard)],
                [
                    keys.shard_prefix(shard),
                    self._lease_ms,
                    self._window,
                    keys.LEASE_S,
                    ticket,
                    int(repeated),
                    flow,
                    keys.tenant_of(flow),
                    *full,
                ],
            )
        except StateUnavailable:
            self._unanswered[shard] = ticket
            raise
        if not answer[0]:
            return _due(answer[1])
        return _claimed(answer, now() - timedelta(seconds=self._retention_s))

    async def hold(
        self, claim: Claim, begun: PostedMessage | None = None, *, alone: bool | None = None
    ) -> str:
        """Renew the lease, and record the post. Returns the stop request, if any. Raises LeaseLost.

        `alone` records whether nothing else runs in the process; then a crash is attributed to the event.
        """
        company = "" if alone is None else "alone" if alone else "1"
        answer: bytes | None = await self._redis.run(
            _HOLD,
            [keys.of("lease", claim.conversation), keys.ready(claim.shard)],
            [claim.token, claim.conversation, self._lease_ms, _json.encode(begun) if begun else "", company],
        )
        if answer is None:
            raise LeaseLost(claim.conversation)
        return answer.decode()

    async def release(
        self,
        claim: Claim,
        delay_s: float,
        *,
        counted: bool = True,
        stalled: bool = False,
        post: PostedMessage | None = None,
        platform: bool = False,
    ) -> None:
        """Return the event to the inbox, due after the delay. Raises LeaseLost.

        Attempts that did not fail because of the event are not `counted`; `stalled` says that it blocked its
        process, `platform` that the platform was unavailable (`Claim.failures`). `post` replaces the recorded one.
        """
        answer: int = await self._redis.run(
            _RELEASE,
            [keys.of("lease", claim.conversation), keys.ready(claim.shard)],
            [
                claim.token,
                claim.conversation,
                int(delay_s * 1000),
                int(not counted),
                keys.WAKEUPS,
                int(stalled),
                _json.encode(post) if post is not None else "",
                int(platform),
            ],
        )
        if answer == 0:
            raise LeaseLost(claim.conversation)

    async def forgive(self, claim: Claim) -> None:
        """Record that this process lost its lease but did not crash, so the event is not to blame."""
        await self._redis.run(_FORGIVE, [keys.of("lease", claim.conversation)], [claim.token])

    async def store_reply(self, claim: Claim, request: CommitRequest) -> None:
        """Store a turn with a finished reply before it is delivered; later claims return it. Raises LeaseLost.

        Idempotent under one claim. Then commit the same request with `stored`.
        """
        conversation, turn, charge = claim.conversation, request.turn, request.charge
        if turn is None:
            raise ValueError("a reply is stored with its turn")
        user = turn.received.user
        names = [
            keys.of("lease", conversation),
            keys.of("turns", conversation),
            keys.pending_charges(claim.shard),
            keys.talks(claim.shard, user.tenant, user.id),
            keys.of("sent", conversation, turn.id),
            *(keys.of("picture", conversation, ref) for ref in request.pictures),
        ]
        arguments = [
            claim.token,
            conversation,
            _json.encode(turn),
            *_place(claim, request),
            self._keep,
            self._retention_s,
            keys.TALKS_S,
            charge.event if charge else "",
            _json.encode(charge) if charge else "",
            keys.PENDING_CHARGE_S,
            request.sent,
            *request.pictures.values(),
        ]
        if await self._redis.run(_GENERATED, names, arguments) == 0:
            raise LeaseLost(conversation)

    async def commit(self, claim: Claim, request: CommitRequest) -> None:
        """End the event with its results, atomically and idempotently. Raises LeaseLost if another worker took over."""
        turn, charge = request.turn, request.charge
        place, replaced = _place(claim, request)
        if request.stored:
            request = replace(request, charge=None, sent=b"", pictures={})
            place, replaced, charge = place or -1, replaced or (turn.id if turn else ""), None
        arguments = [
            claim.token,
            claim.conversation,
            keys.WAKEUPS,
            _json.encode(turn) if turn else "",
            place,
            self._keep,
            self._retention_s,
            _json.encode(_dead_letter(claim, request.dead_letter_reason))
            if request.dead_letter_reason
            else "",
            keys.DEAD_LETTER_S,
            claim.event.user.tenant if claim.event else "",
            charge.event if charge else "",
            _json.encode(charge) if charge else "",
            keys.PENDING_CHARGE_S,
            keys.TALKS_S,
            replaced,
            _others_speak(claim, request),
            record(claim.event, request.unanswered) if claim.event and request.unanswered else "",
            keys.UNANSWERED_S,
            keys.UNANSWERED_KEPT,
            request.sent,
            *request.pictures.values(),
        ]
        if await self._redis.run(_COMMIT, _commit_keys(claim, request), arguments) == 0:
            raise LeaseLost(claim.conversation)

    async def due(self) -> Sequence[Due]:
        """For each shard, what is due, or due next."""
        answers = await self._redis.each(_DUE, [keys.ready(shard) for shard in range(keys.SHARDS)])
        return [_due(answer or (-1,)) for answer in answers]

    async def wakeups(self) -> AsyncGenerator[Wakeup | str]:
        """What became due, and stop requests.

        A stop request has three lines: the conversation, the event whose answer to stop, and the reason: `asked`,
        `said`, `edited` or `deleted`. Losing an item is harmless. The first item, "", says that the
        subscription has started.
        """
        async for channel, data in self._redis.subscribe(keys.WAKEUPS, keys.OLD_WAKEUPS, keys.STOPS):
            if channel == keys.WAKEUPS:
                yield Wakeup(keys.shard_of(data), keys.flow_of(data))
            else:
                yield Wakeup(int(data)) if channel == keys.OLD_WAKEUPS else data


def _claimed(answer: Sequence[Any], oldest: datetime) -> Claim:
    conversation, token, attempt, post, stop, erasures, event, waited, more, *rest = answer
    lost, certain, failures, unreachable_ms, others_speak, *turns = rest
    read, places = read_placed(turns, oldest)
    return Claim(
        conversation=conversation.decode(),
        token=token,
        attempt=attempt,
        begun=_post.decode(post) if post else None,
        stop=stop.decode() if stop else "",
        erasures=erasures.decode() if erasures else "0",
        event=read_event(event),
        raw=event,
        waited_ms=waited,
        more=_due(more),
        lost=lost,
        certain=bool(certain),
        failures=failures,
        unreachable_s=unreachable_ms / 1000,
        others_speak=bool(others_speak),
        turns=read,
        places=places,
    )


def _due(answer: Sequence[Any]) -> Due:
    return Due(in_ms=int(answer[0]), flows=tuple(flow.decode() for flow in answer[1:]))


def _place(claim: Claim, request: CommitRequest) -> tuple[int | str, str]:
    """The index in the stored list of the turn to replace, and its id; both are empty for a new turn."""
    if request.place is None:
        return "", ""
    return claim.places[request.place], claim.turns[request.place].id


def _others_speak(claim: Claim, request: CommitRequest) -> str:
    """1 if others speak from now on, 0 if somebody asked the bot with a mention; empty leaves it as it is.

    Buttons, and commands without a turn, are no words in the conversation.
    """
    if request.others_speak:
        return "1"
    event = claim.event
    mentioned = isinstance(event, MessageReceived) and event.addressed and not event.registered
    return "0" if mentioned and request.turn is not None and request.place is None else ""


def _commit_keys(claim: Claim, request: CommitRequest) -> list[str]:
    conversation, turn = claim.conversation, request.turn
    user = turn.received.user if turn else None
    return [
        keys.of("lease", conversation),
        keys.ready(claim.shard),
        keys.of("inbox", conversation),
        keys.of("turns", conversation),
        keys.dead_letters(claim.shard),
        keys.waiting(claim.shard),
        keys.pending_charges(claim.shard),
        keys.talks(claim.shard, user.tenant, user.id) if user else keys.talks(claim.shard, "", ""),
        keys.of("others", conversation),
        keys.unanswered(claim.shard),
        keys.of("sent", conversation, turn.id if turn else ""),
        *(keys.of("picture", conversation, ref) for ref in request.pictures),
    ]


def _dead_letter(claim: Claim, reason: str) -> DeadLetter:
    return DeadLetter(
        conversation=claim.conversation,
        at=now(),
        attempts=claim.attempt,
        reason=reason,
        event=claim.raw.decode("utf-8", "replace"),
    )
