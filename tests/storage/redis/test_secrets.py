"""Secrets of adapters: sealed at rest, under keys that rotate."""

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from bot.domain.errors import ConfigError, SecretUnreadable
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.storage.redis.secrets import KEY_FILE, SecretStore
from tests.support.patience import PATIENCE_S


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
    with pytest.raises(SecretUnreadable, match="one"):
        await SecretStore(redis, secrets(old), folder).get("one")
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


@pytest.fixture
def rotation() -> tuple[str, str, str]:
    """An old key, the next one, and one that nobody has."""
    old, new, lost = (Fernet.generate_key().decode() for _ in range(3))
    return old, new, lost


async def test_resealing_ends_the_need_for_a_key(
    redis: Redis, folder: Path, rotation: tuple[str, str, str]
) -> None:
    """Field fault 119: nothing re-sealed, so an old key could never be dropped safely."""
    old, new, _ = rotation
    before = SecretStore(redis, secrets(old), folder)
    await before.put("token", b"1")
    await before.put("name", b"2", life_s=500)
    both = SecretStore(redis, secrets(new, old), folder)
    assert dict((await both.key_use()).values) == {1: 2}
    (warning,) = await both.check()
    assert (warning.level, "2 need key 2" in warning.words) == ("warning", True)
    use = await both.key_use(reseal=True)
    assert (use.resealed, dict(use.values)) == (2, {0: 2})
    assert [finding.level for finding in await both.check()] == ["ok"]
    alone = SecretStore(redis, secrets(new), folder)
    assert [await alone.get("token"), await alone.get("name")] == [b"1", b"2"]
    assert 0 < await redis.call("TTL", keys.secret("name")) <= 500
    assert await redis.call("TTL", keys.secret("token")) == -1


async def test_resealing_overwrites_no_newer_value(
    redis: Redis, folder: Path, rotation: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 119: a token that another process renews at the same time stays."""
    old, new, _ = rotation
    await SecretStore(redis, secrets(old), folder).put("token", b"old")
    both, other = (SecretStore(redis, secrets(new, old), folder) for _ in range(2))
    run = redis.run

    async def late(*arguments: Any) -> Any:
        await other.put("token", b"renewed")
        return await run(*arguments)

    monkeypatch.setattr(redis, "run", late)
    assert (await both.key_use(reseal=True)).resealed == 0
    assert await both.get("token") == b"renewed"


async def test_values_without_a_key_are_named(
    redis: Redis, folder: Path, rotation: tuple[str, str, str]
) -> None:
    """Field fault 119: `check` says what needs the key that was dropped."""
    old, new, lost = rotation
    await SecretStore(redis, secrets(lost), folder).put("slack:installation:T1", b"x")
    store = SecretStore(redis, secrets(new, old), folder)
    await store.put("other", b"y")
    use = await store.key_use(reseal=True)
    assert use.unreadable == ("slack:installation:T1",)
    (error,) = await store.check()
    assert (error.level, "slack:installation:T1" in error.words) == ("error", True)


async def test_a_running_process_reseals_by_itself(
    redis: Redis, folder: Path, rotation: tuple[str, str, str]
) -> None:
    """Field fault 119."""
    old, new, _ = rotation
    await SecretStore(redis, secrets(old), folder).put("token", b"1")
    alone = SecretStore(redis, secrets(new), folder)
    async with asyncio.timeout(PATIENCE_S), SecretStore(redis, secrets(new, old), folder).resealing():
        while (await alone.key_use()).unreadable:  # noqa: ASYNC110 - what happens is in Redis
            await asyncio.sleep(0.01)
    assert await alone.get("token") == b"1"


async def test_without_secrets_a_check_creates_no_key(redis: Redis, folder: Path) -> None:
    assert await SecretStore(redis, None, folder).check() == []
    assert not os.path.exists(folder)  # noqa: ASYNC240
