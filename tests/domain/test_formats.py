"""Numbers, money and times as people of a country write them."""

from datetime import UTC, datetime

import pytest

from bot.domain import formats
from bot.domain.formats import Rounding
from tests.support.languages import written_for

AT = datetime(2026, 12, 1, 23, 5, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("microdollars", "shown"),
    [
        *((0, "$0.00"), (1, "< $0.0001"), (99, "< $0.0001"), (100, "$0.0001"), (420, "$0.00042")),
        *((9_999, "$0.01"), (10_000, "$0.01"), (34_200, "$0.034"), (30_000, "$0.03"), (99_999, "$0.10")),
        *((250_000, "$0.25"), (1_234_567, "$1.23"), (2_500_000, "$2.50"), (1_234_560_000, "$1,234.56")),
    ],
)  # fmt: skip
def test_money_has_no_needless_decimals(microdollars: int, shown: str) -> None:
    """Field fault 112: money had four decimals; a small amount is still not shown as nothing."""
    assert formats.money(microdollars) == shown


@pytest.mark.parametrize(
    ("microdollars", "rounding", "shown"),
    [(256_700, "down", "$0.25"), (256_100, "up", "$0.26"), (5, "up", "< $0.0001")],
)
def test_what_is_left_is_not_rounded_up(microdollars: int, rounding: Rounding, shown: str) -> None:
    assert formats.money(microdollars, rounding) == shown


@pytest.mark.parametrize(
    ("locale", "zone", "shown"),
    [
        ("", "", "1,234,567 $1,234.50 23:05 UTC December 1 80%"),
        ("en-US", "America/New_York", "1,234,567 $1,234.50 6:05\u202fPM December 1 80%"),
        ("de-DE", "Europe/Berlin", "1.234.567 1.234,50\xa0$ 00:05 2. Dezember 80\xa0%"),
        ("fr-FR", "Europe/Paris", "1\u202f234\u202f567 1\u202f234,50\xa0$US 00:05 2 décembre 80\xa0%"),
        ("es-ES", "Europe/Madrid", "1.234.567 1.234,50\xa0US$ 0:05 2 de diciembre 80\xa0%"),
        ("ja-JP", "Asia/Tokyo", "1,234,567 $1,234.50 8:05 12月2日 80%"),
    ],
)
def test_figures_are_those_of_the_reader(locale: str, zone: str, shown: str) -> None:
    """Field fault 112: counts had no separators, days were UTC."""
    with written_for(locale, zone):
        figures = (
            formats.number(1_234_567),
            formats.money(1_234_500_000),
            formats.clock(AT),
            formats.day(AT),
            formats.percent(0.8),
        )
    assert " ".join(figures) == shown


def test_durations_have_a_suitable_unit() -> None:
    shown = [formats.duration(seconds) for seconds in (0, 1, 20, 60, 90, 125, 3600, 7400, 200_000)]
    assert shown == [
        *(
            "1 second",
            "1 second",
            "20 seconds",
            "1 minute",
            "90 seconds",
            "2 minutes",
            "1 hour",
            "2 hr 3 min",
        ),
        "2 days",
    ]
    with written_for("de-DE"):
        assert [formats.duration(seconds) for seconds in (20, 7400)] == ["20 Sekunden", "2 Std. 3 Min."]


def test_a_moment_has_the_reader_s_order() -> None:
    with written_for("ja-JP", "Asia/Tokyo"):
        assert formats.moment(AT) == "2026/12/02 8:05"
    with written_for("de-DE", "Europe/Berlin"):
        assert (formats.moment(AT), formats.clock(AT, seconds=True)) == ("02.12.2026, 00:05", "00:05:09")


def test_lists_have_the_reader_s_word_for_and() -> None:
    assert formats.listed(["a", "b"]) == "a and b"
    with written_for("de-DE"):
        assert [formats.listed(items) for items in (["a", "b", "c"], ["a"], [])] == ["a, b und c", "a", ""]
        assert formats.size(20) == "20 MB"
