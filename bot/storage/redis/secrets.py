"""The secret store: encrypted at rest, shared by all processes, with keys that are rotated while it is used."""

import asyncio
import logging
import os
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from bot.domain.errors import BotError, ConfigError, SecretUnreadable, StateUnavailable
from bot.domain.turns import CheckResult
from bot.storage.redis import keys, tasks
from bot.storage.redis.client import Redis, Script, literal

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

log = logging.getLogger(__name__)

KEY_FILE = "secret.key"
RESEAL_S = 3600.0
"""How often a process looks for values that an older key encrypts, if it has one."""
_NAMED = 5
_AT_ONCE = 200
_RESEAL = Script("reseal")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUse:
    """Which keys the stored values need: how many by the number of their key, 0 for the first one of the settings.

    `unreadable` are the names of those that no key decrypts, `resealed` is how many the first key encrypts now instead
    of an older one.
    """

    keys: int
    values: Counter[int] = field(default_factory=Counter[int])
    unreadable: tuple[str, ...] = ()
    resealed: int = 0

    def check(self) -> list[CheckResult]:
        """What an operator should know before a key is removed. Without values and further keys, nothing."""
        found: list[CheckResult] = []
        if self.unreadable:
            more = f" and {left} more" if (left := len(self.unreadable) - _NAMED) > 0 else ""
            words = (
                f"{len(self.unreadable)} cannot be decrypted: {', '.join(self.unreadable[:_NAMED])}{more}. "
                "Add the key that was removed to the end of PARLEY_SECRET_KEYS. Until then their workspaces wait."
            )
            found.append(CheckResult(level="error", subject="secrets", words=words))
        old = {number: count for number, count in sorted(self.values.items()) if number}
        for number, count in old.items():
            words = f"{count} need key {number + 1} of PARLEY_SECRET_KEYS; `parley secrets reseal` ends that"
            found.append(CheckResult(level="warning", subject="secrets", words=words))
        if not found and (self.values or self.keys > 1):
            rest = "; the other keys are not needed" if self.keys > 1 else ""
            words = f"{self.values[0]} are encrypted by the first key{rest}"
            found.append(CheckResult(level="ok", subject="secrets", words=words))
        return found


class SecretStore:
    """Stores bytes under names. Every method raises StateUnavailable, and ConfigError for an invalid key.

    Implements `bot.domain.adapter.Secrets`. A value that no key decrypts is not missing: it raises SecretUnreadable.

    `secrets` are comma-separated Fernet keys: the first encrypts, all of them decrypt. A new one is first added at the
    end, for all processes, and then put in front; what older ones encrypt is encrypted again. Without any, a key file
    that only this user may read is created in `folder` on first use; processes on other machines need a copy of it.
    """

    def __init__(self, redis: Redis, secrets: SecretStr | None, folder: Path) -> None:
        self._redis = redis
        self._secrets = secrets
        self._folder = folder
        self._ready: tuple[Fernet, ...] = ()

    async def get(self, name: str) -> bytes | None:
        return await self._open(name, await self._redis.call("GET", keys.secret(name)))

    async def put(self, name: str, value: bytes, life_s: int | None = None) -> None:
        sealed = (await self._ciphers())[0].encrypt(value)
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
        opened = _opened(await self._ciphers(), sealed)
        if opened is None:
            raise SecretUnreadable(
                f"No key of PARLEY_SECRET_KEYS decrypts {name}. Add the key that was removed."
            )
        return opened[1]

    async def key_use(self, *, reseal: bool = False) -> KeyUse:
        """Count which keys the values need. With `reseal`, encrypt them by the first key before; their life stays."""
        found, unreadable, resealed = Counter[int](), list[str](), 0
        async for name, sealed in self._stored():
            ciphers = await self._ciphers()
            opened = _opened(ciphers, sealed)
            if opened is None:
                unreadable.append(name)
                continue
            number, value = opened
            if reseal and number:
                again = ciphers[0].encrypt(value)
                if await self._redis.run(_RESEAL, [keys.secret(name)], [sealed, again]):
                    number, resealed = 0, resealed + 1
            found[number] += 1
        number = len(await self._ciphers()) if found or unreadable else 0
        return KeyUse(keys=number, values=found, unreadable=tuple(unreadable), resealed=resealed)

    async def _stored(self) -> AsyncGenerator[tuple[str, bytes]]:
        """The names and encrypted values of everything that is stored."""
        names = await self.names("")
        for start in range(0, len(names), _AT_ONCE):
            part = names[start : start + _AT_ONCE]
            values = await self._redis.many([("GET", keys.secret(name)) for name in part])
            for name, sealed in zip(part, values, strict=True):
                if sealed is not None:
                    yield name, sealed

    async def check(self) -> list[CheckResult]:
        """What is encrypted by which key. Never raises."""
        try:
            return (await self.key_use()).check()
        except BotError as error:
            return [CheckResult(level="error", subject="secrets", words=str(error))]

    @asynccontextmanager
    async def resealing(self) -> AsyncGenerator[None]:
        """Encrypt again in the background what older keys encrypt, while the settings have some."""
        keeping = asyncio.create_task(self._reseal_again())
        try:
            yield
        finally:
            await tasks.end(keeping)

    async def _reseal_again(self) -> None:
        while self._secrets is not None and len(await self._ciphers()) > 1:
            try:
                use = await self.key_use(reseal=True)
                if use.resealed:
                    log.warning(
                        "%d secrets are encrypted by the first key of PARLEY_SECRET_KEYS now", use.resealed
                    )
                for finding in use.check():
                    if finding.level != "ok":
                        log.error("%s: %s", finding.subject, finding.words)
            except StateUnavailable as error:
                log.info("Secrets could not be encrypted again: %s", error)
            await asyncio.sleep(RESEAL_S)

    async def _ciphers(self) -> "tuple[Fernet, ...]":
        if not self._ready:
            self._ready = await asyncio.to_thread(ciphers, self._secrets, self._folder)
        return self._ready


def _opened(ciphers: "tuple[Fernet, ...]", sealed: bytes) -> tuple[int, bytes] | None:
    """The number of the key that encrypted a value, and the value; None if none of them did."""
    from cryptography.fernet import InvalidToken

    for number, cipher in enumerate(ciphers):
        with suppress(InvalidToken):
            return number, cipher.decrypt(sealed)
    return None


def ciphers(secrets: SecretStr | None, folder: Path) -> "tuple[Fernet, ...]":
    """The ciphers of these keys, at least one, or that of the key file of this folder. Raises ConfigError."""
    from cryptography.fernet import Fernet

    text = secrets.get_secret_value() if secrets is not None else _key_file(folder / KEY_FILE)
    try:
        found = tuple(Fernet(key.strip()) for key in text.split(",") if key.strip())
        if not found:
            raise ValueError("no key")
        return found
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
