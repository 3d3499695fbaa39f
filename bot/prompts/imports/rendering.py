"""What both template languages share: values, placeholders that stay, and errors with lines."""

import json
import re

MOST_CHARACTERS = 64 * 1024
"""Of a rendered text, which is as much as a whole file may have; real ones have a few thousand."""
_OPEN, _CLOSE = "\ue000", "\ue001"
"""Private characters around the number of a placeholder, which filters do not change."""
_BRACES = re.compile(r"\{(?=[{%#])|\}(?=\})")
EDGE = "\ue002"
"""A private character around a line that has to stay a line of its own, whatever the tags around it take away."""


class TooMuchWork(Exception):
    """The template would take too much time or memory."""

    def __init__(self) -> None:
        super().__init__("it repeats too much: a loop or text is too large")


class LineError(Exception):
    """What is wrong in a line of a template."""

    def __init__(self, line: int, words: str) -> None:
        super().__init__(words)
        self.line = line


class NamedText(str):
    """A text that is printed as its placeholder, so that it can still be changed after the import."""

    name = ""

    @staticmethod
    def of(name: str, value: str) -> "NamedText":
        text = NamedText(value)
        text.name = name
        return text


class Placeholders:
    """Keeps placeholders through a rendering: `mark` one, then `restored` the rendered text."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, name: str) -> str:
        """What stands for `{{name}}` until the end."""
        return f"{_OPEN}{self._numbers.setdefault(name, len(self._numbers))}{_CLOSE}"

    def restored(self, text: str) -> str:
        """The text with its placeholders. Other braces, such as those of `raw` blocks, are set apart.

        They would be code when the text is published.
        """
        names = list(self._numbers)
        pieces = _BRACES.sub(r"\g<0> ", text).split(_OPEN)
        for at, piece in enumerate(pieces[1:], 1):
            number, closed, rest = piece.partition(_CLOSE)
            known = closed and number.isdecimal() and int(number) < len(names)
            pieces[at] = f"{{{{{names[int(number)]}}}}}{rest}" if known else piece
        return "".join(pieces).replace(_CLOSE, "")


def printed(value: object) -> str:
    """A value as text: lists and mappings as JSON."""
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    try:
        if isinstance(value, bool | int | float):
            return str(value)
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return ""
