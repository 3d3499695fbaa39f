"""Numbers, money, dates, times and lists, as the person who reads them writes them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Literal

from babel.dates import format_date, format_skeleton, format_time, get_datetime_format
from babel.lists import format_list
from babel.numbers import format_currency, format_decimal, format_percent
from babel.units import format_unit

from bot.domain.words import reader

Rounding = Literal["nearest", "up", "down"]
_ROUNDING = {"nearest": ROUND_HALF_UP, "up": ROUND_CEILING, "down": ROUND_FLOOR}
_LEAST = 100  # micro-dollars; less is of no interest to people
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def number(value: float) -> str:
    """A number with the separators of the reader's country."""
    return format_decimal(value, locale=reader().locale)


def percent(share: float) -> str:
    """A share of 1 as a percentage without decimals."""
    return format_percent(share, locale=reader().locale)


def money(microdollars: int, rounding: Rounding = "nearest") -> str:
    """An amount in US dollars with cents or, below ten cents, with two digits that are not zero."""
    if 0 < microdollars < _LEAST:
        return f"< {money(_LEAST)}"
    dollars = Decimal(microdollars) / 1_000_000
    decimals = 2 if not dollars or abs(dollars) >= Decimal("0.1") else 1 - dollars.adjusted()
    step = Decimal(1).scaleb(-min(max(decimals, 2), 6))
    rounded = dollars.quantize(step, _ROUNDING[rounding])
    exact = rounded.normalize()
    decimals = max(2, -int(exact.as_tuple().exponent))
    locale = reader().locale
    pattern = locale.currency_formats["standard"].pattern.replace("0.00", "0." + "0" * decimals)
    return format_currency(rounded, "USD", pattern, locale=locale, currency_digits=False)


def size(megabytes: float) -> str:
    """A size in megabytes."""
    return format_unit(megabytes, "digital-megabyte", "short", locale=reader().locale)


def listed(items: Iterable[str]) -> str:
    """Items in a row, with the reader's word for “and”."""
    return format_list(list(items), locale=reader().locale)


def duration(seconds: float) -> str:
    """A duration: 20 seconds, 3 minutes, 2 hr 10 min, 4 days."""
    whole = max(1, round(seconds))
    if whole < 2 * _MINUTE_S and whole != _MINUTE_S:
        return _unit(whole, "second")
    if whole < _HOUR_S:
        return _unit(round(whole / _MINUTE_S), "minute")
    if whole >= 2 * _DAY_S:
        return _unit(whole // _DAY_S, "day")
    hours, minutes = divmod(round(whole / _MINUTE_S), 60)
    if not minutes:
        return _unit(hours, "hour")
    return f"{_unit(hours, 'hour', 'short')} {_unit(minutes, 'minute', 'short')}"


def clock(at: datetime, *, seconds: bool = False) -> str:
    """The time of day in the reader's zone; in UTC, with that word, if the zone is not known."""
    locale, zone = reader()
    if zone is None:
        return f"{at.astimezone(UTC):{'%H:%M:%S' if seconds else '%H:%M'}} UTC"
    return format_time(at, "medium" if seconds else "short", tzinfo=zone, locale=locale)


def day(at: datetime) -> str:
    """Day and month in the reader's zone."""
    locale, zone = reader()
    return format_skeleton("MMMMd", at, tzinfo=zone or UTC, locale=locale)


def date(at: datetime) -> str:
    """Day, month and year in the reader's zone."""
    locale, zone = reader()
    return format_date(at.astimezone(zone or UTC), "medium", locale=locale)


def moment(at: datetime) -> str:
    """Date and time in the reader's zone."""
    both = str(get_datetime_format("medium", locale=reader().locale))
    return both.replace("{1}", date(at)).replace("{0}", clock(at))


def _unit(value: int, name: str, length: Literal["short", "long"] = "long") -> str:
    return format_unit(value, f"duration-{name}", length, locale=reader().locale)
