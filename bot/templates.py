"""Loads and checks prompts/: templates and few-shot pools, so that no person ever meets a template error."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from bot.errors import TemplateError
from bot.frontmatter import Source, open_source
from bot.prompty import Loaded, read
from bot.types import Example, Template
from bot.wording import HOLE

FOLDER = Path(__file__).parent.parent / "prompts"
"""The templates that come with Parley."""

MOST_TEMPLATES = 200
MOST_POOL_BYTES = 4 * 1024 * 1024
MOST_EXAMPLES = 1000
"""Caps that keep a start quick and a prompt payable; none of them is a limit of the format."""


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with each `{{hole}}` replaced, once: what is filled in is never looked at for holes.

    Raises KeyError for a hole without a value; a loaded template has none once its `inputs` and the
    built-in holes are given.
    """
    return HOLE.sub(lambda hole: values[hole[1].strip()], text)


def load(folder: Path) -> tuple[Template, ...]:
    """Every template of the folder, by name. Raises TemplateError with a line for each wrong file."""
    paths = sorted(folder.glob("*.prompty"))
    if not paths:
        raise TemplateError(f"{folder}: no template (*.prompty) is there")
    if len(paths) > MOST_TEMPLATES:
        raise TemplateError(f"{folder}: {len(paths)} templates; at most {MOST_TEMPLATES}")
    loaded: list[Loaded] = []
    problems: list[str] = []
    for path in paths:
        try:
            loaded.append(read(path))
        except TemplateError as error:
            problems.append(str(error))
    if not problems:
        problems = [str(error) for error in (*_clashes(loaded), *_missing_pools(folder, loaded))]
        if not any(one.template.match.default for one in loaded):
            problems.append(
                f"{folder}: no template is the default; one of them needs match: {{default: true}}"
            )
    if problems:
        raise TemplateError("\n".join(problems))
    return tuple(one.template for one in loaded)


def load_pools(folder: Path) -> Mapping[str, tuple[Example, ...]]:
    """The few-shot pools, `pools/*.jsonl` in the folder of the templates, by name. Raises TemplateError."""
    return {path.stem: _read_pool(path) for path in sorted((folder / "pools").glob("*.jsonl"))}


def _clashes(loaded: list[Loaded]) -> Iterator[TemplateError]:
    """Two templates that would answer the same thing."""
    first: dict[tuple[str, str], str] = {}
    for template, _, match in loaded:
        claims = [("default", "")] * template.match.default
        claims += [("commands", command) for command in template.match.commands]
        claims += [("prefixes", prefix.casefold()) for prefix in template.match.prefixes]
        claims += [("channels", channel) for channel in template.match.channels]
        for claim in claims:
            other = first.setdefault(claim, template.name)
            if other != template.name:
                words = f"{claim[1]!r} of {claim[0]}" if claim[1] else "default: true"
                yield match.error(claim[0], f"{words} is already claimed by {other}.prompty")


def _missing_pools(folder: Path, loaded: list[Loaded]) -> Iterator[TemplateError]:
    for template, parley, _ in loaded:
        path = folder / "pools" / f"{template.pool}.jsonl"
        if template.pool is not None and not path.is_file():
            yield parley.error("pool", f"the pool {template.pool!r} is missing: there is no {path}")


# ------------------------------------------------------------------ pools


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["system", "developer", "user", "assistant"]
    content: str
    name: str = ""
    weight: int | None = None


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line of fine-tuning data for chat, as Azure OpenAI reads it, with tags of our own."""

    messages: list[_Said]
    tags: tuple[str, ...] = ()


def _read_pool(path: Path) -> tuple[Example, ...]:
    source = open_source(path, MOST_POOL_BYTES)
    examples = tuple(
        _example(source, number, line) for number, line in enumerate(source.lines, 1) if line.strip()
    )
    if not examples:
        raise source.error(1, "the pool is empty")
    if len(examples) > MOST_EXAMPLES:
        words = f"the pool has {len(examples)} examples; at most {MOST_EXAMPLES}"
        raise source.error(MOST_EXAMPLES + 1, words)
    return examples


def _example(source: Source, number: int, text: str) -> Example:
    try:
        line = msgspec.json.decode(text, type=_Line)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise source.error(number, f"this is not a line of chat examples: {error}") from None
    said = [message for message in line.messages if message.role not in ("system", "developer")]
    if [message.role for message in said] != ["user", "assistant"]:
        raise source.error(number, "an example is one 'user' message and one 'assistant' message")
    user, assistant = said
    if not user.content.strip() or not assistant.content.strip():
        raise source.error(number, "an example needs text on both sides")
    return Example(user=user.content, assistant=assistant.content, tags=line.tags)
