"""The prompts: their versions and the changes between them, rolling back, and to whom they are assigned."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any, cast
from urllib.parse import quote

from aiohttp import web

from adapters.studio.auth.guard import HttpError, person_of
from adapters.studio.auth.session import allowed
from adapters.studio.chat.requests import form_of
from adapters.studio.page import Page, Route, acts_as, render
from adapters.studio.playground.publishing import audience
from adapters.studio.web.highlight import code
from bot.domain.prompts import Template
from bot.domain.publications import ActiveTemplate, Place, Scope, Version
from bot.prompts.assignments import Assignments, channel_id
from bot.prompts.editing import PromptEditor
from bot.prompts.registry import TemplateRegistry

log = logging.getLogger(__name__)

SCOPES = ("tenant", "channel", "person")


class PromptsPage(Page):
    """Everyone may read them; editors change and assign them. Only operators see the people of assignments."""

    name = "Prompts"
    path = "/studio/prompts"
    icon = "prompt"

    def __init__(self, registry: TemplateRegistry, editor: PromptEditor, assignments: Assignments) -> None:
        self._registry = registry
        self._editor = editor
        self._assignments = assignments

    def routes(self) -> Iterable[Route]:
        return [
            Route("page", self.path, self._list),
            Route("page", "/studio/prompts/{name}", self._one),
            Route("form", "/studio/prompts/{name}/roll-back", self._roll_back, "editor"),
            Route("form", "/studio/prompts/{name}/give", self._assign, "editor"),
            Route("form", "/studio/prompts/{name}/take", self._remove, "editor"),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        templates = sorted(
            (*self._registry.templates(), *self._registry.on_trial()), key=lambda one: one.name
        )
        rows = [(one, self._registry.active(one.name), used_for(one)) for one in templates]
        return render(request, "prompts.html", rows=rows, problems=self._registry.problems)

    async def _one(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        active, versions = self._registry.active(name), await self._editor.history(name)
        template = self._editor.latest(name, versions)
        if template is None:
            raise HttpError(404, f"There is no prompt “{name}”.")
        return render(
            request,
            "prompt.html",
            template=template,
            held=active,
            unused=active.template is None and active.trial is None,
            used_for=used_for(template),
            notes=self._registry.notes(name),
            text=code(self._editor.write(template, "prompty"), "text"),
            **await self._assigned(request, name),
            versions=self._rows(versions, active),
        )

    def _rows(self, versions: Sequence[Version], active: ActiveTemplate) -> list[dict[str, Any]]:
        """Newest first, each with its changes since the one before it."""
        file = self._editor.write(active.file, "prompty") if active.file else ""
        current, tried = (one.number if one else 0 for one in (active.version, active.trial))
        rows: list[dict[str, Any]] = []
        for version, older in zip(versions, [*versions[1:], None], strict=False):
            changes = self._editor.diff((older.text if older else "") or file, version.text or file)
            row = {"release": version, "counts": version.number == current, "tried": version.number == tried}
            diff = code(changes, "diff") if changes else ""
            rows.append(row | {"audience": audience(version), "diff": diff})
        return rows

    async def _roll_back(self, request: web.Request) -> web.Response:
        name, form, person = request.match_info["name"], await form_of(request), person_of(request)
        number = form.get("number", "")
        if not number.isdecimal() or len(number) > 9:
            raise HttpError(400, "Unknown version.")
        to = f"version {number}" if int(number) else "the file"
        reason = form.get("reason", "")[:500] or f"rolled back to {to}"
        await self._editor.roll_back(name, int(number), author=person.author, reason=reason)
        log.info("%s rolled the prompt %s back to version %s", person.audited, name, number)
        return _back_to(name)

    # -------------------------------------------------------------- assignments

    async def _assigned(self, request: web.Request, name: str) -> dict[str, Any]:
        """The values of the template."""
        role = person_of(request).role
        every = role == "operator"
        bound = await self._assignments.listed(name)
        seen = [one for one in bound if every or one.place.scope != "person"]
        known = await self._assignments.known() if allowed(role, "editor") else ()
        names = {(one.tenant, one.id): one.name for one in known if one.scope == "person"}
        return {
            "bound": [(one, _place(one.place, names), _value(one.place)) for one in seen],
            "unseen": len(bound) - len(seen),
            "known": _groups(known, people=every),
        }

    async def _assign(self, request: web.Request) -> web.Response:
        name, form = request.match_info["name"], await form_of(request)
        if form.get("tenant", "").strip():
            scope = cast("Scope", form.get("scope", ""))
            id = "" if scope == "tenant" else form.get("id", "").strip()
            id = channel_id(id) if scope == "channel" else id
            place = Place(tenant=form["tenant"].strip(), scope=scope, id=id)
        else:
            place = _read(form.get("place", ""))
        if place.scope not in SCOPES:
            raise HttpError(400, "Choose a workspace, a channel or a person.")
        await self._assignments.bind(
            place, name, author=person_of(request).author, by=acts_as(person_of(request).role)
        )
        log.info("%s assigned the prompt %s to %s", person_of(request).audited, name, _value(place))
        return _back_to(name, "#assignments")

    async def _remove(self, request: web.Request) -> web.Response:
        name, form = request.match_info["name"], await form_of(request)
        place = _read(form.get("place", ""))
        await self._assignments.bind(
            place, "", author=person_of(request).author, by=acts_as(person_of(request).role)
        )
        log.info("%s unassigned the prompt %s from %s", person_of(request).audited, name, _value(place))
        return _back_to(name, "#assignments")


def _back_to(name: str, part: str = "") -> web.Response:
    return web.Response(status=303, headers={"Location": f"/studio/prompts/{quote(name, safe='')}{part}"})


def used_for(template: Template) -> str:
    """What a template answers, as text."""
    match = template.match
    uses = [f"/{command}" for command in match.commands]
    uses += [f"“{prefix.removesuffix(':')}: …”" for prefix in match.prefixes]
    uses += [f"channel {channel}" for channel in match.channels]
    return ", ".join([*uses, "everything else"] if match.default else uses) or "where it is assigned"


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
