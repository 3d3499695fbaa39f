"""Times as people see them: in their own zone, which a platform may not tell."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

UNKNOWN_ZONE = "UTC (own zone unknown)"
_LONGEST = 64
"""Characters; IANA names have at most about 40."""

_WITH_MINUTES = {
    3.5: "Asia/Tehran",
    4.5: "Asia/Kabul",
    5.5: "Asia/Kolkata",
    5.75: "Asia/Kathmandu",
    6.5: "Asia/Yangon",
    9.5: "Australia/Darwin",
}
"""Offsets from UTC in hours, of zones without summer time."""


@lru_cache(1000)
def zone_of(name: str) -> ZoneInfo | None:
    """The time zone with an IANA name; None if there is none, so that UTC is used."""
    if not name or len(name) > _LONGEST:
        return None
    try:
        return ZoneInfo(name)
    except (
        ValueError,
        OSError,
        KeyError,
    ):  # ZoneInfoNotFoundError is a KeyError; the name of a folder is an OSError
        return None


def local(at: datetime, zone: str) -> tuple[datetime, str]:
    """A time in a zone, and the zone's name: "UTC" without a valid one, "UTC+2" for a fixed offset."""
    found = zone_of(zone)
    if found is None:
        return at.astimezone(UTC), "UTC"
    there = at.astimezone(found)
    return there, f"UTC{there.tzname()}" if zone.startswith("Etc/GMT") else zone


def in_words(at: datetime, zone: str) -> str:
    """A time in a zone, "Monday 2026-11-30 14:03 Europe/Berlin"; without a valid zone in UTC, and says so."""
    there, name = local(at, zone)
    return f"{there:%A %Y-%m-%d %H:%M} {name if zone_of(zone) is not None else UNKNOWN_ZONE}"


def zone_with(offset: timedelta | None) -> str:
    """An IANA name for a fixed offset from UTC; empty for one that is no whole number of hours, unless a country has
    it all the year.

    The signs of the names with hours are the other way round (POSIX): UTC+2 is "Etc/GMT-2".
    """
    if offset is None or not -12 <= offset / timedelta(hours=1) <= 14:
        return ""
    if offset % timedelta(hours=1):
        return _WITH_MINUTES.get(offset / timedelta(hours=1), "")
    hours = round(offset / timedelta(hours=1))
    return f"Etc/GMT{-hours:+d}" if hours else "Etc/UTC"
