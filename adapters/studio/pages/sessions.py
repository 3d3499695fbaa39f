"""Who is signed in, and where: people see and end their own sessions, operators everybody's."""

import logging
from collections.abc import Iterable

from aiohttp import web

from adapters.studio.auth.guard import Guard, HttpError, person_of
from adapters.studio.chat.requests import form_of
from adapters.studio.page import Page, Route, render

log = logging.getLogger(__name__)


class SessionsPage(Page):
    """Is reached from the name in the menu. A session that is ended is signed out within 5 s, with its streams."""

    name = "Sessions"
    path = "/studio/sessions"
    listed = False

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def routes(self) -> Iterable[Route]:
        return [
            Route("page", self.path, self._show),
            Route("form", f"{self.path}/end", self._end),
            Route("form", f"{self.path}/end-others", self._end_others),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        person, sessions = person_of(request), self._guard.sessions.sessions
        every = await sessions.all("" if person.role == "operator" else person.id)
        return render(
            request,
            "sessions.html",
            own=[session for session in every if session.person == person.id],
            others=[session for session in every if session.person != person.id],
            idle_s=sessions.idle_s,
            absolute_s=sessions.absolute_s,
        )

    async def _end(self, request: web.Request) -> web.Response:
        """Raises HttpError for somebody else's, unless an operator asks."""
        id, person = (await form_of(request)).get("id", ""), person_of(request)
        session = await self._guard.sessions.sessions.get(id, used=False)
        if session is None or (session.person != person.id and person.role != "operator"):
            raise HttpError(404, "This session has ended, or belongs to someone else.")
        await self._guard.sessions.end([id])
        log.info("a session of %s (id %s) was ended by %s", session.name, session.person, person.audited)
        return web.Response(status=303, headers={"Location": self.path})

    async def _end_others(self, request: web.Request) -> web.Response:
        """Sign the person out everywhere else."""
        person = person_of(request)
        found = await self._guard.sessions.sessions.all(person.id)
        others = [session.id for session in found if session.id != person.session]
        await self._guard.sessions.end(others)
        log.info("%s ended %d other sessions of their own", person.audited, len(others))
        return web.Response(status=303, headers={"Location": self.path})
