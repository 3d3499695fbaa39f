"""`parley deployments wake` ends a cool-down in all processes; `list`, `test` and `check` use the prices in force."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bot.cli.main import parley as command_line
from bot.domain.errors import ConfigError, StateUnavailable
from bot.domain.events import now
from bot.domain.turns import CheckResult, Usage
from bot.llm.catalog.cost import usd
from bot.llm.catalog.prices import prices_in_force
from bot.llm.catalog.probe import ProbeResult
from bot.llm.demo.model import deployments
from bot.llm.routing.router import Gateway
from bot.storage.redis.client import Redis
from bot.storage.usage.cooldowns import Cooldowns
from bot.storage.usage.price_tables import PriceTables

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


OWN = "currency: EUR\nusd: 1.25\nprices: [{model: gpt-4.1, input: 8, output: 32}]\n"
FILE = """\
endpoint: https://x.openai.azure.com
deployments: [{name: chat, model: gpt-4.1}, {name: house, capability: chat}]
"""


@pytest.fixture
def parley(wake: Wake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Runs commands on the Redis of this test, with two deployments."""
    (tmp_path / "d.yaml").write_text(FILE)
    monkeypatch.setenv("PARLEY_DEPLOYMENTS", "d.yaml")
    return lambda *words: CliRunner().invoke(command_line, words)


async def told(run: Callable[..., Result], *words: str) -> str:
    """What a command prints, with single spaces."""
    result = await asyncio.to_thread(run, *words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return " ".join(result.output.split())


async def test_the_list_shows_the_operator_s_prices(redis: Redis, parley: Callable[..., Result]) -> None:
    """It showed those of Parley's table."""
    assert " 2 / 0.5 / 8 " in await told(parley, "deployments", "list")
    await PriceTables(redis).write(OWN, "own.yaml")
    listed = await told(parley, "deployments", "list")
    assert " 10 / 10 / 40 " in listed
    assert "prices: own: from own.yaml, stored on 20" in listed
    await PriceTables(redis).write("prices: [", "newer.yaml")
    assert "Your price table is not used: newer.yaml" in await told(parley, "deployments", "list")
    assert prices_in_force().table.own == frozenset()


async def test_the_list_needs_no_redis(
    parley: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: PriceTables) -> str:
        raise StateUnavailable("Redis is unavailable: connection refused")

    monkeypatch.setattr(PriceTables, "digest", away)
    listed = await told(parley, "deployments", "list")
    assert " 2 / 0.5 / 8 " in listed
    assert "whether there is one of yours can't be read: Redis is unavailable" in listed


async def test_a_test_uses_the_operator_s_prices(
    redis: Redis, parley: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a test call costs is computed while the operator's table is in force."""
    await PriceTables(redis).write(OWN, "own.yaml")

    async def probed(gateway: Gateway) -> list[ProbeResult]:
        chat = gateway.every()[0]
        usage = Usage(deployment="chat", input_tokens=1_000_000)
        known = usd(prices_in_force().of(chat, now()), usage)
        finding = CheckResult(level="ok", subject="chat", words="")
        return [ProbeResult(deployment=chat, finding=finding, first_s=0.5, usd=known)]

    monkeypatch.setattr(Gateway, "probe", probed)
    assert "$10.000000" in await told(parley, "deployments", "test")


async def test_a_check_uses_the_operator_s_prices(
    redis: Redis, parley: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment is without a price only if it is in neither table; a table that can't be read is an error."""

    async def nothing(gateway: Gateway) -> list[CheckResult]:
        return []

    monkeypatch.setattr(Gateway, "check", nothing)
    monkeypatch.setenv("PARLEY_LIMITS", "person: $1/day")
    words = await told(parley, "check")
    assert "prices Parley's table" in words
    assert "the price of house is unknown" in words
    await PriceTables(redis).write("prices: [{model: house, input: 1, output: 2}]", "own.yaml")
    words = await told(parley, "check")
    assert "prices own: from own.yaml, stored on 20" in words
    assert "is unknown" not in words
    await PriceTables(redis).write("prices: [{model: a, input: 1, currency: EUR}]", "euro.yaml")
    assert "is not used: euro.yaml, line 1, a: currency EUR needs a rate" in await told(parley, "check")


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
