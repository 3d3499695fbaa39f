"""Examples of a pool for the playground's editor: the nearest to a question first, with the cost of each."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from aiohttp import web

from adapters.studio.auth.guard import Guard
from adapters.studio.chat.requests import json_of
from adapters.studio.playground.config import MOST_EXAMPLES, Words, weight
from bot.conversation.playground import Playground
from bot.domain.errors import ConfigError, Refused, Unavailable
from bot.domain.prompts import Example
from bot.prompts.editing import PromptEditor


class _RankRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pool: Annotated[str, msgspec.Meta(max_length=64)] = ""
    question: Words = ""


class PoolRoutes:
    """For editors, as the playground is."""

    def __init__(self, editor: PromptEditor, playground: Playground, guard: Guard) -> None:
        self._editor = editor
        self._playground = playground
        self._guard = guard

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What the playground asks for."""
        return [web.post("/studio/playground/pool", self._guard.guard(self._look, need="editor"))]

    async def _look(self, request: web.Request) -> web.Response:
        body = await json_of(request, _RankRequest)
        pools = self._editor.pools()
        pool = body.pool if body.pool in pools else next(iter(pools), "")
        found = await self._ranked(pool, body.question.strip())
        examples = [self._row(example, near) for example, near in found[:MOST_EXAMPLES]]
        answer = {"pools": list(pools), "pool": pool, "total": len(found), "examples": examples}
        return web.json_response(answer)

    async def _ranked(self, pool: str, question: str) -> Sequence[tuple[Example, float | None]]:
        """In the order of the file where there is no question, or no way to tell what is near."""
        if question and pool:
            with suppress(Refused, Unavailable, ConfigError):
                return await self._playground.rank(pool, question)
        return [(example, None) for example in self._editor.pool(pool)]

    def _row(self, example: Example, near: float | None) -> dict[str, Any]:
        return {
            "user": example.user,
            "assistant": example.assistant,
            "near": near and round(near, 2),
            "tokens": weight(example, self._playground),
        }
