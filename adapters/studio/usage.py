"""What was used: a chart of the days, and bars by template, deployment, channel and person."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

from aiohttp import web

from adapters.studio.gate import Gate
from adapters.studio.paper import Draw, page
from adapters.studio.records import Books, Line, Sums
from bot.types import now

PERIODS = (7, 30, 90)
MEASURES = {"cost": "Cost", "turns": "Answers", "tokens": "Tokens"}
MOST_ROWS = 10
"""Of a table among others; a table alone has pages."""
PAGE_ROWS = 50
KINDS = {
    "template": "Templates",
    "deployment": "Deployments",
    "channel": "Channels",
    "person": "People",
    "tenant": "Tenants",
}
WIDTH, HEIGHT, ROOM = 900, 200, 22
"""Of the chart: units of its view box; ROOM is for the words under it."""


class UsagePage:
    """People are shown to operators only."""

    def __init__(self, books: Books, gate: Gate, draw: Draw) -> None:
        self._books = books
        self._gate = gate
        self._draw = draw

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The page."""
        return [web.get("/studio/usage", self._gate.guard(self._show, page=True))]

    async def _show(self, request: web.Request) -> web.Response:
        days = next((each for each in PERIODS if request.query.get("days") == str(each)), 30)
        by = request.query.get("by", "cost")
        by = by if by in MEASURES else "cost"
        last = now().date()
        first = last - timedelta(days=days - 1)
        lines = await self._books.lines(first, last)
        shown = [
            kind
            for kind in KINDS
            if kind not in ("person", "tenant") or self._gate.role(request) == "operator"
        ]
        only = request.query.get("only", "")
        only = only if only in shown else ""
        first_row = request.query.get("from", "")
        start = int(first_row) if only and first_row.isdecimal() and len(first_row) < 7 else 0
        total = [line.sums for line in lines if line.kind == "day"]
        values = {
            "days": days,
            "periods": PERIODS,
            "by": by,
            "measures": MEASURES,
            "empty": not lines,
            "tiles": _tiles(total),
            "chart": chart(lines, first, days, by),
            "only": only,
            "start": start,
            "page_rows": PAGE_ROWS,
            "tables": [
                (kind, KINDS[kind], len(rows), rows[start : start + PAGE_ROWS] if only else rows[:MOST_ROWS])
                for kind in shown
                if kind == only or not only
                for rows in [_table(lines, kind, by)]
            ],
        }
        return page(self._draw(request, "usage.html", "Usage", **values))


def amount(sums: Sums, by: str) -> float:
    """A measure of some use, for drawing."""
    return {"cost": sums.microdollars / 1e6, "turns": sums.turns, "tokens": sums.tokens}[by]


def words(value: float, by: str) -> str:
    """A measure in words."""
    if by != "cost":
        return f"{int(value):,}"
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def _cost(microdollars: int, unpriced: int) -> str:
    """What is known of a cost; what is unknown is said, never counted as nothing."""
    if not unpriced:
        return words(microdollars / 1e6, "cost")
    calls = f"{unpriced:,} {'call' if unpriced == 1 else 'calls'}"
    if not microdollars:
        return f"unknown ({calls})"
    return f"{words(microdollars / 1e6, 'cost')} + {calls} of unknown price"


def _tiles(days: Sequence[Sums]) -> list[tuple[str, str]]:
    cost = _cost(sum(one.microdollars for one in days), sum(one.unpriced for one in days))
    return [
        ("Answers", f"{sum(one.turns for one in days):,}"),
        ("Tokens", f"{sum(one.tokens for one in days):,}"),
        ("Pictures", f"{sum(one.images for one in days):,}"),
        ("Cost", cost),
    ]


def chart(lines: Sequence[Line], first: date, days: int, by: str) -> dict[str, Any]:
    """The bars of the days: where they stand, how high, and what they say."""
    found = {line.day: amount(line.sums, by) for line in lines if line.kind == "day"}
    values = [(first + timedelta(days=n), found.get(first + timedelta(days=n), 0.0)) for n in range(days)]
    most = max((value for _, value in values), default=0.0)
    top = most or 1.0
    step = WIDTH / days
    bars = [
        {
            "x": round(n * step + step * 0.12, 2),
            "width": round(step * 0.76, 2),
            "y": round(HEIGHT - HEIGHT * value / top, 2),
            "height": round(HEIGHT * value / top, 2),
            "words": f"{day:%d %b}: {words(value, by)}",
            "label": f"{day:%d %b}" if n % max(1, days // 6) == 0 else "",
        }
        for n, (day, value) in enumerate(values)
    ]
    return {
        "bars": bars,
        "width": WIDTH,
        "height": HEIGHT + ROOM,
        "ground": HEIGHT,
        "top": words(most, by) if most else "",
    }


def _table(lines: Sequence[Line], kind: str, by: str) -> list[dict[str, Any]]:
    sums: dict[str, Sums] = {}
    for line in lines:
        if line.kind == kind:
            sums[line.name] = sums[line.name] + line.sums if line.name in sums else line.sums
    ordered = sorted(sums.items(), key=lambda each: (-amount(each[1], by), -each[1].turns, each[0]))
    top = max((amount(each, by) for each in sums.values()), default=0.0) or 1.0
    return [
        {
            "name": name,
            "share": round(100 * amount(each, by) / top, 1),
            "words": _cost(each.microdollars, each.unpriced) if by == "cost" else words(amount(each, by), by),
        }
        for name, each in ordered
    ]
