"""Usage: a chart by day, and bars by template, deployment, purpose, channel and person."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

from aiohttp import web

from adapters.studio.auth.guard import person_of
from adapters.studio.page import Page, Route, render
from adapters.studio.web.charts import Bar, bars
from bot.domain.events import now
from bot.domain.limits import ends
from bot.prompts.assignments import Assignments
from bot.storage.usage.quota import LimitStatus, QuotaLedger
from bot.storage.usage.reports import UsageReports, UsageRow, UsageTotals

PERIODS = (7, 30, 90)
MEASURES = {"cost": "Cost", "turns": "Answers", "tokens": "Tokens"}
MOST_ROWS = 10
"""Of one table among several; a table on its own has pages."""
PAGE_ROWS = 50
KINDS = {
    "template": "Templates",
    "deployment": "Deployments",
    "purpose": "Purposes",
    "channel": "Channels",
    "person": "People",
    "tenant": "Tenants",
}


class UsagePage(Page):
    """Only operators see people and tenants."""

    name = "Usage"
    path = "/studio/usage"
    icon = "chart"

    def __init__(
        self, reports: UsageReports, assignments: Assignments, ledger: QuotaLedger | None = None
    ) -> None:
        self._reports = reports
        self._assignments = assignments
        self._ledger = ledger

    def routes(self) -> Iterable[Route]:
        return [Route("page", self.path, self._show)]

    async def _show(self, request: web.Request) -> web.Response:
        days = next((each for each in PERIODS if request.query.get("days") == str(each)), 30)
        by = next((each for each in MEASURES if request.query.get("by") == each), "cost")
        last = now().date()
        first = last - timedelta(days=days - 1)
        lines = await self._reports.rows(first, last)
        every = person_of(request).role == "operator"
        shown = [kind for kind in KINDS if every or kind not in ("person", "tenant")]
        only = next((kind for kind in shown if request.query.get("only") == kind), "")
        first_row = request.query.get("from", "")
        start = int(first_row) if only and first_row.isdecimal() and len(first_row) < 7 else 0
        total = [line.totals for line in lines if line.kind == "day"]
        values = {
            "days": days,
            "periods": PERIODS,
            "by": by,
            "measures": MEASURES,
            "empty": not lines,
            "reached": await self._reached(last) if every else [],
            "tiles": _tiles(total),
            "chart": await asyncio.to_thread(chart, lines, first, days, by),
            "only": only,
            "names": await self._names() if "person" in shown else {},
            "start": start,
            "page_rows": PAGE_ROWS,
            "tables": [
                (kind, KINDS[kind], len(rows), rows[start : start + PAGE_ROWS] if only else rows[:MOST_ROWS])
                for kind in shown
                if kind == only or not only
                for rows in [_table(lines, kind, by)]
            ],
        }
        return render(request, "usage.html", **values)

    async def _reached(self, today: date) -> list[tuple[str, str]]:
        """What is nearly, or fully, used up of the limits of tenants, and the names in limits without an id.

        The level of each alert, and its text.
        """
        if self._ledger is None:
            return []
        tenants = await self._reports.tenants(today.replace(day=1), today)
        status = await self._ledger.tenant_status(tenants)
        share = self._ledger.limits.share
        reached = [
            ("error" if not one.left else "warning", limit_line(tenant, one))
            for tenant, limits in status.items()
            for one in limits
            if one.used >= share * one.limit.most
        ]
        return reached + [("warning", words) for words in self._ledger.limits.problems]

    async def _names(self) -> dict[str, str]:
        """The names of people who wrote recently, by their names in usage reports."""
        known = await self._assignments.known()
        return {f"{one.tenant}/{one.id}": one.name for one in known if one.scope == "person" and one.name}


def limit_line(tenant: str, status: LimitStatus) -> str:
    """How much is used of a limit of a tenant, and when it resets."""
    limit, used = status.limit, status.used
    end = f"{ends(limit.period, now()):%d %b, %H:%M}"
    state = "is used up" if not status.left else "is nearly used up"
    then = "" if status.left else " Questions from there are refused until then."
    percent = 100 * used // limit.most
    return (
        f"A limit of the organisation {tenant} {state}: {limit.bare(used)} of {limit} ({percent}%). "
        f"It resets on {end} UTC.{then} To allow more, change PARLEY_LIMITS."
    )


def amount(totals: UsageTotals, by: str) -> float:
    """A measure of the usage, for a chart."""
    return {"cost": totals.microdollars / 1e6, "turns": totals.turns, "tokens": totals.tokens}[by]


def words(value: float, by: str) -> str:
    """A measure as text."""
    if by != "cost":
        return f"{int(value):,}"
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def _cost(microdollars: int, unpriced: int) -> str:
    """The known part of a cost; calls without a price are named, never counted as free."""
    if not unpriced:
        return words(microdollars / 1e6, "cost")
    calls = f"{unpriced:,} {'call' if unpriced == 1 else 'calls'}"
    if not microdollars:
        return f"unknown ({calls})"
    return f"{words(microdollars / 1e6, 'cost')} + {calls} with unknown price"


def _tiles(days: Sequence[UsageTotals]) -> list[tuple[str, str]]:
    cost = _cost(sum(one.microdollars for one in days), sum(one.unpriced for one in days))
    return [
        ("Answers", f"{sum(one.turns for one in days):,}"),
        ("Tokens", f"{sum(one.tokens for one in days):,}"),
        ("Images", f"{sum(one.images for one in days):,}"),
        ("Cost", cost),
    ]


def chart(lines: Sequence[UsageRow], first: date, days: int, by: str) -> dict[str, Any]:
    """The bars by day, with their axes and the same numbers as text."""
    found = {line.day: amount(line.totals, by) for line in lines if line.kind == "day"}
    dates = [first + timedelta(days=n) for n in range(days)]
    row = [Bar(found.get(day, 0.0), f"{day:%d %b}: {words(found.get(day, 0.0), by)}") for day in dates]
    most = max((bar.value for bar in row), default=0.0)
    top = words(most, by) if most else ""
    halves = by == "cost" or most % 2 == 0
    name = f"{MEASURES[by]} by day"
    return {
        "name": name,
        "svg": bars(
            f"{name}, from {dates[0]:%d %b} to {dates[-1]:%d %b}; the highest: {top or 'nothing'}", row
        ),
        "top": top,
        "ups": (top, words(most / 2, by) if halves else "", words(0, by)) if most else (),
        "along": [f"{day:%d %b}" for day in dates[:: max(1, days // 6)]],
        "heads": ("Day (UTC)", MEASURES[by]),
        "rows": [(f"{day:%d %b}", words(found[day], by)) for day in reversed(dates) if found.get(day)],
    }


def _table(lines: Sequence[UsageRow], kind: str, by: str) -> list[dict[str, Any]]:
    totals: dict[str, UsageTotals] = {}
    for line in lines:
        if line.kind == kind:
            totals[line.name] = totals[line.name] + line.totals if line.name in totals else line.totals
    ordered = sorted(totals.items(), key=lambda each: (-amount(each[1], by), -each[1].turns, each[0]))
    top = max((amount(each, by) for each in totals.values()), default=0.0) or 1.0
    return [
        {
            "name": name,
            "share": round(100 * amount(each, by) / top, 1),
            "words": _cost(each.microdollars, each.unpriced) if by == "cost" else words(amount(each, by), by),
        }
        for name, each in ordered
    ]
