"""Assignments: the part of a prompt's page that assigns it to workspaces, channels and people."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any, cast
from urllib.parse import quote

from aiohttp import web

from adapters.studio.auth.guard import HttpError, person_of
from adapters.studio.auth.session import allowed
from adapters.studio.chat.requests import form_of
from adapters.studio.page import Route
from bot.domain.publications import Place, Scope
from bot.prompts.assignments import Assignments

log = logging.getLogger(__name__)

SCOPES = ("tenant", "channel", "person")


class AssignmentForms:
    """Editors assign; only operators see which people a prompt is assigned to."""

    def __init__(self, assignments: Assignments) -> None:
        self._assignments = assignments

    def routes(self) -> Iterable[Route]:
        """The two forms."""
        return [
            Route("form", "/studio/prompts/{name}/give", self._assign, "editor"),
            Route("form", "/studio/prompts/{name}/take", self._remove, "editor"),
        ]

    async def shown(self, request: web.Request, name: str) -> dict[str, Any]:
        """The values of the template."""
        role = person_of(request).role
        bound = await self._assignments.listed(name)
        theirs = [one for one in bound if one.place.scope == "person"]
        seen = bound if role == "operator" else [one for one in bound if one.place.scope != "person"]
        known = await self._assignments.known() if allowed(role, "editor") else ()
        names = {(one.tenant, one.id): one.name for one in known if one.scope == "person"}
        return {
            "bound": [(one, _place(one.place, names), _value(one.place)) for one in seen],
            "unseen": 0 if role == "operator" else len(theirs),
            "known": _groups(known, people=role == "operator"),
        }

    async def _assign(self, request: web.Request) -> web.Response:
        name, form = request.match_info["name"], await form_of(request)
        if form.get("tenant", "").strip():
            scope = cast("Scope", form.get("scope", ""))
            id = "" if scope == "tenant" else form.get("id", "").strip()
            place = Place(tenant=form["tenant"].strip(), scope=scope, id=id)
        else:
            place = _read(form.get("place", ""))
        if place.scope not in SCOPES:
            raise HttpError(400, "Choose a workspace, a channel or a person.")
        await self._assignments.bind(place, name, author=person_of(request).author)
        log.info("%s assigned the prompt %s to %s", person_of(request).audited, name, _value(place))
        return _back_to(name)

    async def _remove(self, request: web.Request) -> web.Response:
        name, form = request.match_info["name"], await form_of(request)
        place = _read(form.get("place", ""))
        await self._assignments.bind(place, "", author=person_of(request).author)
        log.info("%s unassigned the prompt %s from %s", person_of(request).audited, name, _value(place))
        return _back_to(name)


def _back_to(name: str) -> web.Response:
    return web.Response(
        status=303, headers={"Location": f"/studio/prompts/{quote(name, safe='')}#assignments"}
    )


def _value(place: Place) -> str:
    """A place as the value of a form; ids contain no spaces."""
    return f"{place.scope} {place.tenant} {place.id}".strip()


def _read(value: str) -> Place:
    scope, _, rest = value.partition(" ")
    tenant, _, id = rest.partition(" ")
    if scope not in SCOPES or not tenant:
        raise HttpError(400, "Choose from the list, or enter the ids.")
    return Place(tenant=tenant, scope=scope, id=id)


def _place(place: Place, names: dict[tuple[str, str], str]) -> str:
    """A place as text."""
    if place.scope == "tenant":
        return f"everyone in {place.tenant}"
    name = names.get((place.tenant, place.id), "") if place.scope == "person" else ""
    return f"{place.scope} {f'{name} ({place.id})' if name else place.id} in {place.tenant}"


def _groups(known: Sequence[Place], *, people: bool) -> list[tuple[str, list[tuple[str, str]]]]:
    """Known places by kind, with the value of each."""
    titles = {"tenant": "Everyone in", "channel": "Channels", "person": "People"}
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
