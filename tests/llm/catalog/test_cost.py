"""What a call costs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bot.domain.turns import Prices, PriceTier, Usage
from bot.llm.catalog.cost import of_picture, usd

PRICES = Prices(input_usd=2.0, cached_usd=0.5, output_usd=8.0)
LONG = replace(PRICES, above=(PriceTier(tokens=272_000, input_usd=4.0, cached_usd=1.0, output_usd=12.0),))
PICTURES = Prices(
    input_usd=5.0,
    cached_usd=1.0,
    image_input_usd=8.0,
    image_cached_usd=2.0,
    output_usd=10.0,
    image_output_usd=32.0,
)


@pytest.mark.parametrize(
    ("prices", "usage", "expected"),
    [
        (
            PRICES,
            {"input_tokens": 1000, "cached_tokens": 400, "output_tokens": 100},
            0.0012 + 0.0002 + 0.0008,
        ),
        (Prices(input_usd=2.0, output_usd=8.0), {"input_tokens": 500_000}, 1.0),
        (Prices(), {"input_tokens": 10}, None),
        (PRICES, {}, None),
        (Prices(image_usd=0.04), {"images": 3}, 0.12),
        (Prices(input_usd=0.0, output_usd=0.0), {"input_tokens": 5, "output_tokens": 5}, 0.0),
    ],
)
def test_a_price_is_known_or_none(prices: Prices, usage: dict[str, Any], expected: float | None) -> None:
    assert usd(prices, Usage(deployment="x", **usage)) == (
        None if expected is None else pytest.approx(expected)
    )


@pytest.mark.parametrize(
    ("field", "stated", "usage", "without", "with_price"),
    [
        ("cached_usd", 0.5, {"input_tokens": 10, "cached_tokens": 4}, 20.0, 14.0),
        ("cache_write_usd", 2.5, {"input_tokens": 10, "cache_write_tokens": 4}, 20.0, 22.0),
        ("reasoning_usd", 9.0, {"output_tokens": 10, "reasoning_tokens": 4}, 80.0, 84.0),
        ("image_input_usd", 3.0, {"input_tokens": 10, "image_input_tokens": 4}, 20.0, 24.0),
        ("image_cached_usd", 1.0, {"input_tokens": 4, "image_input_tokens": 4, "cached_tokens": 4}, 8.0, 4.0),
        ("image_output_usd", 30.0, {"output_tokens": 10, "images": 1}, 80.0, 300.0),
    ],
)
def test_each_price_falls_back_alone(
    field: str, stated: float, usage: dict[str, Any], without: float, with_price: float
) -> None:
    """Field fault 114: a price that is left out made the whole price unknown."""
    prices, spent = Prices(input_usd=2.0, output_usd=8.0), Usage(deployment="x", **usage)
    assert usd(prices, spent) == pytest.approx(without / 1e6)
    assert usd(replace(prices, **{field: stated}), spent) == pytest.approx(with_price / 1e6)


def test_input_and_output_have_no_substitute() -> None:
    """Field fault 114: only what needs the unknown price is unknown."""
    only_output = Prices(output_usd=9.0)
    assert usd(only_output, Usage(deployment="x", output_tokens=10)) == pytest.approx(90e-6)
    assert usd(only_output, Usage(deployment="x", input_tokens=1, output_tokens=10)) is None
    assert usd(Prices(input_usd=1.0), Usage(deployment="x", input_tokens=1, output_tokens=10)) is None


@pytest.mark.parametrize(("tokens", "expected"), [(272_000, 2.0), (272_001, 4.0)])
def test_the_whole_call_is_in_its_tier(tokens: int, expected: float) -> None:
    """Field fault 114: a prompt above 272,000 tokens costs twice as much, from its first token on."""
    spent = Usage(deployment="x", input_tokens=tokens, cached_tokens=1000, output_tokens=10)
    output_usd = 8.0 if expected == 2.0 else 12.0
    parts = (tokens - 1000) * expected + 1000 * expected / 4 + 10 * output_usd
    assert usd(LONG, spent) == pytest.approx(parts / 1e6)


def test_more_cached_than_prompt_tokens_are_not_negative() -> None:
    """Field fault 114: it gave a negative cost."""
    spent = Usage(deployment="x", input_tokens=10, cached_tokens=1000, output_tokens=1)
    assert usd(PRICES, spent) == pytest.approx((10 * 0.5 + 8.0) / 1e6)


def test_edited_pictures_have_prices_of_their_own() -> None:
    """Field fault 114: edits were always unknown."""
    spent = Usage(deployment="x", input_tokens=220, image_input_tokens=200, output_tokens=1000, images=1)
    assert usd(PICTURES, spent) == pytest.approx((20 * 5 + 200 * 8 + 1000 * 32) / 1e6)
    assert usd(PICTURES, spent, 100) == pytest.approx((20 * 5 + 200 * 8 + 900 * 32 + 100 * 10) / 1e6)
    cached = replace(spent, cached_tokens=120)
    assert usd(PICTURES, cached) == pytest.approx((20 * 1 + 100 * 2 + 100 * 8 + 1000 * 32) / 1e6)


TOKENS = st.integers(-5, 10**9)
PRICE = st.none() | st.floats(0, 200)


@st.composite
def price_lists(draw: st.DrawFn) -> Prices:
    names = ("cached_usd", "cache_write_usd", "reasoning_usd", "image_input_usd", "image_cached_usd")
    stated: dict[str, Any] = {name: draw(PRICE) for name in (*names, "image_output_usd")}
    return Prices(input_usd=draw(st.floats(0, 200)), output_usd=draw(st.floats(0, 200)), **stated)


@given(prices=price_lists(), counts=st.lists(TOKENS, min_size=6, max_size=6), images=st.integers(0, 3))
def test_a_cost_is_never_negative_or_fails(prices: Prices, counts: list[int], images: int) -> None:
    names = (
        *("input_tokens", "cached_tokens", "output_tokens"),
        *("cache_write_tokens", "reasoning_tokens", "image_input_tokens"),
    )
    named: dict[str, Any] = dict(zip(names, counts, strict=True))
    cost = usd(prices, Usage(deployment="x", images=images, **named))
    assert cost is None or cost >= 0


@given(
    prices=price_lists(),
    tokens=st.integers(1, 10**6),
    cached=st.integers(0, 10**6),
    more=st.integers(0, 1000),
)
def test_a_cost_grows_with_its_tokens(prices: Prices, tokens: int, cached: int, more: int) -> None:
    """More tokens never cost less, and cached tokens never more than others."""
    spent = Usage(deployment="x", input_tokens=tokens, output_tokens=tokens)
    cost, from_cache = usd(prices, spent), usd(prices, replace(spent, cached_tokens=cached))
    longer = usd(prices, replace(spent, input_tokens=tokens + more, output_tokens=tokens + more))
    assert cost is not None
    assert from_cache is not None
    assert longer is not None
    assert from_cache <= cost * (1 + 1e-9)
    assert cost <= longer * (1 + 1e-9)


@pytest.mark.parametrize(
    ("quality", "size", "expected"),
    [
        ("hd", "1024x1024", 0.08),
        ("standard", "1792x1024", 0.08),
        ("auto", "auto", 0.12),
        ("standard", "auto", 0.08),
        ("strange", "1024x1024", 0.08),
        ("standard", "640x480", None),
    ],
)
def test_a_picture_costs_by_quality_and_size(quality: str, size: str, expected: float | None) -> None:
    table = {
        "standard 1024x1024": 0.04,
        "standard 1792x1024": 0.08,
        "hd 1024x1024": 0.08,
        "hd 1792x1024": 0.12,
    }
    assert of_picture(table, quality, size) == expected
