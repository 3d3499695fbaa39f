"""The playground: a prompt is edited, tried as people would get it, compared, saved and published."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from aiohttp import web

from adapters.studio.auth.guard import HttpError, person_of
from adapters.studio.chat.event_streams import open_stream, write_line
from adapters.studio.chat.frames import rendered
from adapters.studio.chat.growing_text import GrowingHtml
from adapters.studio.chat.requests import body_of
from adapters.studio.page import Page, Route, render
from adapters.studio.playground.code import as_curl, as_python
from adapters.studio.playground.comparing import ComparisonRoutes
from adapters.studio.playground.config import (
    TryRequest,
    check_deployment,
    read_try,
    setup_of,
    template_of,
    tokens_of,
)
from adapters.studio.playground.failures import explained, failed_frame
from adapters.studio.playground.prompt_report import call_rows, cost_words, sent
from adapters.studio.playground.publishing import PublishRoutes
from adapters.studio.playground.saved_configs import SavedConfigRoutes
from adapters.studio.web.highlight import code
from bot.conversation.playground import Playground
from bot.domain.errors import ConfigError, Refused, Unavailable
from bot.domain.prompts import Prompt, Template
from bot.domain.turns import Deployment, Turn
from bot.prompts.editing import PromptEditor
from bot.storage.conversations.votes import Votes
from bot.storage.prompts.saved_configs import SavedConfigs

FRAME_INTERVAL_S = 1 / 15
GOODBYE_S = 5.0
"""How long an answer may take to notice that the page was closed."""


class PlaygroundPage(Page):
    """For editors, as answers cost money."""

    name = "Playground"
    path = "/studio/playground"
    icon = "flask"
    role = "editor"

    def __init__(
        self, playground: Playground, editor: PromptEditor, saved_configs: SavedConfigs, votes: Votes
    ) -> None:
        self._playground = playground
        self._parts = (
            PublishRoutes(editor, playground),
            SavedConfigRoutes(saved_configs),
            ComparisonRoutes(editor.library, votes, playground),
        )

    def routes(self) -> Iterable[Route]:
        return [
            Route("page", self.path, self._show),
            Route("post", "/studio/playground/look", self._look),
            Route("post", "/studio/playground/try", self._try),
            Route("post", "/studio/playground/code", self._code),
            *(route for part in self._parts for route in part.routes()),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        return render(request, "playground.html", facts=self._facts())

    def _facts(self) -> dict[str, Any]:
        """What the page needs to start: the templates, the deployments and their parameters."""
        templates = [one for one in self._playground.templates() if one.capability == "chat"]
        return {
            "first": next((one.name for one in templates if one.match.default), ""),
            "templates": list(map(_card, templates)),
            "deployments": [self._deployment(one) for one in self._chat_deployments()],
        }

    def _chat_deployments(self) -> list[Deployment]:
        return [one for one in self._playground.deployments() if one.capability == "chat"]

    def _deployment(self, deployment: Deployment) -> dict[str, Any]:
        return {
            "name": deployment.name,
            "model": deployment.model or deployment.family,
            "context": deployment.context_tokens,
            "knobs": self._playground.parameter_ranges(deployment),
        }

    # -------------------------------------------------------------- what is sent

    async def _look(self, request: web.Request) -> web.Response:
        asked = await _read(request)
        template = template_of(asked.setup, self._playground)
        check_deployment(asked.setup, self._playground)
        try:
            shown = sent([await self._preview(request, template, asked, asked.question)])
        except (Refused, Unavailable, ConfigError) as error:
            shown = {"words": explained(request, error)}
        return web.json_response({**shown, "examples": list(map(tokens_of, template.examples))})

    async def _preview(
        self, request: web.Request, template: Template, asked: TryRequest, question: str
    ) -> Prompt:
        user = person_of(request).user
        return await self._playground.preview(template, asked.exchanges, question, user=user)

    async def _code(self, request: web.Request) -> web.Response:
        asked = await _read(request)
        template = template_of(asked.setup, self._playground)
        check_deployment(asked.setup, self._playground)
        try:
            prompt = await self._preview(request, template, asked, asked.question or "Hello!")
        except (Refused, Unavailable, ConfigError) as error:
            raise HttpError(422, explained(request, error)) from None
        available = self._chat_deployments()
        if not available:
            raise HttpError(422, "There is no chat deployment.")
        deployment = next((one for one in available if one.name == prompt.deployment), available[0])
        python, curl = as_python(prompt, deployment), as_curl(prompt, deployment)
        return web.json_response({"python": code(python, "python"), "curl": code(curl, "bash")})

    # -------------------------------------------------------------- trying

    async def _try(self, request: web.Request) -> web.StreamResponse:
        """Stream the answer as lines of JSON; closing the page stops it."""
        asked = await _read(request)
        if not asked.question.strip():
            raise HttpError(400, "Enter a message.")
        template = template_of(asked.setup, self._playground)
        check_deployment(asked.setup, self._playground)
        response = await open_stream(request)
        lines = _FrameWriter(response)
        user = person_of(request).user
        run = self._playground.run(template, asked.exchanges, asked.question, lines.show, user=user)
        work = asyncio.create_task(run)
        watch = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                with suppress(ConnectionError):
                    await write_line(response, await _end(request, work))
            else:  # told so, the stream ends properly, and its cost is counted
                lines.gone = True
                await asyncio.wait({work}, timeout=GOODBYE_S)
        finally:
            for task in (work, watch):
                task.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)
        return response


async def _end(request: web.Request, work: "asyncio.Task[tuple[Turn, Sequence[Prompt]]]") -> dict[str, Any]:
    try:
        turn, prompts = work.result()
    except (Refused, Unavailable, ConfigError) as error:
        return failed_frame(request, error)
    return {
        "kind": "done",
        "post": "",
        "html": await rendered(turn.reply.text),
        "text": turn.reply.text,
        "outcome": turn.outcome,
        "answer": "".join(one.text for one in turn.messages[-1:]),
        "sent": sent(prompts) if prompts else None,
        "cost": cost_words(turn),
        "calls": call_rows(turn),
        "served": ", ".join(turn.answered_by),
    }


class _FrameWriter:
    """Frames of one answer, the text at most fifteen times a second."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response
        self._growth = GrowingHtml()
        self._at = 0.0
        self.gone = False

    async def show(self, text: str) -> bool:
        """Show the text so far; False when the page was closed."""
        if self.gone:
            return False
        if time.monotonic() - self._at < FRAME_INTERVAL_S:
            return True
        try:
            if step := await self._growth.html(text):
                frame = {"kind": "text", "post": "", "keep": step[0], "html": step[1]}
                await write_line(self._response, frame)
        except ConnectionError:
            return False
        self._at = time.monotonic()
        return True


async def _gone(request: web.Request) -> None:
    """Until the page has closed the connection: Stop was pressed, or it was left."""
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(0.1)  # aiohttp doesn't tell a handler, and cancelling it would be too much


async def _read(request: web.Request) -> TryRequest:
    return read_try(await body_of(request, "application/json", most_bytes=4 * 1024 * 1024))


def _card(template: Template) -> dict[str, Any]:
    return {
        "name": template.name,
        "version": template.version,
        "description": template.description,
        "pool": f"{template.shots} nearest of the pool “{template.pool}”" if template.pool else "",
        "tools": list(template.tools),
        "knowledge": list(template.knowledge),
        "setup": setup_of(template),
    }
