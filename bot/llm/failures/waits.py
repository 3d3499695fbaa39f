"""Reads from headers and texts for how long a service asks to wait."""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from bot.domain.events import now

LONGEST_REST_S = 300.0
"""No deployment rests longer without being tried again; the same as in pace.lua and queue.lua."""

MISTAKEN_REST_S = 60.0
"""The rest in place of a longer one: Azure sometimes asks for 86,400 s by mistake."""

_UNITS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = (
    r"\d+(?:\.\d+)?\s*(?:ms|milliseconds?|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)(?![a-z])"
)
_SPAN = re.compile(rf"(?:(?:and|,)?\s*{_PART}\s*)+", re.IGNORECASE)
_TEXT = re.compile(
    rf"(?:retry|retrying|try again|wait|available again|resets?)\b[^.\d]{{0,40}}?((?:(?:and|,)?\s*{_PART}\s*)+)",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"replenished in (?:(\d{1,4})\.)?(\d\d):(\d\d):(\d\d)\b", re.IGNORECASE)
"""The quota of API Management, as [days.]hours:minutes:seconds."""
_UNKNOWN = -1
_REMAINING = re.compile(r"(?:x-)?ratelimit-remaining(-\w+)?")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The wait that a response asks for, in seconds: `retry-after-ms`, `x-ms-retry-after-ms`, else `retry-after` in
    seconds, as a span such as "1m30s" or as a date. More than LONGEST_REST_S is read as MISTAKEN_REST_S; `None` if the
    response names no time.
    """
    value = headers.get("retry-after", "")
    milliseconds = (headers.get("retry-after-ms", ""), headers.get("x-ms-retry-after-ms", ""))
    for text, unit in (*((text, 0.001) for text in milliseconds), (value, 1.0)):
        with suppress(ValueError):
            return _sane_s(float(text) * unit)
    if (span_s := _span_s(value)) is not None:
        return _sane_s(span_s)
    try:
        return _sane_s((parsedate_to_datetime(value) - now()).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def spent_for_s(headers: Mapping[str, str]) -> float:
    """Seconds until a used-up rate limit resets; 0 if none is used up. -1 remaining is unknown
    (https://github.com/openai/openai-dotnet/issues/838).

    OpenAI sends `x-ratelimit-reset-tokens: 6m0s`, others seconds, or the time in seconds since 1970 or as ISO 8601;
    without the header, a second is assumed.
    https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
    """
    longest = 0.0
    for name, value in headers.items():
        found = _REMAINING.fullmatch(name.lower())
        if found is None:
            continue
        with suppress(ValueError):
            if (remaining := float(value)) <= 0 and remaining != _UNKNOWN:
                reset = headers.get(name.lower().replace("remaining", "reset"), "")
                longest = max(longest, _reset_s(reset) or 1.0)
    return longest


def told_s(text: str) -> float | None:
    """The wait that a text asks for, such as "Please retry after 17 seconds" or "try again in 6m0s"."""
    if clock := _CLOCK.search(text):
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return _sane_s(((days * 24 + hours) * 60 + minutes) * 60.0 + seconds)
    found = _TEXT.search(text)
    return None if found is None else _sane_s(_span_s(found[1]) or 0.0)


def asked_s(headers: Mapping[str, str], text: str) -> float | None:
    """The wait that a refusal asks for, in whatever way; `None` if it names no time."""
    asked = retry_after_s(headers)
    if asked is None:
        asked = spent_for_s(headers) or None
    return told_s(text) if asked is None else asked


def _reset_s(text: str) -> float:
    """Seconds until a reset; 0 if the text is no time."""
    at: float | None = None
    with suppress(ValueError):
        seconds = float(text)
        if seconds < 1e9:
            return _sane_s(seconds) or 0.0
        at = seconds / 1000 if seconds > 1e11 else seconds
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if at is not None:
        return _sane_s(at - now().timestamp()) or 0.0
    return _sane_s(_span_s(text) or 0.0) or 0.0


def _span_s(text: str) -> float | None:
    """Seconds of a span such as "1h2m3.5s" or "2 minutes"; `None` if the text is none."""
    if not _SPAN.fullmatch(text.strip()):
        return None
    total = 0.0
    for number, unit in re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.lower()):
        key = "ms" if unit.startswith(("ms", "milli")) else unit[0]
        total += float(number) * _UNITS[key]
    return total


def _sane_s(asked: float) -> float | None:
    """A valid wait; a shorter one in place of one that is too long."""
    if not math.isfinite(asked):
        return None
    return MISTAKEN_REST_S if asked > LONGEST_REST_S else max(0.0, asked)
