"""Votes on answers that are compared in the playground."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from adapters.studio.auth.guard import HttpError, person_of
from adapters.studio.chat.requests import Id, json_of
from adapters.studio.page import Route
from adapters.studio.playground.config import PlaygroundConfig, template_of
from bot.conversation.playground import Playground
from bot.storage.conversations.votes import Votes


class _Side(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    setup: PlaygroundConfig
    served: Annotated[str, msgspec.Meta(max_length=400)]


class _VoteRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    comparison: Id
    choice: Literal["a", "b", "c", "tie", "none"]
    sides: Annotated[list[_Side], msgspec.Meta(min_length=2, max_length=3)]


class VoteRoutes:
    """The part of the playground that keeps votes."""

    def __init__(self, votes: Votes, playground: Playground) -> None:
        self._votes = votes
        self._playground = playground

    def routes(self) -> Iterable[Route]:
        """The one that a vote is sent to."""
        return [Route("post", "/studio/playground/vote", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        vote = await json_of(request, _VoteRequest, most_bytes=4 * 1024 * 1024)
        if len(vote.choice) == 1 and "abc".index(vote.choice) >= len(vote.sides):
            raise HttpError(400, "Unknown answer.")
        person = person_of(request)
        sides = [(self._version(side.setup), side.served) for side in vote.sides]
        await self._votes.cast(vote.comparison, person.id, person.author, vote.choice, sides)
        return web.json_response({"words": "Vote saved."})

    def _version(self, setup: PlaygroundConfig) -> str:
        """The exact template: one that was not published gets a digest of its own. Raises HttpError."""
        template = template_of(setup, self._playground)
        if template.digest != "unsaved":
            return template.version
        digest = sha256(msgspec.json.encode(setup)).hexdigest()[:8]
        return f"{template.name}@unsaved-{digest}"
