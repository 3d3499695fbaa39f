"""Set-ups that are saved on the server: for the playground's list, and for links that open one."""

import logging
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from aiohttp import web

from adapters.studio.auth.guard import Guard, HttpError
from adapters.studio.auth.session import Person
from adapters.studio.chat.frames import milliseconds
from adapters.studio.chat.requests import json_of
from adapters.studio.playground.config import PlaygroundConfig
from bot.domain.errors import NotAllowed
from bot.domain.publications import SavedConfig
from bot.storage.prompts.saved_configs import SavedConfigs

log = logging.getLogger(__name__)

MOST_BYTES = 1024 * 1024
_PATH = "/studio/playground/saved"
Name = Annotated[str, msgspec.Meta(max_length=200)]


class _SaveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    setups: Annotated[list[PlaygroundConfig], msgspec.Meta(min_length=1, max_length=3)]
    replace: bool = False


class _RenameRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name


class SavedConfigRoutes:
    """For editors, as the playground is: all of them open a set-up; who saved it may change it."""

    def __init__(self, saved_configs: SavedConfigs, guard: Guard) -> None:
        self._saved_configs = saved_configs
        self._guard = guard

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What the playground asks for."""

        def get(path: str, handler: Any) -> web.RouteDef:
            return web.get(_PATH + path, self._guard.guard(handler, need="editor"))

        def post(path: str, handler: Any) -> web.RouteDef:
            return web.post(_PATH + path, self._guard.guard(handler, need="editor"))

        return [
            get("", self._list),
            get("/{id}", self._open),
            post("", self._save),
            post("/{id}/rename", self._rename),
            post("/{id}/delete", self._delete),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"saved": [_card(one) for one in await self._saved_configs.all()]})

    async def _open(self, request: web.Request) -> web.Response:
        saved = await self._saved_configs.get(request.match_info["id"])
        if saved is None:
            raise HttpError(404, "That set-up is not saved any more.")
        return web.json_response({**_card(saved), "setups": msgspec.json.decode(saved.setups)})

    async def _save(self, request: web.Request) -> web.Response:
        body, person = await json_of(request, _SaveRequest, MOST_BYTES), self._guard.person(request)
        if body.replace:
            name = " ".join(body.name.split())
            _demand(person, next((one for one in await self._saved_configs.all() if one.name == name), None))
        setups = msgspec.json.encode(body.setups).decode()
        try:
            saved = await self._saved_configs.save(
                body.name, setups, author=person.author, replace=body.replace, owner=person.id
            )
        except NotAllowed as error:
            raise HttpError(409, str(error)) from None
        log.info("%s saved the set-up %r in the studio", person.audited, saved.name)
        return web.json_response(_card(saved))

    async def _rename(self, request: web.Request) -> web.Response:
        body, person = await json_of(request, _RenameRequest, MOST_BYTES), self._guard.person(request)
        _demand(person, await self._saved_configs.get(request.match_info["id"]))
        try:
            saved = await self._saved_configs.rename(request.match_info["id"], body.name)
        except NotAllowed as error:
            raise HttpError(409, str(error)) from None
        log.info("%s renamed a set-up in the studio to %r", person.audited, saved.name)
        return web.json_response(_card(saved))

    async def _delete(self, request: web.Request) -> web.Response:
        person = self._guard.person(request)
        _demand(person, await self._saved_configs.get(request.match_info["id"]))
        gone = await self._saved_configs.delete(request.match_info["id"])
        if gone is not None:
            log.info("%s deleted the set-up %r in the studio", person.audited, gone.name)
        return web.json_response({})


def _demand(person: Person, saved: SavedConfig | None) -> None:
    """Raises HttpError for a set-up of somebody else; those without an owner, of an older version, are free."""
    if saved is not None and saved.owner not in ("", person.id) and person.role != "operator":
        raise HttpError(
            403, f"Only {saved.author} and operators can change “{saved.name}”. Save yours as another."
        )


def _card(saved: SavedConfig) -> dict[str, Any]:
    return {"id": saved.id, "name": saved.name, "author": saved.author, "at": milliseconds(saved.at)}
