"""The secret store: encrypted at rest, shared by all processes, with keys that can be rotated."""

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
    """Stores bytes under names. Every method raises StateUnavailable, and ConfigError for an invalid key.

    Implements `bot.domain.adapter.Secrets`. A value that no key decrypts counts as missing, with an error in the log.

    `secrets` are comma-separated Fernet keys: the first encrypts, all of them decrypt, so a key is rotated by
    prepending a new one. Without any, a key file that only this user may read is created in `folder` on first
    use; processes on other machines need a copy of it.
    """

    def __init__(self, redis: Redis, secrets: SecretStr | None, folder: Path) -> None:
        self._redis = redis
        self._secrets = secrets
        self._folder = folder
        self._ready: MultiFernet | None = None

    async def get(self, name: str) -> bytes | None:
        return await self._open(name, await self._redis.call("GET", keys.secret(name)))

    async def put(self, name: str, value: bytes, life_s: int | None = None) -> None:
        sealed = (await self._cipher()).encrypt(value)
        life = ("EX", life_s) if life_s is not None else ()
        await self._redis.call("SET", keys.secret(name), sealed, *life)

    async def take(self, name: str) -> bytes | None:
        return await self._open(name, await self._redis.call("GETDEL", keys.secret(name)))

    async def delete(self, name: str) -> None:
        await self._redis.call("DEL", keys.secret(name))

    async def names(self, prefix: str) -> list[str]:
        start = len(keys.secret(""))
        return sorted([name[start:] async for name in self._redis.scan(literal(keys.secret(prefix)) + "*")])

    async def _open(self, name: str, sealed: bytes | None) -> bytes | None:
        if sealed is None:
            return None
        from cryptography.fernet import InvalidToken

        try:
            return (await self._cipher()).decrypt(sealed)
        except InvalidToken:
            log.error("No key of PARLEY_SECRET_KEYS decrypts %s. Add the key that was removed.", name)
            return None

    async def _cipher(self) -> "MultiFernet":
        if self._ready is None:
            self._ready = await asyncio.to_thread(cipher, self._secrets, self._folder)
        return self._ready


def cipher(secrets: SecretStr | None, folder: Path) -> "MultiFernet":
    """The cipher with these keys, or with the key file of this folder. Raises ConfigError."""
    from cryptography.fernet import Fernet, MultiFernet

    text = secrets.get_secret_value() if secrets is not None else _key_file(folder / KEY_FILE)
    try:
        return MultiFernet([Fernet(key.strip()) for key in text.split(",") if key.strip()])
    except ValueError:
        where = "PARLEY_SECRET_KEYS" if secrets is not None else str(folder / KEY_FILE)
        raise ConfigError(
            f"{where} is invalid. Use 32 random bytes in URL-safe Base64, as printed by: python -c "
            '"from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
        ) from None


def _key_file(path: Path) -> str:
    """The key in this file, which is created atomically if missing. Raises ConfigError."""
    from cryptography.fernet import Fernet

    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # mkstemp makes it private; a link does not replace the file of another process.
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
            f"The key file {path} can't be used: {error}. Fix it, or set PARLEY_SECRET_KEYS."
        ) from None
