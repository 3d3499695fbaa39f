"""Reads deployments from a file, reporting the line of errors, or from a few settings."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, cast

import msgspec

from bot.domain.errors import ConfigError
from bot.domain.events import Frozen
from bot.domain.prompts import Capability
from bot.domain.turns import Deployment, DeploymentType, Prices, PriceTier
from bot.llm.catalog.catalog import family_of, guess, locate
from bot.llm.catalog.parsed_file import FieldPath, ParsedFile, explain, parse
from bot.llm.catalog.prices import priced

Policy = Literal["ordered", "weighted", "least_busy", "cheapest"]
"""The routing policy. `ordered`: by lowest `order`, then weight. `weighted`: by weight alone. `least_busy`: fewest
running calls in this process, relative to weight. `cheapest`: lowest cost of this prompt."""


class DeploymentConfig(Frozen):
    """The deployments, and the routing policy. After `hedge_ms` without a first token, a second deployment is asked,
    too; `None` disables that.
    """

    deployments: tuple[Deployment, ...]
    policy: Policy = "ordered"
    hedge_ms: int | None = None


_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]


class _StatedTier(PriceTier, forbid_unknown_fields=True):
    """A tier as an operator writes it."""


class _StatedPrices(Prices, forbid_unknown_fields=True):
    """Prices as an operator writes them."""

    above: tuple[_StatedTier, ...] = ()

    def __post_init__(self) -> None:
        if self.currency or self.exchange_rate is not None:
            raise ValueError(
                "these prices are in US dollars; one in another currency belongs into a price table"
            )


class _Entry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One deployment of a file; missing values come from the family."""

    name: str
    capability: Capability | None = None
    model: str = ""
    endpoint: str | None = None
    api_version: str | None = None
    key_env: str = ""
    region: str = ""
    order: int = 0
    weight: _Count = 1
    tags: tuple[str, ...] = ()
    context_tokens: _Count | None = None
    output_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    requests_per_minute: _Count | None = None
    tokens_per_minute: _Count | None = None
    prices: _StatedPrices | None = None
    deployment_type: DeploymentType | None = None
    price_factor: Annotated[float, msgspec.Meta(gt=0)] | None = None


class _SharedSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The fields next to the list: policy, and defaults for all entries."""

    policy: Policy = "ordered"
    hedge_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)] | None = None
    endpoint: str | None = None
    api_version: str | None = None
    key_env: str | None = None
    region: str | None = None
    deployment_type: DeploymentType | None = None


_SHARED = ("endpoint", "api_version", "key_env", "region", "deployment_type")


class _FieldError(ConfigError):
    """An error in one field of an entry."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(words)
        self.field = field


def _deployment(entry: _Entry) -> Deployment:
    if not entry.name.strip():
        raise _FieldError("name", "`name` is empty; set it to the deployment name in the Azure portal")
    if not entry.endpoint:
        raise _FieldError("name", "`endpoint` is missing; set it, for example https://NAME.openai.azure.com")
    known = guess(entry.model or entry.name, entry.capability)
    capability = entry.capability or (known.capability if known else None)
    if capability is None:
        words = "`capability` is missing and can't be derived from the name; set chat, image or embedding"
        raise _FieldError("name", words)
    family = known or family_of("", capability)
    try:
        base, wire = locate(entry.endpoint, entry.api_version)
    except ConfigError as error:
        raise _FieldError("endpoint", str(error)) from None
    return priced(
        Deployment(
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
            key_env=entry.key_env,
            region=entry.region,
            requests_per_minute=entry.requests_per_minute,
            tokens_per_minute=entry.tokens_per_minute,
            stated_prices=_stated(entry.prices),
            deployment_type=entry.deployment_type or "GlobalStandard",
            price_factor=entry.price_factor,
        )
    )


def _stated(prices: _StatedPrices | None) -> Prices:
    return Prices() if prices is None else msgspec.convert(msgspec.to_builtins(prices), Prices)


# ------------------------------------------------------------------ the simple case


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


def load(path: Path, endpoint: str | None = None, api_version: str | None = None) -> DeploymentConfig:
    """The deployments of a YAML or TOML file, in its order.

    `endpoint` and `api_version` hold where neither the entry nor the head of the file names its own.
    Raises ConfigError, which names the file, the line and the entry.
    """
    read = _read(path)
    entries = read.body.pop("deployments", None)
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: must contain a list `deployments`")
    try:
        head = msgspec.convert(read.body, _SharedSettings)
    except msgspec.ValidationError as error:
        at, words = _explained(error, _SharedSettings)
        raise ConfigError(f"{path}{read.line(at)}: {words}") from None
    if not entries:
        raise ConfigError(f"{path}: the list `deployments` is empty")
    given = {name: value for name in _SHARED if (value := getattr(head, name)) is not None}
    shared = {"endpoint": endpoint, "api_version": api_version, **given}
    found: list[Deployment] = []
    for index, raw in enumerate(cast("list[Any]", entries)):
        found.append(_entry(path, read, shared, index, raw))
        if any((d.name, d.endpoint) == (found[-1].name, found[-1].endpoint) for d in found[:-1]):
            line = read.line(("deployments", index))
            words = "duplicate: an earlier entry has the same name and endpoint"
            raise ConfigError(f"{path}{line}, deployment {found[-1].name!r}: {words}")
    return DeploymentConfig(deployments=tuple(found), policy=head.policy, hedge_ms=head.hedge_ms)


def _entry(path: Path, read: ParsedFile, shared: dict[str, Any], index: int, raw: object) -> Deployment:
    known = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
    at: FieldPath
    try:
        return _deployment(msgspec.convert({**shared, **known}, _Entry))
    except msgspec.ValidationError as error:
        at, words = _explained(error, _Entry)
    except _FieldError as error:
        at, words = (error.field,), str(error)
    # the error is in the head if only the head has the field
    where = at if at and at[0] in shared and at[0] not in known else ("deployments", index, *at)
    raise ConfigError(f"{path}{read.line(where)}, deployment {known.get('name') or index + 1!r}: {words}")


def _read(path: Path) -> ParsedFile:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from None
    return parse(text, str(path), "deployments")


def _explained(error: msgspec.ValidationError, shape: type[msgspec.Struct]) -> tuple[FieldPath, str]:
    return explain(error, (*shape.__struct_fields__, *Prices.__struct_fields__, "deployments"))
