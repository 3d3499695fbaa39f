"""Reads the inputs of a file and their samples, in every spelling: a mapping, a list, or a JSON schema."""

from difflib import get_close_matches
from typing import cast

from bot.prompts.body import Placeholder
from bot.prompts.front_matter import MappingReader, SourceFile
from bot.prompts.imports.bodies import HISTORY, Inputs
from bot.prompts.imports.rendering import printed

_SPELLINGS = ("inputs", "inputSchema", "input_schema", "input")
_SAMPLES = ("sample", "samples", "example")
_ABOUT = ("name", "description", "required", "example", "sample", "enumValues", "strict")
_ABOUT_OTHERS = (
    "is_chat_output",
    "title",
    "format",
    "items",
    "properties",
    "enum",
    "examples",
    "allow_override",
)
_SCHEMA = frozenset((*_ABOUT, *_ABOUT_OTHERS, "kind", "type", "default", "is_chat_input", "is_chat_history"))
_LISTS = ("", "array", "list", "object", "dict", "any", "thread")


def inputs_of(source: SourceFile, front: MappingReader) -> Inputs:
    """The inputs and samples of a file. Problems are collected in the source."""
    samples = _samples(source, front)
    found: dict[str, Placeholder] = {}
    for key in _SPELLINGS:
        value = front.any(key)
        if isinstance(value, str) and source.foreign:
            source.note(front.line(key), f"{key!r} refers to something else, which is not read")
            continue
        for name, fields in source.attempt([], front.entries, key):
            if name:
                with source.collecting():
                    found[name] = _placeholder(source, name, fields, samples)
    return Inputs(found, samples, source.attempt(False, _is_mustache, front))


def _placeholder(
    source: SourceFile, name: str, fields: MappingReader, samples: dict[str, object]
) -> Placeholder:
    line = fields.line("default")
    misspelt = any(get_close_matches(key, _SCHEMA, 1, 0.8) for key in fields)
    if source.foreign and list(fields) and not misspelt:
        value: object = {key: fields.any(key) for key in fields}  # the default itself
        return Placeholder(printed(value), False, value, line=line)
    with fields:
        fields.ignore(*_ABOUT, *(_ABOUT_OTHERS if source.foreign else ()))
        kind = fields.any("kind") or fields.any("type") or ""
        kind = kind if isinstance(kind, str) else "any"
        asked, history = fields.any("is_chat_input") is True, fields.any("is_chat_history") is True
        default = fields.any("default")
        for key in ("sample", "example"):
            if fields.any(key) is not None:
                samples.setdefault(name, fields.any(key))
    if isinstance(default, str) and "${" in default and source.foreign:
        source.note(line, f"the default of {name!r} refers to something else, which is not read")
        default = None
    empty = default in (None, "", [], {}) and not isinstance(samples.get(name), str)
    history |= kind == "thread" or (name.lower() in HISTORY and kind in _LISTS and empty)
    if history:
        return Placeholder(None, True, kind=kind, line=line)
    text = None if default is None else "" if default in ([], {}) else printed(default)
    return Placeholder(text, False, default, asked, kind, line)


def _samples(source: SourceFile, front: MappingReader) -> dict[str, object]:
    """The `sample` of a file of the first version, whose values replace missing defaults."""
    found: dict[str, object] = {}
    for key in _SAMPLES:
        given = front.any(key)
        if isinstance(given, dict):
            values = cast("dict[str, object]", given)
            references = {name for name, one in values.items() if isinstance(one, str) and one[:2] == "${"}
            found |= {name: value for name, value in values.items() if name not in references}
        elif given is not None:
            source.note(front.line(key), f"{key!r} is another file, which is not read")
    return found


def _is_mustache(front: MappingReader) -> bool:
    """Whether `template` names Mustache. All its forms are accepted: names are the same in all formats."""
    given = front.any("template")
    if given is None or isinstance(given, str):
        return given == "mustache"
    with front.fields("template") as template:
        template.ignore("format", "parser", "type", "strict", "options")
        form = template.any("format") or template.any("type")
        kind = cast("dict[str, object]", form).get("kind") if isinstance(form, dict) else form
        return kind == "mustache"
