"""Begins an answer with the first deployment that says something, and asks a second one if that is slow."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

from bot.domain.errors import BotError, ModelUnavailable, TooLong
from bot.domain.prompts import Prompt
from bot.domain.turns import Delta
from bot.llm.protocol import DeploymentBroken
from bot.llm.routing.attempts import Attempts
from bot.llm.routing.call_stats import CallStats
from bot.llm.routing.candidates import Candidate


class StartedAnswer:
    """An answer that has begun; to be closed."""

    def __init__(self, candidate: Candidate, first: Delta, rest: AsyncGenerator[Delta], began: float) -> None:
        self.candidate = candidate
        self.began = began
        self._first = first
        self._rest = rest

    async def deltas(self) -> AsyncIterator[Delta]:
        """The whole answer. Raises what the model raises."""
        yield self._first
        async for delta in self._rest:
            yield delta

    async def aclose(self) -> None:
        """Stop listening."""
        self.candidate.running -= 1
        await self._rest.aclose()


class FirstTokenRace:
    """The beginning of one answer. `lost` are the deployments that were asked too, and were slower."""

    def __init__(self, attempts: Attempts, prompt: Prompt, stats: CallStats, hedge_s: float | None) -> None:
        self._attempts = attempts
        self._prompt = prompt
        self._stats = stats
        self._hedge_s = hedge_s
        self.lost: list[Candidate] = []

    async def first(self) -> StartedAnswer:
        """The first answer that begins. Raises a refusal, or what Attempts raises when nobody is left.

        What is too long for one is asked of those that take more.
        """
        while True:
            candidate = await self._attempts.next()
            try:
                started = (
                    await self._begin(candidate) if self._hedge_s is None else await self._race(candidate)
                )
            except TooLong as error:
                self._stats.too_long(candidate, self._prompt, error)
                if not self._attempts.larger(candidate):
                    raise
                continue
            if started is not None:
                return started

    async def _begin(self, candidate: Candidate) -> StartedAnswer | None:
        """The answer of one deployment; `None` when it did not begin one, which is taken down."""
        began = self._stats.clock()
        stream = cast("AsyncGenerator[Delta]", candidate.model.chat(self._prompt))
        candidate.running += 1
        try:
            first = await anext(stream, None)
            if first is None:
                raise ModelUnavailable("The model said nothing at all")
        except BaseException as error:
            candidate.running -= 1
            await stream.aclose()
            if isinstance(error, (ModelUnavailable, DeploymentBroken)):
                self._stats.failed(candidate, error)
                return None
            if isinstance(error, BotError):
                self._stats.answered(candidate, "call_seconds", began)
            raise
        self._stats.answered(candidate, "first_delta_seconds", began)
        return StartedAnswer(candidate, first, stream, began)

    async def _race(self, candidate: Candidate) -> StartedAnswer | None:
        """As `_begin`, but after `hedge_s` of silence another is asked too, and the first to speak wins."""
        asked = {asyncio.create_task(self._begin(candidate)): candidate}
        waiting, patience_s = set(asked), self._hedge_s
        won: StartedAnswer | None = None
        refusal: BaseException | None = None
        try:
            while waiting and won is None and refusal is None:
                done, waiting = await asyncio.wait(
                    waiting, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
                )
                if not done and (spare := await self._attempts.spare()):
                    task = asyncio.create_task(self._begin(spare))
                    asked[task] = spare
                    waiting.add(task)
                if not done:
                    patience_s = None
                for task in done:
                    refusal = refusal or task.exception()
                    won = won or (None if task.exception() else task.result())
        finally:
            await self._leave(asked, won)
        if won is None and refusal is not None:
            raise refusal
        return won

    async def _leave(
        self, asked: dict[asyncio.Task[StartedAnswer | None], Candidate], won: StartedAnswer | None
    ) -> None:
        """Cancel who was slower, and close what they began."""
        for task in asked:
            task.cancel()
        results = await asyncio.gather(*asked, return_exceptions=True)
        for candidate, result in zip(asked.values(), results, strict=True):
            if isinstance(result, StartedAnswer) and result is not won:
                await result.aclose()
            if won and (isinstance(result, asyncio.CancelledError) or (result and result is not won)):
                self.lost.append(candidate)
