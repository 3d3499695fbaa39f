"""Price tables for operators: as rows, and what differs between two."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, cast

from bot.domain.turns import PRICES_OF_TOKENS
from bot.llm.catalog.price_file import Factor, PriceEntry, stated
from bot.llm.catalog.prices import PriceTable

NAMES = tuple(name.removesuffix("_usd") for name in PRICES_OF_TOKENS)
"""The prices per million tokens, as price tables name them."""


def entries_of(table: PriceTable, at: date | None = None) -> Iterator[PriceEntry]:
    """The entries by model and version, later ones first; with a day, only those that hold then."""
    for model in sorted(table.entries):
        entries = sorted(table.entries[model], key=lambda entry: (entry.version, -entry.since.toordinal()))
        seen: set[str] = set()
        for entry in entries:
            if at is None or (entry.since <= at and entry.version not in seen):
                yield entry
                seen.add(entry.version)


def row_of(entry: PriceEntry, table: PriceTable) -> Mapping[str, Any]:
    """An entry as it is exported: prices in US dollars, without those that fall back on others.

    `currency` is the one in which they are stated, `exchange_rate` what one unit of it is worth in US dollars.
    """
    prices = entry.prices
    return {
        "model": entry.model,
        "version": entry.version,
        "from": "" if entry.since == date.min else str(entry.since),
        **{name: getattr(prices, f"{name}_usd") for name in NAMES},
        "image": prices.pictures or prices.image_usd,
        "above": [
            {"tokens": tier.tokens, **{name: getattr(tier, f"{name}_usd") for name in NAMES}}
            for tier in prices.above
        ],
        "own": entry.model in table.own,
        "currency": prices.currency or "USD",
        "exchange_rate": prices.exchange_rate or 1.0,
        "source": entry.source,
    }


def differences(old: PriceTable, new: PriceTable) -> list[str]:
    """What another table would change, one line for each entry, by model."""
    before = {_key(entry): entry for entry in entries_of(old)}
    after = {_key(entry): entry for entry in entries_of(new)}
    lines: list[str] = []
    for key in sorted({**before, **after}):
        was, becomes = before.get(key), after.get(key)
        if was is None and becomes is not None:
            lines.append(f"+ {becomes.id}: {_all(becomes)}")
        elif becomes is None and was is not None:
            lines.append(f"- {was.id}: {_all(was)}")
        elif was is not None and becomes is not None and (changes := _changes(was, becomes)):
            lines.append(f"~ {becomes.id}: {changes}")
    was, becomes = _factors(old.factors), _factors(new.factors)
    changed = [name for name in {**was, **becomes} if was.get(name) != becomes.get(name)]
    return [
        *lines,
        *(f"~ factor {name}: {_shown(was.get(name))} -> {_shown(becomes.get(name))}" for name in changed),
    ]


def _factors(factors: Sequence[Factor]) -> dict[str, float]:
    return {
        " in ".join((each.type, *filter(None, [", ".join(each.regions)]))): each.factor for each in factors
    }


def _key(entry: PriceEntry) -> tuple[str, str, date]:
    return entry.model, entry.version, entry.since


def _all(entry: PriceEntry) -> str:
    return ", ".join(f"{_name(name)} {_shown(value)}" for name, value in stated(entry.prices).items())


def _changes(was: PriceEntry, becomes: PriceEntry) -> str:
    old, new = stated(was.prices), stated(becomes.prices)
    changes = [
        f"{_name(name)} {_shown(old.get(name))} -> {_shown(new.get(name))}"
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]
    if was.factors != becomes.factors:
        changes.append(f"factors {_shown(_factors(was.factors))} -> {_shown(_factors(becomes.factors))}")
    return ", ".join(changes)


def _name(field: str) -> str:
    return field.replace("_usd", "").replace("exchange_rate", "exchange rate")


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, float]", value).items()
        return "{" + ", ".join(f"{name}: {one:g}" for name, one in items) + "}"
    return "none" if value is None else value if isinstance(value, str) else f"{value:g}"
