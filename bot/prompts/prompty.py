"""Reads `.prompty` files, of either version of the format, into templates."""

import difflib
import hashlib
import logging
import re
from pathlib import Path
from typing import NamedTuple

import msgspec

from bot.domain.errors import TemplateError
from bot.domain.prompts import Match, Template
from bot.prompts import example_images
from bot.prompts.front_matter import MappingReader, SourceFile, check_references, front_matter, open_source
from bot.prompts.imports.bodies import read_body
from bot.prompts.imports.inputs import inputs_of
from bot.prompts.imports.models import ModelPreference, capability_of, model_of
from bot.prompts.imports.secrets import secret_paths, without_secrets

log = logging.getLogger(__name__)

MOST_BYTES = 64 * 1024
MOST_SHOTS = 50
MOST_PAST = 1000

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
NOT_USED = (
    "outputs",
    "output",
    "outputSchema",
    "tools",
    "functions",
    "stream",
    "response_format",
    "connection",
    "id",
)
"""Fields of other tools that change nothing here."""
_FOREIGN = (
    *(
        "name",
        "displayName",
        "authors",
        "author",
        "tags",
        "version",
        "model",
        "inputs",
        "inputSchema",
        "input_schema",
    ),
    *("input", "sample", "samples", "template", *NOT_USED),
)


class LoadedTemplate(NamedTuple):
    """A template, the fields needed for errors about conflicts, and the placeholders filled by a sample only.

    `notes` say what is not used of the file, or not as its author may expect, with line numbers.
    """

    template: Template
    parley: MappingReader
    match: MappingReader
    sampled: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read(path: Path) -> LoadedTemplate:
    """Read a template and check it by itself. Raises TemplateError."""
    return _read(open_source(path, MOST_BYTES), path.stem, example_images.beside(path.parent))


def read_text(
    text: str, name: str, load_image: example_images.LoadImage = example_images.data_only
) -> LoadedTemplate:
    """The same for a text that is not in a file; errors name it `name.prompty`. Raises TemplateError."""
    source = SourceFile(f"{name}.prompty", text)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise source.error(1, "not UTF-8 text") from None
    if size > MOST_BYTES:
        raise source.error(1, f"the template has {size} bytes; the limit is {MOST_BYTES}")
    return _read(source, name, load_image)


def _read(source: SourceFile, name: str, load_image: example_images.LoadImage) -> LoadedTemplate:
    try:
        return _loaded(source, name, load_image)
    except TemplateError:
        raise
    except Exception as error:  # whatever a file of another tool may cause: the others still load
        log.exception("%s can't be read", source.name)
        raise source.error(1, f"the file can't be read ({type(error).__name__}); make it simpler") from None


def _loaded(source: SourceFile, name: str, load_image: example_images.LoadImage) -> LoadedTemplate:
    if not NAME.fullmatch(name):
        raise source.error(1, "a template name has lower-case letters, digits, - and _ (at most 64)")
    front, lines = front_matter(source)
    source.foreign = _is_foreign(front)
    source.attempt(None, check_references, source, lines)
    nothing = MappingReader(source, None, 1)
    parley, template, match = nothing, Template(name=name, digest=""), nothing
    with source.collecting(), front:
        front.ignore("name", "authors", "author", "tags", "version", "kind", "metadata")
        front.note(*NOT_USED)
        description = source.attempt("", _description, front)
        inputs = inputs_of(source, front)
        preference = model_of(source, front)
        parley = source.attempt(nothing, _parley, front)
        with source.collecting(), parley:
            template, match = _with_parley(source, parley, name, description, preference)
    load_image = load_image if template.capability == "chat" else example_images.no_images
    body = read_body(source, lines, inputs, load_image)
    needs_text = template.capability == "chat" or template.rewrite is not None
    question = body.question
    if needs_text and not (body.system or body.examples or question) and not source.problems:
        if not body.asked:
            raise source.error(len(source.lines), "the template is empty: add text under 'system:'")
        question = "{{question}}"
    source.check()
    template = msgspec.structs.replace(
        template, system=body.system, examples=body.examples, inputs=body.inputs, question=question
    )
    template = msgspec.structs.replace(template, digest=digest(template))
    return LoadedTemplate(template, parley, match, body.sampled, tuple(source.notes))


def _is_foreign(front: MappingReader) -> bool:
    """Whether a file was written for other tools: it has their fields, and none of Parley's."""
    metadata = front.any("metadata")
    ours = isinstance(metadata, dict) and "parley" in metadata
    return not ours and any(key in _FOREIGN for key in front)


def _description(front: MappingReader) -> str:
    found = front.first_text("description", "displayName") or ""
    return "" if "${" in found else found


def _parley(front: MappingReader) -> MappingReader:
    """The fields of Parley; `metadata` may have those of other tools as well."""
    metadata = front.fields("metadata")
    for key in metadata:
        if key != "parley" and difflib.get_close_matches(key, ["parley"], 1, 0.7):
            raise metadata.error(key, f"unknown field {key!r}; did you mean 'parley'?")
    return metadata.fields("parley")


def _with_parley(
    source: SourceFile, parley: MappingReader, name: str, description: str, preference: ModelPreference
) -> tuple[Template, MappingReader]:
    """The template without its body, and the fields of its match."""
    tried = source.attempt
    match = tried(MappingReader(source, None, 1), parley.fields, "match")
    capability = tried(None, parley.text, "capability")
    extra = tried({}, parley.plain, "extra")
    for where in secret_paths(extra):
        source.note(parley.line("extra"), f"{f'extra.{where}'!r} is left out, because it may be a secret")
    past = tried(0, parley.count, "past_messages", MOST_PAST) if "past_messages" in parley else None
    template = Template(
        name=name,
        digest="",
        description=description,
        capability=tried("chat", capability_of, parley, "capability", capability)
        if capability
        else preference.capability,
        pool=tried(None, parley.text, "pool"),
        shots=tried(0, parley.count, "shots", MOST_SHOTS),
        tools=tried((), parley.texts, "tools"),
        knowledge=tried((), parley.texts, "knowledge"),
        deployment=tried(None, parley.text, "deployment") or preference.deployment,
        parameters=preference.parameters,
        match=tried(Match(), _match, source, match),
        past_messages=past,
        rewrite=tried(None, _rewrite, parley),
        extra=without_secrets(extra),
    )
    if template.rewrite is not None and template.capability != "image":
        source.problems.append(parley.error("rewrite", "'rewrite' needs 'capability: image'"))
    # A wrong number of shots is a problem already.
    if (template.pool is None) != (template.shots == 0) and not source.problems:
        raise parley.error("shots", "'pool' and 'shots' (the number of its examples) must be used together")
    return template, match


def _rewrite(parley: MappingReader) -> str | None:
    """The deployment that rewrites image requests, by name or tag; "" for any (true), None for none."""
    if isinstance(parley.any("rewrite"), str):
        return parley.text("rewrite") or None
    return "" if parley.flag("rewrite") else None


def _match(source: SourceFile, fields: MappingReader) -> Match:
    with fields:
        match = Match(
            default=source.attempt(False, fields.flag, "default"),
            commands=source.attempt((), fields.texts, "commands"),
            prefixes=source.attempt((), fields.texts, "prefixes"),
            channels=source.attempt((), fields.texts, "channels"),
        )
    for command in match.commands:
        if not command.replace("-", "").isalnum() or command != command.lower():
            words = f"{command!r} can't be a command: use one lower-case word, without the slash"
            source.problems.append(fields.error("commands", words))
    if any(not text.strip() for text in (*match.prefixes, *match.channels)):
        raise fields.error("prefixes", "a prefix or channel can't be empty")
    return match


def digest(template: Template) -> str:
    """A digest of what the template sends, without name, description, deployment and match."""
    content = msgspec.structs.replace(
        template,
        name="",
        digest="",
        description="",
        deployment=None,
        # A copy, because msgspec omits defaults by identity.
        parameters=msgspec.structs.replace(template.parameters),
        match=Match(),
        extra={},
    )
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:12]
