"""Loads and checks prompts/: templates and few-shot pools, so that no person ever meets a template error."""

from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from bot.domain.errors import TemplateError
from bot.domain.prompts import Example, Template
from bot.prompts.body import PLACEHOLDER
from bot.prompts.front_matter import SourceFile, open_source
from bot.prompts.prompty import LoadedTemplate, read

FOLDER = Path(__file__).parents[2] / "prompts"
"""The templates that come with Parley."""

MOST_TEMPLATES = 200
MOST_POOL_BYTES = 4 * 1024 * 1024
MOST_EXAMPLES = 1000
"""Caps that keep a start quick and a prompt payable; none of them is a limit of the format."""


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with each `{{hole}}` replaced, once: what is filled in is never looked at for placeholders.

    Raises KeyError for a hole without a value; a loaded template has none once its `inputs` and the
    built-in holes are given.
    """
    return PLACEHOLDER.sub(lambda placeholder: values[placeholder[1].strip()], text)


def load(folder: Path) -> tuple[Template, ...]:
    """Every template of the folder, by name. Raises TemplateError with a line for each wrong file."""
    paths = sorted(folder.glob("*.prompty"))
    if not paths:
        raise TemplateError(f"{folder}: no template (*.prompty) is there")
    if len(paths) > MOST_TEMPLATES:
        raise TemplateError(f"{folder}: {len(paths)} templates; at most {MOST_TEMPLATES}")
    loaded: list[LoadedTemplate] = []
    problems: list[str] = []
    for path in paths:
        try:
            loaded.append(read(path))
        except TemplateError as error:
            problems.append(str(error))
    if not problems:
        pools = {path.stem for path in (folder / "pools").glob("*.jsonl")}
        for at, one in enumerate(loaded):
            before = [other.template for other in loaded[:at]]
            problems += [str(error) for error in faults(one, before, pools)]
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


def faults(
    loaded: LoadedTemplate, others: Iterable[Template], pools: Container[str]
) -> Iterator[TemplateError]:
    """What keeps a template from standing beside others: a claim of one of them, a pool that isn't there."""
    template, parley, match, _ = loaded
    taken = {claim: other.name for other in others for claim in _claims(other)}
    for claim in _claims(template):
        if claim in taken:
            field, value = claim
            words = f"{value!r} of {field}" if value else "default: true"
            yield match.error(field, f"{words} is already claimed by {taken[claim]}.prompty")
    if template.pool is not None and template.pool not in pools:
        words = f"the pool {template.pool!r} is missing: there is no pools/{template.pool}.jsonl"
        yield parley.error("pool", words)


def _claims(template: Template) -> Iterator[tuple[str, str]]:
    """What no other template may answer, as (field of `match`, value)."""
    match = template.match
    if match.default:
        yield "default", ""
    yield from (("commands", command) for command in match.commands)
    yield from (("prefixes", prefix.casefold()) for prefix in match.prefixes)
    yield from (("channels", channel) for channel in match.channels)


# ------------------------------------------------------------------ pools


class _PoolMessage(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["system", "developer", "user", "assistant"]
    content: str
    name: str = ""
    weight: int | None = None


class _PoolLine(msgspec.Struct, forbid_unknown_fields=True):
    """A line of fine-tuning data for chat, as Azure OpenAI reads it, with tags of our own."""

    messages: list[_PoolMessage]
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


def _example(source: SourceFile, number: int, text: str) -> Example:
    try:
        line = msgspec.json.decode(text, type=_PoolLine)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise source.error(number, f"this is not a line of chat examples: {error}") from None
    received = [message for message in line.messages if message.role not in ("system", "developer")]
    if [message.role for message in received] != ["user", "assistant"]:
        raise source.error(number, "an example is one 'user' message and one 'assistant' message")
    user, assistant = received
    if not user.content.strip() or not assistant.content.strip():
        raise source.error(number, "an example needs text on both sides")
    return Example(user=user.content, assistant=assistant.content, tags=line.tags)
