"""Evaluations: the runs, the results of each case by case, and a new run with its progress."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated

import msgspec
from aiohttp import web

from adapters.studio.auth.guard import STORAGE_UNAVAILABLE, HttpError, person_of
from adapters.studio.auth.session import allowed
from adapters.studio.chat.event_streams import open_stream, write_line
from adapters.studio.chat.frames import rendered
from adapters.studio.chat.requests import json_of
from adapters.studio.page import Page, Route, render
from bot.domain.errors import BotError, StateUnavailable
from bot.evals.runner import EvalRunner

MOST_LISTED = 20
CHECK_S = 0.3
"""How soon a closed page is noticed: aiohttp doesn't tell a handler."""


class _StartRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    files: Annotated[list[str], msgspec.Meta(max_length=100)]
    deployment: Annotated[str, msgspec.Meta(max_length=200)] = ""


class EvaluationsPage(Page):
    """Everyone may look; runs cost money, so they are for editors."""

    name = "Evaluations"
    path = "/studio/evaluations"
    icon = "done"

    def __init__(self, runner: EvalRunner) -> None:
        self._runner = runner

    def routes(self) -> Iterable[Route]:
        return [
            Route("page", self.path, self._list),
            Route("page", "/studio/evaluations/{id}", self._one),
            Route("post", self.path, self._start, "editor"),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        reports = await self._runner.reports()
        wanted = request.query.get("from", "")
        first = int(wanted) if wanted.isdecimal() and len(wanted) < 6 else 0
        values = {
            "reports": reports[first : first + MOST_LISTED],
            "older": first + MOST_LISTED if len(reports) > first + MOST_LISTED else None,
            "files": self._runner.files(),
            "models": self._runner.models(),
            "may_run": allowed(person_of(request).role, "editor"),
        }
        return render(request, "evaluations.html", **values)

    async def _one(self, request: web.Request) -> web.Response:
        reports = await self._runner.reports()
        report = next((one for one in reports if one.run.id == request.match_info["id"]), None)
        if report is None:
            raise HttpError(404, "This run is no longer available.")
        results = sorted(report.run.results, key=lambda one: not one.failures)
        changed = {one.key: "broken" for one in report.change.broken} if report.change else {}
        changed |= {one.key: "fixed" for one in report.change.mended} if report.change else {}
        shown = [(one, await rendered(one.answer), changed.get(one.key, "")) for one in results]
        return render(request, "evaluation.html", report=report, results=shown)

    async def _start(self, request: web.Request) -> web.StreamResponse:
        """Stream the progress as lines of JSON; closing the page cancels the run."""
        start = await json_of(request, _StartRequest)
        response = await open_stream(request)
        progress, person = _Progress(), person_of(request)
        run = self._runner.run(
            start.files, start.deployment, author=person.author, done=progress.done, user=person.user
        )
        work = asyncio.create_task(run)
        work.add_done_callback(lambda _: progress.changed.set())
        try:
            while not work.done():
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_S):
                        await progress.changed.wait()
                if request.transport is None or request.transport.is_closing():
                    return response
                progress.changed.clear()
                if progress.now is not None:
                    await write_line(response, {"kind": "progress", **progress.now})
            await write_line(response, _end(work))
        except ConnectionError:
            pass  # the page was closed
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


def _end(work: "asyncio.Task[str]") -> dict[str, str]:
    try:
        return {"kind": "done", "page": f"/studio/evaluations/{work.result()}"}
    except StateUnavailable:
        return {"kind": "failed", "words": STORAGE_UNAVAILABLE}
    except BotError as error:
        return {"kind": "failed", "words": str(error)}
