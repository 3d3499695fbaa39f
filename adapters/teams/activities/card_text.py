"""The text of cards: Adaptive, Hero, Thumbnail, connector and other cards."""

from collections.abc import Iterator
from typing import Any, cast

from adapters.teams.activities.html_text import html_to_text

MAX_CHARACTERS = 20_000
"""Of one card; Teams limits a card to 28 KB."""
_MAX_NODES = 3_000
_TEXTS = (
    "title",
    "subtitle",
    "heading",
    "activityTitle",
    "activitySubtitle",
    "activityText",
    "summary",
    "subject",
    "label",
    "text",
    "codeSnippet",
    "altText",
    "alt",
    "placeholder",
)
"""The names of what people read on a card, in the order in which it is shown."""
_FACTS = (("title", "value"), ("name", "value"), ("key", "value"))
_CONTROLS = frozenset(
    ("actions", "buttons", "potentialAction", "selectAction", "tap", "choices", "inlineAction", "refresh")
)
_FALLBACKS = ("fallbackText", "speak", "summary")


def card_text(content: dict[str, Any]) -> str:
    """What people read on a card, one line for each text, without its buttons; empty if there is nothing."""
    lines: list[str] = []
    characters = 0
    for line in _lines(content, [_MAX_NODES]):
        line = line.strip()
        if not line or line in lines[-2:]:
            continue
        characters += len(line)
        if characters > MAX_CHARACTERS:
            lines.append("…")
            break
        lines.append(line)
    if not lines:
        lines = [text for name in _FALLBACKS if isinstance(text := content.get(name), str) and text.strip()][
            :1
        ]
    return "\n".join(lines)


def _lines(value: object, left: list[int]) -> Iterator[str]:
    """The texts in a part of a card. `left` counts down the parts that may still be read."""
    left[0] -= 1
    if left[0] < 0:
        return
    if isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _lines(item, left)
    elif isinstance(value, dict):
        yield from _part_lines(cast("dict[str, object]", value), left)


def _part_lines(part: dict[str, object], left: list[int]) -> Iterator[str]:
    inlines = part.get("inlines")
    if isinstance(inlines, list):
        yield "".join(_run(run) for run in cast("list[object]", inlines))
        return
    for name, value in _FACTS:
        if name in part and value in part:
            fact = [_plain(part.get(name)), _plain(part.get(value))]
            yield ": ".join(text for text in fact if text)
            return
    for name in _TEXTS:
        yield _plain(part.get(name))
    for name, value in part.items():
        if name not in _CONTROLS and isinstance(value, list | dict):
            yield from _lines(cast("object", value), left)


def _run(run: object) -> str:
    if isinstance(run, dict):
        run = cast("dict[str, object]", run).get("text")
    return run if isinstance(run, str) else ""


def _plain(text: object) -> str:
    """A text, without HTML; connector cards have some."""
    if not isinstance(text, str):
        return str(text) if isinstance(text, int | float) and not isinstance(text, bool) else ""
    return html_to_text(text) if "<" in text and ">" in text else text
