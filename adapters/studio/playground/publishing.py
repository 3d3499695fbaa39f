"""A config of the playground is published, exported, or imported from a file."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Annotated

import msgspec
from aiohttp import web

from adapters.studio.auth.guard import HttpError, person_of
from adapters.studio.chat.requests import json_of
from adapters.studio.page import Route
from adapters.studio.playground.config import (
    PlaygroundConfig,
    check_deployment,
    check_inputs,
    setup_of,
    template_of,
)
from bot.conversation.playground import Playground
from bot.domain.errors import NotAllowed, TemplateError
from bot.domain.publications import ActiveTemplate, Version
from bot.prompts.assignments import channel_id
from bot.prompts.editing import PromptEditor

log = logging.getLogger(__name__)

MOST_FILE_BYTES = 1024 * 1024
MOST_NOTES = 10
"""On an imported file, in one message."""
FORMATS = ("prompty", "json", "jsonl")
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


class PublishRoutes:
    """The part of the playground that turns a config into a version or a file, and a file into a config."""

    def __init__(self, editor: PromptEditor, playground: Playground) -> None:
        self._editor = editor
        self._playground = playground

    def routes(self) -> Iterable[Route]:
        return [
            Route("post", "/studio/playground/publish", self._publish),
            Route("post", "/studio/playground/export", self._export),
            Route("post", "/studio/playground/import", self._import),
        ]

    async def _publish(self, request: web.Request) -> web.Response:
        body, person = await json_of(request, _PublishRequest, MOST_FILE_BYTES), person_of(request)
        check_deployment(body.setup, self._playground)
        check_inputs(body.setup, self._playground)
        channels = [channel_id(one) for one in body.channels if one.strip()]
        if body.channels and not channels:
            raise HttpError(422, "Enter the id of at least one channel, or choose another audience.")
        active = self._editor.active(body.name)
        if (words := _conflict(body.setup, active)) and not body.replace:
            return web.json_response({"overtaken": words, "page": f"/studio/prompts/{body.name}"})
        template = msgspec.structs.replace(template_of(body.setup, self._playground), name=body.name)
        version = await self._editor.publish(
            template,
            author=person.author,
            reason=body.reason,
            percent=body.percent,
            channels=list(dict.fromkeys(channels)),
            after=active.version.number if active.version else 0,
        )
        log.info("%s published version %d of the prompt %s", person.audited, version.number, body.name)
        words = f"Version {version.number} of “{body.name}” is published {audience(version)}."
        if active.template is None and active.file is None:
            words += f" People there ask it with `/{body.name} …`."
        now = self._editor.active(body.name).template
        base = now.version if now is not None and body.name == body.setup.template else body.setup.base
        return web.json_response({"words": words, "page": f"/studio/prompts/{body.name}", "base": base})

    async def _export(self, request: web.Request) -> web.Response:
        body = await json_of(request, _ExportRequest, MOST_FILE_BYTES)
        template = template_of(body.setup, self._playground)
        form = body.form if body.form in FORMATS else FORMATS[0]
        text = await asyncio.to_thread(self._editor.write, template, form)
        return web.json_response({"text": text, "file": f"{template.name}.{form}"})

    async def _import(self, request: web.Request) -> web.Response:
        body = await json_of(request, _ImportRequest, MOST_FILE_BYTES)
        try:
            found = await asyncio.to_thread(self._editor.read, body.file, body.text.encode(), body.template)
        except (NotAllowed, TemplateError) as error:
            raise HttpError(422, str(error)) from None
        setup = {**setup_of(found.template, imported=True), "template": body.template, "base": body.base}
        more = len(found.notes) - MOST_NOTES
        notes = [
            *map(_sentence, found.notes[:MOST_NOTES]),
            *([f"And {more} more notes."] if more > 0 else []),
        ]
        words = " ".join([f"Imported “{body.file}”.", *notes])
        return web.json_response({"setup": setup, "words": words})


def _sentence(note: str) -> str:
    """A note, such as `line 3: 'tools' is not used`, as a sentence."""
    return f"{note[:1].upper()}{note[1:].removesuffix('.')}."


def audience(version: Version) -> str:
    """Who gets a version."""
    if version.trial is None:
        return "for everyone"
    parts = [f"{version.trial.percent} % of the conversations"] if version.trial.percent else []
    parts += [f"channel {channel}" for channel in version.trial.channels]
    return "as a trial for " + " and ".join(parts)


def _conflict(setup: PlaygroundConfig, active: ActiveTemplate) -> str:
    """Who changed the template since the person began to edit it; empty where nobody did."""
    template = active.template
    if template is None or template.name != setup.template or setup.base in ("", template.version):
        return ""
    if active.version is None:
        return (
            f"“{template.name}” was reverted to its file while you were editing. Publish again to replace it."
        )
    new = active.version
    return (
        f"“{template.name}” changed while you were editing: version {new.number}, by {new.author}, "
        f"“{new.reason}”. Review the changes, or publish again to replace them."
    )
