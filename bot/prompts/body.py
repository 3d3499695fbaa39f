"""Parses the body of a template: roles, examples and placeholders."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from bot.domain.prompts import Example, Image
from bot.prompts import example_images
from bot.prompts.front_matter import SourceFile, nearest

PLACEHOLDER = re.compile(
    r"\{\{((?:(?!\{\{|\}\}).){0,200})\}\}"
)  # bounded: a line of braces would take minutes

BUILT_IN = ("user_name", "date", "channel", "platform")
"""Placeholders that the engine fills; templates need not declare them."""

_ROLES = ("system", "user", "assistant", "developer")
_MARKER = re.compile(rf"\s*(?:#\s*)?({'|'.join(_ROLES)})\s*(?:\[[^\]]*\]\s*)?:\s*", re.IGNORECASE)
_ALMOST = re.compile(r"([a-z]{3,12}):\s*")
_CODE = re.compile(r"\{[%#]")
_MOST_SUGGESTED = 20
"""Problems of a file after which no name is suggested: thousands of comparisons would take seconds."""


class Placeholder(NamedTuple):
    """A declared input. `default` is None if it has none; `thread`: it stands for the history.

    `value` is the default as it is in the file, `question`: it stands for the question, `kind` its type.
    """

    default: str | None
    thread: bool
    value: object = None
    question: bool = False
    kind: str = ""
    line: int = 1


UNFILLED = Placeholder(None, False)


class ParsedBody(NamedTuple):
    """A parsed body: `inputs` are the placeholders with their defaults, `sampled` those that only have a sample.

    `question` is the text around the question; `asked`: there is a place for the question.
    """

    system: str
    examples: tuple[Example, ...]
    inputs: dict[str, str]
    sampled: tuple[str, ...]
    question: str = ""
    asked: bool = False


class Block(NamedTuple):
    """The text of one role; `line` is the number of its marker line."""

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
    load_image: example_images.LoadImage,
) -> ParsedBody:
    """Parse the lines `after` the front matter; samples replace missing defaults. Collects problems."""
    history = {name for name, placeholder in placeholders.items() if placeholder.thread}
    system, blocks = _parted(source, _blocks(source, after, history))
    question, around = _take_question(blocks, placeholders)
    used = {placeholder[1].strip() for block in system for placeholder in PLACEHOLDER.finditer(block.text)}
    unset = {name for name in samples if placeholders.get(name, UNFILLED).default is None} - history
    sampled = [name for name in samples if name in (used & unset) - {question, *BUILT_IN}]
    placeholders = {**placeholders, **{name: Placeholder(samples[name], False) for name in sampled}}
    check_placeholders(source, system, placeholders, question)
    known = {*placeholders, *BUILT_IN}
    examples = source.attempt((), lambda: tuple(pairs(source, blocks, known, load_image)))
    return ParsedBody(
        system="\n\n".join(block.text for block in system if block.text),
        examples=examples,
        inputs={
            name: placeholder.default
            for name, placeholder in placeholders.items()
            if placeholder.default is not None
        },
        sampled=tuple(sampled),
        question=around,
        asked=question is not None,
    )


def _parted(source: SourceFile, blocks: Iterable[Block]) -> tuple[list[Block], list[Block]]:
    """The blocks of the system message, and those of examples and the question, which follow."""
    system: list[Block] = []
    talk: list[Block] = []
    for block in blocks:
        if block.role in ("user", "assistant"):
            talk.append(block)
        elif not talk:
            system.append(block)
        elif block.text:
            words = f"'{block.role}:' must come before the examples"
            source.problems.append(source.error(block.line, words))
    return system, talk


def _blocks(source: SourceFile, after: int, history: Iterable[str]) -> list[Block]:
    """The body by role; text before the first marker belongs to the system message."""
    blocks = [Block("system", after, [])]
    for number, line in enumerate(source.lines[after:], after + 1):
        if marker := _MARKER.fullmatch(line):
            blocks.append(Block(marker[1].lower(), number, []))
            continue
        if is_almost_role(line):
            words = f"{line.strip()!r} is not a role{nearest(line.strip().rstrip(':'), _ROLES)}"
            source.problems.append(
                source.error(number, f"{words} If it is text, put more words on the line.")
            )
        placeholder = PLACEHOLDER.fullmatch(line.strip())
        # The engine always adds the history; its placeholder is not needed.
        blocks[-1].lines.append("" if placeholder and placeholder[1].strip() in history else line)
    return blocks


def is_almost_role(line: str) -> bool:
    """Whether a line is probably a misspelt role."""
    almost = _ALMOST.fullmatch(line)
    return almost is not None and _is_like_a_role(almost[1])


@lru_cache(1000)
def _is_like_a_role(word: str) -> bool:
    return bool(difflib.get_close_matches(word, _ROLES, 1, 0.85))


def _take_question(blocks: list[Block], placeholders: Mapping[str, Placeholder]) -> tuple[str | None, str]:
    """Remove a last `user:` with a placeholder for the question; returns its name, and the text if there is more.

    That is the only placeholder without a value.
    """
    if not blocks or blocks[-1].role != "user":
        return None, ""
    text = blocks[-1].text
    if placeholder := PLACEHOLDER.fullmatch(text):
        blocks.pop()
        return placeholder[1].strip(), ""
    used = {placeholder[1].strip() for placeholder in PLACEHOLDER.finditer(text)}
    valued = {name for name, placeholder in placeholders.items() if placeholder.default is not None}
    unfilled = used - valued - {*BUILT_IN}
    if len(unfilled) != 1 or placeholders.get(next(iter(unfilled)), UNFILLED).thread:
        return None, ""
    blocks.pop()
    return unfilled.pop(), text


def pairs(
    source: SourceFile, blocks: list[Block], placeholders: set[str], load_image: example_images.LoadImage
) -> Iterator[Example]:
    for number, block in enumerate(blocks):
        if block.role != ("user", "assistant")[number % 2]:
            raise source.error(
                block.line,
                f"this '{block.role}:' is half an example; an example is 'user:' then 'assistant:'",
            )
        if not block.text:
            raise source.error(block.line, f"this '{block.role}:' is empty")
        for placeholder in PLACEHOLDER.finditer(block.text):
            if placeholder[1].strip() in placeholders:
                words = f"{placeholder[0]} is in an example; placeholders only work in 'system:'"
                raise source.error(block.line, words)
    if len(blocks) % 2:
        words = "this 'user:' has no 'assistant:' after it, nor a placeholder for the question, {{question}}"
        raise source.error(blocks[-1].line, words)
    count = 0
    for user, assistant in zip(blocks[::2], blocks[1::2], strict=True):
        images = _pictures(source, user, load_image, count)
        count += len(images)
        yield Example(user=user.text, assistant=assistant.text, images=images)


def _pictures(
    source: SourceFile, block: Block, load_image: example_images.LoadImage, count: int
) -> tuple[Image, ...]:
    """The images of a message; `count` is how many the messages before it have."""
    found: list[Image] = []
    for at, line in enumerate(block.lines, block.line + 1):
        try:
            found += example_images.pictures(line, load_image)
        except ValueError as error:
            raise source.error(at, str(error)) from None
        if count + len(found) > example_images.MOST:
            raise source.error(at, f"too many images: a template may have {example_images.MOST}")
    return tuple(found)


def check_placeholders(
    source: SourceFile, system: list[Block], placeholders: Mapping[str, Placeholder], question: str | None
) -> None:
    """Collect the placeholders of the system message that have no value."""
    for block in system:
        for number, line in enumerate(block.lines, block.line + 1):
            if code := _CODE.search(line):
                source.problems.append(source.error(number, f"{code[0]!r} begins code"))
            for placeholder in PLACEHOLDER.finditer(line):
                suggested = len(source.problems) < _MOST_SUGGESTED
                if words := _unfilled(placeholder[1].strip(), placeholders, question, suggested):
                    source.problems.append(source.error(number, f"{placeholder[0]} {words}"))


def _unfilled(
    name: str, placeholders: Mapping[str, Placeholder], question: str | None, suggested: bool
) -> str | None:
    if name == question:
        return "is the question, which is only allowed in the last 'user:'"
    if name in BUILT_IN:
        return None
    if name not in placeholders:
        return f"is an unknown placeholder{nearest(name, {*placeholders, *BUILT_IN}) if suggested else ''}"
    if placeholders[name].thread:
        return "is the history, which needs a line of its own"
    if placeholders[name].default is None:
        return "has no value; add a default under 'inputs'"
    return None
