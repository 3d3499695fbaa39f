"""Takes waiting events, one per conversation at a time, has them answered, and writes the turns down.

Every way in which an answer can fail ends here, in one `except` for each branch of the tree of errors.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from msgspec.structs import replace

from bot.conversation import preferences
from bot.conversation.engine import Around, Engine
from bot.domain import telemetry
from bot.domain.adapter import Adapter, Easel, speaking
from bot.domain.errors import ConfigError, LeaseLost, PlatformUnavailable, StateUnavailable, Unavailable
from bot.domain.events import Address, Deleted, Departed, Edited, Post, Rated, Said, Withdrawn
from bot.domain.prompts import Image
from bot.domain.turns import Reply, Turn
from bot.generation.turn_builder import Draft
from bot.storage.live.live_view import Scene, Stage
from bot.storage.queue.inbox import Claim, Inbox, Written
from bot.storage.usage.charges import Bills
from bot.worker import outcomes
from bot.worker.job import Running, quietly
from bot.worker.poison_messages import LATER_S, Suspects
from bot.worker.poller import Rota
from bot.worker.watchdog import working_on

log = logging.getLogger(__name__)

Depart = Callable[[Departed], Awaitable[None]]
"""Does what the operator wants done when the bot is taken away from a place."""

_BACKOFF_S = (1, 2, 5, 10, 20, 40, 60)
_PATIENCE_S = 120.0
"""The longest that a person is asked to wait for a deployment that says when it is back."""


class Worker:
    """Claims and answers until told to stop; then drains.

    `concurrency` turns run at once; `attempts` bounds how often an event is tried; `drain_s` is how long
    running turns may go on after the wish to stop, before they are handed over to another worker.
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        engine: Engine,
        bills: Bills,
        depart: Depart,
        stage: Stage,
        adapters: Mapping[str, Adapter],
        concurrency: int,
        attempts: int,
        lease_s: float,
        drain_s: float,
    ) -> None:
        self._inbox = inbox
        self._engine = engine
        self._bills = bills
        self._depart = depart
        self._stage = stage
        self._adapters = adapters
        self._attempts = attempts
        self._lease_s = lease_s
        self._drain_s = drain_s
        self._running: dict[str, Running] = {}
        self._rota = Rota(inbox, concurrency, begin=self._begin, stop=self._stop)
        self.suspects = Suspects(self._running, self._rota, attempts)

    async def run(self, until: asyncio.Event) -> None:
        """Work until the event is set, then drain."""
        beside = [asyncio.create_task(self._keep()), asyncio.create_task(self._stage.tell(self.scenes))]
        ended = asyncio.Event()
        settling = asyncio.create_task(self._bills.run(ended))
        try:
            await self._rota.run(until)
            await self._drain()
        finally:
            for task in beside:
                task.cancel()
            for running in list(self._running.values()):
                if running.task is not None:
                    running.task.cancel()
            ended.set()
            await asyncio.gather(*beside, settling, return_exceptions=True)

    def scenes(self) -> list[Scene]:
        """What is being answered here now."""
        return [scene for running in self._running.values() if (scene := running.scene()) is not None]

    def _begin(self, claim: Claim, asked_at: float) -> asyncio.Task[None]:
        running = Running(self._inbox, claim, self._lease_s, asked_at)
        self._running[claim.conversation] = running
        running.task = working_on(claim.conversation, self._work(running))
        return running.task

    def _stop(self, wish: str) -> None:
        conversation, _, rest = wish.partition("\n")
        running = self._running.get(conversation)
        if running is not None:
            running.heed(rest)

    async def _drain(self) -> None:
        """Let running turns end within `drain_s`; hand the rest over at once."""
        tasks = [running.task for running in self._running.values() if running.task is not None]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._drain_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _keep(self) -> None:
        """Renew every lease while its turn runs; drop the turn whose lease is lost."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            await asyncio.gather(*(one.renew() for one in self._running.values() if not one.ended))

    # -------------------------------------------------------------- one event

    async def _work(self, running: Running) -> None:
        """One attempt at one event, and what its failure means."""
        claim = running.claim
        speaking.set(running.floor)
        telemetry.sight.set(running.sight)
        telemetry.bind(turn=claim.event.id if claim.event else "", conversation=claim.conversation)
        telemetry.WAIT_SECONDS.observe(claim.waited_ms / 1000)
        telemetry.RUNNING.inc()
        try:
            if reason := self.suspects.verdict(claim):
                await self._bury(running, reason)
            elif not await self.suspects.admit(running):
                await running.release(LATER_S, counted=False)
            else:
                await self._attempt(running)
        except LeaseLost:
            await running.forgive()
            telemetry.LEASES_LOST.inc()
            log.warning("Another worker has taken this conversation over")
        except StateUnavailable as error:
            log.warning("Left for later, when Redis is back: %s", error)
            running.floor.end(time.monotonic())
            self._rota.give_back(claim)
        except Unavailable as error:
            await self._retry(running, error)
        except ConfigError as error:
            log.error("This can't be answered until the operator acts: %s", error)
            await self._give_up(running, str(error))
        except asyncio.CancelledError:
            await running.release(0, counted=False)
            raise
        except Exception as error:
            log.exception("An attempt failed in an unforeseen way")
            await self._retry(running, Unavailable(f"{type(error).__name__}: {error}"))
        finally:
            telemetry.RUNNING.dec()
            self.suspects.left(running)
            if self._running.get(claim.conversation) is running:
                del self._running[claim.conversation]

    async def _attempt(self, running: Running) -> None:
        claim = running.claim
        match claim.event:
            case Said():
                await self._said(running, claim.event)
            case Edited():
                await self._answer_again(running, claim.event)
            case Deleted():
                await self._engine.changed(claim.conversation, claim.turns)
                await running.commit(outcomes.delete(claim.turns, claim.event))
            case Rated():
                await running.commit(outcomes.rate(claim.turns, claim.event))
            case Withdrawn():
                await running.withdraw(self._adapter, claim.event)
                await quietly(self._bills.give_back(claim.event.user.tenant, claim.event.id))
            case Departed():
                await self._depart(claim.event)
                await running.commit(Written())
            case None:
                await self._bury(running, "It can't be read: another version of Parley may have written it.")
            case _:
                await running.commit(Written())

    async def _said(self, running: Running, event: Said) -> None:
        """Answer what was said, or what was said before that; or nothing, where people want that."""
        turns = running.claim.turns
        said = outcomes.restored(turns, event)
        if said is None or not await self._engine.heeds(said):
            await running.commit(Written())
            return
        if said.superseded and self._engine.command(said) is None:
            await self._pass_over(running, said)
            return
        word, post = self._engine.command(said) or ("", "")
        before = preferences.find(turns, post) if word == "again" else None
        if before is None or not self._engine.may(said.user, before):
            await self._answer(running, said, turns, None)
            return
        place = turns.index(before) - len(turns)
        running.post = running.post or before.post
        await self._answer(running, before.said, turns[:place], place)

    async def _pass_over(self, running: Running, said: Said) -> None:
        """Write down what the same person's next words stand for; an answer that was begun says so."""
        turn = outcomes.overtaken(replace(said, superseded=False))
        if running.post is not None or running.claim.attempt > 1:
            turn = await self._last_words(running, turn)
        await running.commit(Written(turn=turn))
        await quietly(self._bills.give_back(said.user.tenant, said.id))

    async def _answer_again(self, running: Running, edited: Edited) -> None:
        """Rerun an edited question with what was said before it, and edit the answer in place."""
        turns = running.claim.turns
        place = outcomes.place_of(turns, edited.target)
        if place is None:
            await running.commit(Written())
            return
        before = turns[place]
        await self._engine.changed(running.claim.conversation, turns)
        running.post = running.post or before.post
        said = replace(before.said, text=edited.text)
        await self._answer(running, said, turns[:place], place)

    async def _answer(self, running: Running, said: Said, turns: tuple[Turn, ...], place: int | None) -> None:
        """Open a post and compose the answer side by side; show it growing; close; write it down."""
        adapter = self._adapter(said.address.conversation)
        opening = asyncio.ensure_future(self._open(running, adapter, said.address))

        async def show(text: str) -> bool:
            running.sight.text = text
            return await adapter.update(
                opening.result() if opening.done() else await asyncio.shield(opening), text
            )

        async def glimpse(picture: Image) -> None:
            if isinstance(adapter, Easel):
                await adapter.sketch(await asyncio.shield(opening), picture)

        around = Around(
            show=show,
            fetch=adapter.fetch,
            stop=running.stop,
            context=partial(adapter.context, said.address),
            glimpse=glimpse if isinstance(adapter, Easel) else None,
            erasures=running.claim.erasures,
        )
        event = running.claim.event.id if running.claim.event else ""
        try:
            draft = await self._engine.answer(said, turns, around, event)
        finally:
            # Also when the engine failed: a post that was begun is written down, and said what happened on.
            await asyncio.wait([opening])
            opening.exception()
        await self._write(running, adapter, draft, opening.result(), place)

    async def _open(self, running: Running, adapter: Adapter, address: Address) -> Post:
        claim = running.claim
        post = await adapter.open(address, running.post, claim.attempt > 1)
        if post != claim.begun:
            await running.patiently(lambda: running.hold(post))
        running.post = post
        return post

    async def _write(
        self, running: Running, adapter: Adapter, draft: Draft, post: Post, place: int | None
    ) -> None:
        claim, turn = running.claim, draft.done()
        if place is not None:
            turn = outcomes.anew(turn, claim.turns[place])
        post = await adapter.close(post, turn.reply)
        turn = outcomes.shown(turn, post, claim.attempt)
        written = outcomes.written(draft, turn, place)
        await running.commit(written)
        telemetry.count(turn)
        if written.bill is not None:
            await quietly(self._bills.settle(written.bill))

    # -------------------------------------------------------------- failures

    async def _retry(self, running: Running, error: Unavailable) -> None:
        """Put the event back for a while, and tell the person how long; give up at the last attempt."""
        claim = running.claim
        reason = type(error).__name__
        if claim.attempt >= self._attempts or (error.retry_after_s or 0) > _PATIENCE_S:
            log.error("Given up after %d attempts: %s", claim.attempt, error)
            await self._give_up(running, str(error))
            return
        delay = error.retry_after_s or _BACKOFF_S[min(claim.attempt, len(_BACKOFF_S)) - 1]
        log.warning("Attempt %d failed, next in %.1f s: %s", claim.attempt, delay, error)
        telemetry.RETRIES.labels(reason).inc()
        if running.post is not None and not isinstance(error, PlatformUnavailable) and round(delay) >= 2:
            words = f"_The model is busy. I'll answer in about {round(delay)} seconds._"
            await self._adapter(claim.conversation).update(running.post, words)
        await running.release(delay)

    async def _give_up(self, running: Running, reason: str) -> None:
        await quietly(self._bury(running, reason, outcomes.GIVEN_UP))

    async def _bury(self, running: Running, reason: str, words: str = outcomes.BURIED) -> None:
        """End an event that can't be answered: tell the person, keep the event and the reason."""
        claim = running.claim
        turn: Turn | None = None
        if isinstance(claim.event, Said):
            turn = await self._last_words(running, outcomes.given_up(claim.event, Reply(text=words), reason))
        telemetry.BURIED.inc()
        await running.commit(Written(turn=turn, buried=reason))
        if claim.event is not None:
            await quietly(self._bills.give_back(claim.event.user.tenant, claim.event.id))

    async def _last_words(self, running: Running, turn: Turn) -> Turn:
        post = await running.tell(self._adapter, turn.said.address, turn.reply)
        return replace(turn, post=post, attempts=running.claim.attempt)

    def _adapter(self, conversation: str) -> Adapter:
        name = conversation.partition(":")[0]
        adapter = self._adapters.get(name)
        if adapter is None:
            raise ConfigError(f"An event came from {name}, which this worker has no settings for.")
        return adapter
