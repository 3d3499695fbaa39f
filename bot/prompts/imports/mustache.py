"""Renders Mustache templates of other tools: variables, sections, inverted sections and comments.

Of Handlebars, `each`, `with`, `if` and `unless` are read as the sections that they are.

The specification: https://mustache.github.io/mustache.5.html. Partials are other files, so they are left out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from bot.prompts.imports.rendering import (
    MOST_CHARACTERS,
    LineError,
    NamedText,
    Placeholders,
    TooMuchWork,
    printed,
)

_TAG = re.compile(r"\{\{\{([^{}]{1,200})\}\}\}|\{\{([#^/!>&]?)([^{}]{1,2000})\}\}")
"""Without a pattern for the spaces around a name, with which many spaces would take minutes."""
_ALONE = re.compile(r"^[ \t]*(\{\{[#^/!>][^{}]{1,2000}\}\})[ \t]*(?:\n|\Z)", re.MULTILINE)
"""A line with nothing but a tag that prints nothing, which is removed with its line end."""
_MOST_DEPTH = 30


class _Section(NamedTuple):
    """A section; `kind` is #, ^, or ? for a condition. `end` is what its closing tag names."""

    kind: str
    name: str
    end: str
    line: int
    parts: "list[str | _Variable | _Section]"


class _Variable(NamedTuple):
    name: str


def is_mustache(text: str) -> bool:
    """Whether a text has tags that only Mustache knows."""
    return any(match[2] or match[1] for match in _TAG.finditer(text)) and "{%" not in text


def render(text: str, values: Mapping[str, object]) -> str:
    """The rendered text; `NamedText` values and unknown variables stay as placeholders. Raises LineError."""
    rendering = _Rendering(Placeholders())
    parts = _parsed(text, _ALONE.sub(lambda match: match[1], text))
    pieces: list[str] = []
    size = 0
    try:
        for piece in rendering.printed(parts, [values]):
            pieces.append(piece)
            size += len(piece)
            if size > MOST_CHARACTERS:
                raise TooMuchWork
    except (TooMuchWork, RecursionError, MemoryError):
        raise LineError(1, str(TooMuchWork())) from None
    return rendering.placeholders.restored("".join(pieces))


def _parsed(original: str, text: str) -> "list[str | _Variable | _Section]":
    root = _Section("#", "", "", 1, [])
    open_sections = [root]
    end = 0
    for match in _TAG.finditer(text):
        inner = open_sections[-1]
        inner.parts.append(text[end : match.start()])
        end = match.end()
        kind, name = match[2] or "", (match[1] or match[3]).strip()
        line = original[: original.find(match[0])].count("\n") + 1
        if kind in ("#", "^"):
            word, _, rest = name.partition(" ")
            kind = {"if": "?", "unless": "^"}.get(word, kind) if rest else kind
            section = _Section(kind, rest.strip() or name, word, line, [])
            inner.parts.append(section)
            open_sections.append(section)
            if len(open_sections) > _MOST_DEPTH:
                raise LineError(line, "its sections are nested too deeply")
        elif kind == "/":
            if inner.end != name or inner is root:
                raise LineError(line, f"{match[0]} closes no section")
            open_sections.pop()
        elif kind in ("", "&"):
            inner.parts.append(_Variable(name))
    if len(open_sections) > 1:
        raise LineError(open_sections[-1].line, f"the section {open_sections[-1].name!r} is not closed")
    root.parts.append(text[end:])
    return root.parts


class _Rendering(NamedTuple):
    placeholders: Placeholders

    def printed(
        self, parts: "Sequence[str | _Variable | _Section]", context: Sequence[object]
    ) -> Iterator[str]:
        """The text of the parts. `context` has the innermost value last."""
        for part in parts:
            if isinstance(part, str):
                yield part
            elif isinstance(part, _Variable):
                yield self._variable(part.name, context)
            else:
                yield from self._section(part, context)

    def _variable(self, name: str, context: Sequence[object]) -> str:
        value = _looked_up(name, context)
        if isinstance(value, NamedText):
            return self.placeholders.mark(value.name)
        known = len(context) > 1 or "." in name or value is not None
        return printed(value) if known else self.placeholders.mark(name)

    def _section(self, section: _Section, context: Sequence[object]) -> Iterator[str]:
        value = _looked_up(section.name, context)
        if section.kind == "^":
            if not value:
                yield from self.printed(section.parts, context)
        elif section.kind == "?":
            if value:
                yield from self.printed(section.parts, context)
        elif isinstance(value, list):
            for item in cast("list[object]", value):
                yield from self.printed(section.parts, [*context, item])
        elif value:
            yield from self.printed(section.parts, [*context, value])


def _looked_up(name: str, context: Sequence[object]) -> object:
    if name == ".":
        return context[-1]
    first, *rest = name.split(".")
    for scope in reversed(context):
        if isinstance(scope, Mapping) and first in scope:
            value: object = cast("Mapping[str, object]", scope)[first]
            for each in rest:
                value = cast("Mapping[str, object]", value).get(each) if isinstance(value, Mapping) else None
            return value
    return None
