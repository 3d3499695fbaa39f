"""Loads and checks the templates and few-shot pools in prompts/, so that errors appear at startup."""

from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from bot.domain.errors import TemplateError
from bot.domain.prompts import Example, Template
from bot.prompts.body import PLACEHOLDER
from bot.prompts.front_matter import SourceFile, open_source
from bot.prompts.prompty import LoadedTemplate, read

FOLDER = Path(__file__).parents[2] / "prompts"
"""The bundled templates."""

MOST_TEMPLATES = 200
MOST_POOL_BYTES = 4 * 1024 * 1024
MOST_EXAMPLES = 1000
"""Limits for a fast startup and affordable prompts; the format has none."""


class UsableFiles(NamedTuple):
    """The templates that can be used, sorted by name, and what is wrong with the other files.

    `notes` say by template what is not used of its file, or not as its author may expect.
    """

    templates: tuple[Template, ...]
    problems: tuple[str, ...]
    notes: Mapping[str, tuple[str, ...]]


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace each `{{placeholder}}` once; values are not searched for placeholders.

    Raises KeyError for one without a value. A loaded template has values for all: its `inputs` and BUILT_IN.
    """
    return PLACEHOLDER.sub(lambda placeholder: values[placeholder[1].strip()], text)


def fill_question(around: str, question: str, values: Mapping[str, str]) -> str:
    """The text around a question, with it: it is the placeholder without a value."""
    return PLACEHOLDER.sub(lambda placeholder: values.get(placeholder[1].strip(), question), around)


def load(folder: Path) -> tuple[Template, ...]:
    """All templates of the folder, sorted by name. Raises TemplateError with one line per problem."""
    found = load_usable(folder)
    if found.problems:
        raise TemplateError("\n".join(found.problems))
    return found.templates


def load_usable(folder: Path) -> UsableFiles:
    """The templates of the folder, without the files that can't be used.

    Raises TemplateError if there is no default template among them, since nothing would be answered.
    """
    paths = _files(folder, "*.prompty")
    if not paths:
        raise TemplateError(f"{folder}: there are no templates (*.prompty)")
    if len(paths) > MOST_TEMPLATES:
        raise TemplateError(f"{folder}: there are {len(paths)} templates; the limit is {MOST_TEMPLATES}")
    pools = {path.stem for path in _files(folder / "pools", "*.jsonl")}
    usable: list[Template] = []
    problems: list[str] = []
    notes: dict[str, tuple[str, ...]] = {}
    for path in paths:
        try:
            loaded = read(path)
        except TemplateError as error:
            problems += str(error).split("\n")
            continue
        found = [str(error) for error in faults(loaded, usable, pools)]
        problems += found
        usable += [] if found else [loaded.template]
        notes[path.stem] = loaded.notes
    if not any(template.match.default for template in usable):
        problems.append(f"{folder}: no template is the default; add match: {{default: true}} to one")
        raise TemplateError("\n".join(problems))
    return UsableFiles(tuple(usable), tuple(problems), notes)


def load_pools(folder: Path) -> Mapping[str, tuple[Example, ...]]:
    """The few-shot pools, `pools/*.jsonl` in the templates' folder, by name.

    Raises TemplateError with one line per problem.
    """
    pools, problems = load_usable_pools(folder)
    if problems:
        raise TemplateError("\n".join(problems))
    return pools


def load_usable_pools(folder: Path) -> tuple[Mapping[str, tuple[Example, ...]], tuple[str, ...]]:
    """The pools by name, without the examples that can't be used, and what is wrong with those.

    A pool without any is empty: the templates that use it are sent without its examples.
    """
    pools: dict[str, tuple[Example, ...]] = {}
    problems: list[str] = []
    for path in _files(folder / "pools", "*.jsonl"):
        pools[path.stem], found = _read_pool(path)
        problems += found
    return pools, tuple(problems)


def _files(folder: Path, pattern: str) -> list[Path]:
    """The files that match, without hidden ones, such as the lock files of editors."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def faults(
    loaded: LoadedTemplate, others: Iterable[Template], pools: Container[str]
) -> Iterator[TemplateError]:
    """Conflicts of a template with others (they match the same), and missing pools."""
    template, parley, match, *_ = loaded
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
    """What only one template may match, as (field of `match`, value)."""
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
    """A line of chat fine-tuning data in the format of Azure OpenAI, with optional tags."""

    messages: list[_PoolMessage]
    tags: tuple[str, ...] = ()


def _read_pool(path: Path) -> tuple[tuple[Example, ...], list[str]]:
    """The usable examples of a pool, and its problems."""
    examples: list[Example] = []
    try:
        source = open_source(path, MOST_POOL_BYTES)
        for number, line in enumerate(source.lines, 1):
            if line.strip():
                with source.collecting():
                    examples.append(_example(source, number, line))
        if not examples and not source.problems:
            raise source.error(1, "the pool is empty")
        if len(examples) > MOST_EXAMPLES:
            words = f"the pool has {len(examples)} examples; the limit is {MOST_EXAMPLES}"
            source.problems.append(source.error(MOST_EXAMPLES + 1, words))
        source.check()
    except TemplateError as error:
        return tuple(examples[:MOST_EXAMPLES]), str(error).split("\n")
    return tuple(examples), []


def _example(source: SourceFile, number: int, text: str) -> Example:
    try:
        line = msgspec.json.decode(text, type=_PoolLine)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise source.error(number, f"not a valid chat example: {error}") from None
    messages = [message for message in line.messages if message.role not in ("system", "developer")]
    if [message.role for message in messages] != ["user", "assistant"]:
        raise source.error(number, "an example is one 'user' message and one 'assistant' message")
    user, assistant = messages
    if not user.content.strip() or not assistant.content.strip():
        raise source.error(number, "both messages of an example need text")
    return Example(user=user.content, assistant=assistant.content, tags=line.tags)
