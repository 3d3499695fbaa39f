"""Model families as data: what a name hints at, where an endpoint is, what a call costs."""

import pytest

from bot.domain.errors import ConfigError
from bot.llm.catalog.catalog import families, family_of, guess, locate

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
    assert (family.name, family.context) == ("unknown-chat", 16000)


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
