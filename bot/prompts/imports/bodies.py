"""Reads the bodies of `.prompty` files of other tools: code, roles in any order, text around the question.

The code is rendered once, when the file is read, with the defaults and samples of the file. What only the person
or Parley knows stays a placeholder, and the history, which Parley adds, is empty.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from bot.domain.errors import TemplateError
from bot.prompts import example_images
from bot.prompts.body import (
    BUILT_IN,
    PLACEHOLDER,
    UNFILLED,
    Block,
    ParsedBody,
    Placeholder,
    check_placeholders,
    is_almost_role,
    parse_body,
)
from bot.prompts.body import pairs as pairs_of
from bot.prompts.front_matter import REFERENCE, SourceFile
from bot.prompts.imports import mustache, process
from bot.prompts.imports.rendering import EDGE, LineError, printed

HISTORY = frozenset(
    (
        "chat_history",
        "chathistory",
        "conversation",
        "conversation_history",
        "history",
        "messages",
        "past_messages",
        "previous_messages",
        "thread",
    )
)
"""What files call the conversation so far, in lower case."""
_QUESTIONS = (
    "question",
    "query",
    "user_query",
    "user_question",
    "user_input",
    "chat_input",
    "user_message",
    "userinput",
    "userquery",
    "input",
    "prompt",
    "message",
    "request",
    "instructions",
    "instruction",
    "assignment",
    "text",
)
"""What files call the question, the likeliest first."""
_ROLES = ("system", "developer", "user", "assistant", "function", "tool")
_MARKER = re.compile(rf"\s*(?:#+\s*)?({'|'.join(_ROLES)})\s*(?:\[[^\]]*\]\s*)?:\s*", re.IGNORECASE)
_CODE = re.compile(r"\{%|\{#|\{\{(?!\s*\w+\s*\}\})")
_LOOP = re.compile(r"\{%-?\s*for\s+(\w+)\s+in\s+(\w+)\b[^%]*%\}")
_OF_MESSAGE = re.compile(r"\{\{-?\s*(\w+)(?:\.|\[[\"'])(?:role|inputs|outputs)\b")
"""A field that only the messages of a history have."""
_VARIABLE = re.compile(r"\{\{\{?[-&]?\s*(\w+)")
_THREAD = re.compile(r"[ \t]*!\[thread\][ \t]*", re.IGNORECASE)
_EDGES = re.compile(f"\n?{EDGE}\n?")
_QUESTION_WORDS = "the user's message"
"""In the system message, in place of the question."""


class Inputs(NamedTuple):
    """What a file says about its variables. `samples` are values as they are in the file."""

    placeholders: Mapping[str, Placeholder]
    samples: Mapping[str, object]
    mustache: bool


def read_body(
    source: SourceFile, after: int, inputs: Inputs, load_image: example_images.LoadImage
) -> ParsedBody:
    """Parse the lines `after` the front matter. Problems are collected in the source; raises TemplateError.

    A body that fits the rules of Parley's own templates is read by them and stays as it is. Files of other
    tools, and those with code, get a second chance.
    """
    own = SourceFile(source.name, "")
    own.lines, own.foreign = source.lines, source.foreign
    scalars = {
        name: printed(value).strip()
        for name, value in inputs.samples.items()
        if isinstance(value, str | int | float)
    }
    found = own.attempt(None, parse_body, own, after, inputs.placeholders, scalars, load_image)
    text = "\n".join(source.lines[after:])
    coded = has_code(text)
    unusual = source.foreign and (found is None or coded or _is_unusual(text, found))
    if unusual or (own.problems and (source.foreign or coded)):
        return _ForeignBody(source, after, inputs, load_image).parsed(text, coded)
    source.problems += own.problems
    if found is None:
        source.check()
        raise TemplateError(f"{source.name}: can't be read")
    return found


def has_code(text: str) -> bool:
    """Whether a text has Jinja or Mustache tags beside plain placeholders."""
    return bool(_CODE.search(text)) or mustache.is_mustache(text)


def _is_unusual(text: str, found: ParsedBody) -> bool:
    """Whether a file of another tool means something else than the same text in a template of Parley's own."""
    roles = (marker[1].lower() for line in text.split("\n") if (marker := _MARKER.fullmatch(line)))
    asked = any(PLACEHOLDER.fullmatch(example.user) for example in found.examples)
    told = not {"function", "tool"}.isdisjoint(roles)
    return asked or told or "![thread]" in text or REFERENCE.search(text) is not None


class _ForeignBody:
    """One file, while it is read."""

    def __init__(
        self, source: SourceFile, after: int, inputs: Inputs, load_image: example_images.LoadImage
    ) -> None:
        self._source, self._after, self._inputs, self._load_image = source, after, inputs, load_image
        self._question: str | None = None
        self._line_numbers: dict[str, int] = {}
        self._first_uses: dict[str, int] = {}

    def parsed(self, text: str, coded: bool) -> ParsedBody:
        """The body. Collects problems in the source."""
        for number, line in enumerate(text.split("\n"), self._after + 1):
            self._line_numbers.setdefault(line.strip(), number)
            for name in _VARIABLE.findall(line):
                self._first_uses.setdefault(name, number)
        history = self._history(text)
        self._question = self._question_of(text, history)
        if coded:
            text = self._source.attempt(text, self._rendered, text, history)
        blocks = self._blocks(text, history)
        told = ("system", "developer")
        system = [block for block in blocks if block.role in told and block.text]
        talk = self._talk([block for block in blocks if block.role not in told and block.text])
        around, asked = self._around(talk)
        if not self._source.foreign:
            filled = {name: each for name, each in self._inputs.placeholders.items() if name not in history}
            check_placeholders(self._source, system, filled, self._question)
        parts = [self._without_question(block) for block in system]
        inputs, sampled = self._used_inputs("\n".join((*parts, around)))
        examples = self._source.attempt(
            (), lambda: tuple(pairs_of(self._source, self._examples(talk), set(), self._load))
        )
        return ParsedBody("\n\n".join(parts), examples, inputs, sampled, around, asked)

    # -------------------------------------------------------------- variables

    def _history(self, text: str) -> set[str]:
        """The variables that stand for the conversation so far."""
        found = {name for name, each in self._inputs.placeholders.items() if each.thread}
        for name in {*_VARIABLE.findall(text), *(match[2] for match in _LOOP.finditer(text))}:
            given = self._value(name)
            if name.lower() in HISTORY and not (isinstance(given, str) and given):
                found.add(name)
        messages = {*_OF_MESSAGE.findall(text)}
        found |= {match[2] for match in _LOOP.finditer(text) if match[1] in messages}
        sections = re.findall(r"\{\{#\s*(?:each\s+)?(\w+)\s*\}\}[^{}]*\{\{\s*role\s*\}\}", text)
        return found | set(sections)

    def _question_of(self, text: str, history: set[str]) -> str | None:
        """The variable that stands for the question: marked as such, or used in the last `user:`."""
        marked = [name for name, each in self._inputs.placeholders.items() if each.question]
        if marked:
            return marked[0]
        lines = text.split("\n")
        starts = [
            at
            for at, line in enumerate(lines)
            if (marker := _MARKER.fullmatch(line)) and marker[1].lower() == "user"
        ]
        if not starts:
            return next((name for name in _QUESTIONS[:8] if self._is_open(name, text)), None)
        after = lines[starts[-1] + 1 :]
        end = next((at for at, line in enumerate(after) if _MARKER.fullmatch(line)), len(after))
        last = "\n".join(after[:end])
        known = {*history, *BUILT_IN, *(match[1] for match in _LOOP.finditer(text))}
        used = [name for name in _VARIABLE.findall(last) if name not in known]
        open_ = [name for name in used if self._inputs.placeholders.get(name, UNFILLED).default is None]
        for names in (open_, used):
            if len({*names}) == 1:
                return names[0]
            usual = {name.lower(): name for name in reversed(names)}
            if called := next((name for name in _QUESTIONS if name in usual), None):
                return usual[called]
        return (open_ or used or [None])[-1]

    def _is_open(self, name: str, text: str) -> bool:
        """Whether a text uses a variable that has no default."""
        return (
            name in _VARIABLE.findall(text) and self._inputs.placeholders.get(name, UNFILLED).default is None
        )

    def _value(self, name: str) -> object:
        """The default, or else the sample; None if there is neither."""
        placeholder = self._inputs.placeholders.get(name, UNFILLED)
        if placeholder.value is not None:
            return placeholder.value
        return self._inputs.samples.get(name)

    def _rendered(self, text: str, history: set[str]) -> str:
        """The text without code. Raises TemplateError."""
        values: dict[str, object] = {name: name for name in BUILT_IN}
        for name in {*self._inputs.placeholders, *self._inputs.samples}:
            value = self._value(name)
            if value is not None:
                values[name] = value.strip() if isinstance(value, str) else value
        values |= {name: [] for name in history}
        if self._question is not None:
            values[self._question] = _QUESTION_WORDS
        is_mustache = mustache.is_mustache(text) or (self._inputs.mustache and "{%" not in text)
        lines = (f"{EDGE}{line}{EDGE}" if _MARKER.fullmatch(line) else line for line in text.split("\n"))
        try:
            return _EDGES.sub("\n", process.render(is_mustache, "\n".join(lines), values))
        except LineError as error:
            raise self._source.error(self._after + error.line, f"its code can't be used: {error}") from None

    # -------------------------------------------------------------- roles

    def _blocks(self, text: str, history: set[str]) -> list[Block]:
        blocks = [Block("system", self._after, [])]
        number = self._after
        for line in text.split("\n"):
            number = self._line_numbers.get(line.strip(), number) if line.strip() else number
            if marker := _MARKER.fullmatch(line):
                blocks.append(Block(marker[1].lower(), number, []))
                continue
            placeholder = PLACEHOLDER.fullmatch(line.strip())
            if _THREAD.fullmatch(line) or (placeholder and placeholder[1].strip() in history):
                line = ""
            line = REFERENCE.sub(r"$ {\1:", line)
            if is_almost_role(line):  # as text it would be refused when the template is published
                line = line.replace(":", " :")
            blocks[-1].lines.append(self._without_history(line, number, history))
        return blocks

    def _without_history(self, line: str, number: int, history: set[str]) -> str:
        for placeholder in PLACEHOLDER.finditer(line):
            name = placeholder[1].strip()
            if name not in history:
                continue
            if self._inputs.placeholders.get(name, UNFILLED).kind == "thread":
                words = f"{placeholder[0]} is the history, which needs a line of its own"
                self._source.problems.append(self._source.error(number, words))
            self._source.note(number, f"{placeholder[0]} is left out, because the history is always added")
            line = line.replace(placeholder[0], "")
        return line

    def _talk(self, blocks: list[Block]) -> list[Block]:
        """Messages of users and assistants in turn: first a user, last a user if there is one with the question."""
        talk: list[Block] = []
        for block in blocks:
            if block.role in ("function", "tool") or (not talk and block.role == "assistant"):
                self._source.note(block.line, f"this '{block.role}:' message is left out")
            elif talk and talk[-1].role == block.role:
                talk[-1].lines.extend(["", *block.lines])
            else:
                talk.append(block)
        if talk and talk[-1].role == "assistant" and self._asks(talk[-2].text):
            self._source.note(talk[-1].line, "the 'assistant:' after the question is left out")
            talk.pop()
        return talk

    def _asks(self, text: str) -> bool:
        return any(each[1].strip() == self._question for each in PLACEHOLDER.finditer(text))

    def _around(self, talk: list[Block]) -> tuple[str, bool]:
        """Take the last user's message; returns the text around the question, and whether there is such a message."""
        if not talk or talk[-1].role != "user":
            return "", False
        last = talk.pop()
        text = last.text
        only = PLACEHOLDER.fullmatch(text)
        if only and only[1].strip() == self._question:
            return "", True
        if self._asks(text):
            return text, True
        self._source.note(last.line, "the question is added below the last 'user:' message")
        self._question = self._question or "question"
        return f"{text}\n\n{{{{{self._question}}}}}", True

    def _without_question(self, block: Block) -> str:
        """The text of a system message; the question is named where it should stand."""
        text = block.text
        for placeholder in PLACEHOLDER.finditer(text):
            if placeholder[1].strip() == self._question:
                self._source.note(
                    block.line, f"{placeholder[0]} is “{_QUESTION_WORDS}” in the system message"
                )
                text = text.replace(placeholder[0], _QUESTION_WORDS)
        return text

    # -------------------------------------------------------------- values

    def _used_inputs(self, text: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """The inputs of the text with their values, and those that only have a sample."""
        inputs: dict[str, str] = {}
        sampled: list[str] = []
        for placeholder in PLACEHOLDER.finditer(text):
            name = placeholder[1].strip()
            if name in inputs or name in (self._question, *BUILT_IN):
                continue
            declared = self._inputs.placeholders.get(name, UNFILLED)
            if declared.default is not None:
                inputs[name] = declared.default
                continue
            inputs[name] = printed(self._inputs.samples.get(name)).strip()
            if inputs[name]:
                sampled.append(name)
            else:
                first = self._first_uses.get(name, self._after)
                line = declared.line if name in self._inputs.placeholders else first
                self._source.note(line, f"the input {name!r} has no default, so it is empty")
        return inputs, tuple(sampled)

    def _examples(self, talk: list[Block]) -> list[Block]:
        """Examples with their values, because examples have no placeholders. Half ones are left out."""
        if len(talk) % 2:
            self._source.note(talk[-1].line, f"this '{talk[-1].role}:' message is left out")
            talk = talk[:-1]
        filled = [
            Block(block.role, block.line, [self._filled(line) for line in block.lines]) for block in talk
        ]
        return [
            each
            for pair in zip(filled[::2], filled[1::2], strict=True)
            if all(one.text for one in pair)
            for each in pair
        ]

    def _filled(self, line: str) -> str:
        def value(placeholder: re.Match[str]) -> str:
            name = placeholder[1].strip()
            if name == self._question:
                return _QUESTION_WORDS
            known = self._value(name)
            return placeholder[0] if known is None else printed(known).strip()

        return PLACEHOLDER.sub(value, line)

    def _load(self, address: str) -> bytes:
        return self._load_image(address)
