"""Playground configurations saved for everybody in the organisation."""

import logging
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
        self, name: str, setups: str, *, author: str, replace: bool, owner: str = ""
    ) -> SavedConfig:
        """Save a configuration. Raises NotAllowed, also if the name is taken, unless `replace` is set."""
        name, others = _named(name), await self.all()
        if len(setups.encode()) > MAX_BYTES:
            raise NotAllowed(f"This configuration is larger than the limit of {MAX_BYTES // 1024} kB.")
        taken = next((other for other in others if other.name == name), None)
        if taken is not None and not replace:
            raise NotAllowed(f"“{name}” already exists, saved by {taken.author}. Choose another name.")
        if taken is None and len(others) >= MAX_CONFIGS:
            raise NotAllowed(f"The limit of {MAX_CONFIGS} saved configurations is reached. Delete one first.")
        id = taken.id if taken is not None else uuid4().hex
        return await self._put(
            SavedConfig(id=id, name=name, author=author, at=now(), setups=setups, owner=owner)
        )

    async def rename(self, id: str, name: str) -> SavedConfig:
        """Rename a configuration. Raises NotAllowed."""
        name, others = _named(name), {item.id: item for item in await self.all()}
        if id not in others:
            raise NotAllowed("This configuration has been deleted.")
        if any(other.name == name for other in others.values() if other.id != id):
            raise NotAllowed(f"“{name}” already exists. Choose another name.")
        return await self._put(changed(others[id], name=name))

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
