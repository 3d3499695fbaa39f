"""Who gets a template: the part of its page that gives it to workspaces, channels and people."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any, cast
from urllib.parse import quote

from aiohttp import web

from adapters.studio.auth.guard import Guard, HttpError
from adapters.studio.chat.requests import form_of
from adapters.studio.web.rendering import allowed
from bot.domain.errors import NotAllowed
from bot.domain.publications import Place, Scope
from bot.prompts.assignments import Assignments

log = logging.getLogger(__name__)

SCOPES = ("tenant", "channel", "person")


class AssignmentsPage:
    """Editors bind; which people are bound, and who they are, operators alone see."""

    def __init__(self, bindings: Assignments, guard: Guard) -> None:
        self._bindings = bindings
        self._guard = guard

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The two forms."""

        def post(path: str, handler: Any) -> web.RouteDef:
            path = f"/studio/prompts/{{name}}/{path}"
            return web.post(path, self._guard.guard(handler, need="editor", page=True, form=True))

        return [post("give", self._give), post("take", self._take)]

    async def shown(self, request: web.Request, name: str) -> dict[str, Any]:
        """What the page shows of it."""
        role = self._guard.person(request).role
        bound = await self._bindings.listed(name)
        theirs = [one for one in bound if one.place.scope == "person"]
        seen = bound if role == "operator" else [one for one in bound if one.place.scope != "person"]
        known = await self._bindings.known() if allowed(role, "editor") else ()
        names = {(one.tenant, one.id): one.name for one in known if one.scope == "person"}
        return {
            "bound": [(one, _place(one.place, names), _value(one.place)) for one in seen],
            "unseen": 0 if role == "operator" else len(theirs),
            "known": _groups(known, people=role == "operator"),
        }

    async def _give(self, request: web.Request) -> web.Response:
        name, form = request.match_info["name"], await form_of(request)
        if form.get("tenant", "").strip():
            scope = cast("Scope", form.get("scope", ""))
            id = "" if scope == "tenant" else form.get("id", "").strip()
            place = Place(tenant=form["tenant"].strip(), scope=scope, id=id)
        else:
            place = _read(form.get("place", ""))
        if place.scope not in SCOPES:
            raise HttpError(400, "Choose for whom: everybody of a workspace, a channel, or a person.")
        await self._assign(request, place, name)
        log.info("%s gave the prompt %s to %s", self._guard.person(request).audited, name, _value(place))
        return web.Response(status=303, headers={"Location": f"/studio/prompts/{quote(name, safe='')}#who"})

    async def _take(self, request: web.Request) -> web.Response:
        name, form = request.match_info["name"], await form_of(request)
        place = _read(form.get("place", ""))
        await self._assign(request, place, "")
        log.info("%s took the prompt %s from %s", self._guard.person(request).audited, name, _value(place))
        return web.Response(status=303, headers={"Location": f"/studio/prompts/{quote(name, safe='')}#who"})

    async def _assign(self, request: web.Request, place: Place, template: str) -> None:
        try:
            await self._bindings.bind(place, template, author=self._guard.person(request).author)
        except NotAllowed as error:
            raise HttpError(409, str(error)) from None


def _value(place: Place) -> str:
    """A place as a form carries it; ids hold no blanks."""
    return f"{place.scope} {place.tenant} {place.id}".strip()


def _read(value: str) -> Place:
    scope, _, rest = value.partition(" ")
    tenant, _, id = rest.partition(" ")
    if scope not in SCOPES or not tenant:
        raise HttpError(400, "Choose a place from the list, or type its ids.")
    return Place(tenant=tenant, scope=scope, id=id)


def _place(place: Place, names: dict[tuple[str, str], str]) -> str:
    """A place in words."""
    if place.scope == "tenant":
        return f"everybody in {place.tenant}"
    name = names.get((place.tenant, place.id), "") if place.scope == "person" else ""
    return f"{place.scope} {f'{name} ({place.id})' if name else place.id} in {place.tenant}"


def _groups(known: Sequence[Place], *, people: bool) -> list[tuple[str, list[tuple[str, str]]]]:
    """Known places by kind, with the value of each."""
    titles = {"tenant": "Everybody in", "channel": "Channels", "person": "People"}
    groups = [
        (titles[scope], [(_value(one), _label(one)) for one in known if one.scope == scope])
        for scope in SCOPES
        if people or scope != "person"
    ]
    return [(title, options) for title, options in groups if options]


def _label(place: Place) -> str:
    if place.scope == "tenant":
        return f"{place.tenant} ({place.name})"
    if place.scope == "channel":
        return f"{place.id} ({place.name}, {place.tenant})"
    return f"{place.name or place.id} ({place.tenant})"
