"""Model families, and the base URLs of endpoints."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from bot.domain.errors import ConfigError
from bot.domain.prompts import Capability
from bot.domain.turns import Deployment
from bot.llm import bundled_files
from bot.llm.tokens.estimator import Vocabulary
from bot.llm.tokens.image_tokens import UNKNOWN, ImageRule

DEFAULT_KEY_ENV = "AZURE_OPENAI_API_KEY"

AZURE_HOSTS = (".azure.com", ".azure.us", ".azure.cn", ".microsoft.com")


# ------------------------------------------------------------------ families


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The models whose name contains `name`; see families.yaml for the units."""

    name: str
    capability: Capability
    context: int
    output: int
    refuses: tuple[str, ...] = ()
    pictures: Literal["dalle", "gpt-image"] | None = None
    dimensions: int | None = None
    vocabulary: Vocabulary | None = "o200k_base"
    image_tokens: ImageRule = UNKNOWN


@cache
def families() -> dict[str, Family]:
    """All families by name, read once from families.yaml."""
    raw = bundled_files.load(Path(__file__).parent / "families.yaml")
    return {family.name: family for family in msgspec.convert(raw, list[Family])}


@cache
def guess(text: str, capability: Capability | None = None) -> Family | None:
    """The family whose name occurs in a model's or deployment's name as whole words; the longest wins."""
    found = [
        family
        for family in families().values()
        if (capability is None or family.capability == capability)
        and re.search(rf"(?<![a-z0-9]){re.escape(family.name)}(?![a-z0-9.])", text.lower())
    ]
    return max(found, key=lambda family: len(family.name), default=None)


def family_of(text: str, capability: Capability) -> Family:
    """`guess`, or the family with safe defaults for unknown models."""
    return guess(text, capability) or families()[f"unknown-{capability}"]


# ------------------------------------------------------------------ endpoints


def locate(endpoint: str, api_version: str | None) -> tuple[str, Literal["azure", "v1"]]:
    """The base URL of an endpoint, and the form of its requests. Raises ConfigError.

    An Azure resource may be given with or without `/openai/...`, as the portal shows it. Any other URL with a
    path (`http://127.0.0.1:11434/v1`) is an OpenAI-compatible base URL.
    """
    parts = urlsplit(endpoint.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"The endpoint {endpoint!r} is not a URL such as https://NAME.openai.azure.com")
    origin = f"{parts.scheme}://{parts.netloc}"
    path = parts.path.rstrip("/")
    azure = parts.hostname.endswith(AZURE_HOSTS)
    if path.endswith("/v1"):
        return f"{origin}{path}/", "v1"
    if path and not azure and not path.startswith("/openai"):
        return f"{origin}{path}/", "v1"
    if parts.hostname == "api.openai.com":
        return f"{origin}/v1/", "v1"
    if api_version:
        return f"{origin}/", "azure"
    return f"{origin}/openai/v1/", "v1"


def host_of(endpoint: str) -> str:
    """The host and port of an endpoint, without a user name and password."""
    return urlsplit(endpoint).netloc.rpartition("@")[2]


def is_azure(endpoint: str) -> bool:
    """Whether the endpoint is one of Microsoft's, so that Entra tokens may be sent to it."""
    return (urlsplit(endpoint).hostname or "").endswith(AZURE_HOSTS)


def key_names(deployments: Iterable[Deployment]) -> tuple[str, ...]:
    """The environment variables with the keys, in order, without duplicates."""
    return tuple(dict.fromkeys(d.key_env or DEFAULT_KEY_ENV for d in deployments if d.wire != "offline"))
