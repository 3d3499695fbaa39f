"""Set-ups of the playground that were saved for everybody in the organisation."""

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

MOST = 200
"""Saved set-ups; whoever has more wants files."""
MOST_BYTES = 256 * 1024
"""Of one."""
MOST_NAME = 80
_saved = msgspec.json.Decoder(SavedConfig)


class SavedConfigs:
    """Every method raises StateUnavailable. Of two who save under one name at once, both are kept."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def all(self) -> list[SavedConfig]:
        """Every one, the last saved first. One of a newer Parley, which can't be read, is left out."""
        stored: list[bytes] = await self._redis.call("HVALS", keys.SAVED_CONFIGS)
        found = [item for item in map(_read, stored) if item is not None]
        return sorted(found, key=lambda item: item.at, reverse=True)

    async def get(self, id: str) -> SavedConfig | None:
        """One of them."""
        stored: bytes | None = await self._redis.call("HGET", keys.SAVED_CONFIGS, id)
        return _read(stored) if stored else None

    async def save(
        self, name: str, setups: str, *, author: str, replace: bool, owner: str = ""
    ) -> SavedConfig:
        """Save under a name. Raises NotAllowed, also for a name that is taken, but to `replace` it."""
        name, others = _named(name), await self.all()
        if len(setups.encode()) > MOST_BYTES:
            raise NotAllowed(f"These set-ups are too large to be saved: {MOST_BYTES // 1024} kB fit.")
        taken = next((other for other in others if other.name == name), None)
        if taken is not None and not replace:
            raise NotAllowed(f"There is “{name}” already, saved by {taken.author}.")
        if taken is None and len(others) >= MOST:
            raise NotAllowed(f"{MOST} set-ups are saved already. Delete one that nobody needs any more.")
        id = taken.id if taken is not None else uuid4().hex
        return await self._put(
            SavedConfig(id=id, name=name, author=author, at=now(), setups=setups, owner=owner)
        )

    async def rename(self, id: str, name: str) -> SavedConfig:
        """Give it another name. Raises NotAllowed."""
        name, others = _named(name), {item.id: item for item in await self.all()}
        if id not in others:
            raise NotAllowed("That set-up was deleted meanwhile.")
        if any(other.name == name for other in others.values() if other.id != id):
            raise NotAllowed(f"There is “{name}” already.")
        return await self._put(changed(others[id], name=name))

    async def delete(self, id: str) -> SavedConfig | None:
        """Delete one; what it was."""
        gone = await self.get(id)
        await self._redis.call("HDEL", keys.SAVED_CONFIGS, id)
        return gone

    async def _put(self, saved: SavedConfig) -> SavedConfig:
        await self._redis.call("HSET", keys.SAVED_CONFIGS, saved.id, msgspec.json.encode(saved))
        return saved


def _named(name: str) -> str:
    name = " ".join(name.split())
    if not 0 < len(name) <= MOST_NAME:
        raise NotAllowed(f"A name has 1 to {MOST_NAME} characters.")
    return name


def _read(stored: bytes) -> SavedConfig | None:
    try:
        return _saved.decode(stored)
    except msgspec.MsgspecError as error:
        log.error("A saved set-up can't be read and is left out: %s", error)
        return None
