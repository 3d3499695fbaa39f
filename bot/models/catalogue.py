"""Deployments and model families as data."""

import difflib
import re
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec
import yaml

from bot.errors import ConfigError
from bot.types import Capability, Deployment, Prices, Usage

DEFAULT_KEY_ENV = "AZURE_OPENAI_API_KEY"

AZURE_HOSTS = (".azure.com", ".azure.us", ".azure.cn", ".microsoft.com")


# ------------------------------------------------------------------ families


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of the models whose name holds `name`; see families.yaml for the units."""

    name: str
    capability: Capability
    context: int
    output: int
    input: float | None = None
    cached: float | None = None
    cost: float | None = None
    image: float | None = None
    picture_input: float | None = None  # pictures that are sent to be edited
    refuses: tuple[str, ...] = ()
    pictures: Literal["dalle", "gpt-image"] | None = None
    dimensions: int | None = None

    @property
    def prices(self) -> Prices:
        """The retail prices; `None` where unknown."""
        return Prices(
            input_usd=self.input,
            cached_usd=self.cached,
            output_usd=0.0 if self.capability == "embedding" and self.input is not None else self.cost,
            image_usd=self.image,
        )


@cache
def families() -> dict[str, Family]:
    """Every known family by its name, read once from families.yaml."""
    raw = yaml.safe_load((Path(__file__).parent / "families.yaml").read_text("utf-8"))
    return {family.name: family for family in msgspec.convert(raw, list[Family])}


@cache
def guess(text: str, capability: Capability | None = None) -> Family | None:
    """The family whose name stands in a model's or deployment's name as whole words; the longest wins."""
    found = [
        family
        for family in families().values()
        if (capability is None or family.capability == capability)
        and re.search(rf"(?<![a-z0-9]){re.escape(family.name)}(?![a-z0-9.])", text.lower())
    ]
    return max(found, key=lambda family: len(family.name), default=None)


def family_of(text: str, capability: Capability) -> Family:
    """`guess`, or the family with the safe defaults of a model that nobody knows."""
    return guess(text, capability) or families()[f"unknown-{capability}"]


def retail(model: str, capability: Capability) -> Prices | None:
    """The prices of a model by its own name; `None` where no family is that very model.

    A date, a version or a fine-tuning may follow the name; another word makes it another model
    (gpt-5-pro is none of gpt-5's price).
    """
    family = guess(model, capability)
    if family is None:
        return None
    rest = model.lower().rpartition(family.name)[2]
    return family.prices if re.fullmatch(r"(-\d[\d-]*|-latest)?([.:@].*)?", rest) else None


def usd(prices: Prices, usage: Usage) -> float | None:
    """What a call cost. Cached tokens are a part of the input, at their own price.

    `None` where a price is unknown, or where the deployment counted nothing.
    """
    if usage.images and prices.image_usd is not None:
        return usage.images * prices.image_usd
    if not usage.input_tokens and not usage.output_tokens:
        return None
    parts = (
        (usage.input_tokens - usage.cached_tokens, prices.input_usd),
        (usage.cached_tokens, prices.cached_usd),
        (usage.output_tokens, prices.output_usd),
    )
    if any(tokens and price is None for tokens, price in parts):
        return None
    return sum(tokens * (price or 0.0) for tokens, price in parts) / 1e6


# ------------------------------------------------------------------ endpoints


def locate(endpoint: str, api_version: str | None) -> tuple[str, Literal["azure", "v1"]]:
    """The address that requests start from, and the wire that is spoken there.

    An Azure resource is given with or without `/openai/...`, as the portal shows it. Any other address with
    a path (`http://127.0.0.1:11434/v1`) is an OpenAI-compatible base URL. Raises ConfigError.
    """
    parts = urlsplit(endpoint.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"The endpoint {endpoint!r} is no address; it looks like https://NAME.openai.azure.com"
        )
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


def is_azure(endpoint: str) -> bool:
    """Whether the endpoint is one of Microsoft's, so that Entra tokens may be sent to it."""
    return (urlsplit(endpoint).hostname or "").endswith(AZURE_HOSTS)


def key_names(deployments: Iterable[Deployment]) -> tuple[str, ...]:
    """The environment variables that hold the keys, in order, each once."""
    return tuple(dict.fromkeys(d.key_env or DEFAULT_KEY_ENV for d in deployments if d.wire != "offline"))


# ------------------------------------------------------------------ the simple case


class _Entry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One deployment as a file states it; what is left out comes from the family."""

    name: str
    capability: Capability | None = None
    model: str = ""
    endpoint: str | None = None
    api_version: str | None = None
    key_env: str = ""
    order: int = 0
    weight: int = 1
    tags: tuple[str, ...] = ()
    context_tokens: int | None = None
    output_tokens: int | None = None
    prices: Prices | None = None


def _deployment(entry: _Entry) -> Deployment:
    if not entry.name.strip():
        raise ConfigError("`name` is empty; it is the name of the deployment in the Azure portal")
    if not entry.endpoint:
        raise ConfigError("`endpoint` is missing; it looks like https://NAME.openai.azure.com")
    if entry.weight < 1:
        raise ConfigError("`weight` must be 1 or more")
    known = guess(entry.model or entry.name, entry.capability)
    capability = entry.capability or (known.capability if known else None)
    if capability is None:
        raise ConfigError("`capability` is missing and the name doesn't tell: chat, image or embedding")
    family = known or family_of("", capability)
    base, wire = locate(entry.endpoint, entry.api_version)
    prices = (retail(entry.model, capability) or Prices()) if entry.model else family.prices
    return Deployment(
        name=entry.name,
        capability=capability,
        model=entry.model,
        family=family.name,
        endpoint=base,
        wire=wire,
        context_tokens=entry.context_tokens or family.context,
        output_tokens=family.output if entry.output_tokens is None else entry.output_tokens,
        api_version=entry.api_version if wire == "azure" else None,
        order=entry.order,
        weight=entry.weight,
        tags=entry.tags,
        prices=entry.prices or prices,
        key_env=entry.key_env,
    )


def simple(
    endpoint: str, api_version: str | None, chat: str | None, image: str | None, embedding: str | None
) -> tuple[Deployment, ...]:
    """At most one deployment per capability, on one resource. Raises ConfigError."""
    named: tuple[tuple[Capability, str | None], ...] = (
        ("chat", chat),
        ("image", image),
        ("embedding", embedding),
    )
    return tuple(
        _deployment(_Entry(name=name, capability=capability, endpoint=endpoint, api_version=api_version))
        for capability, name in named
        if name
    )


# ------------------------------------------------------------------ a file of deployments


class _Loader(yaml.SafeLoader):
    """YAML without dates: an api_version such as 2024-10-21 stays text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Read(NamedTuple):
    defaults: dict[str, Any]
    entries: list[Any]
    lines: list[int]


def load(path: Path, endpoint: str | None = None, api_version: str | None = None) -> tuple[Deployment, ...]:
    """The deployments of a YAML or TOML file, in its order.

    `endpoint` and `api_version` hold where neither the entry nor the head of the file names its own.
    Raises ConfigError, which names the file, the line and the entry.
    """
    read = _read(path)
    head = {"endpoint": endpoint, "api_version": api_version, **read.defaults}
    found: list[Deployment] = []
    for index, raw in enumerate(read.entries):
        line = f", line {read.lines[index]}" if index < len(read.lines) else ""
        known = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
        where = f"{path}{line}, deployment {known.get('name') or index + 1!r}"
        try:
            entry = msgspec.convert({**head, **known}, _Entry)
            deployment = _deployment(entry)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{where}: {_explain(str(error))}") from None
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        if any((d.name, d.endpoint) == (deployment.name, deployment.endpoint) for d in found):
            raise ConfigError(f"{where}: the same name at the same endpoint stands in this file before")
        found.append(deployment)
    if not found:
        raise ConfigError(f"{path}: no deployments in it; they stand in a list called `deployments`")
    return tuple(found)


def _read(path: Path) -> _Read:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from None
    raw: Any
    try:
        if path.suffix == ".toml":
            raw = tomllib.loads(text)
            lines = [n for n, line in enumerate(text.splitlines(), 1) if line.strip() == "[[deployments]]"]
        else:
            raw = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
            lines = _yaml_lines(text)
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: must hold a list called `deployments`")
    body = cast("dict[str, Any]", raw)
    entries = body.pop("deployments", None)
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: must hold a list called `deployments`")
    for key in body:
        if key not in ("endpoint", "api_version", "key_env"):
            raise ConfigError(f"{path}: {key!r} is unknown at the head; endpoint, api_version, key_env are")
    return _Read(body, cast("list[Any]", entries), lines)


def _yaml_lines(text: str) -> list[int]:
    root = yaml.compose(text, _Loader)
    if isinstance(root, yaml.MappingNode):
        for key, value in root.value:
            if key.value == "deployments" and isinstance(value, yaml.SequenceNode):
                return [item.start_mark.line + 1 for item in value.value]
    return []


def _explain(message: str) -> str:
    unknown = re.search(r"unknown field `([^`]+)`", message)
    if not unknown:
        return message
    near = difflib.get_close_matches(unknown[1], [*_Entry.__struct_fields__, *Prices.__struct_fields__], n=1)
    return f"{unknown[1]!r} is unknown" + (f"; is {near[0]!r} meant?" if near else "")
