"""`parley deployments wake`: the end of a cool-down, in all processes."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bot.cli.main import parley as command_line
from bot.domain.errors import ConfigError, StateUnavailable
from bot.llm.demo.model import deployments
from bot.storage.redis.client import Redis
from bot.storage.usage.cooldowns import Cooldowns

NAME = deployments()[0].name
ID = f"{NAME}@here"
Wake = Callable[[str], Result]


@pytest.fixture
def wake(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Wake:
    """Runs the command on the Redis of this test, with the demo's deployments."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    return lambda name: CliRunner().invoke(command_line, ["deployments", "wake", name])


async def test_a_cool_down_ends_everywhere(redis: Redis, wake: Wake) -> None:
    """Field fault 60: the shared state has no cool-down any more, and tells running processes when it ended."""
    cooldowns, began = Cooldowns(redis), time.time()
    await cooldowns.take([], [], 5, {ID: 60.0}, {})
    result = await asyncio.to_thread(wake, NAME)
    assert (result.exit_code, result.output) == (0, f"{NAME} is used again from the next request on.\n")
    assert (await cooldowns.take([ID], [(0, 0, 0, 0)], 5, {}, {})).chosen == 0
    assert await cooldowns.woken_at(ID) >= began


async def test_an_unknown_deployment_is_named(redis: Redis, wake: Wake) -> None:
    result = await asyncio.to_thread(wake, "gpt-9")
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == "There is no deployment 'gpt-9'. See `parley deployments list`."


async def test_storage_that_is_away_is_told(
    redis: Redis, wake: Wake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing ended in other processes, so the command must not say so."""

    async def away(self: Cooldowns, deployment: str) -> None:
        raise StateUnavailable("Redis is unavailable: connection refused")

    monkeypatch.setattr(Cooldowns, "wake", away)
    result = await asyncio.to_thread(wake, NAME)
    assert isinstance(result.exception, StateUnavailable)
    assert "used again" not in result.output
    assert str(result.exception) == (
        "The cool-down was ended in no other process, because Redis is unavailable. Try again when it is back."
    )


def test_the_help_says_what_it_does() -> None:
    result = CliRunner().invoke(command_line, ["deployments", "--help"])
    assert "End the cool-down of a deployment" in result.output
    assert "wake the deployments" not in result.output
