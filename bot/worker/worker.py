"""Answers pending events, one per conversation at a time, and commits the turns.

All errors end here, in one `except` for each branch of `bot.domain.errors`.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from bot.conversation.answer_context import AnswerContext
from bot.conversation.commands.answers import AgainCommand
from bot.conversation.engine import Engine
from bot.conversation.personal_data import find
from bot.domain import formats, telemetry
from bot.domain.adapter import (
    Adapter,
    HasSurface,
    KnowsInstallations,
    KnowsSenders,
    PartialImageSink,
    StillServed,
    StreamRecorder,
    current_lease,
)
from bot.domain.errors import (
    ConfigError,
    LeaseLost,
    ModelBusy,
    PlatformUnavailable,
    StateUnavailable,
    Unavailable,
)
from bot.domain.events import (
    Address,
    AppUninstalled,
    FeedbackGiven,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    MessageWithdrawn,
    PostedMessage,
    now,
)
from bot.domain.prompts import Image
from bot.domain.turns import Turn
from bot.domain.words import tr, write_for
from bot.storage.live.live_view import LiveView, RunningAnswer
from bot.storage.queue.inbox import Claim, CommitRequest, Inbox
from bot.storage.usage.charges import Charges, charge_of
from bot.worker import outcomes
from bot.worker.delivery import Delivery
from bot.worker.job import Job, best_effort
from bot.worker.poison_messages import LATER_S, Suspects
from bot.worker.poller import Poller
from bot.worker.uninstall import Uninstaller
from bot.worker.watchdog import working_on

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """Limits of a worker: `concurrency` turns at once, `tenant_concurrency` of them of one tenant (None: as many),
    `attempts` per event, leases of `lease_s` seconds.

    After the request to stop, running turns get `drain_s` seconds; then they are handed over.
    """

    concurrency: int
    attempts: int
    lease_s: float
    drain_s: float
    tenant_concurrency: int | None = None


OPEN_PATIENCE_S = 5.0
"""How long an answer waits to be shown while it is generated; then it is generated without being shown."""
_BACKOFF_S = (1, 2, 5, 10, 20, 40, 60)
_PATIENCE_S = 120.0
"""The longest `retry_after_s` for which an event waits; after a longer one it goes to the dead letters."""

_BUSY_S = 1800.0
"""How long a question waits for a busy model, whose waits use up no attempts."""


class Worker:
    """Claims and answers events until it is stopped; then drains."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        engine: Engine,
        charges: Charges,
        uninstaller: Uninstaller,
        live_view: LiveView,
        adapters: Mapping[str, Adapter],
        limits: WorkerLimits,
    ) -> None:
        self._inbox = inbox
        self._engine = engine
        self._charges = charges
        self._uninstaller = uninstaller
        self._live_view = live_view
        self._adapters = adapters
        self._delivery = Delivery(engine, charges, self._adapter)
        self._limits = limits
        self._jobs: dict[str, Job] = {}
        self._poller = Poller(
            inbox,
            limits.concurrency,
            begin=self._begin,
            stop=self._stop,
            tenant_places=limits.tenant_concurrency,
        )
        self.suspects = Suspects(self._jobs, self._poller, limits.attempts)

    async def run(self, until: asyncio.Event) -> None:
        """Work until the event is set, then drain."""
        background = [
            asyncio.create_task(self._renew_leases()),
            asyncio.create_task(self._live_view.publish(self.running_answers)),
        ]
        ended = asyncio.Event()
        settling = asyncio.create_task(self._charges.run(ended))
        try:
            await self._poller.run(until)
            await self._drain()
        finally:
            for task in background:
                task.cancel()
            for job in list(self._jobs.values()):
                if job.task is not None:
                    job.task.cancel()
            ended.set()
            await asyncio.gather(*background, settling, return_exceptions=True)

    def running_answers(self) -> list[RunningAnswer]:
        """The answers in progress, for the live view."""
        return [answer for job in self._jobs.values() if (answer := job.running_answer()) is not None]

    def _begin(self, claim: Claim, requested_at: float) -> asyncio.Task[None]:
        job = Job(self._inbox, claim, self._limits.lease_s, requested_at)
        self._jobs[claim.conversation] = job
        job.task = working_on(claim.conversation, self._work(job))
        return job.task

    def _stop(self, request: str) -> None:
        conversation, _, rest = request.partition("\n")
        job = self._jobs.get(conversation)
        if job is not None:
            job.apply_stop(rest)

    async def _drain(self) -> None:
        """Let running turns end within `drain_s`, then cancel the rest, which releases them."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._limits.drain_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _renew_leases(self) -> None:
        while True:
            await asyncio.sleep(self._limits.lease_s / 3)
            await asyncio.gather(*(job.renew() for job in self._jobs.values() if not job.ended))

    # -------------------------------------------------------------- one event

    async def _work(self, job: Job) -> None:
        claim = job.claim
        current_lease.set(job.lease)
        telemetry.progress.set(job.progress)
        _write_for_the_person(claim)
        telemetry.bind(turn=claim.event.id if claim.event else "", conversation=claim.conversation)
        telemetry.WAIT_SECONDS.observe(claim.waited_ms / 1000)
        telemetry.RUNNING.inc()
        try:
            if reason := self.suspects.verdict(claim):
                await self._dead_letter(job, reason)
            elif not await self.suspects.admit(job):
                await job.release(LATER_S, counted=False)
            else:
                await self._booked_attempt(job)
        except LeaseLost:
            await job.forgive()
            telemetry.LEASES_LOST.inc()
            log.warning("Another worker has taken over this conversation")
        except StateUnavailable as error:
            log.warning("The attempt is postponed until Redis is available: %s", error)
            job.lease.end(time.monotonic())
            self._poller.give_back(claim)
        except Unavailable as error:
            await self._retry(job, error)
        except ConfigError as error:
            log.error("The configuration must be corrected before this can be answered: %s", error)
            await self._give_up(job, str(error), undelivered="")
        except asyncio.CancelledError:
            await job.release(0, counted=False)
            raise
        except Exception as error:
            log.exception("An attempt failed with an unexpected error")
            await self._retry(job, Unavailable(f"{type(error).__name__}: {error}"))
        finally:
            await self._ended(job)

    async def _ended(self, job: Job) -> None:
        telemetry.RUNNING.dec()
        self.suspects.finished(job)
        telemetry.called(job.calls.usage)
        if self._jobs.get(job.claim.conversation) is job:
            del self._jobs[job.claim.conversation]

    async def _booked_attempt(self, job: Job) -> None:
        """Book an attempt that fails before its event is released: the next one would book it as estimated."""
        try:
            await self._attempt(job)
        except BaseException:
            await self._book_attempt(job)
            raise

    async def _book_attempt(self, job: Job) -> None:
        """Count the calls of an attempt that stored no reply, also if it made none of those that were reserved."""
        if job.unbooked is not None:
            template = job.progress.template
            charge = charge_of(job.unbooked, job.event_id, template, job.calls, turns=0, payer=job.payer)
            job.unbooked = None
            await best_effort(self._charges.book_attempt(charge))

    async def _attempt(self, job: Job) -> None:
        claim = job.claim
        match claim.event:
            case MessageReceived() | MessageEdited() if (place := claim.reply_place) is not None:
                await self._delivery.again(job, place)
            case MessageReceived():
                await self._received(job, claim.event)
            case MessageEdited():
                await self._edited(job, claim.event)
            case MessageDeleted():
                await self._engine.changed(claim.conversation, claim.turns)
                await job.commit(outcomes.delete(claim.turns, claim.event))
            case FeedbackGiven():
                await job.commit(outcomes.rate(claim.turns, claim.event))
            case MessageWithdrawn():
                await job.withdraw(self._adapter, claim.event)
                await best_effort(self._charges.give_back(claim.event.user.tenant, claim.event.id))
            case AppUninstalled():
                adapter = self._adapters.get(claim.event.address.adapter)
                served = StillServed()
                if isinstance(adapter, KnowsInstallations):
                    served = await adapter.still_served(claim.event)
                await self._uninstaller.uninstall(claim.event, served)
                await job.commit(CommitRequest())
            case None:
                await self._dead_letter(
                    job, "The event can't be decoded. It may come from another version of Parley."
                )
            case _:
                await job.commit(CommitRequest())

    async def _received(self, job: Job, event: MessageReceived) -> None:
        """Answer a message or, for the command `again`, an earlier one. Some messages get no answer."""
        turns = job.claim.turns
        received = outcomes.restored(turns, event)
        if received is None:
            await job.commit(CommitRequest())
            return
        speak = job.claim.others_speak
        decision = await self._engine.should_answer(received, turns, others_speak=speak)
        if not decision.answer:
            await job.commit(CommitRequest(unanswered=decision.reason, others_speak=decision.opens))
            return
        job.private, job.addressing = decision.private, decision.reason
        if received.superseded and self._engine.command(received) is None:
            await self._skip_superseded(job, received)
            return
        command, post = self._engine.command(received) or (None, "")
        before = find(turns, post) if isinstance(command, AgainCommand) else None
        if before is None or not self._engine.may(received.user, before):
            await self._answer(job, received, turns, None)
            return
        place = turns.index(before) - len(turns)
        job.post, job.private = job.post or before.post, before.reply.private
        job.addressing = before.addressing
        await self._answer(job, before.received, turns[:place], place)

    async def _skip_superseded(self, job: Job, received: MessageReceived) -> None:
        """Commit a superseded question without an answer. If one was begun, it is replaced with a note."""
        turn = outcomes.superseded(replace(received, superseded=False))
        turn = replace(turn, addressing=job.addressing)
        if job.post is not None or job.claim.retry:
            post = await job.show_result(self._adapter, received.address, turn.reply)
            turn = replace(turn, post=post, attempts=job.claim.attempt)
        await job.commit(CommitRequest(turn=turn))
        await best_effort(self._charges.give_back(received.user.tenant, received.id))

    async def _edited(self, job: Job, edited: MessageEdited) -> None:
        """Answer an edited question again, with the history before it, and edit the answer in place."""
        turns = job.claim.turns
        place = outcomes.place_of(turns, edited.target)
        if place is None:
            await job.commit(CommitRequest())
            return
        before = turns[place]
        if not edited.changes(before.received):
            await job.commit(CommitRequest())
            return
        await self._engine.changed(job.claim.conversation, turns)
        job.post = job.post or before.post
        received = edited.applied_to(before.received)
        job.addressing = before.addressing
        job.private = (await self._engine.should_answer(received, turns[:place])).private
        await self._answer(job, received, turns[:place], place)

    async def _answer(
        self, job: Job, received: MessageReceived, turns: tuple[Turn, ...], place: int | None
    ) -> None:
        """Open a post and answer at the same time, then commit. `place` is the turn to replace, from the end."""
        adapter, job.unbooked = self._adapter(received.address.conversation), received
        opened = asyncio.ensure_future(self._open(job, adapter, received.address))

        async def show(text: str) -> bool:
            job.progress.text = text
            post = await _opened(opened, job)
            return post is None or job.private or await adapter.update(post, text)

        async def on_partial_image(picture: Image) -> None:
            post = await _opened(opened, job)
            if isinstance(adapter, PartialImageSink) and post is not None and not job.private:
                await adapter.show_partial_image(post, picture)

        context = AnswerContext(
            show=show,
            fetch=adapter.fetch,
            stop=job.stop,
            read_thread=partial(adapter.context, received.address),
            read_linked=partial(adapter.linked, received.address),
            on_partial_image=on_partial_image if isinstance(adapter, PartialImageSink) else None,
            erasures=job.claim.erasures,
            addressing=job.addressing,
            private=job.private,
            calls=job.calls,
            payer=job.payer,
            surface=adapter.surface if isinstance(adapter, HasSurface) else "",
        )
        try:
            received = await _with_sender(adapter, received)
            builder = await self._engine.answer(received, turns, context, job.event_id)
        except BaseException:
            # The post must be recorded, so that it can show the error.
            await asyncio.wait([opened])
            opened.exception()
            raise
        await self._delivery.first(job, builder, opened, place)

    async def _open(self, job: Job, adapter: Adapter, address: Address) -> PostedMessage:
        claim = job.claim
        post = await adapter.open(address, job.post, claim.retry)
        if post != claim.begun:
            await job.retry_while_leased(lambda: job.hold(post))
        job.post = post
        if isinstance(adapter, StreamRecorder):
            adapter.record_in(post, job)
        return post

    # -------------------------------------------------------------- failures

    async def _retry(self, job: Job, error: Unavailable) -> None:
        """Release the event for a later attempt, or give up after the last one."""
        if isinstance(error, PlatformUnavailable) and not error.permanent:
            await self._retry_delivery(job, error)
            return
        claim = job.claim
        reason = type(error).__name__
        free = _waits_freely(claim, error)
        attempt = claim.counted_attempts
        # An attempt that generated the reply is the first at delivering it.
        attempt = 1 if job.reply is not None and claim.reply_place is None else attempt
        if not free and (attempt >= self._limits.attempts or (error.retry_after_s or 0) > _PATIENCE_S):
            log.error("Attempt %d failed, giving up: %s", attempt, error)
            await self._give_up(job, str(error))
            return
        delay = error.retry_after_s or _BACKOFF_S[min(attempt, len(_BACKOFF_S)) - 1]
        log.warning("Attempt %d failed, retrying in %.1f s: %s", attempt, delay, error)
        telemetry.RETRIES.labels(reason).inc()
        generating = job.reply is None and not isinstance(error, PlatformUnavailable) and not job.private
        if job.post is not None and generating and round(delay) >= 2:
            notice = tr("_The model is busy. I'll retry in about {delay}._", delay=formats.duration(delay))
            await self._adapter(claim.conversation).update(job.post, notice)
        await job.release(delay, counted=not free)

    async def _retry_delivery(self, job: Job, error: PlatformUnavailable) -> None:
        """Release the event until the platform may be available again; the attempt does not count."""
        if not await self._delivery.postpone(job, error):
            log.error("The platform has been unavailable for too long, giving up: %s", error)
            await self._give_up(job, str(error), undelivered="")

    async def _give_up(self, job: Job, reason: str, undelivered: str = outcomes.UNDELIVERED_TEXT) -> None:
        await best_effort(self._dead_letter(job, reason, outcomes.UNAVAILABLE_TEXT, undelivered))

    async def _dead_letter(
        self,
        job: Job,
        reason: str,
        text: str = outcomes.FAILED_TEXT,
        undelivered: str = outcomes.UNDELIVERED_TEXT,
    ) -> None:
        """Move the event to the dead letters with the reason, and show the person `text`.

        If the reply is finished, and only its delivery failed, it is kept, and the person is shown `undelivered`.
        """
        claim = job.claim
        place, reply = claim.reply_place, job.reply
        if reply is None and place is not None:
            reply = CommitRequest(turn=claim.turns[place], place=place)
        if reply is not None:
            telemetry.DEAD_LETTERS.inc()
            await self._delivery.give_up(job, reply, reason, undelivered)
            return
        request = await self._delivery.fail(job, text, reason)
        if request is None:
            return
        telemetry.DEAD_LETTERS.inc()
        await self._book_attempt(job)
        await job.commit(request)
        if claim.event is not None:
            await best_effort(self._charges.give_back(claim.event.user.tenant, claim.event.id))

    def _adapter(self, conversation: str) -> Adapter:
        name = conversation.partition(":")[0]
        adapter = self._adapters.get(name)
        if adapter is None:
            raise ConfigError(f"An event came from {name}, for which this worker has no settings.")
        return adapter


async def _with_sender(adapter: Adapter, received: MessageReceived) -> MessageReceived:
    """The message with what its platform knows of the sender, for whom everything is worded from now on."""
    if isinstance(adapter, KnowsSenders):
        received = await adapter.with_sender(received)
        write_for(received.user.locale, received.user.zone)
    return received


def _write_for_the_person(claim: Claim) -> None:
    """Word everything for the asker. Only the question of an edited message may say who that is."""
    if claim.event is None:
        return
    user = claim.event.user
    if not user.locale:
        known = (turn.received.user for turn in reversed(claim.turns))
        user = next((each for each in known if each.locale and each.is_same(user)), user)
    write_for(user.locale, user.zone)


def _waits_freely(claim: Claim, error: Unavailable) -> bool:
    """Whether waiting uses up no attempt: the model asked for it, and the question is not too old."""
    if not isinstance(error, ModelBusy) or not isinstance(claim.event, MessageReceived):
        return False
    return (now() - claim.event.at).total_seconds() < _BUSY_S


async def _opened(opening: asyncio.Future[PostedMessage], job: Job) -> PostedMessage | None:
    """The message of an answer, within OPEN_PATIENCE_S of the beginning of the job.

    None if the platform can't show one now: the answer is generated all the same. Raises LeaseLost and
    StateUnavailable.
    """
    if not opening.done():
        await asyncio.wait([opening], timeout=max(0.0, job.began_at + OPEN_PATIENCE_S - time.monotonic()))
    try:
        return opening.result() if opening.done() else None
    except (LeaseLost, StateUnavailable):
        raise
    except Exception as error:
        log.debug("An answer is not shown while it is generated: %s", error)
        return None
