"""Parley's price table beside the one of the package genai-prices, which lists what OpenAI charges.

`python -m tests.llm.catalog.public_prices` writes the comparison into docs/deployments.md.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from genai_prices.data import providers
from genai_prices.types import ModelPrice, TieredPrices

from bot.domain.turns import Prices
from bot.llm.catalog.price_listing import entries_of
from bot.llm.catalog.prices import bundled, table_of

CHECKED_AT = datetime(2026, 11, 30, tzinfo=UTC)
GUIDE = Path(__file__).parents[3] / "docs" / "deployments.md"
BEGIN, END = "<!-- prices: begin -->", "<!-- prices: end -->"
FIELDS = {
    "input": "input_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "output": "output_mtok",
    "image_input": "input_image_mtok",
    "image_cached": "cache_image_read_mtok",
    "image_output": "output_image_mtok",
}

_PAGE = "Azure's page has one price, 10 % above the global meters; it is the safer one for limits"
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("text-embedding-3-small", "input"): _PAGE,
    ("text-embedding-3-large", "input"): _PAGE,
    ("text-embedding-ada-002", "input"): _PAGE,
}
"""Differences that were looked into on 2026-11-30, by model and field, and why Parley's price stays."""


class Compared(NamedTuple):
    """One price of a model in both tables, in US dollars per million tokens; `None` is not in the table."""

    model: str
    field: str
    ours: float | None
    public: float | None

    @property
    def is_same(self) -> bool:
        return self.ours == self.public


def compared() -> Iterator[Compared]:
    """Every price of every model that is in both tables, as of the day on which they were checked."""
    table = table_of(bundled())
    for entry in entries_of(table, CHECKED_AT.date()):
        name = f"{entry.model}-{entry.version}" if entry.version else entry.model
        if (public := _public(name)) is None:
            continue
        for field, theirs in FIELDS.items():
            base, tiers = _parts(getattr(public, theirs, None))
            if field == "output" and entry.prices.output_usd is None and public.output_mtok is not None:
                continue  # a model that returns only images: its output is compared as theirs
            if field == "image_output" and base is None:
                base, tiers = _parts(public.output_mtok if entry.prices.image_output_usd else None)
            yield from _rows(name, field, entry.prices, base, tiers)


def _rows(
    name: str, field: str, prices: Prices, base: float | None, tiers: dict[int, float]
) -> Iterator[Compared]:
    ours = getattr(prices, f"{field}_usd")
    if (ours, base) != (None, None):
        yield Compared(name, field, ours, base)
    own = {
        tier.tokens: value for tier in prices.above if (value := getattr(tier, f"{field}_usd")) is not None
    }
    for tokens in sorted({*own, *tiers}):
        yield Compared(name, f"{field} above {tokens:,}", own.get(tokens), tiers.get(tokens))


def _public(name: str) -> ModelPrice | None:
    provider = next(each for each in providers if each.id == "openai")
    model = provider.find_model(name)
    return model.get_prices(CHECKED_AT) if model else None


def _parts(price: Any) -> tuple[float | None, dict[int, float]]:
    if isinstance(price, TieredPrices):
        return float(price.base), {tier.start: float(tier.price) for tier in price.tiers}
    return (float(price) if isinstance(price, Decimal | int | float) else None), {}


# ------------------------------------------------------------------ the documentation


def comparison() -> str:
    """The comparison as a Markdown table, with a summary above it."""
    rows = list(compared())
    by_model = {row.model: [one for one in rows if one.model == row.model] for row in rows}
    lines = [
        f"Compared with `genai-prices` {version('genai-prices')} on {CHECKED_AT:%Y-%m-%d}: {len(by_model)} models, "
        f"{len(rows)} prices, {sum(not row.is_same for row in rows)} differences.",
        "",
        "| Model | Input | Cached | Cache write | Output | Prices compared | Differences |",
        "|---|---|---|---|---|---|---|",
    ]
    for model, mine in by_model.items():
        usual = {row.field: row.ours for row in mine}
        output = usual.get("output", usual.get("image_output"))
        cells = [usual.get("input"), usual.get("cached"), usual.get("cache_write"), output]
        different = [
            f"{one.field}: {_shown(one.public)}. {EXCEPTIONS[model, one.field]}"
            for one in mine
            if not one.is_same
        ]
        lines.append(
            f"| `{model}` | {' | '.join(map(_shown, cells))} | {len(mine)} | {'; '.join(different) or 'none'} |"
        )
    return "\n".join(lines)


def _shown(usd: float | None) -> str:
    return "" if usd is None else f"{usd:g}"


def write() -> None:
    """Replace the comparison in the guide."""
    before, _, rest = GUIDE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    GUIDE.write_text(f"{before}{BEGIN}\n\n{comparison()}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    write()
