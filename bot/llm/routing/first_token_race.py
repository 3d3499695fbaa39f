"""Begins an answer with the first deployment that says something, and asks a second one if that is slow."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

from bot.domain.errors import BotError, ModelUnavailable, TooLong
from bot.domain.prompts import Prompt
from bot.domain.turns import Delta
from bot.llm.protocol import DeploymentBroken
from bot.llm.routing.attempts import Tries
from bot.llm.routing.call_stats import Record
from bot.llm.routing.candidates import Route


class Begun:
    """An answer that has begun; to be closed."""

    def __init__(self, route: Route, first: Delta, rest: AsyncGenerator[Delta], began: float) -> None:
        self.route = route
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
        self.route.running -= 1
        await self._rest.aclose()


class Opening:
    """The beginning of one answer. `lost` are the deployments that were asked too, and were slower."""

    def __init__(self, tries: Tries, prompt: Prompt, record: Record, hedge_s: float | None) -> None:
        self._tries = tries
        self._prompt = prompt
        self._record = record
        self._hedge_s = hedge_s
        self.lost: list[Route] = []

    async def first(self) -> Begun:
        """The first answer that begins. Raises a refusal, or what Tries raises when nobody is left.

        What is too long for one is asked of those that take more.
        """
        while True:
            route = await self._tries.next()
            try:
                begun = await self._begin(route) if self._hedge_s is None else await self._race(route)
            except TooLong as error:
                self._record.too_long(route, self._prompt, error)
                if not self._tries.larger(route):
                    raise
                continue
            if begun is not None:
                return begun

    async def _begin(self, route: Route) -> Begun | None:
        """The answer of one deployment; `None` when it did not begin one, which is taken down."""
        began = self._record.clock()
        stream = cast("AsyncGenerator[Delta]", route.model.chat(self._prompt))
        route.running += 1
        try:
            first = await anext(stream, None)
            if first is None:
                raise ModelUnavailable("The model said nothing at all")
        except BaseException as error:
            route.running -= 1
            await stream.aclose()
            if isinstance(error, (ModelUnavailable, DeploymentBroken)):
                self._record.failed(route, error)
                return None
            if isinstance(error, BotError):
                self._record.answered(route, "call_seconds", began)
            raise
        self._record.answered(route, "first_delta_seconds", began)
        return Begun(route, first, stream, began)

    async def _race(self, route: Route) -> Begun | None:
        """As `_begin`, but after `hedge_s` of silence another is asked too, and the first to speak wins."""
        asked = {asyncio.create_task(self._begin(route)): route}
        waiting, patience_s = set(asked), self._hedge_s
        won: Begun | None = None
        refusal: BaseException | None = None
        try:
            while waiting and won is None and refusal is None:
                done, waiting = await asyncio.wait(
                    waiting, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
                )
                if not done and (spare := await self._tries.spare()):
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

    async def _leave(self, asked: dict[asyncio.Task[Begun | None], Route], won: Begun | None) -> None:
        """Cancel who was slower, and close what they began."""
        for task in asked:
            task.cancel()
        results = await asyncio.gather(*asked, return_exceptions=True)
        for route, result in zip(asked.values(), results, strict=True):
            if isinstance(result, Begun) and result is not won:
                await result.aclose()
            if won and (isinstance(result, asyncio.CancelledError) or (result and result is not won)):
                self.lost.append(route)
