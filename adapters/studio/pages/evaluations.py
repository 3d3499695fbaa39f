"""Evaluations: which were run, what each found case by case, and a new one, with its progress."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from aiohttp import web

from adapters.studio.auth.guard import SAFE_HEADERS, Guard, HttpError
from adapters.studio.chat.frames import rendered
from adapters.studio.chat.requests import json_of
from adapters.studio.web.rendering import Renderer, allowed, page
from bot.domain.errors import BotError, StateUnavailable
from bot.evals.runner import EvalRunner

MOST_LISTED = 20
LOOK_S = 0.3
"""How soon a page that went away is noticed: a handler is not told."""


class _StartRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    files: Annotated[list[str], msgspec.Meta(max_length=100)]
    deployment: Annotated[str, msgspec.Meta(max_length=200)] = ""


class EvaluationsPage:
    """Everybody may look; running one costs, so that is for editors."""

    def __init__(self, evaluations: EvalRunner, guard: Guard, draw: Renderer) -> None:
        self._evaluations = evaluations
        self._guard = guard
        self._draw = draw

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The pages, and the start of a run."""
        guard = self._guard.guard
        return [
            web.get("/studio/evaluations", guard(self._list, page=True)),
            web.get("/studio/evaluations/{id}", guard(self._one, page=True)),
            web.post("/studio/evaluations", guard(self._start, need="editor")),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        reports = await self._evaluations.reports()
        wanted = request.query.get("from", "")
        first = int(wanted) if wanted.isdecimal() and len(wanted) < 6 else 0
        values = {
            "reports": reports[first : first + MOST_LISTED],
            "older": first + MOST_LISTED if len(reports) > first + MOST_LISTED else None,
            "files": self._evaluations.files(),
            "models": self._evaluations.models(),
            "may_run": allowed(self._guard.role(request) or "viewer", "editor"),
        }
        return page(self._draw(request, "evaluations.html", "Evaluations", **values))

    async def _one(self, request: web.Request) -> web.Response:
        reports = await self._evaluations.reports()
        report = next((one for one in reports if one.run.id == request.match_info["id"]), None)
        if report is None:
            raise HttpError(404, "That run is not kept any more.")
        results = sorted(report.run.results, key=lambda one: not one.failures)
        changed = (
            {
                **{one.key: "broken" for one in report.change.broken},
                **{one.key: "mended" for one in report.change.mended},
            }
            if report.change
            else {}
        )
        shown = [(one, await rendered(one.answer), changed.get(one.key, "")) for one in results]
        return page(self._draw(request, "evaluation.html", "Evaluations", report=report, results=shown))

    async def _start(self, request: web.Request) -> web.StreamResponse:
        """Stream how far the run is, as lines of JSON; a page that goes away ends it."""
        wish = await json_of(request, _StartRequest)
        headers = {**SAFE_HEADERS, "Content-Type": "application/x-ndjson", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        progress = _Progress()
        work = asyncio.create_task(
            self._evaluations.run(
                wish.files, wish.deployment, author=self._guard.person(request).author, done=progress.done
            )
        )
        work.add_done_callback(lambda _: progress.changed.set())
        try:
            await response.prepare(request)
            while not work.done():
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await progress.changed.wait()
                if request.transport is None or request.transport.is_closing():
                    return response
                progress.changed.clear()
                if progress.now is not None:
                    await response.write(_line(kind="progress", **progress.now))
            await response.write(_end(work))
        except ConnectionError:
            pass  # the page went away
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        return response


class _Progress:
    """The newest count."""

    def __init__(self) -> None:
        self.now: dict[str, int] | None = None
        self.changed = asyncio.Event()

    def done(self, answered: int, of: int, failed: int) -> None:
        self.now = {"answered": answered, "of": of, "failed": failed}
        self.changed.set()


def _end(work: "asyncio.Task[str]") -> bytes:
    try:
        return _line(kind="done", page=f"/studio/evaluations/{work.result()}")
    except StateUnavailable:
        return _line(kind="failed", words="The message store is away. Try again in a moment.")
    except BotError as error:
        return _line(kind="failed", words=str(error))


def _line(**values: Any) -> bytes:
    return msgspec.json.encode(values) + b"\n"
