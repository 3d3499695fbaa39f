"""`parley secrets reseal`, and what `parley check` says of keys."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from bot.app.settings import load
from bot.cli.main import parley as command_line
from bot.domain.errors import ConfigError
from bot.storage.redis.client import Redis
from bot.storage.redis.secrets import SecretStore

OLD, NEW, LOST = (Fernet.generate_key().decode() for _ in range(3))
Parley = Callable[..., Result]


@pytest.fixture
def parley(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Parley:
    """Runs a command on the Redis of this test, with the new key in front of the old one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("PARLEY_SECRET_KEYS", f"{NEW},{OLD}")
    return lambda *words: CliRunner().invoke(command_line, list(words))


async def put(redis: Redis, key: str, name: str) -> None:
    await SecretStore(redis, SecretStr(key), Path()).put(name, b"a token")


async def test_an_old_key_is_needed_until_resealed(redis: Redis, parley: Parley) -> None:
    """Field fault 119: `check` names what needs which key, and a command ends that."""
    for team in ("T1", "T2"):
        await put(redis, OLD, f"slack:installation:{team}")
    checked = await asyncio.to_thread(parley, "check")
    assert "2 need key 2 of PARLEY_SECRET_KEYS" in checked.output
    resealed = await asyncio.to_thread(parley, "secrets", "reseal")
    assert resealed.exit_code == 0
    assert resealed.output.splitlines() == [
        "Encrypted again: 2.",
        "2 are encrypted by the first key; the other keys are not needed.",
    ]
    alone = SecretStore(redis, SecretStr(NEW), Path())
    assert await alone.get("slack:installation:T1") == b"a token"


async def test_what_no_key_decrypts_is_an_error(redis: Redis, parley: Parley) -> None:
    """Field fault 119."""
    await put(redis, LOST, "slack:installation:T1")
    resealed = await asyncio.to_thread(parley, "secrets", "reseal")
    assert resealed.exit_code == 1
    assert "slack:installation:T1" in resealed.output
    assert LOST not in resealed.output


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"PARLEY_SECRET_KEYS": f"{NEW},nonsense"}, "PARLEY_SECRET_KEYS is invalid"),
        (
            {"PARLEY_CONCURRENCY": "8", "PARLEY_TENANT_CONCURRENCY": "9"},
            "PARLEY_TENANT_CONCURRENCY=9 is more",
        ),
    ],
)
def test_settings_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    """Field faults 119 and 122: before the first message comes."""
    monkeypatch.chdir(tmp_path)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=words) as error:
        load()
    assert NEW not in str(error.value)
