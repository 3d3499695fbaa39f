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
    shared: bool = False


class _ShareRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    shared: bool


class _RenameRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name


class SavedConfigRoutes:
    """The part of the playground that saves.

    A configuration belongs to who saved it, and doesn't exist for others unless it is shared: then all editors may
    open it. Only its owner, and operators, change it or decide that.
    """

    def __init__(self, saved_configs: SavedConfigs) -> None:
        self._saved_configs = saved_configs

    def routes(self) -> Iterable[Route]:
        return [
            Route("get", _PATH, self._list),
            Route("get", _PATH + "/{id}", self._open),
            Route("post", _PATH, self._save),
            Route("post", _PATH + "/{id}/rename", self._rename),
            Route("post", _PATH + "/{id}/share", self._share),
            Route("post", _PATH + "/{id}/delete", self._delete),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        person = person_of(request)
        seen = [saved for saved in await self._saved_configs.all() if _may_open(person, saved)]
        return web.json_response({"saved": [_card(person, saved) for saved in seen]})

    async def _open(self, request: web.Request) -> web.Response:
        person, saved = person_of(request), await self._visible(request)
        if saved.owner != person.id and not saved.shared:
            log.info("the configuration %s of %s was opened by %s", saved.id, saved.owner, person.audited)
        return web.json_response({**_card(person, saved), "setups": msgspec.json.decode(saved.setups)})

    async def _save(self, request: web.Request) -> web.Response:
        body, person = await json_of(request, _SaveRequest, MOST_BYTES), person_of(request)
        if body.replace:
            taken = self._saved_configs.named(body.name, person.id, await self._saved_configs.all())
            if taken is not None:
                _demand(person, taken)
        configs = msgspec.json.encode(body.configs).decode()
        saved = await self._saved_configs.save(
            body.name,
            configs,
            author=person.author,
            replace=body.replace,
            owner=person.id,
            shared=body.shared,
        )
        log.info("%s saved the configuration %s in the studio", person.audited, saved.id)
        return web.json_response(_card(person, saved))

    async def _rename(self, request: web.Request) -> web.Response:
        body, person = await json_of(request, _RenameRequest, MOST_BYTES), person_of(request)
        _demand(person, await self._visible(request))
        saved = await self._saved_configs.rename(request.match_info["id"], body.name)
        log.info("%s renamed the configuration %s in the studio", person.audited, saved.id)
        return web.json_response(_card(person, saved))

    async def _share(self, request: web.Request) -> web.Response:
        body, person = await json_of(request, _ShareRequest, MOST_BYTES), person_of(request)
        _demand(person, await self._visible(request))
        saved = await self._saved_configs.share(request.match_info["id"], body.shared)
        done = "shared" if saved.shared else "stopped sharing"
        log.info("%s %s the configuration %s in the studio", person.audited, done, saved.id)
        return web.json_response(_card(person, saved))

    async def _delete(self, request: web.Request) -> web.Response:
        person = person_of(request)
        _demand(person, await self._visible(request))
        gone = await self._saved_configs.delete(request.match_info["id"])
        if gone is not None:
            log.info("%s deleted the configuration %s in the studio", person.audited, gone.id)
        return web.json_response({})

    async def _visible(self, request: web.Request) -> SavedConfig:
        """The configuration that the path names, if the person may open it. Raises HttpError."""
        saved = await self._saved_configs.get(request.match_info["id"])
        if saved is None or not _may_open(person_of(request), saved):
            raise HttpError(404, "This saved configuration doesn't exist or belongs to someone else.")
        return saved


def _may_open(person: Person, saved: SavedConfig) -> bool:
    return saved.shared or _may_change(person, saved)


def _may_change(person: Person, saved: SavedConfig) -> bool:
    """Operators, because their number is limited, and because some of an older version name no owner."""
    return saved.owner == person.id or person.role == "operator"


def _demand(person: Person, saved: SavedConfig) -> None:
    """Raises HttpError for a configuration that the person may only open."""
    if not _may_change(person, saved):
        words = f"Only {saved.author} and operators can change “{saved.name}”. Save yours under another name."
        raise HttpError(403, words)


def _card(person: Person, saved: SavedConfig) -> dict[str, Any]:
    return {
        "id": saved.id,
        "name": saved.name,
        "author": saved.author,
        "at": milliseconds(saved.at),
        "shared": saved.shared,
        "yours": saved.owner == person.id,
        "may_change": _may_change(person, saved),
    }
