"""Conversations and feedback: what was asked, answered, sent and rated; who reads it is logged."""

import asyncio
import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from adapters.studio.auth.guard import Guard, HttpError
from adapters.studio.chat.frames import rendered
from adapters.studio.chat.requests import form_of
from adapters.studio.pages.thumbnails import PICTURES, thumbnail
from adapters.studio.playground.prompt_report import cost_words, left_words, sent
from adapters.studio.services import StudioServices
from adapters.studio.web.rendering import Renderer, page
from bot.domain.errors import NotAllowed, TemplateError
from bot.domain.prompts import Image
from bot.domain.turns import Turn

log = logging.getLogger(__name__)

MOST_QUERY = 200
RATED: dict[str, Callable[[Turn], bool]] = {
    "good": lambda turn: any(rating.good for rating in turn.ratings.values()),
    "bad": lambda turn: any(not rating.good for rating in turn.ratings.values()),
}


class ConversationsPage:
    """Pages over the archive."""

    def __init__(self, services: StudioServices, guard: Guard, draw: Renderer) -> None:
        self._services = services
        self._guard = guard
        self._draw = draw

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The pages and their forms."""

        def get(path: str, handler: Any) -> web.RouteDef:
            return web.get(path, self._guard.guard(handler, need="operator", page=True))

        def post(path: str, handler: Any) -> web.RouteDef:
            return web.post(path, self._guard.guard(handler, need="operator", page=True, form=True))

        return [
            get("/studio/log", self._search),
            get("/studio/log/{conversation:.+}", self._read),
            get("/studio/feedback", self._feedback),
            web.get("/studio/pictures", self._guard.guard(self._picture, need="operator")),
            post("/studio/feedback/propose", self._propose),
            post("/studio/feedback/review", self._review),
        ]

    async def _search(self, request: web.Request) -> web.Response:
        query = request.query.get("q", "").strip()[:MOST_QUERY]
        needle = query.casefold()

        def matches(turn: Turn) -> bool:
            return not needle or any(needle in text.casefold() for text in _texts(turn))

        search = await self._services.search.search(matches, before_ms=_before(request))
        log.info("conversations were listed in the studio by %s", self._audited(request))
        rows = [(one, one.matching[0]) for one in search.found]
        values = {"rows": rows, "query": query, "before_ms": search.before_ms, "first": not _before(request)}
        return page(self._draw(request, "log.html", "Conversations", **values))

    async def _read(self, request: web.Request) -> web.Response:
        conversation = request.match_info["conversation"]
        turns = await self._services.search.turns(conversation)
        if not turns:
            raise HttpError(404, "Nothing is kept of that conversation any more.")
        log.info("conversation %s was read in the studio by %s", conversation, self._audited(request))
        wanted = request.query.get("sent", "")
        prompts = await self._services.turns.sent(conversation, wanted) if wanted else ()
        return page(
            self._draw(
                request,
                "conversation.html",
                "Conversations",
                conversation=conversation,
                turns=[await _row(turn) for turn in turns],
                wanted=wanted,
                sent=sent(prompts, self._services.playground) if prompts else None,
                pools=self._services.editor.pools(),
            )
        )

    async def _picture(self, request: web.Request) -> web.Response:
        conversation, ref = request.query.get("conversation", ""), request.query.get("ref", "")
        image = await self._services.turns.image(conversation, ref) if conversation and ref else None
        if image is None or image.mime not in PICTURES:
            raise HttpError(404, "That picture is not kept any more.")
        if "whole" in request.query:
            log.info("a picture of %s was opened in the studio by %s", conversation, self._audited(request))
            data, mime = image.data, image.mime
        else:
            data, mime = await asyncio.to_thread(thumbnail, image.data), "image/webp"
        headers = {"Cache-Control": "private, no-store"}
        return web.Response(body=data, content_type=mime, headers=headers)

    async def _feedback(self, request: web.Request) -> web.Response:
        which = request.query.get("rated", "")
        matches = RATED.get(which, lambda turn: bool(turn.ratings))
        search = await self._services.search.search(matches, before_ms=_before(request))
        log.info("rated answers were listed in the studio by %s", self._audited(request))
        deployments, templates = await self._services.votes.scores()
        values = {
            "deployments": deployments,
            "templates": templates,
            "rows": [(one.conversation, await _row(turn)) for one in search.found for turn in one.matching],
            "which": which if which in RATED else "",
            "before_ms": search.before_ms,
            "first": not _before(request),
            "proposals": await self._services.editor.proposals(),
            "pools": self._services.editor.pools(),
        }
        return page(self._draw(request, "feedback.html", "Feedback", **values))

    async def _propose(self, request: web.Request) -> web.Response:
        form = await form_of(request)
        turns = await self._services.search.turns(form.get("conversation", ""))
        turn = next((one for one in turns if one.id == form.get("turn")), None)
        if turn is None:
            raise HttpError(404, "That answer is not kept any more.")
        try:
            await self._services.editor.propose(turn, form.get("pool", ""), author=self._author(request))
        except NotAllowed as error:
            raise HttpError(409, str(error)) from None
        log.info("answer %s was proposed as an example by %s", turn.id, self._audited(request))
        return web.Response(status=303, headers={"Location": "/studio/feedback"})

    async def _review(self, request: web.Request) -> web.Response:
        form = await form_of(request)
        editor, reviewer = self._services.editor, self._author(request)
        try:
            if form.get("verdict") == "accept":
                user, assistant = form.get("user", ""), form.get("assistant", "")
                await editor.accept(form.get("id", ""), reviewer=reviewer, user=user, assistant=assistant)
            else:
                await editor.reject(form.get("id", ""), reviewer=reviewer)
        except (NotAllowed, TemplateError) as error:
            raise HttpError(409, str(error)) from None
        log.info("proposal %r was reviewed by %s", form.get("id", ""), self._audited(request))
        return web.Response(status=303, headers={"Location": "/studio/feedback"})

    def _audited(self, request: web.Request) -> str:
        return self._guard.person(request).audited

    def _author(self, request: web.Request) -> str:
        return self._guard.person(request).author


def _before(request: web.Request) -> int | None:
    value = request.query.get("before", "")
    return int(value) if value.isdecimal() and len(value) < 16 else None


def _texts(turn: Turn) -> tuple[str, ...]:
    return turn.received.text, turn.reply.text, turn.received.user.name, turn.template


def _reason(reason: str) -> str:
    """Why something was refused: the kind's name as words, a reason in words as it is."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", reason).lower() if reason.isidentifier() else reason


async def _row(turn: Turn) -> dict[str, Any]:
    """A turn as the pages show it."""
    return {
        "turn": turn,
        "answer": await rendered(turn.reply.text),
        "cost": cost_words(turn),
        "given": [
            part
            for one in turn.messages
            for part in one.parts
            if one.role == "user" and isinstance(part, Image) and part.ref
        ],
        "drawn": [image for image in turn.reply.images if image.ref],
        "reason": _reason(turn.reason),
        "left_out": [left_words(one) for one in turn.left_out],
        "good": sum(rating.good for rating in turn.ratings.values()),
        "bad": sum(not rating.good for rating in turn.ratings.values()),
        "comments": [rating.comment for rating in turn.ratings.values() if rating.comment],
    }
