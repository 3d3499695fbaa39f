"""The price table: what calls cost by model, version, deployment type and date."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import asdict, replace

from bot.domain.events import now
from bot.domain.prompts import Capability
from bot.domain.turns import CEILING, PRICES_OF_TOKENS, Deployment, DeploymentType, Prices, PriceTier
from bot.llm.catalog import price_file
from bot.llm.catalog.model_names import named_in, split_version
from bot.llm.catalog.price_file import Factor, PriceEntry, TableFile

BUNDLED = Path(__file__).parent / "prices.yaml"
DEPLOYMENTS_FILE = "deployments file"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Entries of models, later ones first, and factors of deployment types.

    `own` are the models whose entries come from the operator's table, which replaces all bundled ones of a model.
    """

    entries: Mapping[str, tuple[PriceEntry, ...]]
    factors: tuple[Factor, ...] = ()
    own: frozenset[str] = frozenset()

    def named(self, text: str) -> str | None:
        """The model that this name means: exactly or, in a deployment's name, as whole words; the longest wins."""
        return named_in(text, self.entries)

    def find(self, model: str, at: date) -> PriceEntry | None:
        """The entry of a model on a day, by its exact name.

        A date or a fine-tuning suffix may follow the name. An entry for that version goes before those for all.
        """
        name, version = split_version(model, self.entries)
        valid = [
            entry
            for entry in self.entries.get(name, ())
            if entry.since <= at and entry.version in ("", version)
        ]
        return max(valid, key=lambda entry: (entry.version != "", entry.since), default=None)

    def prices_of(
        self,
        model: str,
        at: date,
        deployment_type: DeploymentType = "GlobalStandard",
        region: str = "",
        factor: float | None = None,
    ) -> Prices | None:
        """The prices of a model on a day; `None` if there are none. `factor` replaces that of the deployment type."""
        entry = self.find(model, at)
        if entry is None:
            return None
        prices = (
            entry.prices if entry.model not in self.own else replace(entry.prices, id=f"{entry.id} (own)")
        )
        return scaled(prices, self._factor(entry, deployment_type, region) if factor is None else factor)

    def _factor(self, entry: PriceEntry, deployment_type: DeploymentType, region: str) -> float:
        """The factor of the entry itself, else of the table; one for the region goes before one for all."""
        for factors in (entry.factors, self.factors):
            if fitting := [each for each in factors if each.fits(deployment_type, region)]:
                return max(fitting, key=lambda each: bool(each.regions)).factor
        return 1.0


def table_of(*files: TableFile) -> PriceTable:
    """The table of these files; a model of a later one replaces all entries of that model in earlier ones."""
    entries: dict[str, tuple[PriceEntry, ...]] = {}
    factors: dict[tuple[str, frozenset[str]], Factor] = {}
    for file in files:
        entries |= file.by_model
        factors |= {(each.type, frozenset(each.regions)): each for each in file.factors}
    own = frozenset(model for file in files[1:] for model in file.by_model)
    return PriceTable(entries=entries, factors=tuple(factors.values()), own=own)


@cache
def bundled() -> TableFile:
    """The table that comes with Parley."""
    return price_file.read(BUNDLED.read_text("utf-8"), BUNDLED.name, is_bundled=True)


# ------------------------------------------------------------------ the prices in force


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """What calls cost in this process. `ceiling_usd`, per million tokens, stands in for prices that are unknown."""

    table: PriceTable
    ceiling_usd: float | None = None

    def of(self, deployment: Deployment, at: datetime, answered: str = "") -> Prices:
        """The prices of a deployment at a time: what its configuration states, else the table's, else the ceiling.

        `answered` is the model that the deployment reported; it counts where the configuration names no model, or
        not its version.
        """
        stated = deployment.stated_prices
        if stated is None:
            return deployment.prices
        found = self.table.prices_of(
            self._model(deployment, answered),
            at.date(),
            deployment.deployment_type,
            deployment.region,
            deployment.price_factor,
        )
        return capped(merged(stated, found), deployment.capability, self.ceiling_usd)

    def _model(self, deployment: Deployment, answered: str) -> str:
        model = deployment.model
        if answered and (not model or answered.lower().startswith(f"{model.lower()}-2")):
            return answered
        return model or self.table.named(deployment.name) or deployment.family


_in_force = PriceBook(table=table_of(bundled()))


def prices_in_force() -> PriceBook:
    """The prices of this process."""
    return _in_force


def put_in_force(book: PriceBook) -> None:
    """Use these prices for new calls."""
    global _in_force
    _in_force = book


def priced(deployment: Deployment, at: datetime | None = None) -> Deployment:
    """The deployment with its prices of now, or at another time."""
    return replace(deployment, prices=prices_in_force().of(deployment, at or now()))


def all_priced(deployments: Iterable[Deployment]) -> tuple[Deployment, ...]:
    """The deployments with their prices of now."""
    return tuple(priced(deployment) for deployment in deployments)


# ------------------------------------------------------------------ combining


def scaled(prices: Prices, factor: float) -> Prices:
    """The prices times a factor."""
    if factor == 1:
        return prices

    def times(fields: Iterable[str], of: Prices | PriceTier) -> dict[str, Any]:
        return {name: round(usd * factor, 9) for name in fields if (usd := getattr(of, name)) is not None}

    return replace(
        prices,
        **times((*PRICES_OF_TOKENS, "image_usd"), prices),
        pictures={name: round(usd * factor, 9) for name, usd in prices.pictures.items()},
        above=tuple(replace(tier, **times(PRICES_OF_TOKENS, tier)) for tier in prices.above),
    )


def merged(stated: Prices, found: Prices | None) -> Prices:
    """Stated prices, field by field before those of the table.

    A stated price holds for prompts of any length, unless tiers are stated, too. Cached input never costs more than
    input of the same call.
    """
    known = {name: value for name, value in asdict(stated).items() if value not in (None, {}, (), "")}
    if found is None or not known:
        return replace(stated, id=DEPLOYMENTS_FILE) if known else found or stated
    if "image_usd" in known:
        known.setdefault("pictures", {})
    if stated.input_usd is not None and found.cached_usd is not None:
        known.setdefault("cached_usd", min(found.cached_usd, stated.input_usd))
    if "above" not in known:
        known["above"] = tuple(
            replace(tier, **{name: None for name in known if name in PRICES_OF_TOKENS})
            for tier in found.above
        )
    return replace(found, **known, id=f"{DEPLOYMENTS_FILE}, {found.id}")


def capped(prices: Prices, capability: Capability, ceiling_usd: float | None) -> Prices:
    """The prices with a ceiling, in dollars per million tokens, in place of those that are unknown."""
    missing = prices.missing(capability)
    if ceiling_usd is None or not missing:
        return prices
    names: dict[str, Literal["input_usd", "output_usd"]] = {"input": "input_usd", "output": "output_usd"}
    filled = {names[name]: ceiling_usd for name in missing}
    return replace(prices, **filled, id=f"{CEILING}, {prices.id}".removesuffix(", "))
