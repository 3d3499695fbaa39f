"""Names that people give themselves, their channels and their files: data, in one line between quotation marks."""

_NAME_CHARACTERS = 80
"""Of a person's or a channel's name. Slack and Teams allow about as many."""
_ATTRIBUTE_CHARACTERS = 300


def person_name(name: str) -> str:
    """One line of limited length, without characters that are not shown."""
    shown = "".join(letter for letter in name if letter.isprintable() or letter.isspace())
    words = " ".join(shown.split())
    return words if len(words) <= _NAME_CHARACTERS else f"{words[: _NAME_CHARACTERS - 1]}…"


_MARKUP = str.maketrans("", "", "[]<>*`|\\~")


def shown_name(name: str) -> str:
    """A name for a text that is read as Markdown: one line, without what makes links, code or tables."""
    return person_name(name.translate(_MARKUP))


def attribute(value: str) -> str:
    """A value that stays within the quotation marks of a tag."""
    plain = " ".join(value.split())[:_ATTRIBUTE_CHARACTERS]
    return plain.replace('"', "'").replace("<", "‹").replace(">", "›")
