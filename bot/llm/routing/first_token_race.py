"""Starts an answer with the first deployment that sends a token, and asks a second one if it is slow."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import cast

from bot.domain import calls
from bot.domain.calls import Call
from bot.domain.errors import BotError, BudgetSpent, ModelUnavailable, RateLimited, TooLong
from bot.domain.prompts import Prompt
from bot.domain.turns import Delta
from bot.llm.protocol import DeploymentBroken, EmptyAnswer, RequestRejected
from bot.llm.routing.attempts import Attempts
from bot.llm.routing.call_stats import CallStats
from bot.llm.routing.candidates import Candidate, most

log = logging.getLogger(__name__)


class StartedAnswer:
    """An answer with its first delta, and the call that it is of; close it."""

    def __init__(
        self, candidate: Candidate, call: Call, first: Delta, rest: AsyncGenerator[Delta], began: float
    ) -> None:
        self.candidate = candidate
        self.call = call
        self.began = began
        self._first = first
        self._rest = rest

    async def deltas(self) -> AsyncIterator[Delta]:
        """The whole answer. Raises errors of the model."""
        yield self._first
        async for delta in self._rest:
            yield delta

    async def aclose(self) -> None:
        """Stop the stream."""
        self.candidate.running -= 1
        await self._rest.aclose()


class FirstTokenRace:
    """The start of one answer."""

    def __init__(
        self,
        attempts: Attempts,
        prompt: Prompt,
        stats: CallStats,
        hedge_s: float | None,
    ) -> None:
        self._attempts = attempts
        self._prompt = prompt
        self._stats = stats
        self._hedge_s = hedge_s
        self._empty: EmptyAnswer | None = None
        self._rejected: RequestRejected | None = None

    async def first(self) -> StartedAnswer:
        """The first answer that starts. Raises a refusal, or the error of Attempts if no candidate is left.

        Prompts that are too long for one deployment are sent to those with a larger context. After an empty answer,
        another deployment is asked once; if there is none, the same one, unless its reasoning used up the output.
        """
        while True:
            if self._rejected and not self._attempts.left:
                raise self._rejected.last()
            try:
                candidate = await self._attempts.next()
            except BotError as error:
                raise self._empty or error from None
            try:
                started = (
                    await self._begin(candidate) if self._hedge_s is None else await self._race(candidate)
                )
            except TooLong as error:
                self._stats.too_long(candidate, error)
                if not self._attempts.larger(candidate):
                    raise
                continue
            except EmptyAnswer as error:
                if self._empty or not self._attempts.others(candidate, again=not error.exhausted):
                    raise
                self._empty = error
                log.warning("Deployment %s gave an empty answer", candidate.deployment.name)
                continue
            if started is not None:
                return started

    async def _begin(self, candidate: Candidate) -> StartedAnswer | None:
        """Start the answer of one deployment; `None` after a failure, which is recorded."""
        prompt = self._prompt
        call = await calls.current().begins(
            candidate.spent(prompt),
            "answer",
            expected=candidate.expected(prompt),
            most=most(candidate.deployment, prompt),
        )
        began = self._stats.clock()
        stream = cast("AsyncGenerator[Delta]", candidate.model.chat(prompt))
        candidate.running += 1
        try:
            first = await anext(stream, None)
            if first is None:
                raise ModelUnavailable("The model returned an empty answer")
        except BaseException as error:
            candidate.running -= 1
            self._stats.paid(call, error)
            await stream.aclose()
            if isinstance(error, (ModelUnavailable, DeploymentBroken)):
                self._stats.failed(candidate, error)
                return None
            if isinstance(error, RequestRejected):
                self._stats.failed(candidate, error)
                self._attempts.without(candidate)
                self._rejected = error
                return None
            if isinstance(error, BotError):
                self._stats.answered(candidate, "call_seconds", began)
            raise
        self._stats.answered(candidate, "first_delta_seconds", began)
        return StartedAnswer(candidate, call, first, stream, began)

    async def _race(self, candidate: Candidate) -> StartedAnswer | None:
        """Like `_begin`, but after `hedge_s` without a token a second deployment is asked; the first token wins."""
        asked = [asyncio.create_task(self._begin(candidate))]
        waiting, patience_s = set(asked), self._hedge_s
        won: StartedAnswer | None = None
        refusal: BaseException | None = None
        try:
            while waiting and won is None and refusal is None:
                done, waiting = await asyncio.wait(
                    waiting, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
                )
                if not done and (spare := await self._attempts.spare()):
                    task = asyncio.create_task(self._begin_second(spare))
                    asked.append(task)
                    waiting.add(task)
                if not done:
                    patience_s = None
                for task in done:
                    refusal = refusal or task.exception()
                    won = won or (None if task.exception() else task.result())
        finally:
            await self._cancel_others(asked, won)
        if won is None and refusal is not None:
            raise refusal
        return won

    async def _begin_second(self, candidate: Candidate) -> StartedAnswer | None:
        """Like `_begin`; `None` also if a limit leaves no room for a second call."""
        try:
            return await self._begin(candidate)
        except (RateLimited, BudgetSpent) as refusal:
            log.info("No second deployment is asked: %s", refusal.english)
            return None

    async def _cancel_others(
        self, asked: Sequence[asyncio.Task[StartedAnswer | None]], won: StartedAnswer | None
    ) -> None:
        """Cancel the slower calls, and close their answers."""
        for task in asked:
            task.cancel()
        for result in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(result, StartedAnswer) and result is not won:
                await result.aclose()
