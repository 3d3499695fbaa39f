"""Charts as SVG, drawn by pygal and styled by the classes of the stylesheet.

Only the shapes and texts of pygal's output are used: the content security policy allows neither its script nor
its styles, and its comments contain external URLs. The axis labels are in the page beside the chart, where they
stay readable on a phone.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from xml.etree.ElementTree import Element, SubElement, tostring

_SHAPES = frozenset({"g", "rect", "path", "circle", "text"})
_GEOMETRY = ("x", "y", "width", "height", "rx", "ry", "d", "cx", "cy", "r", "transform")
_LONG = re.compile(r"-?\d+\.\d{2,}")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its height, and its tooltip."""

    value: float
    words: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A point on the plane, each axis from -1 to 1; `mark` is shown inside the dot, `words` as its tooltip."""

    x: float
    y: float
    mark: str
    words: str


def bars(name: str, row: Sequence[Bar]) -> str:
    """Bars, the highest as high as the chart, with lines at the maximum, half of it and 0."""
    top = max((one.value for one in row), default=0.0) or 1.0
    chart = _pygal().Bar(**_config(900, 200, top), rounded_bars=2)
    chart.add("", [{"value": one.value, "label": one.words} for one in row])
    return _svg(name, chart, preserveAspectRatio="none")


def steps(name: str, rows: Sequence[Mapping[int, float]], span: int) -> str:
    """Areas over `span` equal intervals, later rows in front; gaps where a row has no value."""
    top = max((value for row in rows for value in row.values()), default=0.0) or 1.0
    chart = _pygal().XY(**_config(420, 90, top), fill=True, show_dots=False, xrange=(0, span))
    for row in rows:
        corners = [((at, 0), (at, row[at]), (at + 1, row[at]), (at + 1, 0)) for at in sorted(row)]
        chart.add("", [corner for four in corners for corner in four])
    return _svg(name, chart, preserveAspectRatio="none")


def scatter(name: str, dots: Sequence[Dot]) -> str:
    """Dots on a plane without axes: only their distances mean something."""
    chart = _pygal().XY(
        **_config(640, 360, 1.15) | {"range": (-1.15, 1.15), "y_labels": None},
        xrange=(-1.15, 1.15),
        stroke=False,
        dots_size=13,
        print_values=True,
        show_y_labels=False,
    )
    for dot in dots:
        chart.add("", [{"value": (dot.x, dot.y), "label": dot.words, "formatter": _saying(dot.mark)}])
    return _svg(name, chart)


def _saying(mark: str) -> Callable[[object], str]:
    return lambda _: mark


def _pygal() -> Any:
    """The package, which has no types; imported on first use, as it costs 6 MB and 30 ms."""
    import pygal
    from pygal.etree import etree

    # Its finder of maps has no `find_spec`: on Python 3.11 each later import of a missing module would warn.
    sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]

    cast("Any", etree).to_etree()  # pygal prefers lxml if installed, whose trees differ
    return pygal


def _config(width: int, height: int, top: float) -> dict[str, Any]:
    return {
        "width": width,
        "height": height,
        "margin": 0,
        "spacing": 0,
        "style": _pygal().style.Style(label_font_size=0, major_label_font_size=0, value_font_size=0),
        "range": (0, top),
        "y_labels": [{"value": value, "label": ""} for value in (0, top / 2, top)],
        "show_x_labels": False,
        "show_legend": False,
        "js": (),
        "css": (),
    }


def _svg(name: str, chart: Any, **attributes: str) -> str:
    drawn: Element = chart.render_tree()
    named = {"viewBox": drawn.attrib["viewBox"], "role": "img", "aria-label": name}
    root = Element("svg", named | attributes)
    _take(drawn, root)
    return tostring(root, encoding="unicode")


def _take(drawn: Element, into: Element) -> None:
    """Copy the shapes and texts; the label of a bar or a dot becomes its tooltip."""
    for one in drawn:
        named = one.get("class", "")
        if one.tag == "desc" and named == "label":
            SubElement(into, "title").text = one.text
        if one.tag not in _SHAPES or "background" in named or "tooltip-overlay" in named:
            continue
        shape = {key: _LONG.sub(_short, one.attrib[key]) for key in _GEOMETRY if key in one.attrib}
        made = Element(one.tag, shape | ({"class": named} if named else {}))
        made.text = one.text if one.tag == "text" else None
        _take(one, made)
        if len(made) if one.tag == "g" else made.text or one.tag != "text":
            into.append(made)


def _short(found: re.Match[str]) -> str:
    return f"{float(found[0]):.1f}"
