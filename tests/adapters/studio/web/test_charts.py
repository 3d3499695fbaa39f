"""The drawings of the pages: shapes and words alone, which the page's policy lets through."""

import re
import subprocess
import sys
from datetime import date, timedelta
from xml.etree.ElementTree import Element, fromstring

from adapters.studio.pages.deployments import charts
from adapters.studio.pages.usage import chart
from adapters.studio.web.charts import Bar, Dot, bars, scatter, steps
from bot.domain.events import now
from bot.storage.usage.latency import HourlyLatency
from bot.storage.usage.reports import UsageRow, UsageTotals

DAY = date(2026, 11, 22)
RUDE = "<script>alert(1)</script>\"'&"


def every_drawing(words: str) -> list[str]:
    return [
        bars(words, [Bar(1.0, words), Bar(3.0, words)]),
        steps(words, [{0: 2.0, 5: 3.0}, {0: 1.0}], 24),
        scatter(words, [Dot(-1.0, 0.5, words, words), Dot(1.0, -0.5, "2", words)]),
    ]


def shapes(svg: str, tag: str) -> list[Element]:
    return list(fromstring(svg).iter(tag))


def test_a_chart_is_only_shapes_and_text() -> None:
    for svg in every_drawing("Cost"):
        root = fromstring(svg)
        assert {one.tag for one in root.iter()} <= {"svg", "g", "rect", "path", "circle", "text", "title"}
        attributes = {key for one in root.iter() for key in one.attrib}
        assert not attributes & {"style", "href", "id", "fill", "stroke"}
        assert "//" not in svg
        assert "<!--" not in svg
        assert "pygal" not in svg.lower()


def test_a_chart_is_labelled_and_scales() -> None:
    for svg in every_drawing("Cost by day"):
        root = fromstring(svg)
        assert (root.get("role"), root.get("aria-label")) == ("img", "Cost by day")
        assert re.fullmatch(r"0 0 \d+ \d+", root.attrib["viewBox"])
        assert not {"width", "height"} & root.attrib.keys()


def test_words_in_a_drawing_are_data() -> None:
    for svg in every_drawing(RUDE):
        assert "<script" not in svg
        root = fromstring(svg)
        assert root.get("aria-label") == RUDE
        assert {title.text for title in root.iter("title")} <= {RUDE}
    assert [one.text for one in shapes(every_drawing(RUDE)[2], "text")] == [RUDE, "2"]


def test_bars_are_proportional_and_labelled() -> None:
    svg = bars("Answers", [Bar(0.0, "none"), Bar(2.0, "two"), Bar(4.0, "four")])
    none, two, four = (float(one.attrib["height"]) for one in shapes(svg, "rect"))
    assert none == 0
    assert four > 180
    assert abs(four - 2 * two) < 0.2
    assert [one.text for one in shapes(svg, "title")] == ["none", "two", "four"]


def test_where_nothing_was_used_the_bars_are_flat() -> None:
    assert {one.get("height") for one in shapes(bars("Cost", [Bar(0.0, "nothing")] * 7), "rect")} == {"0.0"}


def test_the_figures_of_usage_stand_beside_their_bars() -> None:
    lines = [
        UsageRow(day=DAY - timedelta(days=n), kind="day", name="", totals=UsageTotals(turns=4 - n))
        for n in (0, 2)
    ]
    drawn = chart(lines, DAY - timedelta(days=6), 7, "turns")
    assert drawn["rows"] == [("22 Nov", "4"), ("20 Nov", "2")]
    assert drawn["ups"] == ("4", "2", "0")
    assert drawn["along"] == [f"{day} Nov" for day in range(16, 23)]
    assert [one.text for one in shapes(drawn["svg"], "title")][-3:] == ["20 Nov: 2", "21 Nov: 0", "22 Nov: 4"]
    assert "the highest: 4" in drawn["svg"]


def test_each_hour_has_an_area_and_figures() -> None:
    last = now().replace(minute=0, second=0, microsecond=0)
    took = [
        HourlyLatency(
            hour=last - timedelta(hours=back), deployment="d", measure="first", count=3, p50_s=0.5, p95_s=1.0
        )
        for back in (9, 0)
    ]
    (drawn,) = charts(took, 24)
    assert [row[1:] for row in drawn["rows"]] == [("0.50 s", "1.00 s", "3")] * 2
    areas = [one.attrib["d"] for one in shapes(drawn["svg"], "path") if one.get("class") == "line reactive"]
    assert len(areas) == 2
    x = [float(each) for each in re.findall(r"(\d+\.\d) \d+\.\d", areas[0])]
    assert max(x) > 400  # the last hour stands at the right edge
    assert drawn["ups"] == ("1.00 s", "0.50 s", "0 s")


def test_the_chart_package_is_loaded_lazily() -> None:
    code = "import sys, bot.app.server; print('pygal' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
