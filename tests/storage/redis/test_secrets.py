"""Secrets of adapters: sealed at rest, under keys that rotate."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from bot.domain.errors import ConfigError
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.storage.redis.secrets import KEY_FILE, SecretStore


def secrets(*names: str) -> SecretStr:
    return SecretStr(", ".join(names))


async def test_a_stored_secret_is_encrypted(redis: Redis, folder: Path) -> None:
    secret_store = SecretStore(redis, None, folder)
    await secret_store.put("slack/T1", b"xoxb-hush")
    assert await secret_store.get("slack/T1") == b"xoxb-hush"
    stored = await redis.call("GET", keys.secret("slack/T1"))
    assert b"xoxb-hush" not in stored
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    assert os.listdir(folder) == [KEY_FILE]
    await secret_store.delete("slack/T1")


async def test_another_process_uses_the_same_key_file(redis: Redis, folder: Path) -> None:
    await SecretStore(redis, None, folder).put("one", b"1")
    assert await SecretStore(redis, None, folder).get("one") == b"1"
    await redis.call("DEL", keys.secret("one"))


async def test_a_rotated_key_still_decrypts(redis: Redis, folder: Path) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    await SecretStore(redis, secrets(old), folder).put("one", b"1")
    rotated = SecretStore(redis, secrets(new, old), folder)
    assert await rotated.get("one") == b"1"
    await rotated.put("one", b"2")
    assert await SecretStore(redis, secrets(new), folder).get("one") == b"2"
    assert await SecretStore(redis, secrets(old), folder).get("one") is None
    assert not os.path.exists(folder)  # noqa: ASYNC240
    await rotated.delete("one")


async def test_a_one_time_value_is_taken_once(redis: Redis, folder: Path) -> None:
    secret_store = SecretStore(redis, None, folder)
    await secret_store.put("state", b"nonce", life_s=60)
    assert await redis.call("TTL", keys.secret("state")) > 0
    assert [await secret_store.take("state"), await secret_store.take("state")] == [b"nonce", None]


async def test_names_are_found_by_their_exact_prefix(redis: Redis, folder: Path) -> None:
    secret_store = SecretStore(redis, None, folder)
    for name in ("team*:b", "team*:a", "teams:c"):
        await secret_store.put(name, b"x", life_s=60)
    assert await secret_store.names("team*:") == ["team*:a", "team*:b"]


async def test_an_invalid_key_is_refused_without_showing_it(redis: Redis, folder: Path) -> None:
    with pytest.raises(ConfigError, match="PARLEY_SECRET_KEYS") as refusal:
        await SecretStore(redis, secrets("my-password"), folder).put("one", b"1")
    assert "my-password" not in str(refusal.value)
