"""What both template languages share: values, placeholders that stay, and limits on work."""

import json
import time
from collections.abc import Mapping
from typing import cast

MOST_UNITS = 300_000
"""Characters and values that rendering one template may handle; real ones need a few thousand."""
MOST_SECONDS = 2.0
"""Of CPU time of this thread."""
_OPEN, _CLOSE = "\ue000", "\ue001"
"""Private characters around the number of a placeholder, which filters do not change."""


class TooMuchWork(Exception):
    """The template would take too much time or memory."""

    def __init__(self) -> None:
        super().__init__("it repeats too much: a loop or text is too large")


class WorkBudget:
    """Counts the work of one rendering; raises TooMuchWork before it becomes too much."""

    def __init__(self, units: int = MOST_UNITS, seconds: float = MOST_SECONDS) -> None:
        self._left = units
        self._until = time.thread_time() + seconds
        self._spent = 0

    def spend(self, units: int) -> None:
        """Count work that is about to be done."""
        self._left -= 1 + units
        self._spent += 1
        late = self._spent % 64 == 0 and time.thread_time() > self._until
        if self._left < 0 or late:
            raise TooMuchWork

    def spend_on(self, value: object) -> None:
        """Count a value with everything in it. Stops early, as a value may hold others many times over."""
        waiting = [value]
        while waiting:
            each = waiting.pop()
            if isinstance(each, str):
                self.spend(len(each))
            elif isinstance(each, Mapping):
                items = cast("Mapping[object, object]", each)
                self.spend(2 * len(items))
                waiting += [*items.keys(), *items.values()]
            elif isinstance(each, list | tuple | set | frozenset):
                members = cast("list[object]", each)
                self.spend(len(members))
                waiting += members
            else:
                self.spend(0)


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
        self._names: list[str] = []

    def mark(self, name: str) -> str:
        """What stands for `{{name}}` until the end."""
        if name not in self._names:
            self._names.append(name)
        return f"{_OPEN}{self._names.index(name)}{_CLOSE}"

    def restored(self, text: str) -> str:
        """The text with its placeholders. Other braces, such as those of `raw` blocks, are set apart."""
        text = text.replace("{{", "{ {").replace("}}", "} }")
        for number, name in enumerate(self._names):
            text = text.replace(f"{_OPEN}{number}{_CLOSE}", f"{{{{{name}}}}}")
        return text.replace(_OPEN, "").replace(_CLOSE, "")


def printed(value: object) -> str:
    """A value as text: lists and mappings as JSON."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | int | float) or value is None:
        return "" if value is None else str(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return ""
