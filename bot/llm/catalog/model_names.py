"""Finds models in the names of models and deployments."""

import re
from collections.abc import Collection

_AFTER = re.compile(
    r"(?:-(\d{4}-\d{2}-\d{2}))?(?:-\d[\d-]*|-latest)?(?:[:@].*)?|-(\d{4}-\d{2}-\d{2})\..*|-\d[\d-]*\..*"
)
"""What may follow the name of a model: its version, a fine-tuning suffix. Another word makes it another model."""


def named_in(text: str, names: Collection[str]) -> str | None:
    """The name that occurs in a text as whole words, the longest if there are several, with its version."""
    text = text.lower()
    for name in sorted((name for name in names if name in text), key=len, reverse=True):
        if found := re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9.])", text):
            return text[found.start() :] if _AFTER.fullmatch(text[found.end() :]) else name
    return None


def split_version(model: str, names: Collection[str]) -> tuple[str, str]:
    """A model's name without what follows it, and its version: ("gpt-4o", "2024-05-13"); ("", "") if it is unknown."""
    text = model.lower()
    for name in sorted((name for name in names if text.startswith(name)), key=len, reverse=True):
        if after := _AFTER.fullmatch(text[len(name) :]):
            return name, after[1] or after[2] or ""
    return "", ""
