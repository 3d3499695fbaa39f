"""The command `parley usage`: usage reports as a table, CSV or JSON."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bot.cli.console import load_settings, print_json, run
from bot.domain.errors import ConfigError

if TYPE_CHECKING:
    from bot.storage.usage.reports import UsageRow, UsageTotals

_MOST_DAYS = 400
_COLUMNS = ("answers", "calls", "tokens", "pictures", "usd", "unpriced_calls")


By = Literal["day", "person", "channel", "tenant", "deployment", "template", "purpose", "channel-person"]


def usage(
    by: Annotated[By, typer.Option(help="Group by.")] = "day",
    days: Annotated[
        int | None, typer.Option(min=1, max=_MOST_DAYS, help="Number of days, including today [default: 30].")
    ] = None,
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="A month instead of days.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show usage and cost, as on the studio's Usage page.

    Days and months are in UTC. Rows are sorted by cost, days by date. Calls of models that failed, and those for
    embeddings, summaries and evaluations are included; an answer counts for the deployment that gave it. Calls with
    an unknown price are counted separately and not included in the cost.

    channel-person has a row for each person in each channel, for chargeback; it reaches back 62 days. `parley calls`
    lists the calls themselves.
    """
    if as_csv and as_json:
        raise ConfigError("Use either --csv or --json, not both.")
    first, last = period(days, month)
    pairs = by == "channel-person"
    rows = _sorted(run(_read_pairs(first, last))) if pairs else _rows(run(read_lines(first, last)), by)
    if as_json:
        _print_json(rows, by, first, last)
    elif as_csv:
        _print_csv(rows, by)
    else:
        _print_table(rows, by, first, last)


def period(days: int | None, month: str | None) -> tuple[date, date]:
    """The first and last day of the report."""
    from bot.domain.events import now

    today = now().date()
    if month is None:
        return today - timedelta(days=(days or 30) - 1), today
    if days is not None:
        raise ConfigError("Use either --days or --month, not both.")
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month) or month.startswith("0000"):
        raise ConfigError(f"--month {month} is not valid; use a month like {today:%Y-%m}.")
    first = date.fromisoformat(f"{month}-01")
    if first > today:
        raise ConfigError(f"{month} is in the future.")
    following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return max(first, today - timedelta(days=_MOST_DAYS)), min(following - timedelta(days=1), today)


async def read_lines(first: date, last: date) -> "Sequence[UsageRow]":
    from bot.app.services import open_services
    from bot.storage.usage.reports import UsageReports

    async with open_services(load_settings()) as services:
        return await UsageReports(services.storage.redis).rows(first, last)


def _rows(lines: "Iterable[UsageRow]", by: By) -> "Sequence[tuple[str, UsageTotals]]":
    """Names with their totals, sorted by cost, answers and name; days by date."""
    totals: dict[str, UsageTotals] = {}
    for line in lines:
        if line.kind == by:
            name = str(line.day) if by == "day" else line.name
            totals[name] = totals[name] + line.totals if name in totals else line.totals
    return sorted(totals.items()) if by == "day" else _sorted(totals)


async def _read_pairs(first: date, last: date) -> "dict[str, UsageTotals]":
    """Totals by channel and person, from the records of calls."""
    from bot.app.services import open_storage
    from bot.storage.usage import records, reports

    totals: dict[str, UsageTotals] = {}
    async with open_storage(load_settings()) as storage:
        async for charge in records.charges(storage.redis, first, last):
            name = f"{charge.place}, {charge.tenant}/{charge.person or '(deleted)'}"
            totals[name] = totals.get(name, reports.UsageTotals()) + reports.of_charge(charge)
    return totals


def _sorted(totals: "Mapping[str, UsageTotals]") -> "Sequence[tuple[str, UsageTotals]]":
    return sorted(totals.items(), key=lambda row: (-row[1].microdollars, -row[1].turns, row[0]))


def _usd(totals: "UsageTotals") -> float | None:
    """The cost in US dollars; None if no price is known."""
    return None if totals.unpriced and not totals.microdollars else totals.microdollars / 1_000_000


def _values(totals: "UsageTotals") -> Mapping[str, Any]:
    values = (totals.turns, totals.calls, totals.tokens, totals.images, _usd(totals), totals.unpriced)
    return dict(zip(_COLUMNS, values, strict=True))


def _total(rows: "Sequence[tuple[str, UsageTotals]]") -> "UsageTotals":
    from bot.storage.usage.reports import UsageTotals

    return sum((totals for _, totals in rows), UsageTotals())


def _print_json(rows: "Sequence[tuple[str, UsageTotals]]", by: By, first: date, last: date) -> None:
    found = {
        "by": by,
        "first": first,
        "last": last,
        "rows": [{by: name, **_values(totals)} for name, totals in rows],
        "total": _values(_total(rows)),
    }
    print_json(found)


def _print_csv(rows: "Sequence[tuple[str, UsageTotals]]", by: By) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow((by, *_COLUMNS))
    for name, totals in rows:
        values = {**_values(totals), "usd": "" if _usd(totals) is None else f"{_usd(totals):.6f}"}
        writer.writerow((harmless(name), *values.values()))


def harmless(name: str) -> str:
    """Escape a name that a spreadsheet would take for a formula."""
    return f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name


def _print_table(rows: "Sequence[tuple[str, UsageTotals]]", by: By, first: date, last: date) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_footer=len(rows) > 1)
    heads = (by.capitalize(), "Answers", "Calls", "Tokens", "Images", "Cost")
    footers = ("Total", *_cells(_total(rows)))
    for head, footer in zip(heads, footers, strict=True):
        right = head in ("Answers", "Calls", "Tokens", "Images")
        table.add_column(head, footer=footer, justify="right" if right else "left", overflow="fold")
    for name, totals in rows:
        table.add_row(escape(name), *_cells(totals))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # a pipe has no width; don't wrap names
    console.print(f"{first} to {last} (UTC)", style="dim")
    console.print(table if rows else "No usage in this period.")


def _cells(totals: "UsageTotals") -> tuple[str, ...]:
    usd = _usd(totals)
    cost = "unknown" if usd is None else f"${usd:,.4f}"
    if totals.unpriced and usd is not None:
        cost += f" + {totals.unpriced:,} with unknown price"
    return f"{totals.turns:,}", f"{totals.calls:,}", f"{totals.tokens:,}", f"{totals.images:,}", cost
