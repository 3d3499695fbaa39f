"""The prompts: which there are, their versions and the changes between them, rolling back."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from aiohttp import web

from adapters.studio.auth.guard import HttpError, person_of
from adapters.studio.chat.requests import form_of
from adapters.studio.page import Page, Route, render
from adapters.studio.pages.assignments import AssignmentForms
from adapters.studio.playground.publishing import audience
from adapters.studio.web.highlight import code
from bot.domain.prompts import Template
from bot.domain.publications import ActiveTemplate, Version
from bot.prompts.assignments import Assignments
from bot.prompts.editing import PromptEditor
from bot.prompts.registry import TemplateRegistry

log = logging.getLogger(__name__)


class PromptsPage(Page):
    """Everyone may read them; editors change them."""

    name = "Prompts"
    path = "/studio/prompts"
    icon = "prompt"

    def __init__(self, registry: TemplateRegistry, editor: PromptEditor, assignments: Assignments) -> None:
        self._registry = registry
        self._editor = editor
        self._assignments = AssignmentForms(assignments)

    def routes(self) -> Iterable[Route]:
        return [
            Route("page", self.path, self._list),
            Route("page", "/studio/prompts/{name}", self._one),
            Route("form", "/studio/prompts/{name}/roll-back", self._roll_back, "editor"),
            *self._assignments.routes(),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        rows = [(one, self._registry.active(one.name), used_for(one)) for one in self._registry.templates()]
        return render(request, "prompts.html", rows=rows)

    async def _one(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        active = self._registry.active(name)
        template = active.template or active.file
        if template is None:
            raise HttpError(404, f"There is no prompt “{name}”.")
        return render(
            request,
            "prompt.html",
            template=template,
            held=active,
            used_for=used_for(template),
            text=code(self._editor.write(template, "prompty"), "text"),
            **await self._assignments.shown(request, name),
            versions=self._rows(await self._editor.history(name), active),
        )

    def _rows(self, versions: Sequence[Version], active: ActiveTemplate) -> list[dict[str, Any]]:
        """Newest first, each with its changes since the one before it."""
        file = self._editor.write(active.file, "prompty") if active.file else ""
        current, tried = (one.number if one else 0 for one in (active.version, active.trial))
        rows: list[dict[str, Any]] = []
        for version, older in zip(versions, [*versions[1:], None], strict=False):
            changes = self._editor.diff((older.text if older else "") or file, version.text or file)
            rows.append(
                {
                    "release": version,
                    "counts": version.number == current,
                    "tried": version.number == tried,
                    "audience": audience(version),
                    "diff": code(changes, "diff") if changes else "",
                }
            )
        return rows

    async def _roll_back(self, request: web.Request) -> web.Response:
        name, person = request.match_info["name"], person_of(request)
        form = await form_of(request)
        number = form.get("number", "")
        if not number.isdecimal() or len(number) > 9:
            raise HttpError(400, "Unknown version.")
        to = f"version {number}" if int(number) else "the file"
        reason = form.get("reason", "")[:500] or f"rolled back to {to}"
        await self._editor.roll_back(name, int(number), author=person.author, reason=reason)
        log.info("%s rolled the prompt %s back to version %s", person.audited, name, number)
        return web.Response(status=303, headers={"Location": f"/studio/prompts/{quote(name, safe='')}"})


def used_for(template: Template) -> str:
    """What a template answers, as text."""
    match = template.match
    uses = [f"/{command}" for command in match.commands]
    uses += [f"“{prefix} …”" for prefix in match.prefixes]
    uses += [f"channel {channel}" for channel in match.channels]
    return ", ".join([*uses, "everything else"] if match.default else uses) or "where it is assigned"
