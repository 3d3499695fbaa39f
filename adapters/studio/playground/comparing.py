"""Answers are compared in the playground, and examples of a pool with a question, the nearest first."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web

from adapters.studio.auth.guard import HttpError, person_of
from adapters.studio.chat.requests import Id, json_of
from adapters.studio.page import Route
from adapters.studio.playground.config import MOST_EXAMPLES, PlaygroundConfig, Words, template_of, tokens_of
from bot.conversation.playground import Playground
from bot.domain.errors import ConfigError, Refused, Unavailable
from bot.domain.prompts import Example
from bot.prompts.library import PromptLibrary
from bot.storage.conversations.votes import Votes


class _RankRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pool: Annotated[str, msgspec.Meta(max_length=64)] = ""
    question: Words = ""


class _Side(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    setup: PlaygroundConfig
    served: Annotated[str, msgspec.Meta(max_length=400)]


class _VoteRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    comparison: Id
    choice: Literal["a", "b", "c", "tie", "none"]
    sides: Annotated[list[_Side], msgspec.Meta(min_length=2, max_length=3)]


class ComparisonRoutes:
    """The part of the playground that keeps votes and lists the examples of a pool."""

    def __init__(self, library: PromptLibrary, votes: Votes, playground: Playground) -> None:
        self._library = library
        self._votes = votes
        self._playground = playground

    def routes(self) -> Iterable[Route]:
        return [
            Route("post", "/studio/playground/pool", self._rank),
            Route("post", "/studio/playground/vote", self._vote),
        ]

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

    async def _vote(self, request: web.Request) -> web.Response:
        vote = await json_of(request, _VoteRequest, most_bytes=4 * 1024 * 1024)
        if len(vote.choice) == 1 and "abc".index(vote.choice) >= len(vote.sides):
            raise HttpError(400, "Unknown answer.")
        person = person_of(request)
        sides = [(self._version(side.setup), side.served) for side in vote.sides]
        await self._votes.cast(vote.comparison, person.id, person.author, vote.choice, sides)
        return web.json_response({"words": "Vote saved."})

    def _version(self, setup: PlaygroundConfig) -> str:
        """The exact template: one that was not published gets a digest of its own. Raises HttpError.

        The deployment is no part of it: a template does not win or lose against itself.
        """
        templates = self._playground.templates()
        usual = next((one.deployment for one in templates if one.name == setup.template), None)
        setup = msgspec.structs.replace(setup, deployment=usual or "", base="")
        template = template_of(setup, self._playground)
        if template.digest != "unsaved":
            return template.version
        whole = [pair for pair in setup.examples if pair.user.strip() and pair.assistant.strip()]
        inputs = dict(sorted(template.inputs.items()))
        setup = msgspec.structs.replace(setup, examples=whole, inputs=inputs)
        digest = sha256(msgspec.json.encode(setup)).hexdigest()[:8]
        return f"{template.name}@unsaved-{digest}"


def _row(example: Example, near: float | None) -> dict[str, Any]:
    return {
        "user": example.user,
        "assistant": example.assistant,
        "near": near and round(near, 2),
        "tokens": tokens_of(example),
    }
