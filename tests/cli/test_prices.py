"""`parley prices`: the table in force, and its replacement by one of the operator."""

import asyncio
import csv
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bot.app.price_watch import PriceWatch
from bot.app.services import open_services
from bot.app.settings import load
from bot.cli.main import parley as command_line
from bot.domain.errors import ConfigError
from bot.llm.catalog.prices import prices_in_force
from bot.storage.redis.client import Redis
from bot.storage.usage.price_tables import PriceTables

OWN = "prices:\n  - {model: gpt-4.1, input: 1.5, output: 6}\n  - {model: house-brand, input: 1, output: 3}\n"
WRONG = "prices:\n  - {model: gpt-4.1, input: -1}\n  - {model: house-brand, inptu: 1}\n"
Prices = Callable[..., Result]


@pytest.fixture
def prices(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Prices:
    """Runs the command on the Redis of this test; `own.yaml` and `wrong.yaml` are there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    (tmp_path / "own.yaml").write_text(OWN)
    (tmp_path / "wrong.yaml").write_text(WRONG)
    return lambda *words: CliRunner().invoke(command_line, ["prices", *words])


async def told(prices: Prices, *words: str) -> str:
    result = await asyncio.to_thread(prices, *words)
    assert result.exit_code == 0, result.exception
    return result.output


async def test_prices_are_listed_in_three_forms(redis: Redis, prices: Prices) -> None:
    assert "above 272,000 tokens: 5 / 22.5" in await told(prices, "list", "--model", "gpt-5.4")
    rows = list(csv.DictReader((await told(prices, "list", "--csv", "--model", "gpt-image-1")).splitlines()))
    assert [row["model"] for row in rows] == ["gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5"]
    assert (rows[0]["image_input"], rows[0]["cache_write"]) == ("10.0", "")
    (now,) = json.loads(await told(prices, "list", "--json", "--model", "gpt-5.6-luna"))["prices"]
    assert (now["from"], now["input"], now["above"][0]["tokens"]) == ("2026-10-03", 0.2, 272_000)
    everything = json.loads(await told(prices, "list", "--json", "--all", "--model", "gpt-5.6-luna"))
    assert [row["input"] for row in everything["prices"]] == [0.2, 1.0]


async def test_an_own_table_replaces_prices(redis: Redis, prices: Prices) -> None:
    """Field fault 114: prices could not be updated without a release."""
    changes = (
        "+ gpt-4.1: input 1.5, output 6\n"
        "- gpt-4.1@2025-04-14: input 2, cached 0.5, output 8\n"
        "+ house-brand: input 1, output 3\n"
    )
    assert await told(prices, "diff", "own.yaml") == changes
    assert "house-brand" not in await told(prices, "list")
    assert (await told(prices, "update", "own.yaml")).startswith(changes)
    assert await told(prices, "diff", "own.yaml") == "No differences.\n"
    shown = await told(prices, "list", "--model", "house")
    assert "own: from own.yaml, stored on" in shown
    assert "Removed" in await told(prices, "reset")
    assert await told(prices, "reset") == "There is none.\n"
    assert "house-brand" not in await told(prices, "list")


async def test_a_currency_is_shown_with_its_rate(redis: Redis, prices: Prices, tmp_path: Path) -> None:
    """A new rate is a change of the price."""
    table = "currency: EUR\nusd: {}\nprices: [{{model: house-brand, input: 10, output: 20}}]\n"
    (tmp_path / "euro.yaml").write_text(table.format(1.2))
    changes = "+ house-brand: input 12, output 24, currency EUR, exchange rate 1.2\n"
    assert (await told(prices, "update", "euro.yaml")).startswith(changes)
    assert "EUR at $1.2" in await told(prices, "list", "--model", "house-brand")
    (row,) = json.loads(await told(prices, "list", "--json", "--model", "house-brand"))["prices"]
    assert (row["input"], row["currency"], row["exchange_rate"]) == (12.0, "EUR", 1.2)
    (tmp_path / "euro.yaml").write_text(table.format(1.1))
    changes = "~ house-brand: input 12 -> 11, output 24 -> 22, exchange rate 1.2 -> 1.1\n"
    assert await told(prices, "diff", "euro.yaml") == changes


async def test_a_wrong_table_changes_nothing(redis: Redis, prices: Prices) -> None:
    await told(prices, "update", "own.yaml")
    result = await asyncio.to_thread(prices, "update", "wrong.yaml")
    assert isinstance(result.exception, ConfigError)
    assert [line.partition(":")[0] for line in str(result.exception).splitlines()] == [
        "wrong.yaml, line 2, gpt-4.1",
        "wrong.yaml, line 3, house-brand",
    ]
    assert await told(prices, "diff", "own.yaml") == "No differences.\n"


async def test_a_running_process_uses_a_new_table(redis: Redis, prices: Prices, tmp_path: Path) -> None:
    """Field fault 114: without a restart, and what was learnt about a deployment stays."""
    (tmp_path / "d.yaml").write_text(
        "deployments: [{name: a, model: gpt-4.1, endpoint: 'https://x.openai.azure.com'}]"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARLEY_DEPLOYMENTS", "d.yaml")
        async with open_services(load()) as services:
            watch, pool = PriceWatch(PriceTables(redis), services.gateway), services.gateway.states()
            await watch.refresh()
            assert pool[0].deployment.prices.input_usd == 2.0
            await PriceTables(redis).write(OWN, "own.yaml")
            await watch.refresh()
            (state,) = services.gateway.states()
            assert (state.deployment.prices.input_usd, state.deployment.prices.id) == (1.5, "gpt-4.1 (own)")
            await PriceTables(redis).write("prices: [", "newer version")
            await watch.refresh()
            assert services.gateway.states()[0].deployment.prices.input_usd == 1.5
    assert prices_in_force().table.own == frozenset()


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = {"/own": (200, OWN.encode()), "/large": (200, b"#" * 2_000_000)}.get(
            self.path, (302, b"")
        )
        self.send_response(status)
        self.send_header("Location", "/own")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_table_may_be_at_an_address(redis: Redis, prices: Prices, address: str) -> None:
    assert "+ house-brand" in await told(prices, "update", f"{address}/own")
    assert f"from {address}/own" in await told(prices, "list", "--model", "house")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{}/moved", "status 302"),
        ("{}/large", "more than 1,000,000 bytes"),
        ("http://example.com/prices.yaml", "https://"),
        ("ftp://example.com/prices.yaml", "https://"),
        ("missing.yaml", "Can't read missing.yaml"),
    ],
)
async def test_a_wrong_address_is_explained(
    redis: Redis, prices: Prices, address: str, source: str, words: str
) -> None:
    result = await asyncio.to_thread(prices, "diff", source.format(address))
    assert isinstance(result.exception, ConfigError)
    assert words in str(result.exception)
