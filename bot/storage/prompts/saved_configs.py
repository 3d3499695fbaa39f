"""Saved configurations of the playground: of one person, or shared with all editors."""

import logging
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import msgspec
from msgspec.structs import replace as changed

from bot.domain.errors import NotAllowed
from bot.domain.events import now
from bot.domain.publications import SavedConfig
from bot.storage.redis import keys
from bot.storage.redis.client import Redis

log = logging.getLogger(__name__)

MAX_CONFIGS = 200
MAX_BYTES = 256 * 1024
"""The limit for one configuration."""
MAX_NAME = 80
_saved = msgspec.json.Decoder(SavedConfig)


class SavedConfigs:
    """Stores configurations. Two that are saved under one name at once are both kept. Methods raise
    StateUnavailable.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def all(self) -> list[SavedConfig]:
        """All configurations, last saved first. Unreadable ones, of a newer version, are left out."""
        stored: list[bytes] = await self._redis.call("HVALS", keys.SAVED_CONFIGS)
        found = [item for item in map(_read, stored) if item is not None]
        return sorted(found, key=lambda config: config.at, reverse=True)

    async def get(self, id: str) -> SavedConfig | None:
        """The configuration with this id, or None."""
        stored: bytes | None = await self._redis.call("HGET", keys.SAVED_CONFIGS, id)
        return _read(stored) if stored else None

    async def save(
        self, name: str, setups: str, *, author: str, replace: bool, owner: str = "", shared: bool = False
    ) -> SavedConfig:
        """Save a configuration. Raises NotAllowed, also if the name is taken, unless `replace` is set.

        A name is taken by a configuration of the same owner, or by a shared one. One that is replaced keeps its owner
        and whether it is shared.
        """
        name, others = _named(name), await self.all()
        if len(setups.encode()) > MAX_BYTES:
            raise NotAllowed(f"This configuration is larger than the limit of {MAX_BYTES // 1024} kB.")
        taken = self.named(name, owner, others)
        if taken is not None and not replace:
            raise NotAllowed(f"“{name}” already exists, saved by {taken.author}. Choose another name.")
        if taken is not None:
            return await self._put(changed(taken, at=now(), setups=setups))
        if len(others) >= MAX_CONFIGS:
            words = "Delete one of yours first, or ask an operator to delete some."
            raise NotAllowed(f"The limit of {MAX_CONFIGS} saved configurations is reached. {words}")
        id = uuid4().hex
        return await self._put(
            SavedConfig(id=id, name=name, author=author, at=now(), setups=setups, owner=owner, shared=shared)
        )

    @staticmethod
    def named(name: str, owner: str, among: Sequence[SavedConfig]) -> SavedConfig | None:
        """The configuration that this owner means by a name: their own, else a shared one."""
        name = " ".join(name.split())
        found = [item for item in among if item.name == name and (item.shared or item.owner == owner)]
        return next((item for item in found if item.owner == owner), found[0] if found else None)

    async def rename(self, id: str, name: str) -> SavedConfig:
        """Rename a configuration. Raises NotAllowed."""
        return await self._change(id, name=_named(name))

    async def share(self, id: str, shared: bool) -> SavedConfig:
        """Let all editors open a configuration, or its owner only. Raises NotAllowed."""
        return await self._change(id, shared=shared)

    async def _change(self, id: str, **changes: Any) -> SavedConfig:
        others = {item.id: item for item in await self.all()}
        if id not in others:
            raise NotAllowed("This configuration has been deleted.")
        saved = changed(others.pop(id), **changes)
        for other in others.values():
            met = other.owner == saved.owner or (other.shared and saved.shared)
            if other.name == saved.name and met:
                raise NotAllowed(f"“{saved.name}” already exists. Choose another name.")
        return await self._put(saved)

    async def delete(self, id: str) -> SavedConfig | None:
        """Delete a configuration, and return it."""
        deleted = await self.get(id)
        await self._redis.call("HDEL", keys.SAVED_CONFIGS, id)
        return deleted

    async def _put(self, saved: SavedConfig) -> SavedConfig:
        await self._redis.call("HSET", keys.SAVED_CONFIGS, saved.id, msgspec.json.encode(saved))
        return saved


def _named(name: str) -> str:
    name = " ".join(name.split())
    if not 0 < len(name) <= MAX_NAME:
        raise NotAllowed(f"Enter a name of 1 to {MAX_NAME} characters.")
    return name


def _read(stored: bytes) -> SavedConfig | None:
    try:
        return _saved.decode(stored)
    except msgspec.MsgspecError as error:
        log.error("Skipped a saved configuration that can't be read: %s", error)
        return None
