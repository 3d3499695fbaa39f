"""What one call costs."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from msgspec.structs import replace

from bot.domain.turns import Prices, TokenPrices, Usage


def usd(prices: Prices, usage: Usage, text_tokens: int = 0) -> float | None:
    """The cost of a call in US dollars; `None` if a price is unknown, or the deployment reported no tokens.

    Counts that can't be, such as more cached tokens than input, are reduced to what can. If there are images, the
    output is theirs, but for `text_tokens`.
    """
    if usage.images and prices.image_usd is not None:
        return usage.images * prices.image_usd
    input_tokens = max(usage.input_tokens, 0)
    if not input_tokens and usage.output_tokens <= 0:
        return None
    rates = prices.at(input_tokens)
    parts = [*_input(rates, usage, input_tokens), *_output(rates, usage, text_tokens)]
    if any(tokens and price is None for tokens, price in parts):
        return None
    return sum(tokens * (price or 0.0) for tokens, price in parts) / 1e6


def charged(usage: Usage, cost_usd: float | None, prices: Prices) -> Usage:
    """The usage with its cost, and with the prices that it comes from, unless the cost is unknown."""
    if cost_usd is None:
        return replace(usage, usd=None, price="", currency="", exchange_rate=None)
    return replace(
        usage, usd=cost_usd, price=prices.id, currency=prices.currency, exchange_rate=prices.exchange_rate
    )


def _input(rates: TokenPrices, usage: Usage, input_tokens: int) -> Iterator[tuple[int, float | None]]:
    """The parts of the input, and their prices. What is cached counts as text first, which is never too cheap."""
    pictures = _within(usage.image_input_tokens, input_tokens)
    cached = _within(usage.cached_tokens, input_tokens)
    written = _within(usage.cache_write_tokens, input_tokens - cached)
    cached_text = min(cached, input_tokens - pictures)
    written_text = min(written, input_tokens - pictures - cached_text)
    cached_pictures, written_pictures = cached - cached_text, written - written_text
    picture_usd = _first(rates.image_input_usd, rates.input_usd)
    yield input_tokens - pictures - cached_text - written_text, rates.input_usd
    yield cached_text, _at_most(rates.cached_usd, rates.input_usd)
    yield written_text, _first(rates.cache_write_usd, rates.input_usd)
    yield pictures - cached_pictures - written_pictures, picture_usd
    yield cached_pictures, _at_most(rates.image_cached_usd, picture_usd)
    yield written_pictures, _first(rates.cache_write_usd, picture_usd)


def _output(rates: TokenPrices, usage: Usage, text_tokens: int) -> Iterator[tuple[int, float | None]]:
    output_tokens = max(usage.output_tokens, 0)
    if usage.images:
        text = _within(text_tokens, output_tokens)
        picture_usd = _first(rates.image_output_usd, rates.output_usd)
        yield output_tokens - text, picture_usd
        yield text, _first(rates.output_usd, picture_usd)
        return
    reasoning = _within(usage.reasoning_tokens, output_tokens)
    yield output_tokens - reasoning, rates.output_usd
    yield reasoning, _first(rates.reasoning_usd, rates.output_usd)


def _within(tokens: int, limit: int) -> int:
    return max(0, min(tokens, limit))


def _first(price: float | None, fallback: float | None) -> float | None:
    return fallback if price is None else price


def _at_most(price: float | None, full: float | None) -> float | None:
    """The price of what is cached, which is never above the full price."""
    if price is None or full is None:
        return _first(price, full)
    return min(price, full)


# ------------------------------------------------------------------ pictures

_Number = TypeVar("_Number", int, float)


def of_picture(table: Mapping[str, _Number], quality: str, size: str) -> _Number | None:
    """The value of a picture in a table by "quality size"; `None` for a size that it does not have.

    Where quality or size is open ("auto"), it is the highest of those that may be meant.
    """
    named = {key: key.partition(" ") for key in table}
    qualities = {quality} & {one for one, _, _ in named.values()} or {one for one, _, _ in named.values()}
    return max(
        (
            table[key]
            for key, (one, _, other) in named.items()
            if one in qualities and (other == size or size in ("", "auto"))
        ),
        default=None,
    )
