"""What a template says: the body of its file in roles, its examples, and the holes in its wording."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from bot.domain.prompts import Example, Image
from bot.prompts import example_images
from bot.prompts.front_matter import Source, nearest

HOLE = re.compile(r"\{\{((?:(?!\{\{|\}\}).){0,200})\}\}")  # bounded, or a line of braces takes minutes

BUILT_IN = ("user_name", "date", "channel", "platform")
"""The holes that the engine fills; any template may use them without declaring them."""

_ROLES = ("system", "user", "assistant", "developer")
_MARKER = re.compile(rf"\s*(?:#\s*)?({'|'.join(_ROLES)})\s*(?:\[[^\]]*\]\s*)?:\s*", re.IGNORECASE)
_ALMOST = re.compile(r"([a-z]{3,12}):\s*")
_CODE = re.compile(r"\{[%#]")


class Hole(NamedTuple):
    """A declared input: its default (`None`: none is given) and whether it stands for the history."""

    default: str | None
    thread: bool


_UNFILLED = Hole(None, False)


class Wording(NamedTuple):
    """The body, read: `inputs` are the declared holes with their defaults, `sampled` those that only a
    sample fills.
    """

    system: str
    examples: tuple[Example, ...]
    inputs: dict[str, str]
    sampled: tuple[str, ...]


class _Block(NamedTuple):
    """What one role says; `line` is that of its marker."""

    role: str
    line: int
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines).strip()


def wording(
    source: Source,
    after: int,
    holes: Mapping[str, Hole],
    samples: Mapping[str, str],
    look: example_images.Look,
) -> Wording:
    """Reads the lines `after` the front matter; a sample fills what has no default. Raises TemplateError."""
    system: list[_Block] = []
    said: list[_Block] = []
    for block in _blocks(source, after, {name for name, hole in holes.items() if hole.thread}):
        if block.role in ("user", "assistant"):
            said.append(block)
        elif not said:
            system.append(block)
        elif block.text:
            raise source.error(block.line, f"'{block.role}:' must come before the examples")
    question = _take_question(said)
    used = {hole[1].strip() for block in system for hole in HOLE.finditer(block.text)}
    sampled = [
        name
        for name in samples
        if name in used - {question, *BUILT_IN} and holes.get(name, _UNFILLED) == _UNFILLED
    ]
    holes = {**holes, **{name: Hole(samples[name], False) for name in sampled}}
    _check_holes(source, system, holes, question)
    return Wording(
        system="\n\n".join(block.text for block in system if block.text),
        examples=tuple(_pairs(source, said, {*holes, *BUILT_IN}, look)),
        inputs={name: hole.default for name, hole in holes.items() if hole.default is not None},
        sampled=tuple(sampled),
    )


def _blocks(source: Source, after: int, history: Iterable[str]) -> list[_Block]:
    """The body in roles; what stands before the first marker is the system's."""
    blocks = [_Block("system", after, [])]
    for number, line in enumerate(source.lines[after:], after + 1):
        if marker := _MARKER.fullmatch(line):
            blocks.append(_Block(marker[1].lower(), number, []))
            continue
        almost = _ALMOST.fullmatch(line)
        if almost and difflib.get_close_matches(almost[1], _ROLES, 1, 0.85):
            words = f"{line.strip()!r} is not a role{nearest(almost[1], _ROLES)}"
            raise source.error(number, f"{words} If it is text, write more on the line.")
        hole = HOLE.fullmatch(line.strip())
        # The engine always adds the history, so that the line which asks for it says nothing new.
        blocks[-1].lines.append("" if hole and hole[1].strip() in history else line)
    return blocks


def _take_question(said: list[_Block]) -> str | None:
    """Removes a last `user:` that is only a hole, the place of the question; returns that hole's name."""
    hole = HOLE.fullmatch(said[-1].text) if said and said[-1].role == "user" else None
    if hole is None:
        return None
    said.pop()
    return hole[1].strip()


def _pairs(
    source: Source, said: list[_Block], holes: set[str], look: example_images.Look
) -> Iterator[Example]:
    for number, block in enumerate(said):
        if block.role != ("user", "assistant")[number % 2]:
            raise source.error(
                block.line, f"this '{block.role}:' is half an example: a pair is user, assistant"
            )
        if not block.text:
            raise source.error(block.line, f"this '{block.role}:' is empty")
        for hole in HOLE.finditer(block.text):
            if hole[1].strip() in holes:
                words = f"{hole[0]} is in an example; holes are filled in 'system:' only"
                raise source.error(block.line, words)
    if len(said) % 2:
        words = "this 'user:' has no 'assistant:' after it; wording around the question belongs in 'system:'"
        raise source.error(said[-1].line, words)
    count = 0
    for user, assistant in zip(said[::2], said[1::2], strict=True):
        images = _pictures(source, user, look, count)
        count += len(images)
        yield Example(user=user.text, assistant=assistant.text, images=images)


def _pictures(source: Source, block: _Block, look: example_images.Look, count: int) -> tuple[Image, ...]:
    """Those of a message, after the `count` of the messages before it."""
    found: list[Image] = []
    for at, line in enumerate(block.lines, block.line + 1):
        try:
            found += example_images.pictures(line, look)
        except ValueError as error:
            raise source.error(at, str(error)) from None
        if count + len(found) > example_images.MOST:
            raise source.error(at, f"one picture too many: a template shows at most {example_images.MOST}")
    return tuple(found)


def _check_holes(
    source: Source, system: list[_Block], holes: Mapping[str, Hole], question: str | None
) -> None:
    """Every hole of the wording has something to fill it."""
    for block in system:
        for number, line in enumerate(block.lines, block.line + 1):
            if code := _CODE.search(line):
                raise source.error(number, f"{code[0]!r}: a template has holes, no code")
            for hole in HOLE.finditer(line):
                if words := _unfilled(hole[1].strip(), holes, question):
                    raise source.error(number, f"{hole[0]} {words}")


def _unfilled(name: str, holes: Mapping[str, Hole], question: str | None) -> str | None:
    if name == question:
        return "is the question; it stands only in the last 'user:'"
    if name in BUILT_IN:
        return None
    if name not in holes:
        return f"is an unknown hole{nearest(name, {*holes, *BUILT_IN})}"
    if holes[name].thread:
        return "is the history; it stands on a line of its own"
    if holes[name].default is None:
        return "is filled by nothing; give it a default under 'inputs'"
    return None
