"""Conversations: what was asked, answered and sent to the model. Reading them is logged."""

import asyncio
import logging
from collections.abc import Iterable

from aiohttp import web

from adapters.studio.auth.guard import HttpError, person_of
from adapters.studio.page import Page, Route, render
from adapters.studio.pages.thumbnails import PICTURES, thumbnail
from adapters.studio.playground.prompt_report import sent, turn_row
from bot.domain.turns import Turn
from bot.prompts.registry import TemplateRegistry
from bot.storage.conversations.search import ConversationSearch
from bot.storage.conversations.turns import Turns

log = logging.getLogger(__name__)

MOST_QUERY = 200


class ConversationsPage(Page):
    """For operators, as these are people's messages."""

    name = "Conversations"
    path = "/studio/log"
    icon = "log"
    role = "operator"

    def __init__(self, search: ConversationSearch, turns: Turns, registry: TemplateRegistry) -> None:
        self._search = search
        self._turns = turns
        self._registry = registry

    def routes(self) -> Iterable[Route]:
        return [
            Route("page", self.path, self._list),
            Route("page", "/studio/log/{conversation:.+}", self._one),
            Route("get", "/studio/pictures", self._picture),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query.get("q", "").strip()[:MOST_QUERY]
        needle = query.casefold()

        def matches(turn: Turn) -> bool:
            texts = turn.received.text, turn.reply.text, turn.received.user.name, turn.template
            return not needle or any(needle in text.casefold() for text in texts)

        before_ms = before(request)
        search = await self._search.search(matches, before_ms=before_ms)
        log.info("conversations were listed in the studio by %s", person_of(request).audited)
        rows = [(one, one.matching[0]) for one in search.found]
        values = {"rows": rows, "query": query, "before_ms": search.before_ms, "first": not before_ms}
        return render(request, "log.html", **values)

    async def _one(self, request: web.Request) -> web.Response:
        conversation = request.match_info["conversation"]
        turns = await self._search.turns(conversation)
        if not turns:
            raise HttpError(404, "This conversation is no longer available.")
        log.info("conversation %s was read in the studio by %s", conversation, person_of(request).audited)
        wanted = request.query.get("sent", "")
        prompts = await self._turns.sent(conversation, wanted) if wanted else ()
        return render(
            request,
            "conversation.html",
            conversation=conversation,
            turns=[await turn_row(turn) for turn in turns],
            wanted=wanted,
            sent=sent(prompts) if prompts else None,
            pools=sorted(self._registry.pools()),
        )

    async def _picture(self, request: web.Request) -> web.Response:
        conversation, ref = request.query.get("conversation", ""), request.query.get("ref", "")
        image = await self._turns.image(conversation, ref) if conversation and ref else None
        if image is None or image.mime not in PICTURES:
            raise HttpError(404, "This image is no longer available.")
        if "whole" in request.query:
            audited = person_of(request).audited
            log.info("a picture of %s was opened in the studio by %s", conversation, audited)
            data, mime = image.data, image.mime
        else:
            data, mime = await asyncio.to_thread(thumbnail, image.data), "image/webp"
        return web.Response(body=data, content_type=mime, headers={"Cache-Control": "private, no-store"})


def before(request: web.Request) -> int | None:
    """Where a list goes on: Unix time in milliseconds; None for its beginning."""
    value = request.query.get("before", "")
    return int(value) if value.isdecimal() and len(value) < 16 else None
