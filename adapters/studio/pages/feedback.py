"""Feedback: rated answers, the examples proposed from them, and the votes of comparisons."""

import logging
from collections.abc import Callable, Iterable

from aiohttp import web

from adapters.studio.auth.guard import HttpError, person_of
from adapters.studio.chat.requests import form_of
from adapters.studio.page import Page, Route, render
from adapters.studio.pages.conversations import before
from adapters.studio.playground.prompt_report import turn_row
from bot.domain.prompts import Example
from bot.domain.turns import Turn
from bot.prompts.review import ProposalReview
from bot.storage.conversations.search import ConversationSearch
from bot.storage.conversations.votes import Votes

log = logging.getLogger(__name__)

RATED: dict[str, Callable[[Turn], bool]] = {
    "good": lambda turn: any(rating.good for rating in turn.ratings.values()),
    "bad": lambda turn: any(not rating.good for rating in turn.ratings.values()),
}


class FeedbackPage(Page):
    """For operators, as these are people's messages."""

    name = "Feedback"
    path = "/studio/feedback"
    icon = "star"
    role = "operator"

    def __init__(self, search: ConversationSearch, review: ProposalReview, votes: Votes) -> None:
        self._search = search
        self._proposed = review
        self._votes = votes

    def routes(self) -> Iterable[Route]:
        return [
            Route("page", self.path, self._show),
            Route("form", "/studio/feedback/propose", self._propose),
            Route("form", "/studio/feedback/review", self._review),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        which, before_ms = request.query.get("rated", ""), before(request)
        matches = RATED.get(which, lambda turn: bool(turn.ratings))
        search = await self._search.search(matches, before_ms=before_ms)
        log.info("rated answers were listed in the studio by %s", person_of(request).audited)
        deployments, templates = await self._votes.scores()
        return render(
            request,
            "feedback.html",
            deployments=deployments,
            templates=templates,
            rows=[(one.conversation, await turn_row(turn)) for one in search.found for turn in one.matching],
            which=which if which in RATED else "",
            before_ms=search.before_ms,
            first=not before_ms,
            proposals=await self._proposed.waiting(),
            pools=sorted(self._proposed.registry.pools()),
        )

    async def _propose(self, request: web.Request) -> web.Response:
        form, person = await form_of(request), person_of(request)
        turns = await self._search.turns(form.get("conversation", ""))
        turn = next((one for one in turns if one.id == form.get("turn")), None)
        if turn is None:
            raise HttpError(404, "This answer is no longer available.")
        await self._proposed.propose(turn, form.get("pool", ""), author=person.author)
        log.info("answer %s was proposed as an example by %s", turn.id, person.audited)
        return web.Response(status=303, headers={"Location": self.path})

    async def _review(self, request: web.Request) -> web.Response:
        form, person = await form_of(request), person_of(request)
        id, reviewer = form.get("id", ""), person.author
        if form.get("verdict") == "accept":
            example = Example(user=form.get("user", ""), assistant=form.get("assistant", ""))
            await self._proposed.accept(id, reviewer=reviewer, example=example)
        else:
            await self._proposed.reject(id, reviewer=reviewer)
        log.info("proposal %r was reviewed by %s", id, person.audited)
        return web.Response(status=303, headers={"Location": self.path})
