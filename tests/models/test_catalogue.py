"""Deployments as data: what a name hints at, what a file may say, and how its mistakes are named."""

from pathlib import Path
from typing import Any

import pytest

from bot.errors import ConfigError
from bot.models.catalogue import families, family_of, guess, key_names, load, locate, retail, simple, usd
from bot.types import Prices, Usage

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
def test_field_note_33_a_name_is_a_hint(text: str, family: str | None) -> None:
    found = guess(text)
    assert (found.name if found else None) == family


def test_an_unknown_model_has_safe_defaults() -> None:
    family = family_of("house-brand", "chat")
    assert (family.name, family.context, family.prices) == ("unknown-chat", 16000, Prices())


def test_every_family_can_be_found_by_its_own_name() -> None:
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
def test_an_endpoint_may_be_given_as_people_have_it(
    endpoint: str, version: str | None, base: str, wire: str
) -> None:
    assert locate(endpoint, version) == (base, wire)


@pytest.mark.parametrize("endpoint", ["name.openai.azure.com", "", "ftp://x", "https://"])
def test_what_is_no_address_is_said(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        locate(endpoint, None)


def test_the_simple_case_names_one_deployment_per_capability() -> None:
    chat, picture = simple(ENDPOINT, None, "my-chat", "gpt-image-2", None)
    assert (chat.name, chat.capability, chat.model, chat.family) == ("my-chat", "chat", "", "unknown-chat")
    assert (picture.name, picture.capability, picture.family) == ("gpt-image-2", "image", "gpt-image-2")


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


FILE = """\
endpoint: https://name.openai.azure.com
deployments:
  - name: fast
    capability: chat
    model: gpt-4o-mini
    tags: [eu, cheap]
  - name: gpt-4o
    endpoint: https://other.openai.azure.com
    api_version: 2024-10-21
    key_env: OTHER_KEY
    order: 1
    weight: 3
    context_tokens: 1000
    prices: {input_usd: 1, output_usd: 2.5}
  - name: vectors
    model: text-embedding-3-small
"""


def test_a_file_holds_what_its_entries_say_and_the_family_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "deployments.yaml"
    path.write_text(FILE)
    fast, second, vectors = load(path)
    assert (fast.capability, fast.model, fast.family) == ("chat", "gpt-4o-mini", "gpt-4o-mini")
    assert (fast.context_tokens, fast.output_tokens, fast.tags) == (128_000, 16_384, ("eu", "cheap"))
    assert (fast.endpoint, fast.wire, fast.prices.input_usd) == (ENDPOINT + "/openai/v1/", "v1", 0.15)
    assert (second.endpoint, second.wire) == ("https://other.openai.azure.com/", "azure")
    assert (second.api_version, second.order, second.weight) == ("2024-10-21", 1, 3)
    assert (second.context_tokens, second.model) == (1000, "")
    assert second.prices == Prices(input_usd=1.0, output_usd=2.5)
    assert vectors.capability == "embedding"
    assert key_names((fast, second, vectors)) == ("AZURE_OPENAI_API_KEY", "OTHER_KEY")


def test_a_toml_file_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "deployments.toml"
    path.write_text(
        'endpoint = "https://name.openai.azure.com"\n[[deployments]]\nname = "gpt-4o"\norder = 2\n'
    )
    (only,) = load(path)
    assert (only.name, only.family, only.order) == ("gpt-4o", "gpt-4o", 2)


def test_the_settings_stand_in_for_what_a_file_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    path.write_text("deployments:\n  - name: gpt-4o\n")
    (only,) = load(path, ENDPOINT, "2024-10-21")
    assert (only.endpoint, only.api_version) == (ENDPOINT + "/", "2024-10-21")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("deployments:\n  - {name: a, capability: chat, endpont: x}\n", ["line 2", "'a'", "endpoint"]),
        ("deployments:\n  - name: gpt-4o\n  - name: b\n    order: soon\n", ["line 3", "'b'", "order"]),
        ("deployments:\n  - name: house\n", ["line 2", "capability"]),
        ("deployments:\n  - name: gpt-4o\n    weight: 0\n", ["weight"]),
        ("deployments:\n  - name: ''\n    capability: chat\n", ["name"]),
        ("deployments:\n  - just text\n", ["line 2", "name"]),
        ("deployments:\n  - name: gpt-4o\n  - name: gpt-4o\n", ["line 3", "before"]),
        ("deployments: []\n", ["no deployments"]),
        ("deployments: {}\n", ["list"]),
        ("- name: a\n", ["list"]),
        ("endpiont: x\ndeployments: []\n", ["endpiont"]),
        ("deployments: [\n", ["line 2"]),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "deployments.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, ENDPOINT)
    for word in ["deployments.yaml", *words]:
        assert word in str(caught.value)


def test_a_mistake_in_toml_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "d.toml"
    path.write_text('[[deployments]]\nname = "gpt-4o"\n\n[[deployments]]\nname = "b"\n')
    with pytest.raises(ConfigError, match=r"line 4, deployment 'b'.*capability"):
        load(path, ENDPOINT)


@pytest.mark.parametrize("name", ["missing.yaml", "broken.toml"])
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.toml").write_text("= 1")
    with pytest.raises(ConfigError, match=name):
        load(tmp_path / name)


def test_an_entry_without_an_endpoint_is_said(tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    path.write_text("deployments:\n  - name: gpt-4o\n")
    with pytest.raises(ConfigError, match="endpoint"):
        load(path)


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
