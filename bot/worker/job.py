"""A claim in progress: its lease, its post, and requests to stop."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from msgspec import structs

from bot.domain import telemetry
from bot.domain.adapter import Adapter, Lease
from bot.domain.calls import CallLog
from bot.domain.errors import LeaseLost, PlatformUnavailable, StateUnavailable
from bot.domain.events import Address, MessageEdited, MessageReceived, MessageWithdrawn, PostedMessage, User
from bot.domain.turns import Reply
from bot.domain.words import marked, tr
from bot.generation.turn_builder import Stop
from bot.storage.live.live_view import TEXT_SHOWN, RunningAnswer
from bot.storage.queue.inbox import Claim, CommitRequest, Inbox
from bot.worker.outcomes import without_streamed

log = logging.getLogger(__name__)

FORGOTTEN = marked("_Not answered: the person who asked has deleted all their data._")
DELIVERY_S = 12 * 3600.0
"""How long a reply is delivered again while its platform is unavailable, or asks to wait. Twice as long fits into
the life of a lease, and of the record of handled events (`bot.storage.redis.keys`)."""
_PAUSE_S = 0.3
_USABLE = 0.9
"""The part of a lease in which requests are sent to a platform, so that they arrive before it ends."""


class Job:
    """Holds the lease of a claim while it is worked on.

    `post` is None until the platform shows one. `ended` is true after the commit, which also ends the lease.
    `reply` is the finished reply that is stored, and not delivered yet. `private`: only the asker may see it;
    `addressing` is why the message is answered. `calls` are the provider calls of this attempt; `unbooked` is the
    question for which they are made, until they are stored with its reply.
    The methods raise LeaseLost and StateUnavailable, except `release`.
    """

    def __init__(self, inbox: Inbox, claim: Claim, lease_s: float, requested_at: float) -> None:
        """`requested_at` is when the claim was requested, in seconds of `time.monotonic()`."""
        self._inbox = inbox
        self._lease_s = lease_s
        self._requested_at = requested_at
        self.began_at = time.monotonic()
        self.progress = telemetry.AnswerProgress()
        self.claim = claim
        self.lease = Lease(requested_at + lease_s * _USABLE)
        self.stop = Stop()
        self.post: PostedMessage | None = claim.begun
        self.task: asyncio.Task[None] | None = None
        self.ended = False
        self.alone = False
        self.private, self.addressing = False, ""
        self.reply: CommitRequest | None = None
        self.calls = CallLog()
        self.unbooked: MessageReceived | None = None
        self._recorded = claim.begun
        self._forgiven = False
        self.apply_stop(claim.stop)

    @property
    def event_id(self) -> str:
        """The id of the event that is worked on; empty if it can't be decoded."""
        return self.claim.event.id if self.claim.event is not None else ""

    @property
    def payer(self) -> User | None:
        """Who caused the event, and pays for its calls."""
        return self.claim.event.user if self.claim.event is not None else None

    def apply_stop(self, request: str) -> None:
        """Stop if the request is for this event."""
        event, _, why = request.partition("\n")
        if self.claim.event is not None and self.claim.event.id == event:
            self.stop.request(why)

    def running_answer(self) -> RunningAnswer | None:
        """The progress for the live view; None for events that are not answered."""
        event = self.claim.event
        if not isinstance(event, MessageReceived | MessageEdited):
            return None
        return RunningAnswer(
            conversation=self.claim.conversation,
            event=event.id,
            adapter=event.address.adapter,
            channel="" if not isinstance(event, MessageReceived) or event.direct else event.channel,
            person=event.user.name or event.user.id,
            asked=event.text[:TEXT_SHOWN],
            template=self.progress.template,
            deployment=self.progress.deployment,
            attempt=self.claim.attempt,
            for_s=round(time.monotonic() - self._requested_at, 1),
            text=self.progress.text[-TEXT_SHOWN:],
        )

    async def hold(self, post: PostedMessage | None = None) -> None:
        """Renew the lease, and record the post if one is given."""
        requested_at = time.monotonic()
        self.apply_stop(await self._inbox.hold(self.claim, post))
        self._recorded = post or self._recorded
        self.lease.extend(requested_at + self._lease_s * _USABLE)

    async def record(self, post: PostedMessage) -> bool:
        """Record what is about to be streamed (`StreamRecord`). Never raises; False if it could not be stored."""
        try:
            await self.hold(post)
        except (LeaseLost, StateUnavailable) as error:
            log.warning("An update of an answer is not shown, because it can't be recorded: %s", error)
            return False
        self.post = post
        return True

    async def store_reply(self, request: CommitRequest) -> None:
        """Store a finished reply before it is delivered."""
        await self.retry_while_leased(lambda: self._inbox.store_reply(self.claim, request))
        self.reply, self.unbooked = replace(request, stored=True), None

    async def record_alone(self, alone: bool) -> None:
        """Record whether this is the only job of the process."""
        self.alone = alone
        self.apply_stop(await self._inbox.hold(self.claim, alone=alone))

    async def forgive(self) -> None:
        """Tell the inbox that this process did not crash, although another worker has the lease now."""
        if not self._forgiven:
            self._forgiven = True
            await best_effort(self._inbox.forgive(self.claim))

    async def renew(self) -> None:
        """Renew the lease; cancel the work if it is lost."""
        try:
            await self.hold()
        except LeaseLost:
            if self.task is not None and not self.ended:
                await self.forgive()
                self.task.cancel()
        except StateUnavailable as error:
            log.warning("A lease could not be renewed: %s", error)

    async def release(self, delay_s: float, *, counted: bool = True, platform: bool = False) -> None:
        """Release the claim, to be due again in `delay_s`. `counted`: the attempt counts.

        `platform`: it failed because the platform was unavailable, which is counted apart.
        """
        self.lease.end(time.monotonic() + delay_s)
        post = self.post if self.post != self._recorded else None
        counted = counted and not platform
        await best_effort(
            self._inbox.release(self.claim, delay_s, counted=counted, post=post, platform=platform)
        )

    async def commit(self, commit_request: CommitRequest) -> None:
        await self.retry_while_leased(lambda: self._inbox.commit(self.claim, commit_request))
        self.ended, self.unbooked = True, None
        self.lease.keep()

    async def show_result(
        self, find: Callable[[str], Adapter], address: Address, reply: Reply
    ) -> PostedMessage | None:
        """Try to show the person a reply; returns its post as turns store it. Other errors are only logged.

        Raises PlatformUnavailable if the platform may show it later.
        """
        try:
            adapter = find(address.conversation)
            # An earlier attempt may have opened a message: continue that one.
            self.post = await adapter.open(address, self.post, True)
            reply = structs.replace(reply, private=True) if self.private else reply
            self.post = await adapter.close(self.post, reply)
        except Exception as error:
            if isinstance(error, PlatformUnavailable):
                self.post = error.post or self.post
                if not error.permanent and self.claim.unreachable_s + (error.retry_after_s or 0) < DELIVERY_S:
                    raise
            log.warning("The result could not be shown to the person: %s", error)
        return self.post and without_streamed(self.post)

    async def withdraw(self, find: Callable[[str], Adapter], event: MessageWithdrawn) -> None:
        """End a message whose author has since deleted all their data."""
        if event.asked or self.post is not None:
            await self.show_result(find, event.address, Reply(text=tr(FORGOTTEN)))
        await self.commit(CommitRequest())

    async def retry_while_leased(self, act: Callable[[], Awaitable[None]]) -> None:
        """Store what people already see: retry while Redis is unavailable and the lease lasts."""
        logged = False
        while True:
            try:
                return await act()
            except StateUnavailable as error:
                if time.monotonic() + _PAUSE_S >= self.lease.until:
                    raise
                if not logged:
                    log.warning("An answer that is shown can't be stored yet: %s", error)
                logged = True
            await asyncio.sleep(_PAUSE_S)


async def best_effort(act: Awaitable[None]) -> None:
    """Log LeaseLost and StateUnavailable instead of raising them; the lease will expire."""
    try:
        await act
    except (LeaseLost, StateUnavailable) as error:
        log.warning("Skipped until the lease expires: %s", error)
