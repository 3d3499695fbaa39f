"""The commands `parley prices ...`: the price table, and its replacement by one of the operator."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from bot.cli.console import load_settings, print_json, run
from bot.domain.errors import ConfigError

if TYPE_CHECKING:
    from bot.llm.catalog.prices import PriceTable

_WITHIN_S = 30.0
"""For an address to answer completely."""

prices = typer.Typer(no_args_is_help=True, help="List the prices of models, or replace them with your own.")
_Source = Annotated[
    str, typer.Argument(metavar="FILE-OR-URL", help="A price table in YAML: a file, or an https address.")
]


@prices.command("list")
def prices_list(
    everything: Annotated[bool, typer.Option("--all", help="Also former and future prices.")] = False,
    model: Annotated[str, typer.Option(help="Only models whose names contain this.")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the prices in force, in US dollars per million tokens.

    They are those of global deployments. `own` marks models of your table. An empty price falls back on another one.
    """
    if as_csv and as_json:
        raise ConfigError("Use either --csv or --json, not both.")
    from bot.domain.events import now
    from bot.llm.catalog.price_listing import entries_of, row_of

    table, note = run(_in_force())
    found = entries_of(table, None if everything else now().date())
    rows = [row_of(entry, table) for entry in found if model.lower() in entry.model]
    if as_json:
        print_json({"currency": "USD", "per_tokens": 1_000_000, "prices": rows})
    elif as_csv:
        _print_csv(rows)
    else:
        _print_table(rows, note)


@prices.command("update")
def prices_update(source: _Source) -> None:
    """Replace the prices of the models in a table, for all processes, without a restart.

    The table is checked first; one with a mistake changes nothing. It takes the place of the table that was stored
    before. Models that are not in it keep the prices that come with Parley.
    """
    text, changes = _compared(source)
    _print_changes(changes)
    run(_store(text, source))
    typer.echo("Stored. Running processes use it within a few seconds.")


@prices.command("diff")
def prices_diff(source: _Source) -> None:
    """Show what `update` would change."""
    _print_changes(_compared(source)[1])


@prices.command("reset")
def prices_reset() -> None:
    """Remove your table, so that the prices that come with Parley are used again."""
    typer.echo(
        "Removed. Running processes notice within a few seconds." if run(_remove()) else "There is none."
    )


# ------------------------------------------------------------------ the stored table


async def _in_force() -> "tuple[PriceTable, str]":
    """The current table, and where the operator's part of it comes from."""
    from bot.app.services import open_services
    from bot.llm.catalog.prices import prices_in_force
    from bot.storage.usage.price_tables import PriceTables

    async with open_services(load_settings()) as services:
        stored = await PriceTables(services.storage.redis).read()
        table = prices_in_force().table
    return table, f"own: from {stored.origin}, stored on {stored.at:%Y-%m-%d %H:%M} UTC" if stored else ""


async def _store(text: str, source: str) -> None:
    from bot.app.services import open_services
    from bot.storage.usage.price_tables import PriceTables

    async with open_services(load_settings()) as services:
        await PriceTables(services.storage.redis).write(text, source)


async def _remove() -> bool:
    from bot.app.services import open_services
    from bot.storage.usage.price_tables import PriceTables

    async with open_services(load_settings()) as services:
        return await PriceTables(services.storage.redis).remove()


# ------------------------------------------------------------------ a new table


def _compared(source: str) -> tuple[str, list[str]]:
    """The text of a checked table, and what it would change. Raises ConfigError."""
    from bot.llm.catalog import price_file
    from bot.llm.catalog.price_listing import differences
    from bot.llm.catalog.prices import bundled, table_of

    text = _fetched(source) if "://" in source else _file(source)
    new = table_of(bundled(), price_file.read(text, source))
    return text, differences(run(_in_force())[0], new)


def _file(source: str) -> str:
    try:
        return Path(source).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Can't read {source}: {error}") from None


def _fetched(url: str) -> str:
    """The text at an address: https, or http on this machine. Raises ConfigError."""
    from urllib.parse import urlsplit

    import httpx2

    from bot.app.settings import is_loopback
    from bot.llm.catalog.price_file import MOST_BYTES

    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise ConfigError(f"{url}: use an address that begins with https://")
    data, due = b"", time.monotonic() + _WITHIN_S
    try:
        with httpx2.Client(timeout=_WITHIN_S) as client, client.stream("GET", url) as response:
            if response.status_code != 200:
                raise ConfigError(f"{url}: answered with status {response.status_code}; 200 is needed")
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MOST_BYTES or time.monotonic() > due:
                    raise ConfigError(
                        f"{url}: sent more than {MOST_BYTES:,} bytes, or took over {_WITHIN_S:g} s"
                    )
        return data.decode()
    except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeDecodeError) as error:
        raise ConfigError(f"{url}: {error or type(error).__name__}") from None


# ------------------------------------------------------------------ output


def _print_changes(changes: Sequence[str]) -> None:
    typer.echo("\n".join(changes) or "No differences.")


def _print_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    import csv

    import msgspec

    writer = csv.writer(sys.stdout, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
    for row in rows:
        values = (
            msgspec.json.encode(value).decode() if isinstance(value, list | dict) else value
            for value in row.values()
        )
        writer.writerow("" if value in (None, "[]") else value for value in values)


def _print_table(rows: Sequence[Mapping[str, Any]], note: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    columns = ("input", "cached", "cache_write", "output", "image_input", "image_output")
    for head in (
        "Model",
        "Version",
        "From",
        *(name.replace("_", " ").capitalize() for name in columns),
        "Other",
    ):
        table.add_column(head, overflow="fold")
    for row in rows:
        prices = ("" if row[name] is None else f"{row[name]:g}" for name in columns)
        table.add_row(row["model"], row["version"], row["from"], *prices, _other(row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # a pipe has no width; don't wrap names
    console.print("US dollars per million tokens, global deployments", style="dim")
    console.print(table if rows else "No such model.")
    if note:
        console.print(note, style="dim", markup=False)


def _other(row: Mapping[str, Any]) -> str:
    parts = ["own"] if row["own"] else []
    if row["currency"] != "USD":
        parts.append(f"{row['currency']} at ${row['exchange_rate']:g}")
    parts += [
        f"above {tier['tokens']:,} tokens: {tier['input']:g} / {tier['output']:g}" for tier in row["above"]
    ]
    if image := row["image"]:
        each = sorted(cast("dict[str, float]", image).values()) if isinstance(image, dict) else [image]
        parts.append(f"{' to '.join(f'{usd:g}' for usd in dict.fromkeys((each[0], each[-1])))} per picture")
    return "; ".join(parts)
