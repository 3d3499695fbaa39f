"""The price table: entries, dates, factors, and what replaces them."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from bot.domain.errors import ConfigError
from bot.domain.turns import Deployment, Prices, PriceTier, Usage
from bot.llm.catalog import price_file
from bot.llm.catalog.cost import charged, usd
from bot.llm.catalog.prices import PriceBook, bundled, capped, merged, table_of

TABLE = table_of(bundled())
TODAY = date(2026, 11, 30)
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def named(name: str, **more: Any) -> Deployment:
    fields: dict[str, Any] = {
        "capability": "chat", "model": "", "family": "unknown-chat", "endpoint": "https://x.openai.azure.com/",
        "wire": "v1", "context_tokens": 1000, "output_tokens": 100, "stated_prices": Prices(),
    }  # fmt: skip
    return Deployment(name=name, **{**fields, **more})


@pytest.mark.parametrize(
    ("model", "input_usd"),
    [
        ("gpt-4o", 2.5),
        ("GPT-4o", 2.5),
        ("gpt-4o-2024-05-13", 5.0),
        ("gpt-4o-2024-11-20", 2.5),
        ("gpt-4o-mini-2024-07-18", 0.15),
        ("gpt-4.1-mini-2025-04-14.ft-0a1b2c", 0.4),
        ("gpt-5-pro", 15.0),
        ("gpt-4o-audio-preview", None),
        ("gpt-5-turbo", None),
        ("gpt-5.9", None),
        ("llama3", None),
    ],
)
def test_a_price_belongs_to_the_very_model(model: str, input_usd: float | None) -> None:
    """Field fault 114: gpt-4o-2024-05-13 stood at half its price."""
    prices = TABLE.prices_of(model, TODAY)
    assert (prices.input_usd if prices else None) == input_usd


@pytest.mark.parametrize(
    ("model", "day", "input_usd"),
    [
        ("gpt-5.6-luna", date(2026, 7, 8), None),
        ("gpt-5.6-luna", date(2026, 7, 9), 1.0),
        ("gpt-5.6-luna", date(2026, 10, 2), 1.0),
        ("gpt-5.6-luna", date(2026, 10, 3), 0.2),
        ("o3", date(2025, 6, 9), 10.0),
        ("o3-2025-04-16", date(2025, 6, 10), 2.0),
    ],
)
def test_prices_hold_from_their_date(model: str, day: date, input_usd: float | None) -> None:
    prices = TABLE.prices_of(model, day)
    assert (prices.input_usd if prices else None) == input_usd


@pytest.mark.parametrize(
    ("kind", "region", "factor"),
    [
        ("GlobalStandard", "swedencentral", 1.0),
        ("DataZoneStandard", "", 1.1),
        ("DataZoneStandard", "swedencentral", 1.1),
        ("DataZoneStandard", "Japan East", 1.2),
        ("Standard", "eastus", 1.1),
        ("Standard", "westeurope", 1.32),
        ("GlobalBatch", "", 0.5),
    ],
)
def test_a_deployment_type_has_a_factor(kind: Any, region: str, factor: float) -> None:
    """Field fault 114: the surcharge of a data zone could not be expressed."""
    known, scaled = TABLE.prices_of("gpt-5.4", TODAY), TABLE.prices_of("gpt-5.4", TODAY, kind, region)
    assert known is not None
    assert scaled is not None
    for name in ("input_usd", "cached_usd", "output_usd"):
        assert getattr(scaled, name) == pytest.approx(getattr(known, name) * factor)
        assert getattr(scaled.above[0], name) == pytest.approx(getattr(known.above[0], name) * factor)


def test_a_model_may_have_factors_of_its_own() -> None:
    for model, region, input_usd in (
        ("gpt-6-sol", "swedencentral", 2.4),
        ("gpt-6-sol", "eastus2", 2.2),
        ("gpt-6-sol", "japaneast", 2.4),
        ("text-embedding-3-large", "swedencentral", 0.143),
    ):
        prices = TABLE.prices_of(model, TODAY, "DataZoneStandard", region)
        assert prices is not None
        assert prices.input_usd == pytest.approx(input_usd), model


def test_every_image_model_has_prices() -> None:
    """Field fault 114: gpt-image-1, its mini and 1.5 had none, and gpt-image-2 cached cost four times too much."""
    for model in ("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2", "gpt-image-2.5-flare"):
        prices = TABLE.prices_of(model, TODAY)
        assert prices is not None
        assert not prices.missing("image"), model
        assert prices.image_input_usd, model
    second = TABLE.prices_of("gpt-image-2", TODAY)
    assert second is not None
    assert second.cached_usd == 1.25


def test_every_entry_has_a_source() -> None:
    assert [entry.id for entry in bundled().entries if not entry.source.startswith("https://")] == []


# ------------------------------------------------------------------ what goes before the table


def test_stated_prices_replace_only_themselves() -> None:
    """Field fault 114: `prices: {output_usd: 9}` made the whole price unknown."""
    book = PriceBook(table=TABLE)
    found = book.of(named("chat", model="gpt-4.1", stated_prices=Prices(output_usd=9.0)), NOON)
    assert (found.input_usd, found.cached_usd, found.output_usd) == (2.0, 0.5, 9.0)
    assert found.id == "deployments file, gpt-4.1@2025-04-14"


def test_a_stated_price_holds_for_long_prompts() -> None:
    table = Prices(
        input_usd=2.0, output_usd=8.0, above=(PriceTier(tokens=100, input_usd=4.0, output_usd=12.0),)
    )
    found = merged(Prices(output_usd=5.0), table).at(101)
    assert (found.input_usd, found.output_usd) == (4.0, 5.0)
    own = Prices(output_usd=5.0, above=(PriceTier(tokens=50, output_usd=6.0),))
    assert merged(own, table).at(101).output_usd == 6.0


def test_the_model_that_answered_has_its_version() -> None:
    book = PriceBook(table=TABLE)
    deployment = named("chat", model="gpt-4o")
    assert book.of(deployment, NOON).input_usd == 2.5
    assert book.of(deployment, NOON, "gpt-4o-2024-05-13").input_usd == 5.0
    assert book.of(deployment, NOON, "gpt-5").input_usd == 2.5


@pytest.mark.parametrize(
    ("name", "input_usd"),
    [("my-gpt-5-pro", 15.0), ("eu-gpt-4o-2024-05-13", 5.0), ("gpt-5", 1.25), ("house-brand", None)],
)
def test_a_deployment_name_is_a_hint(name: str, input_usd: float | None) -> None:
    assert PriceBook(table=TABLE).of(named(name), NOON).input_usd == input_usd


def test_a_stated_factor_replaces_the_table_s() -> None:
    found = PriceBook(table=TABLE).of(
        named("a", model="gpt-4.1", deployment_type="DataZoneStandard", price_factor=0.5), NOON
    )
    assert (found.input_usd, found.output_usd) == (1.0, 4.0)


def test_a_ceiling_stands_in_for_unknown_prices() -> None:
    """Field fault 114: dollar limits let everything pass whose price is unknown."""
    unknown = PriceBook(table=TABLE, ceiling_usd=60.0).of(named("house-brand"), NOON)
    assert (unknown.input_usd, unknown.output_usd, unknown.id) == (60.0, 60.0, "ceiling")
    half = capped(Prices(input_usd=1.0, id="x"), "chat", 60.0)
    assert (half.input_usd, half.output_usd, half.id) == (1.0, 60.0, "ceiling, x")
    known = Prices(input_usd=1.0, output_usd=2.0)
    assert capped(known, "chat", 60.0) == known
    assert capped(Prices(input_usd=1.0), "embedding", 60.0) == Prices(input_usd=1.0)


# ------------------------------------------------------------------ an operator's table


def test_own_entries_replace_those_of_their_model() -> None:
    own = price_file.read(
        "prices: [{model: o3, input: 1, output: 3}, {model: house-brand, input: 4, output: 5}]", "p"
    )
    table = table_of(bundled(), own)
    prices, added = table.prices_of("o3", date(2025, 5, 1)), table.prices_of("house-brand", TODAY)
    assert prices is not None
    assert added is not None
    assert (prices.input_usd, prices.id, added.output_usd) == (1.0, "o3 (own)", 5.0)
    assert table.prices_of("gpt-5", TODAY) == TABLE.prices_of("gpt-5", TODAY)


def test_a_table_may_be_in_another_currency() -> None:
    text = (
        "currency: EUR\nusd: 1.1\nprices:\n  - {model: a, input: 10, above: {tokens: 9, input: 20}, image: 1}"
    )
    (entry,) = price_file.read(text, "p").entries
    assert (entry.prices.input_usd, entry.prices.image_usd) == (pytest.approx(11.0), pytest.approx(1.1))
    assert entry.prices.above[0].input_usd == pytest.approx(22.0)
    assert (entry.prices.currency, entry.prices.exchange_rate) == ("EUR", 1.1)


def test_each_price_may_have_its_currency() -> None:
    text = """\
exchange_rates: {EUR: 1.16, GBP: 1.3}
prices:
  - {model: a, input: 10, output: 20}
  - {model: b, currency: EUR, input: 10, output: 20}
  - {model: c, currency: GBP, input: 10, output: 20}
"""
    entries = price_file.read(text, "p").entries
    assert [each.prices.input_usd for each in entries] == [10.0, pytest.approx(11.6), pytest.approx(13.0)]
    assert [each.prices.currency for each in entries] == ["", "EUR", "GBP"]


def test_a_call_records_currency_and_exchange_rate() -> None:
    """So that it can be priced again at another rate, and compared with an invoice."""
    own = price_file.read("currency: EUR\nusd: 1.25\nprices: [{model: a, input: 8, output: 16}]", "p")
    prices = table_of(bundled(), own).prices_of("a", TODAY, "DataZoneStandard")
    assert prices is not None
    usage = Usage(deployment="d", input_tokens=1_000_000)
    known = charged(usage, usd(prices, usage), prices)
    assert (known.usd, known.price) == (pytest.approx(8 * 1.25 * 1.1), "a (own)")
    assert (known.currency, known.exchange_rate) == ("EUR", 1.25)
    unknown = charged(known, None, prices)
    assert (unknown.usd, unknown.price, unknown.currency, unknown.exchange_rate) == (None, "", "", None)


def test_every_problem_of_a_table_is_listed() -> None:
    text = """\
currency: EUR
prices:
  - {model: a, inptu: 1}
  - {model: b, input: -1}
  - {model: c, input: 1, cached: 2}
  - {input: 1}
  - {model: d, from: soon, input: 1}
  - {model: e}
  - {model: f, input: 1, above: [{tokens: 9, input: 2}, {tokens: 3, input: 3}]}
"""
    with pytest.raises(ConfigError) as error:
        price_file.read(text, "own.yaml")
    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "own.yaml, line 1",
        *(f"own.yaml, line {n}, {name}" for n, name in enumerate(("a", "b", "c", "entry 4", *"def"), 3)),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prices: []", "at least one entry"),
        ("- 1", "must contain a list"),
        ("prices: {a: 1}", "must contain a list"),
        ("prices: [1]", "entry 1"),
        ("prices: [{model: a, input: .nan}]", "input"),
        ("prices: [{model: a, input: .inf}]", "input"),
        ("prices: [{model: a, input: 1}, {model: A, input: 2}]", "same version and date"),
        ("prices: [{model: a, input: 1}]\nfactor: 2", "did you mean 'factors'"),
        ("currency: EUR\nprices: [{model: a, input: 1}]", "line 1: currency EUR needs `usd`"),
        ("currency: euro\nprices: [{model: a, input: 1}]", "line 1: currency"),
        ("prices: [{model: a, input: 1, currency: GBP}]", "line 1, a: currency GBP needs a rate"),
        ("exchange_rates: {EUR: 0}\nprices: [{model: a, input: 1}]", "line 1: exchange_rates"),
        ("exchange_rates: {USD: 2}\nprices: [{model: a, input: 1}]", "one US dollar is worth 1"),
        ("usd: 1.16\nprices: [{model: a, input: 1}]", "one US dollar is worth 1"),
        ("factors: [{type: Global, factor: 2}]\nprices: [{model: a, input: 1}]", "factors"),
        ("prices: [", "own.yaml"),
        ("#" * (price_file.MOST_BYTES + 1), "larger than"),
    ],
)
def test_a_wrong_table_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        price_file.read(text, "own.yaml")


def test_an_unpriced_deployment_keeps_what_it_was_given() -> None:
    given = Prices(input_usd=1.0)
    assert PriceBook(table=TABLE).of(replace(named("a"), stated_prices=None, prices=given), NOON) == given
