"""Configs of the playground that are saved on the server: a list, and links that open one."""

import logging
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from aiohttp import web

from adapters.studio.auth.guard import HttpError, person_of
from adapters.studio.auth.session import Person
from adapters.studio.chat.frames import milliseconds
from adapters.studio.chat.requests import json_of
from adapters.studio.page import Route
from adapters.studio.playground.config import PlaygroundConfig
from bot.domain.publications import SavedConfig
from bot.storage.prompts.saved_configs import SavedConfigs

log = logging.getLogger(__name__)

MOST_BYTES = 1024 * 1024
_PATH = "/studio/playground/saved"
Name = Annotated[str, msgspec.Meta(max_length=200)]
Configs = Annotated[list[PlaygroundConfig], msgspec.Meta(min_length=1, max_length=3)]


class _SaveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    configs: Configs = msgspec.field(name="setups")
    replace: bool = False


class _RenameRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name


class SavedConfigRoutes:
    """The part of the playground that saves. Every editor can open a config; who saved it may change it."""

    def __init__(self, saved_configs: SavedConfigs) -> None:
        self._saved_configs = saved_configs

    def routes(self) -> Iterable[Route]:
        return [
            Route("get", _PATH, self._list),
            Route("get", _PATH + "/{id}", self._open),
            Route("post", _PATH, self._save),
            Route("post", _PATH + "/{id}/rename", self._rename),
            Route("post", _PATH + "/{id}/delete", self._delete),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"saved": [_card(one) for one in await self._saved_configs.all()]})

    async def _open(self, request: web.Request) -> web.Response:
        saved = await self._saved_configs.get(request.match_info["id"])
        if saved is None:
            raise HttpError(404, "This saved configuration no longer exists.")
        return web.json_response({**_card(saved), "setups": msgspec.json.decode(saved.setups)})

    async def _save(self, request: web.Request) -> web.Response:
        body, person = await json_of(request, _SaveRequest, MOST_BYTES), person_of(request)
        if body.replace:
            name = " ".join(body.name.split())
            _demand(person, next((one for one in await self._saved_configs.all() if one.name == name), None))
        configs = msgspec.json.encode(body.configs).decode()
        saved = await self._saved_configs.save(
            body.name, configs, author=person.author, replace=body.replace, owner=person.id
        )
        log.info("%s saved the configuration %r in the studio", person.audited, saved.name)
        return web.json_response(_card(saved))

    async def _rename(self, request: web.Request) -> web.Response:
        body, person = await json_of(request, _RenameRequest, MOST_BYTES), person_of(request)
        _demand(person, await self._saved_configs.get(request.match_info["id"]))
        saved = await self._saved_configs.rename(request.match_info["id"], body.name)
        log.info("%s renamed a configuration in the studio to %r", person.audited, saved.name)
        return web.json_response(_card(saved))

    async def _delete(self, request: web.Request) -> web.Response:
        person = person_of(request)
        _demand(person, await self._saved_configs.get(request.match_info["id"]))
        gone = await self._saved_configs.delete(request.match_info["id"])
        if gone is not None:
            log.info("%s deleted the configuration %r in the studio", person.audited, gone.name)
        return web.json_response({})


def _demand(person: Person, saved: SavedConfig | None) -> None:
    """Raises HttpError for someone else's config; one without an owner, of an older version, is anybody's."""
    if saved is not None and saved.owner not in ("", person.id) and person.role != "operator":
        words = f"Only {saved.author} and operators can change “{saved.name}”. Save yours under another name."
        raise HttpError(403, words)


def _card(saved: SavedConfig) -> dict[str, Any]:
    return {"id": saved.id, "name": saved.name, "author": saved.author, "at": milliseconds(saved.at)}
