"""Reads a price table: a YAML file with the entries of a price list, in any currency."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, TypeAlias, cast

import msgspec
from msgspec.structs import asdict

from bot.domain.errors import ConfigError
from bot.domain.turns import DeploymentType, Prices, PriceTier, Usd
from bot.llm.catalog.parsed_file import FieldPath, ParsedFile, explain, parse

MOST_BYTES = 1_000_000
_MOST_ENTRIES = 5000
_Rate: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1000)]
_Currency: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$")]
_Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[\w.:@/-]+$")]
_ALWAYS = date.min
_DOLLARS = "USD"


class Factor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all prices are multiplied by for a deployment type, everywhere or only in some regions."""

    type: DeploymentType
    factor: _Rate = 1.0
    regions: tuple[str, ...] = ()

    def fits(self, deployment_type: DeploymentType, region: str) -> bool:
        """Whether it applies; regions are compared as in `swedencentral`, so "Sweden Central" is the same."""
        name = region.lower().replace(" ", "")
        return self.type == deployment_type and (not self.regions or name in self.regions)


class _TokenRates(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Prices per million tokens, in the currency of the entry."""

    input: Usd | None = None
    cached: Usd | None = None
    cache_write: Usd | None = None
    output: Usd | None = None
    reasoning: Usd | None = None
    image_input: Usd | None = None
    image_cached: Usd | None = None
    image_output: Usd | None = None


class _TierRates(_TokenRates):
    tokens: Annotated[int, msgspec.Meta(ge=1)]


class _EntryRates(_TokenRates, rename={"since": "from"}):
    """An entry as it is written. `image` is the price of a picture: of any, or by quality and size.

    Without a `currency` it is that of the table.
    """

    model: _Name
    version: str = ""
    since: date = _ALWAYS
    source: str = ""
    currency: _Currency | None = None
    image: Usd | dict[str, dict[str, Usd]] | None = None
    image_tokens: dict[str, dict[str, Annotated[int, msgspec.Meta(ge=1)]]] = {}
    above: _TierRates | tuple[_TierRates, ...] = ()
    factors: tuple[Factor, ...] = ()


class _Head(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The fields next to the list. `usd` is what one unit of the table's currency is worth in US dollars, and
    `exchange_rates` the same for currencies of entries.
    """

    currency: _Currency = _DOLLARS
    usd: _Rate | None = None
    exchange_rates: dict[_Currency, _Rate] = {}
    source: str = ""
    factors: tuple[Factor, ...] = ()

    def rate(self, currency: str) -> float | None:
        """What one unit of a currency is worth in US dollars; `None` if the table doesn't say."""
        if currency == _DOLLARS:
            return 1.0
        return (self.usd if currency == self.currency else None) or self.exchange_rates.get(currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceEntry:
    """The prices of a model from a day on, in US dollars; `version` is empty for all versions without an entry."""

    model: str
    version: str
    since: date
    prices: Prices
    source: str = ""
    factors: tuple[Factor, ...] = ()

    @property
    def id(self) -> str:
        """A short name for records: "gpt-4o-2024-05-13@2024-07-01"."""
        return self.prices.id


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """A checked table."""

    entries: tuple[PriceEntry, ...]
    factors: tuple[Factor, ...] = ()

    @property
    def by_model(self) -> dict[str, tuple[PriceEntry, ...]]:
        found: dict[str, tuple[PriceEntry, ...]] = {}
        for entry in self.entries:
            found[entry.model] = (*found.get(entry.model, ()), entry)
        return found


# ------------------------------------------------------------------ reading


def read(text: str, name: str, *, is_bundled: bool = False) -> TableFile:
    """Check a table. Raises ConfigError, which lists every problem with its line."""
    if len(text.encode()) > MOST_BYTES:
        raise ConfigError(f"{name}: is larger than {MOST_BYTES:,} bytes")
    parsed = parse(text, name, "prices", is_bundled=is_bundled)
    rows = parsed.body.pop("prices", None)
    if not isinstance(rows, list) or not rows:
        raise ConfigError(f"{name}: must contain a list `prices` with at least one entry")
    listed = cast("list[object]", rows)
    if len(listed) > _MOST_ENTRIES:
        raise ConfigError(f"{name}: has {len(listed):,} entries; at most {_MOST_ENTRIES:,} are allowed")
    problems: list[str] = []
    head = _head(parsed, problems)
    entries: list[PriceEntry] = []
    for index, raw in enumerate(listed):
        entries += _entry(parsed, head, index, raw, problems)
    problems += _repeated(parsed, entries) if not problems else []
    if problems:
        raise ConfigError("\n".join(f"{name}{problem}" for problem in problems))
    return TableFile(entries=tuple(entries), factors=head.factors)


def _head(parsed: ParsedFile, problems: list[str]) -> _Head:
    try:
        head = msgspec.convert(parsed.body, _Head)
    except msgspec.ValidationError as error:
        at, words = explain(error, (*_Head.__struct_fields__, "prices"))
        problems.append(f"{parsed.line(at)}: {words}")
        return _Head()
    if head.rate(head.currency) is None:
        words = f"currency {head.currency} needs `usd`: what one {head.currency} is worth in US dollars"
        problems.append(f"{parsed.line(('currency',))}: {words}")
    if _DOLLARS in head.exchange_rates or (head.currency == _DOLLARS and head.usd not in (None, 1)):
        at = "exchange_rates" if _DOLLARS in head.exchange_rates else "usd"
        problems.append(f"{parsed.line((at,))}: one US dollar is worth 1; name another currency")
    return head


def _entry(
    parsed: ParsedFile, head: _Head, index: int, raw: object, problems: list[str]
) -> Iterator[PriceEntry]:
    """The entry at a place of the list; nothing, if it has problems, which are added to the others."""
    at: FieldPath = ()
    label = cast("dict[str, Any]", raw).get("model") if isinstance(raw, dict) else None

    def problem(words: str) -> None:
        line = parsed.line(("prices", index, *at))
        problems.append(f"{line}, {label or f'entry {index + 1}'}: {words}")

    try:
        row = msgspec.convert(raw, _EntryRates)
    except msgspec.ValidationError as error:
        at, words = explain(error, ("from", *_EntryRates.__struct_fields__, "tokens"))
        return problem(words)
    currency = row.currency or head.currency
    rate = head.rate(currency)
    faults = list(_faults(row))
    if rate is None and row.currency:
        faults.append(
            f"currency {currency} needs a rate: `exchange_rates: {{{currency}: ...}}` at the top of the table"
        )
    for fault in faults:
        problem(fault)
    if not faults and rate is not None:
        yield _converted(row, currency, rate, row.source or head.source)
    return None


def _faults(row: _EntryRates) -> Iterator[str]:
    priced = any(value is not None for value in (row.image, *_tokens(row, 1.0).values()))
    if not priced:
        yield "has no price"
    tiers = _tiers(row)
    if [tier.tokens for tier in tiers] != sorted({tier.tokens for tier in tiers}):
        yield "above: list the tiers by ascending `tokens`, each once"
    for rates in (row, *tiers):
        for cheaper, usual in (("cached", "input"), ("image_cached", "image_input")):
            low, high = getattr(rates, cheaper), getattr(rates, usual)
            if low is not None and high is not None and low > high:
                yield f"{cheaper} ({low:g}) is above {usual} ({high:g})"


def _tiers(row: _EntryRates) -> tuple[_TierRates, ...]:
    return row.above if isinstance(row.above, tuple) else (row.above,)


def _tokens(rates: _TokenRates, rate: float) -> dict[str, Any]:
    """Prices per million tokens in US dollars, by the names of `TokenPrices`; the ones that are stated."""
    stated = {name: getattr(rates, name) for name in _TokenRates.__struct_fields__}
    return {f"{name}_usd": _usd(value, rate) for name, value in stated.items() if value is not None}


def _usd(value: float, rate: float) -> float:
    return value if rate == 1 else round(value * rate, 9)


def _converted(row: _EntryRates, currency: str, rate: float, source: str) -> PriceEntry:
    model, since = row.model.lower(), row.since
    name = f"{model}-{row.version}" if row.version else model
    pictures = row.image if isinstance(row.image, dict) else {}
    flat = None if row.image is None or isinstance(row.image, dict) else _usd(row.image, rate)
    prices = Prices(
        **_tokens(row, rate),
        image_usd=flat,
        pictures={key: _usd(value, rate) for key, value in _flat(pictures).items()},
        picture_tokens=_flat(row.image_tokens),
        above=tuple(PriceTier(tokens=tier.tokens, **_tokens(tier, rate)) for tier in _tiers(row)),
        id=name if since == _ALWAYS else f"{name}@{since}",
        currency="" if currency == _DOLLARS else currency,
        exchange_rate=None if currency == _DOLLARS else rate,
    )
    return PriceEntry(
        model=model, version=row.version, since=since, prices=prices, source=source, factors=row.factors
    )


def _flat(by_quality: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Values by "quality size"."""
    return {
        f"{quality} {size}": value for quality, sizes in by_quality.items() for size, value in sizes.items()
    }


def _repeated(parsed: ParsedFile, entries: list[PriceEntry]) -> Iterator[str]:
    seen: set[tuple[str, str, date]] = set()
    for index, entry in enumerate(entries):
        key = (entry.model, entry.version, entry.since)
        if key in seen:
            yield f"{parsed.line(('prices', index))}, {entry.model}: an earlier entry has the same version and date"
        seen.add(key)


def stated(prices: Prices) -> dict[str, Any]:
    """The fields of prices that have a value, without the id; tiers as "input_usd above 272,000"."""
    fields = {name: value for name, value in asdict(prices).items() if value not in (None, (), {}, "")}
    fields.pop("id", None)
    for tier in fields.pop("above", ()):
        fields |= {
            f"{name} above {tier.tokens:,}": value
            for name, value in asdict(tier).items()
            if name != "tokens" and value is not None
        }
    return fields
