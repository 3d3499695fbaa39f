"""A claim that is being worked on: its lease, its post, a request to stop."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from bot.domain import telemetry
from bot.domain.adapter import Adapter, Lease
from bot.domain.errors import LeaseLost, StateUnavailable
from bot.domain.events import Address, MessageEdited, MessageReceived, MessageWithdrawn, PostedMessage
from bot.domain.turns import Reply
from bot.generation.turn_builder import Stop
from bot.storage.live.live_view import TEXT_SHOWN, RunningAnswer
from bot.storage.queue.inbox import Claim, CommitRequest, Inbox

log = logging.getLogger(__name__)

FORGOTTEN = "_Not answered: everything about the person who asked was deleted before that, at their request._"
_PAUSE_S = 0.3
_SURE = 0.9
"""The part of a lease in which one speaks: what is said must also have arrived before the lease ends."""


class Job:
    """Holds the lease of a claim while it is worked on. `post` is there once there is one; `ended` is true
    once the commit is made, which ends the lease: what is still to be done then is done without one.

    The methods raise LeaseLost and StateUnavailable, but for `release`.
    """

    def __init__(self, inbox: Inbox, claim: Claim, lease_s: float, asked_at: float) -> None:
        """`asked_at` is when the claim was asked for, in seconds of the monotonic clock."""
        self._inbox = inbox
        self._lease_s = lease_s
        self._asked_at = asked_at
        self.progress = telemetry.AnswerProgress()
        self.claim = claim
        self.lease = Lease(asked_at + lease_s * _SURE)
        self.stop = Stop()
        self.post: PostedMessage | None = claim.begun
        self.task: asyncio.Task[None] | None = None
        self.ended = False
        self.alone = False
        self._forgiven = False
        self.apply_stop(claim.stop)

    def apply_stop(self, request: str) -> None:
        """Stop, if the wish is for this event."""
        event, _, why = request.partition("\n")
        if self.claim.event is not None and self.claim.event.id == event:
            self.stop.request(why)

    def running_answer(self) -> RunningAnswer | None:
        """What somebody who looks may see; None for what is not answered."""
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
            for_s=round(time.monotonic() - self._asked_at, 1),
            text=self.progress.text[-TEXT_SHOWN:],
        )

    async def hold(self, post: PostedMessage | None = None) -> None:
        """Keep the lease, in Redis and here."""
        asked_at = time.monotonic()
        self.apply_stop(await self._inbox.hold(self.claim, post))
        self.lease.extend(asked_at + self._lease_s * _SURE)

    async def accompany(self, alone: bool) -> None:
        """Note whether anything else runs in this process."""
        self.alone = alone
        self.apply_stop(await self._inbox.hold(self.claim, alone=alone))

    async def forgive(self) -> None:
        """Somebody else has the lease, and took this process for dead; it is not."""
        if not self._forgiven:
            self._forgiven = True
            await quietly(self._inbox.forgive(self.claim))

    async def renew(self) -> None:
        """Keep the lease; where it is lost, drop the work."""
        try:
            await self.hold()
        except LeaseLost:
            if self.task is not None and not self.ended:
                await self.forgive()
                self.task.cancel()
        except StateUnavailable as error:
            log.warning("A lease could not be renewed: %s", error)

    async def release(self, delay_s: float, *, counted: bool = True) -> None:
        """Give the lease back; here it ends before anybody else can have it."""
        self.lease.end(time.monotonic() + delay_s)
        await quietly(self._inbox.release(self.claim, delay_s, counted=counted))

    async def commit(self, commit_request: CommitRequest) -> None:
        """End the event."""
        await self.patiently(lambda: self._inbox.commit(self.claim, commit_request))
        self.ended = True
        self.lease.keep()

    async def tell(
        self, find: Callable[[str], Adapter], address: Address, reply: Reply
    ) -> PostedMessage | None:
        """Show the person how it ended, as far as the platform lets us; the post that shows it."""
        post = self.post
        try:
            adapter = find(address.conversation)
            # What an earlier process began is taken over as any answer is: found, and continued.
            post = await adapter.open(address, post, True)
            post = await adapter.close(post, reply)
        except Exception as error:
            log.warning("The person could not be told: %s", error)
        return post

    async def withdraw(self, find: Callable[[str], Adapter], event: MessageWithdrawn) -> None:
        """End what was begun for a message whose author was forgotten meanwhile."""
        if event.asked or self.post is not None:
            await self.tell(find, event.address, Reply(text=FORGOTTEN))
        await self.commit(CommitRequest())

    async def patiently(self, act: Callable[[], Awaitable[None]]) -> None:
        """Write down what people see already: again and again while Redis is away and the lease lasts."""
        told = False
        while True:
            try:
                return await act()
            except StateUnavailable as error:
                if time.monotonic() + _PAUSE_S >= self.lease.until:
                    raise
                if not told:
                    log.warning("What was shown can't be written down yet: %s", error)
                told = True
            await asyncio.sleep(_PAUSE_S)


async def quietly(act: Awaitable[None]) -> None:
    """Do something that may fail only because the lease or Redis is gone; then the lease runs out."""
    try:
        await act
    except (LeaseLost, StateUnavailable) as error:
        log.warning("Left for later, when the lease has run out: %s", error)
