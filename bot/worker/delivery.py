"""Delivers finished replies: stores each while it is first shown, so that later attempts only deliver it."""

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from bot.conversation.engine import Engine
from bot.domain import telemetry
from bot.domain.adapter import Adapter
from bot.domain.errors import PlatformUnavailable
from bot.domain.events import PostedMessage
from bot.domain.turns import Reply, Turn
from bot.domain.words import tr
from bot.generation.turn_builder import TurnBuilder
from bot.storage.queue.inbox import Claim, CommitRequest
from bot.storage.usage.charges import Charges
from bot.worker import outcomes
from bot.worker.job import DELIVERY_S, Job, best_effort

log = logging.getLogger(__name__)

_BACKOFF_S = (1, 2, 5, 10, 20, 40, 60)
_LONG_OUTAGE_S = 3600.0
_LONG_PAUSE_S = 300.0


def pause_s(failures: int, unreachable_s: float) -> float:
    """How long to wait after `failures` earlier failures of a platform that has been unavailable for some time."""
    if unreachable_s > _LONG_OUTAGE_S:
        return _LONG_PAUSE_S
    return _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)]


def _delay_s(claim: Claim, error: PlatformUnavailable) -> float | None:
    """The seconds until the next attempt at a delivery; None if it would be too late then."""
    delay = max(pause_s(claim.failures, claim.unreachable_s), error.retry_after_s or 0)
    return delay if claim.unreachable_s + delay <= DELIVERY_S else None


class Delivery:
    """The two states of a reply: generated, which is stored, and delivered, which ends the event.

    The methods raise PlatformUnavailable, ConfigError, LeaseLost and StateUnavailable; only the delivery is to be
    repeated then, for which the claim has `reply_place` or the job has `reply`.
    """

    def __init__(self, engine: Engine, charges: Charges, find: Callable[[str], Adapter]) -> None:
        self._engine = engine
        self._charges = charges
        self._find = find

    async def first(
        self, job: Job, builder: TurnBuilder, opened: asyncio.Future[PostedMessage], place: int | None
    ) -> None:
        """Store a reply and show it, at the same time; then commit. `place` is that of the turn to replace.

        Replies that cost nothing, such as those of most commands, are not stored: they are made again.
        """
        claim, turn = job.claim, builder.done()
        if place is not None:
            turn = outcomes.retried(turn, claim.turns[place])
        request = outcomes.commit_request(builder, outcomes.pending(turn, job.post, claim), place)
        storing: asyncio.Future[None] | None = None
        if builder.keep and (builder.sent or builder.calls):
            storing = asyncio.ensure_future(job.store_reply(request))
            storing.add_done_callback(_read)  # also if this attempt is cancelled before it looks
        try:
            post = await self._show(job, asyncio.shield(opened), turn.reply)
        except BaseException:
            await asyncio.wait([opened])
            await self._stored(storing, request)
            raise
        turn = outcomes.shown(turn, post, claim.attempt + claim.failures)
        if storing is not None:
            # If only storing failed, the commit stores everything.
            await asyncio.wait([storing])
        final = job.reply or request
        await self._commit(job, turn, final)
        if request.charge is not None:
            await best_effort(self._charges.settle(request.charge))

    async def again(self, job: Job, place: int) -> None:
        """Show a reply that an earlier attempt has stored; or, if the person no longer wants it, a note."""
        claim = job.claim
        turn = outcomes.dropped(claim.turns[place], job.stop)
        job.reply = CommitRequest(turn=claim.turns[place], place=place)
        job.private = turn.reply.private
        address = turn.received.address
        reply = await self._engine.with_images(claim.conversation, turn.reply)
        job.post = job.post or turn.post
        opened = self._find(claim.conversation).open(address, job.post, True)
        post = await self._show(job, opened, reply)
        reason = turn.undelivered.dead_letter if turn.undelivered is not None else ""
        turn = outcomes.shown(turn, post, claim.attempt + claim.failures)
        final = CommitRequest(turn=turn, place=place, dead_letter_reason=reason)
        telemetry.DEAD_LETTERS.inc(bool(reason))
        await self._commit(job, turn, final)
        if reason:  # what its attempts cost was booked with them; the request is still reserved
            await best_effort(self._charges.give_back(turn.received.user.tenant, job.event_id))

    async def fail(self, job: Job, text: str, reason: str) -> CommitRequest | None:
        """Show that a question can't be answered. None if that has to wait for the platform: it is stored then.

        Returns what to commit. Raises only LeaseLost and StateUnavailable.
        """
        request = outcomes.failure(job.claim, text, reason)
        if (turn := request.turn) is None:
            return request
        private = turn.reply.private or job.private
        addressing = turn.addressing or job.addressing
        turn = replace(turn, addressing=addressing, reply=replace(turn.reply, private=private))
        job.post = job.post or turn.post
        reply = await self._engine.with_images(job.claim.conversation, turn.reply)
        try:
            post = await job.show_result(self._find, turn.received.address, reply)
        except PlatformUnavailable as error:
            log.warning("A person can't be told yet that their question is not answered: %s", error)
            if _delay_s(job.claim, error) is not None:
                waiting = outcomes.pending(turn, job.post, job.claim, reason)
                await job.store_reply(CommitRequest(turn=waiting, place=request.place))
                await self.postpone(job, error)
                return None
            post = job.post and outcomes.without_streamed(job.post)
        return dataclasses.replace(request, turn=replace(turn, post=post, attempts=job.claim.attempt))

    async def postpone(self, job: Job, error: PlatformUnavailable) -> bool:
        """Release the event until the platform may be available again; False if that takes too long."""
        delay = _delay_s(job.claim, error)
        if delay is None:
            return False
        log.warning("The platform is unavailable, trying again in %.1f s: %s", delay, error)
        telemetry.RETRIES.labels(type(error).__name__).inc()
        await job.release(delay, platform=True)
        return True

    async def give_up(self, job: Job, reply: CommitRequest, reason: str, text: str) -> None:
        """Move an event whose reply can't be delivered to the dead letters. The reply is kept for a retry of it.

        The person is shown `text`, if it is not empty and the platform allows it.
        """
        turn = reply.turn
        assert turn is not None and turn.undelivered is not None  # noqa: S101, PT018 - it was stored as such
        if text:
            try:
                await job.show_result(self._find, turn.received.address, Reply(text=tr(text)))
            except PlatformUnavailable as error:
                log.error("The person could not be told that their answer is not shown: %s", error)
        kept = None if turn.undelivered.dead_letter else turn.undelivered
        log.error("A reply in %s could not be delivered: %s", job.claim.conversation, reason)
        post = job.post or turn.post
        turn = replace(turn, post=post and outcomes.without_streamed(post), undelivered=kept)
        await self._commit(job, turn, _with(reply, turn, reason))

    async def _show(self, job: Job, opened: Awaitable[PostedMessage], reply: Reply) -> PostedMessage:
        try:
            post = await opened
            job.post = job.post or post
            return await self._find(job.claim.conversation).close(post, reply)
        except PlatformUnavailable as error:
            job.post = error.post or job.post
            raise

    async def _stored(self, storing: asyncio.Future[None] | None, request: CommitRequest) -> None:
        """Wait until a reply that could not be shown is stored, and settle what it cost."""
        if storing is None:
            return
        await asyncio.wait([storing])
        storing.result()
        if request.charge is not None:
            await best_effort(self._charges.settle(request.charge))

    async def _commit(self, job: Job, turn: Turn, request: CommitRequest) -> None:
        await job.commit(_with(request, turn, request.dead_letter_reason))
        telemetry.count(turn)


def _read(done: asyncio.Future[None]) -> None:
    if not done.cancelled():
        done.exception()


def _with(request: CommitRequest, turn: Turn, reason: str) -> CommitRequest:
    return dataclasses.replace(request, turn=turn if request.turn else None, dead_letter_reason=reason)
