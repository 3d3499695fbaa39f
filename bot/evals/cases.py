"""Reads evaluation files: questions and the checks on their answers."""

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
    """Requires a cosine similarity of at least `least` between the embeddings of the answer and `to`."""

    to: str
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """The checks on an answer. `fits` validates decoded JSON and raises ValueError with the reason."""

    contains: tuple[str, ...] = ()
    not_contains: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()
    fits: Callable[[Any], Any] | None = None
    max_chars: int | None = None
    similarity: Similarity | None = None
    rubric: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A question and its checks. `id` identifies the case across runs.

    Empty `deployments`: the one that the template names, else any. `judge` is the deployment that grades rubrics.
    """

    id: str
    templates: tuple[str, ...]
    question: str
    checks: Checks
    history: tuple[tuple[str, str], ...] = ()
    deployments: tuple[str, ...] = ()
    judge: str | None = None


def read(path: Path) -> list[Case]:
    """The cases of a file. Raises TemplateError with the line number."""
    if not path.is_file():
        raise TemplateError(f"{path}: file not found")
    source = open_source(path, MOST_BYTES)
    cases: list[Case] = []
    with whole(source) as fields:
        fields.ignore("description")
        templates, deployments = fields.texts("templates"), fields.texts("deployments")
        judge = fields.text("judge")
        for number, entry in enumerate(fields.each("cases"), 1):
            with entry:
                case = _case(entry, f"{path.stem}:{number}", templates, deployments, judge)
            if case.id in {other.id for other in cases}:
                raise entry.error("name", f"two cases are named {case.id.partition(':')[2]!r}")
            cases.append(case)
        if not cases:
            raise fields.error("cases", "there are no cases; add them under 'cases:'")
        if len(cases) > MOST_CASES:
            raise fields.error("cases", f"there are {len(cases)} cases; the limit is {MOST_CASES}")
    return cases


def _case(
    entry: MappingReader, id: str, templates: tuple[str, ...], deployments: tuple[str, ...], judge: str | None
) -> Case:
    name = entry.text("name")
    named = entry.texts("templates") + entry.texts("template") or templates
    if not named:
        raise entry.error("question", "no template is named; add 'templates:' here or at the top of the file")
    question = entry.text("question")
    if not question:
        raise entry.error("question", "a case needs a 'question'")
    checks = _checks(entry.fields("checks"))
    if checks == Checks():
        raise entry.error("checks", "'checks' are missing")
    if checks.rubric and judge is None:
        raise entry.error(
            "checks", "a rubric needs a 'judge' at the top of the file: the deployment that grades"
        )
    return Case(
        id=f"{id.partition(':')[0]}:{name}" if name else id,
        templates=named,
        question=question,
        checks=checks,
        history=tuple(map(_pair, entry.each("history"))),
        deployments=entry.texts("deployments") or deployments,
        judge=judge,
    )


def _pair(entry: MappingReader) -> tuple[str, str]:
    with entry:
        user, assistant = entry.text("user"), entry.text("assistant")
    if not user or not assistant:
        raise entry.error("user", "each entry of 'history' needs 'user' and 'assistant'")
    return user, assistant


def _checks(fields: MappingReader) -> Checks:
    with fields:
        max_chars = None if "max_chars" not in fields else fields.count("max_chars", 1_000_000)
        return Checks(
            contains=fields.texts("contains"),
            not_contains=fields.texts("not_contains"),
            patterns=tuple(_pattern(fields, text) for text in fields.texts("regex")),
            fits=_validator(fields),
            max_chars=max_chars,
            similarity=_similarity(fields.fields("similarity")) if "similarity" in fields else None,
            rubric=fields.texts("rubric"),
        )


def _pattern(fields: MappingReader, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.MULTILINE)
    except re.error as error:
        raise fields.error("regex", f"{text!r} is not a valid regular expression: {error}") from None


def _validator(fields: MappingReader) -> Callable[[Any], Any] | None:
    schema = fields.plain("json_schema")
    if "json_schema" not in fields:
        return None
    try:
        # Without these handlers, the library would fetch references to other files and hosts.
        return fastjsonschema.compile(schema, handlers=dict.fromkeys(("http", "https", "file"), _refuse))
    except Exception as error:  # the library raises various errors for an invalid schema
        raise fields.error("json_schema", f"not a valid JSON schema: {error}") from None


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is outside this file")


def _similarity(fields: MappingReader) -> Similarity:
    with fields:
        to, least = fields.text("to"), fields.any("least")
    if not to or isinstance(least, bool) or not isinstance(least, int | float) or not 0 < least <= 1:
        raise fields.error("least", "a similarity needs 'to' (a text) and 'least' (above 0, at most 1)")
    return Similarity(to=to, least=float(least))
