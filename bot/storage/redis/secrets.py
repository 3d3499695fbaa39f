"""Secrets that adapters keep for all processes: encrypted at rest, under keys that can be rotated."""

import asyncio
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from bot.domain.errors import ConfigError
from bot.storage.redis import keys
from bot.storage.redis.client import Redis, literal

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

log = logging.getLogger(__name__)

KEY_FILE = "secret.key"


class SecretStore:
    """Keeps bytes under names. Every method raises StateUnavailable, and ConfigError for a bad key.

    `secrets` are Fernet keys with commas between them: the first encrypts, all of them decrypt, so a key is
    rotated by putting a new one in front. Without any, a key file that only this user may read is made in
    `folder` when it is first needed; processes on other machines then need a copy of it.
    """

    def __init__(self, redis: Redis, secrets: SecretStr | None, folder: Path) -> None:
        self._redis = redis
        self._secrets = secrets
        self._folder = folder
        self._ready: MultiFernet | None = None

    async def get(self, name: str) -> bytes | None:
        """What is kept under a name; None also, with a word in the log, when no key opens it."""
        return await self._open(name, await self._redis.call("GET", keys.secret(name)))

    async def put(self, name: str, value: bytes, life_s: int | None = None) -> None:
        """Keep something, for so long, or until it is deleted."""
        sealed = (await self._cipher()).encrypt(value)
        life = ("EX", life_s) if life_s is not None else ()
        await self._redis.call("SET", keys.secret(name), sealed, *life)

    async def take(self, name: str) -> bytes | None:
        """Get and delete in one step: for what may be used once."""
        return await self._open(name, await self._redis.call("GETDEL", keys.secret(name)))

    async def delete(self, name: str) -> None:
        """Delete what is kept under a name."""
        await self._redis.call("DEL", keys.secret(name))

    async def names(self, prefix: str) -> list[str]:
        """The names that begin like this, in order."""
        start = len(keys.secret(""))
        return sorted([name[start:] async for name in self._redis.scan(literal(keys.secret(prefix)) + "*")])

    async def _open(self, name: str, sealed: bytes | None) -> bytes | None:
        if sealed is None:
            return None
        from cryptography.fernet import InvalidToken

        try:
            return (await self._cipher()).decrypt(sealed)
        except InvalidToken:
            log.error("No key of PARLEY_SECRET_KEYS opens what is kept as %s; was a key dropped?", name)
            return None

    async def _cipher(self) -> "MultiFernet":
        if self._ready is None:
            self._ready = await asyncio.to_thread(cipher, self._secrets, self._folder)
        return self._ready


def cipher(secrets: SecretStr | None, folder: Path) -> "MultiFernet":
    """The cipher over these keys, or over the key file of this folder. Raises ConfigError."""
    from cryptography.fernet import Fernet, MultiFernet

    text = secrets.get_secret_value() if secrets is not None else _key_file(folder / KEY_FILE)
    try:
        return MultiFernet([Fernet(key.strip()) for key in text.split(",") if key.strip()])
    except ValueError:
        where = "PARLEY_SECRET_KEYS" if secrets is not None else str(folder / KEY_FILE)
        raise ConfigError(
            f"{where} can't be used: a key is 32 random bytes in URL-safe Base64, as this prints: python -c "
            '"from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
        ) from None


def _key_file(path: Path) -> str:
    """The key in this file, which is made whole or not at all. Raises ConfigError."""
    from cryptography.fernet import Fernet

    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # mkstemp makes it readable for this user alone; a link does not replace another process' file.
            number, name = tempfile.mkstemp(dir=path.parent)
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(Fernet.generate_key())
                with suppress(FileExistsError):
                    os.link(name, path)
            finally:
                os.unlink(name)
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The key file {path} can't be used: {error}. PARLEY_SECRET_KEYS replaces it."
        ) from None
