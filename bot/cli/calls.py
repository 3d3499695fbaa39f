"""The command `parley calls`: every provider call as CSV or JSON lines, to reconcile with invoices."""

import sys
from collections.abc import AsyncIterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.cli.console import load_settings, run
from bot.cli.usage import harmless, period

if TYPE_CHECKING:
    from bot.domain.turns import Usage
    from bot.llm.catalog.prices import PriceBook
    from bot.storage.usage.charges import Charge

_COLUMNS = (
    *("at", "tenant", "person", "channel", "template", "event", "attempt", "purpose", "outcome"),
    *("deployment", "model", "input_tokens", "cached_tokens", "cache_write_tokens", "image_input_tokens"),
    *("output_tokens", "reasoning_tokens", "images", "usd", "price", "currency", "exchange_rate"),
    "estimated",
)


def calls(
    days: Annotated[
        int | None, typer.Option(min=1, max=62, help="Number of days, including today [default: 30].")
    ] = None,
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="A month instead of days.")] = None,
    reprice: Annotated[
        bool, typer.Option("--reprice", help="Add what each call costs at the prices that are in force now.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object per line instead of CSV.")
    ] = False,
) -> None:
    """List every call of a model, as an invoice does.

    The tokens and the price of each call can be reconciled with the meters of Azure. Days and months are in UTC.
    Calls are kept for 62 days, and without the name of a person whose data was deleted. `usd` is empty where the
    price was unknown; `estimated` calls were interrupted before Azure counted their tokens.
    """
    run(_print(*period(days, month), reprice=reprice, as_json=as_json))


async def _print(first: date, last: date, *, reprice: bool, as_json: bool) -> None:
    import csv

    import msgspec

    columns = (*_COLUMNS, "usd_now") if reprice else _COLUMNS
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    if not as_json:
        writer.writeheader()
    async for row in _rows(first, last, reprice=reprice):
        if as_json:
            sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
        else:
            writer.writerow({name: _cell(value) for name, value in row.items()})


async def _rows(first: date, last: date, *, reprice: bool) -> AsyncIterator[Mapping[str, Any]]:
    from bot.app.price_watch import PriceWatch
    from bot.app.services import find_deployment_config, open_storage
    from bot.llm.catalog.prices import prices_in_force
    from bot.storage.usage import records
    from bot.storage.usage.price_tables import PriceTables

    settings = load_settings()
    known = {each.name: each for each in find_deployment_config(settings).deployments}
    async with open_storage(settings) as storage, PriceWatch(PriceTables(storage.redis)).keeping():
        async for charge in records.charges(storage.redis, first, last):
            for call in charge.usage:
                row = _row(charge, call)
                if reprice:
                    row["usd_now"] = _now(call, known, prices_in_force())
                yield row


def _row(charge: "Charge", call: "Usage") -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(call, name) for name in _COLUMNS if hasattr(call, name)}
    return row | {
        "at": call.at or charge.at,
        "tenant": charge.tenant,
        "person": charge.person,
        "channel": charge.place,
        "template": charge.template,
        "event": charge.event,
        "attempt": charge.attempt,
        "purpose": call.purpose or "answer",
    }


def _now(call: "Usage", known: Mapping[str, Any], book: "PriceBook") -> float | None:
    """What a call would cost now; None if its deployment is gone, or has no known price."""
    from bot.domain.events import now
    from bot.llm.catalog.cost import usd

    if call.purpose == "tool" or (call.outcome == "failed" and not call.estimated):
        return call.usd
    deployment = known.get(call.deployment)
    return None if deployment is None else usd(book.of(deployment, now(), call.model), call)


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".") or "0"
    return harmless(value) if isinstance(value, str) else value
