"""Examples of a pool for the playground: the nearest to a question first, with the tokens of each."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from aiohttp import web

from adapters.studio.chat.requests import json_of
from adapters.studio.page import Route
from adapters.studio.playground.config import MOST_EXAMPLES, Words, tokens_of
from bot.domain.errors import ConfigError, Refused, Unavailable
from bot.domain.prompts import Example
from bot.prompts.library import PromptLibrary


class _RankRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pool: Annotated[str, msgspec.Meta(max_length=64)] = ""
    question: Words = ""


class PoolRoutes:
    """The part of the playground that lists examples."""

    def __init__(self, library: PromptLibrary) -> None:
        self._library = library

    def routes(self) -> Iterable[Route]:
        """The one that lists a pool."""
        return [Route("post", "/studio/playground/pool", self._rank)]

    async def _rank(self, request: web.Request) -> web.Response:
        body = await json_of(request, _RankRequest)
        pools = sorted(self._library.registry.pools())
        pool = body.pool if body.pool in pools else next(iter(pools), "")
        found = await self._ranked(pool, body.question.strip())
        examples = [_row(example, near) for example, near in found[:MOST_EXAMPLES]]
        answer = {"pools": pools, "pool": pool, "total": len(found), "examples": examples}
        return web.json_response(answer)

    async def _ranked(self, pool: str, question: str) -> Sequence[tuple[Example, float | None]]:
        """In the order of the pool where there is no question, or no embedding to compare it with."""
        if question and pool:
            with suppress(Refused, Unavailable, ConfigError):
                return await self._library.rank(pool, question)
        return [(example, None) for example in self._library.registry.pools().get(pool, ())]


def _row(example: Example, near: float | None) -> dict[str, Any]:
    return {
        "user": example.user,
        "assistant": example.assistant,
        "near": near and round(near, 2),
        "tokens": tokens_of(example),
    }
