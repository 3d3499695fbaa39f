"""Which tokens of a `usage` object are read."""

from typing import Any

import pytest

from bot.domain.turns import Prices
from bot.llm.catalog import price_file
from bot.llm.catalog.prices import PriceBook, bundled, prices_in_force, put_in_force, table_of
from bot.llm.openai.loose_json import TokenUsage, usage_of
from tests.llm.conftest import Connect


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
                "completion_tokens_details": {"reasoning_tokens": 40},
            },
            TokenUsage(100, 60, 30, 50, 40),
        ),
        (
            {
                "input_tokens": 220,
                "output_tokens": 1100,
                "input_tokens_details": {"image_tokens": 200, "text_tokens": 20},
                "output_tokens_details": {"image_tokens": 1000, "text_tokens": 100},
            },
            TokenUsage(input_tokens=220, output_tokens=1100, image_tokens=200, output_text_tokens=100),
        ),
        ({"prompt_tokens": 9, "cache_creation_input_tokens": 4}, TokenUsage(9, cache_write_tokens=4)),
        (
            {
                "prompt_tokens": 9,
                "prompt_tokens_details": [1],
                "completion_tokens_details": {"reasoning_tokens": {}},
            },
            TokenUsage(9),
        ),
    ],
)
def test_every_detail_of_tokens_is_read(usage: dict[str, Any], expected: TokenUsage) -> None:
    """Field fault 114: cache writes and images have prices of their own; what is damaged is skipped."""
    assert usage_of(usage) == expected


def test_impossible_counts_are_reduced(connect: Connect) -> None:
    """Field fault 114: more cached than prompt tokens were recorded, and charged below zero."""
    counted = TokenUsage(10, 50, 40, 5, 70)
    usage = connect()._usage(counted, "gpt-4.1-2025-04-14")  # pyright: ignore[reportPrivateUsage]
    assert (usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens) == (10, 10, 5)
    assert (usage.model, usage.usd, usage.price) == ("gpt-4.1-2025-04-14", None, "")


def test_calls_are_charged_by_the_own_table(connect: Connect) -> None:
    """Also of a model that was connected before: the cost under answers, in the playground and in the ledger."""
    model, before = connect(name="gpt-4.1", stated_prices=Prices()), prices_in_force()
    own = price_file.read(
        "currency: EUR\nusd: 1.25\nprices: [{model: gpt-4.1, input: 8, output: 32}]", "own.yaml"
    )
    put_in_force(PriceBook(table=table_of(bundled(), own)))
    try:
        usage = model._usage(TokenUsage(1000, output_tokens=100), "")  # pyright: ignore[reportPrivateUsage]
    finally:
        put_in_force(before)
    assert usage.usd == pytest.approx((1000 * 10 + 100 * 40) / 1e6)
    assert (usage.price, usage.currency, usage.exchange_rate) == ("gpt-4.1 (own)", "EUR", 1.25)
