"""Reads evaluation files: questions, and what is demanded of the answers to them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastjsonschema  # pyright: ignore[reportMissingTypeStubs]

from bot.domain.errors import TemplateError
from bot.prompts.front_matter import MappingReader, open_source, whole

MOST_BYTES = 1024 * 1024
MOST_CASES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """The answer must mean about what `to` says: a similarity of at least `least` by embedding."""

    to: str
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What is demanded of an answer; `fits` raises ValueError, with the reason, for JSON of another shape."""

    contains: tuple[str, ...] = ()
    not_contains: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()
    fits: Callable[[Any], Any] | None = None
    max_chars: int | None = None
    similarity: Similarity | None = None
    rubric: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A question and what is demanded. `id` tells it from every other case, also in the next run.

    Empty `deployments`: those that each template wishes for. `judge` is the deployment that grades rubrics.
    """

    id: str
    templates: tuple[str, ...]
    question: str
    checks: Checks
    history: tuple[tuple[str, str], ...] = ()
    deployments: tuple[str, ...] = ()
    judge: str | None = None


def read(path: Path) -> list[Case]:
    """The cases of a file. Raises TemplateError, which names the line."""
    if not path.is_file():
        raise TemplateError(f"{path}: there is no such file")
    source = open_source(path, MOST_BYTES)
    cases: list[Case] = []
    with whole(source) as fields:
        fields.ignore("description")
        templates, deployments = fields.texts("templates"), fields.texts("deployments")
        judge = fields.text("judge")
        for number, entry in enumerate(fields.each("cases"), 1):
            with entry:
                case = _case(entry, f"{path.stem}:{number}", templates, deployments, judge)
            if case.id in {one.id for one in cases}:
                raise entry.error("name", f"two cases are named {case.id.partition(':')[2]!r}")
            cases.append(case)
        if not cases:
            raise fields.error("cases", "there are no cases; they stand under 'cases:'")
        if len(cases) > MOST_CASES:
            raise fields.error("cases", f"there are {len(cases)} cases; at most {MOST_CASES}")
    return cases


def _case(
    entry: MappingReader, id: str, templates: tuple[str, ...], deployments: tuple[str, ...], judge: str | None
) -> Case:
    name = entry.text("name")
    wanted = entry.texts("templates") + entry.texts("template") or templates
    if not wanted:
        raise entry.error("question", "no template is named, neither here nor at the top ('templates:')")
    question = entry.text("question")
    if not question:
        raise entry.error("question", "a case needs a 'question'")
    checks = _checks(entry.fields("checks"))
    if checks == Checks():
        raise entry.error("checks", "nothing is demanded of the answer: 'checks' are missing")
    if checks.rubric and judge is None:
        raise entry.error("checks", "a rubric needs a 'judge' at the top: the deployment that grades")
    return Case(
        id=f"{id.partition(':')[0]}:{name}" if name else id,
        templates=wanted,
        question=question,
        checks=checks,
        history=tuple(map(_exchange, entry.each("history"))),
        deployments=entry.texts("deployments") or deployments,
        judge=judge,
    )


def _exchange(entry: MappingReader) -> tuple[str, str]:
    with entry:
        user, assistant = entry.text("user"), entry.text("assistant")
    if not user or not assistant:
        raise entry.error("user", "what was said before is pairs of 'user' and 'assistant'")
    return user, assistant


def _checks(fields: MappingReader) -> Checks:
    with fields:
        least = None if "max_chars" not in fields else fields.count("max_chars", 1_000_000)
        return Checks(
            contains=fields.texts("contains"),
            not_contains=fields.texts("not_contains"),
            patterns=tuple(_pattern(fields, text) for text in fields.texts("regex")),
            fits=_shape(fields),
            max_chars=least,
            similarity=_likeness(fields.fields("similarity")) if "similarity" in fields else None,
            rubric=fields.texts("rubric"),
        )


def _pattern(fields: MappingReader, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.MULTILINE)
    except re.error as error:
        raise fields.error("regex", f"{text!r} is no regular expression: {error}") from None


def _shape(fields: MappingReader) -> Callable[[Any], Any] | None:
    schema = fields.plain("json_schema")
    if "json_schema" not in fields:
        return None
    try:
        # Only what stands in the file: a reference to elsewhere would be fetched.
        return fastjsonschema.compile(schema, handlers=dict.fromkeys(("http", "https", "file"), _elsewhere))
    except Exception as error:  # whatever the library meets in a schema that is none
        raise fields.error("json_schema", f"this is no JSON schema: {error}") from None


def _elsewhere(uri: str) -> Any:
    raise ValueError(f"{uri} is outside this file")


def _likeness(fields: MappingReader) -> Similarity:
    with fields:
        to, least = fields.text("to"), fields.any("least")
    if not to or isinstance(least, bool) or not isinstance(least, int | float) or not 0 < least <= 1:
        raise fields.error("least", "a similarity is {to: a text, least: a number above 0 and up to 1}")
    return Similarity(to=to, least=float(least))
