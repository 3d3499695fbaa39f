"""The pages of the prompts: which there are, their versions and what changed; publish and take back."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from aiohttp import web

from adapters.studio.auth.guard import Guard, HttpError
from adapters.studio.chat.requests import form_of, json_of
from adapters.studio.pages.assignments import AssignmentsPage
from adapters.studio.playground.config import PlaygroundConfig, setup_of, template_of
from adapters.studio.services import StudioServices
from adapters.studio.web.highlight import code
from adapters.studio.web.rendering import Renderer, page
from bot.domain.errors import NotAllowed, TemplateError
from bot.domain.prompts import Template
from bot.domain.publications import ActiveTemplate, Version

log = logging.getLogger(__name__)

MOST_FILE_BYTES = 1024 * 1024
Reason = Annotated[str, msgspec.Meta(max_length=500)]


class _PublishRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    setup: PlaygroundConfig
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}\Z")]
    reason: Reason
    replace: bool = False
    percent: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    channels: list[str] = []


class _ExportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    setup: PlaygroundConfig
    form: str


class _ImportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    template: str
    base: str = ""
    file: str
    text: str


class PromptsPage:
    """Everybody may read them; editors change them."""

    def __init__(self, services: StudioServices, guard: Guard, draw: Renderer) -> None:
        self._editor = services.editor
        self._playground = services.playground
        self._audience = AssignmentsPage(services.assignments, guard)
        self._guard = guard
        self._draw = draw

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The pages, and what the playground asks for."""
        guard = self._guard.guard
        return [
            web.get("/studio/prompts", guard(self._list, page=True)),
            web.get("/studio/prompts/{name}", guard(self._one, page=True)),
            web.post(
                "/studio/prompts/{name}/roll-back",
                guard(self._roll_back, need="editor", page=True, form=True),
            ),
            *self._audience.routes(),
            web.post("/studio/playground/publish", guard(self._publish, need="editor")),
            web.post("/studio/playground/export", guard(self._export, need="editor")),
            web.post("/studio/playground/import", guard(self._import, need="editor")),
        ]

    # -------------------------------------------------------------- pages

    async def _list(self, request: web.Request) -> web.Response:
        rows = [(one, self._editor.active(one.name), used_for(one)) for one in self._playground.templates()]
        return page(self._draw(request, "prompts.html", "Prompts", rows=rows))

    async def _one(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        held = self._editor.active(name)
        template = held.template or held.file
        if template is None:
            raise HttpError(404, f"There is no template “{name}”.")
        versions = await self._editor.history(name)
        return page(
            self._draw(
                request,
                "prompt.html",
                "Prompts",
                template=template,
                held=held,
                used_for=used_for(template),
                text=code(self._editor.text(template), "text"),
                **await self._audience.shown(request, name),
                versions=[self._row(one, held, older) for one, older in _pairs(versions)],
            )
        )

    def _row(self, release: Version, held: ActiveTemplate, older: Version | None) -> dict[str, Any]:
        before = older.text if older and older.text else self._editor.text(held.file) if held.file else ""
        after = release.text or (self._editor.text(held.file) if held.file else "")
        changed = self._editor.diff(before, after)
        counts = held.version is not None and held.version.number == release.number
        tried = held.trial is not None and held.trial.number == release.number
        return {
            "release": release,
            "counts": counts,
            "tried": tried,
            "audience": audience(release),
            "diff": code(changed, "diff") if changed else "",
        }

    async def _roll_back(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        form = await form_of(request)
        number = form.get("number", "")
        if not number.isdecimal() or len(number) > 9:
            raise HttpError(400, "That is no version.")
        reason = (
            form.get("reason", "")[:500] or f"back to {f'version {number}' if int(number) else 'the file'}"
        )
        try:
            await self._editor.roll_back(name, int(number), author=self._author(request), reason=reason)
        except (NotAllowed, TemplateError) as error:
            raise HttpError(409, str(error)) from None
        log.info("the prompt %s was set to version %s by %s", name, number, self._audited(request))
        return web.Response(status=303, headers={"Location": f"/studio/prompts/{quote(name, safe='')}"})

    # -------------------------------------------------------------- for the playground

    async def _publish(self, request: web.Request) -> web.Response:
        body = await json_of(request, _PublishRequest, MOST_FILE_BYTES)
        held = self._editor.active(body.name)
        if (words := _overtaken(body.setup, held)) and not body.replace:
            return web.json_response({"overtaken": words, "page": f"/studio/prompts/{body.name}"})
        template = msgspec.structs.replace(template_of(body.setup, self._playground), name=body.name)
        try:
            release = await self._editor.publish(
                template,
                author=self._author(request),
                reason=body.reason,
                percent=body.percent,
                channels=[one.strip() for one in body.channels if one.strip()],
                after=held.version.number if held.version else 0,
            )
        except (NotAllowed, TemplateError) as error:
            raise HttpError(409, str(error)) from None
        log.info(
            "version %d of the prompt %s was published by %s",
            release.number,
            body.name,
            self._audited(request),
        )
        words = f"Version {release.number} of “{body.name}” is published {audience(release)}."
        now = self._editor.active(body.name).template
        base = now.version if now is not None and body.name == body.setup.template else body.setup.base
        return web.json_response({"words": words, "page": f"/studio/prompts/{body.name}", "base": base})

    async def _export(self, request: web.Request) -> web.Response:
        body = await json_of(request, _ExportRequest, MOST_FILE_BYTES)
        template = template_of(body.setup, self._playground)
        form = body.form if body.form in ("prompty", "json", "jsonl") else "prompty"
        try:
            text = await asyncio.to_thread(self._editor.write, template, form)
        except (NotAllowed, TemplateError) as error:
            raise HttpError(409, str(error)) from None
        return web.json_response({"text": text, "file": f"{template.name}.{form}"})

    async def _import(self, request: web.Request) -> web.Response:
        body = await json_of(request, _ImportRequest, MOST_FILE_BYTES)
        try:
            read = await asyncio.to_thread(self._editor.read, body.file, body.text.encode(), body.template)
        except (NotAllowed, TemplateError) as error:
            raise HttpError(422, str(error)) from None
        setup = {**setup_of(read, imported=True), "template": body.template, "base": body.base}
        return web.json_response({"setup": setup})

    def _author(self, request: web.Request) -> str:
        return self._guard.person(request).author

    def _audited(self, request: web.Request) -> str:
        return self._guard.person(request).audited


def _overtaken(setup: PlaygroundConfig, held: ActiveTemplate) -> str:
    """Who changed a template since the person began with it, in words; empty where nobody did."""
    template = held.template
    if template is None or template.name != setup.template or setup.base in ("", template.version):
        return ""
    if held.version is None:
        return f"“{template.name}” is the file's again since you began. Publish once more to go over it."
    new = held.version
    return (
        f"“{template.name}” changed since you began: version {new.number}, by {new.author}, “{new.reason}”. "
        "Look at what changed, or publish once more to go over it."
    )


def _pairs(versions: Iterable[Version]) -> Iterable[tuple[Version, Version | None]]:
    listed = list(versions)
    older: list[Version | None] = [*listed[1:], None]
    return zip(listed, older, strict=False)


def used_for(template: Template) -> str:
    """What a template answers, in words."""
    match = template.match
    uses = [f"/{command}" for command in match.commands]
    uses += [f"“{prefix} …”" for prefix in match.prefixes]
    uses += [f"channel {channel}" for channel in match.channels]
    return ", ".join([*uses, "everything else"] if match.default else uses) or "where it is chosen"


def audience(release: Version) -> str:
    """Who meets a version."""
    if release.trial is None:
        return "for everybody"
    parts = [f"{release.trial.percent} % of the conversations"] if release.trial.percent else []
    parts += [f"channel {channel}" for channel in release.trial.channels]
    return "as a trial for " + " and ".join(parts)
