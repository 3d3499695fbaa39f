"""Model families as data: what a name hints at, where an endpoint is, what a call costs."""

from typing import Any

import pytest

from bot.domain.errors import ConfigError
from bot.domain.turns import Prices, Usage
from bot.llm.catalog.catalog import families, family_of, guess, locate, retail, usd

ENDPOINT = "https://name.openai.azure.com"


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("gpt-4o-2024-11-20", "gpt-4o"),
        ("gpt-4o-mini", "gpt-4o-mini"),
        ("prod_GPT-4.1-mini_eu", "gpt-4.1-mini"),
        ("gpt-4.1-mini-2025-04-14.ft-0a1b2c", "gpt-4.1-mini"),
        ("gpt-5.9", None),
        ("gpt-5-pro", "gpt-5"),
        ("pro3", None),
        ("o3-2025-04-16", "o3"),
        ("text-embedding-3-small", "text-embedding-3-small"),
        ("gpt-image-1.5", "gpt-image"),
        ("llama3", None),
        ("", None),
    ],
)
def test_a_name_is_a_hint(text: str, family: str | None) -> None:
    """Field note 33."""
    found = guess(text)
    assert (found.name if found else None) == family


def test_an_unknown_model_has_safe_defaults() -> None:
    family = family_of("house-brand", "chat")
    assert (family.name, family.context, family.prices) == ("unknown-chat", 16000, Prices())


def test_every_family_is_found_by_its_name() -> None:
    for name in families():
        if not name.startswith("unknown-"):
            assert family_of(name, families()[name].capability).name == name


@pytest.mark.parametrize(
    ("endpoint", "version", "base", "wire"),
    [
        (ENDPOINT, None, ENDPOINT + "/openai/v1/", "v1"),
        (ENDPOINT + "/", "2024-10-21", ENDPOINT + "/", "azure"),
        (ENDPOINT + "/openai/v1", "2024-10-21", ENDPOINT + "/openai/v1/", "v1"),
        (
            ENDPOINT + "/openai/deployments/x/chat/completions?api-version=1",
            "2024-10-21",
            ENDPOINT + "/",
            "azure",
        ),
        (
            "https://name.services.ai.azure.com/api/projects/p",
            None,
            "https://name.services.ai.azure.com/openai/v1/",
            "v1",
        ),
        ("http://127.0.0.1:11434/v1", None, "http://127.0.0.1:11434/v1/", "v1"),
        ("http://127.0.0.1:11434/v1/", "2024-10-21", "http://127.0.0.1:11434/v1/", "v1"),
        ("http://127.0.0.1:8080/api", None, "http://127.0.0.1:8080/api/", "v1"),
        ("https://api.openai.com", None, "https://api.openai.com/v1/", "v1"),
    ],
)
def test_endpoints_are_accepted_in_all_usual_forms(
    endpoint: str, version: str | None, base: str, wire: str
) -> None:
    assert locate(endpoint, version) == (base, wire)


@pytest.mark.parametrize("endpoint", ["name.openai.azure.com", "", "ftp://x", "https://"])
def test_what_is_no_address_is_said(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="is not a URL"):
        locate(endpoint, None)


@pytest.mark.parametrize(
    ("model", "input_usd"),
    [
        ("gpt-4o", 2.5),
        ("gpt-4o-mini-2024-07-18", 0.15),
        ("gpt-4.1-mini-2025-04-14.ft-0a1b2c", 0.4),
        ("gpt-5-pro", None),
        ("gpt-4o-audio-preview", None),
        ("o3-deep-research", None),
        ("llama3", None),
    ],
)
def test_a_price_belongs_to_the_very_model(model: str, input_usd: float | None) -> None:
    prices = retail(model, "chat")
    assert (prices.input_usd if prices else None) == input_usd


PRICES = Prices(input_usd=2.0, cached_usd=0.5, output_usd=8.0)


@pytest.mark.parametrize(
    ("prices", "usage", "expected"),
    [
        (
            PRICES,
            {"input_tokens": 1000, "cached_tokens": 400, "output_tokens": 100},
            0.0012 + 0.0002 + 0.0008,
        ),
        (Prices(input_usd=2.0, output_usd=8.0), {"input_tokens": 10, "cached_tokens": 5}, None),
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
