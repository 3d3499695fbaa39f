"""How long services ask to wait, in whatever way they say it."""

from datetime import timedelta

import pytest

from bot.domain.events import now
from bot.llm.failures.waits import (
    LONGEST_REST_S,
    MISTAKEN_REST_S,
    asked_s,
    retry_after_s,
    spent_for_s,
    told_s,
)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "17"}, 17.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "20s"}, 20.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"x-ms-retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "later"}, None),
        ({}, None),
    ],
)
def test_the_wait_is_read_from_any_header(headers: dict[str, str], expected: float | None) -> None:
    """Field fault 59."""
    assert retry_after_s(headers) == expected


@pytest.mark.parametrize("asked", ["301", "7200", "86400", "999999999"])
def test_no_wait_is_longer_than_five_minutes(asked: str) -> None:
    """Field fault 60: a longer one is a mistake, and the deployment is tried again soon."""
    assert retry_after_s({"retry-after": asked}) == MISTAKEN_REST_S
    assert told_s(f"Please retry after {asked} seconds.") == MISTAKEN_REST_S
    assert retry_after_s({"retry-after": "300"}) == LONGEST_REST_S


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 0.0),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "9s"}, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9"}, 9.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "4m0s"}, 240.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m3.5s"}, 63.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "soon"}, 1.0),
        ({"x-ratelimit-remaining-tokens": "-20"}, 1.0),
        ({"x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "0"}, 0.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "20"}, 20.0),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "20"}, 20.0),
        (
            {
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "2s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1m",
            },
            60.0,
        ),
    ],
)
def test_used_up_limits_are_read_from_the_headers(headers: dict[str, str], expected: float) -> None:
    """Field fault 59."""
    assert spent_for_s(headers) == pytest.approx(expected)


def test_resets_may_be_points_in_time() -> None:
    """Field fault 59: seconds or milliseconds since 1970, or ISO 8601."""
    at = now() + timedelta(seconds=200)
    for reset in (f"{at.timestamp():.0f}", f"{at.timestamp() * 1000:.0f}", at.isoformat()):
        headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
        assert 100 < spent_for_s(headers) <= 201


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Requests have exceeded the call rate limit. Please retry after 17 seconds. Please go here", 17.0),
        ("Out of call volume quota. Quota will be replenished in 00:01:10.", 70.0),
        ("Out of call volume quota. Quota will be replenished in 5.03:23:11.", MISTAKEN_REST_S),
        ("Rate limit is exceeded. Try again in 50 seconds.", 50.0),
        ("Token limit is exceeded. Try again in 1 second.", 1.0),
        ("Please try again in 6m0s. Visit https://platform.openai.com", 60.0),
        ("Please try again in 20s.", 20.0),
        ("Please try again in 1.242s.", 1.242),
        ("Please try again in 120ms.", 0.12),
        ("Please wait 250 milliseconds", 0.25),
        ("Retry after 2 minutes", 120.0),
        ("Try again in 1 minute and 30 seconds", 90.0),
        ("You can retry your request in 5 sec", 5.0),
        ("The limit resets in 3 s", 3.0),
        ("Please try again later.", None),
        ("Limit 30000, requested 30601.", None),
    ],
)
def test_the_wait_is_read_from_the_text(text: str, expected: float | None) -> None:
    """Field fault 59."""
    assert told_s(text) == expected


def test_headers_win_over_the_text() -> None:
    """Field fault 59."""
    text = "Please retry after 30 seconds."
    assert asked_s({"retry-after": "2"}, text) == 2
    assert asked_s({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "3"}, text) == 3
    assert asked_s({}, text) == 30
    assert asked_s({}, "") is None
