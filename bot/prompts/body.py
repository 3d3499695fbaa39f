"""What a template says: the body of its file in roles, its examples, and the holes in its wording."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from bot.domain.prompts import Example, Image
from bot.prompts import example_images
from bot.prompts.front_matter import SourceFile, nearest

PLACEHOLDER = re.compile(r"\{\{((?:(?!\{\{|\}\}).){0,200})\}\}")  # bounded, or a line of braces takes minutes

BUILT_IN = ("user_name", "date", "channel", "platform")
"""The holes that the engine fills; any template may use them without declaring them."""

_ROLES = ("system", "user", "assistant", "developer")
_MARKER = re.compile(rf"\s*(?:#\s*)?({'|'.join(_ROLES)})\s*(?:\[[^\]]*\]\s*)?:\s*", re.IGNORECASE)
_ALMOST = re.compile(r"([a-z]{3,12}):\s*")
_CODE = re.compile(r"\{[%#]")


class Placeholder(NamedTuple):
    """A declared input: its default (`None`: none is given) and whether it stands for the history."""

    default: str | None
    thread: bool


_UNFILLED = Placeholder(None, False)


class ParsedBody(NamedTuple):
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


def parse_body(
    source: SourceFile,
    after: int,
    placeholders: Mapping[str, Placeholder],
    samples: Mapping[str, str],
    look: example_images.LoadImage,
) -> ParsedBody:
    """Reads the lines `after` the front matter; a sample fills what has no default. Raises TemplateError."""
    system: list[_Block] = []
    blocks: list[_Block] = []
    for block in _blocks(
        source, after, {name for name, placeholder in placeholders.items() if placeholder.thread}
    ):
        if block.role in ("user", "assistant"):
            blocks.append(block)
        elif not blocks:
            system.append(block)
        elif block.text:
            raise source.error(block.line, f"'{block.role}:' must come before the examples")
    question = _take_question(blocks)
    used = {placeholder[1].strip() for block in system for placeholder in PLACEHOLDER.finditer(block.text)}
    sampled = [
        name
        for name in samples
        if name in used - {question, *BUILT_IN} and placeholders.get(name, _UNFILLED) == _UNFILLED
    ]
    placeholders = {**placeholders, **{name: Placeholder(samples[name], False) for name in sampled}}
    _check_placeholders(source, system, placeholders, question)
    return ParsedBody(
        system="\n\n".join(block.text for block in system if block.text),
        examples=tuple(_pairs(source, blocks, {*placeholders, *BUILT_IN}, look)),
        inputs={
            name: placeholder.default
            for name, placeholder in placeholders.items()
            if placeholder.default is not None
        },
        sampled=tuple(sampled),
    )


def _blocks(source: SourceFile, after: int, history: Iterable[str]) -> list[_Block]:
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
        placeholder = PLACEHOLDER.fullmatch(line.strip())
        # The engine always adds the history, so that the line which asks for it says nothing new.
        blocks[-1].lines.append("" if placeholder and placeholder[1].strip() in history else line)
    return blocks


def _take_question(blocks: list[_Block]) -> str | None:
    """Removes a last `user:` that is only a hole, the place of the question; returns that hole's name."""
    placeholder = PLACEHOLDER.fullmatch(blocks[-1].text) if blocks and blocks[-1].role == "user" else None
    if placeholder is None:
        return None
    blocks.pop()
    return placeholder[1].strip()


def _pairs(
    source: SourceFile, blocks: list[_Block], placeholders: set[str], look: example_images.LoadImage
) -> Iterator[Example]:
    for number, block in enumerate(blocks):
        if block.role != ("user", "assistant")[number % 2]:
            raise source.error(
                block.line, f"this '{block.role}:' is half an example: a pair is user, assistant"
            )
        if not block.text:
            raise source.error(block.line, f"this '{block.role}:' is empty")
        for placeholder in PLACEHOLDER.finditer(block.text):
            if placeholder[1].strip() in placeholders:
                words = f"{placeholder[0]} is in an example; holes are filled in 'system:' only"
                raise source.error(block.line, words)
    if len(blocks) % 2:
        words = "this 'user:' has no 'assistant:' after it; wording around the question belongs in 'system:'"
        raise source.error(blocks[-1].line, words)
    count = 0
    for user, assistant in zip(blocks[::2], blocks[1::2], strict=True):
        images = _pictures(source, user, look, count)
        count += len(images)
        yield Example(user=user.text, assistant=assistant.text, images=images)


def _pictures(
    source: SourceFile, block: _Block, look: example_images.LoadImage, count: int
) -> tuple[Image, ...]:
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


def _check_placeholders(
    source: SourceFile, system: list[_Block], placeholders: Mapping[str, Placeholder], question: str | None
) -> None:
    """Every hole of the wording has something to fill it."""
    for block in system:
        for number, line in enumerate(block.lines, block.line + 1):
            if code := _CODE.search(line):
                raise source.error(number, f"{code[0]!r}: a template has holes, no code")
            for placeholder in PLACEHOLDER.finditer(line):
                if words := _unfilled(placeholder[1].strip(), placeholders, question):
                    raise source.error(number, f"{placeholder[0]} {words}")


def _unfilled(name: str, placeholders: Mapping[str, Placeholder], question: str | None) -> str | None:
    if name == question:
        return "is the question; it stands only in the last 'user:'"
    if name in BUILT_IN:
        return None
    if name not in placeholders:
        return f"is an unknown hole{nearest(name, {*placeholders, *BUILT_IN})}"
    if placeholders[name].thread:
        return "is the history; it stands on a line of its own"
    if placeholders[name].default is None:
        return "is filled by nothing; give it a default under 'inputs'"
    return None
