"""Reads one `.prompty` file, of either version of the format, into a Template."""

import difflib
import hashlib
import math
import re
from pathlib import Path
from typing import NamedTuple, cast

import msgspec

from bot.domain.prompts import Capability, Match, Parameters, Template
from bot.prompts import example_images
from bot.prompts.body import Placeholder, parse_body
from bot.prompts.front_matter import MappingReader, SourceFile, front_matter, nearest, open_source

MOST_BYTES = 64 * 1024
MOST_SHOTS = 50
MOST_PAST = 1000

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
CAPABILITIES: dict[str, Capability] = {"chat": "chat", "responses": "chat", "image": "image"}

# What prompty v1, prompty v2 and Azure's own requests call each parameter.
OPTIONS = {name: name for name in Parameters.__struct_fields__} | {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "maxOutputTokens": "max_output_tokens",
    "topP": "top_p",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
    "stopSequences": "stop",
    "n": "images",
}
RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "max_output_tokens": (1, 1_000_000),
    "images": (1, 10),
}


class LoadedTemplate(NamedTuple):
    """A template with the fields that can clash with another's, so that the error names their lines; and
    the holes that only the file's sample fills.
    """

    template: Template
    parley: MappingReader
    match: MappingReader
    sampled: tuple[str, ...]


class _ModelPreference(NamedTuple):
    capability: Capability
    deployment: str | None
    parameters: Parameters


def read(path: Path) -> LoadedTemplate:
    """One template, checked as far as it can be checked alone. Raises TemplateError."""
    return _read(open_source(path, MOST_BYTES), path.stem, example_images.beside(path.parent))


def read_text(
    text: str, name: str, look: example_images.LoadImage = example_images.nowhere
) -> LoadedTemplate:
    """The same of a text that is no file yet; errors name it as `name.prompty`. Raises TemplateError."""
    source = SourceFile(f"{name}.prompty", text)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise source.error(1, "this is not UTF-8 text") from None
    if size > MOST_BYTES:
        raise source.error(1, f"the template has {size} bytes; at most {MOST_BYTES}")
    return _read(source, name, look)


def _read(source: SourceFile, name: str, look: example_images.LoadImage) -> LoadedTemplate:
    if not NAME.fullmatch(name):
        raise source.error(1, "a template is named with small letters, digits, - and _ (at most 64)")
    front, lines = front_matter(source)
    with front:
        front.ignore("name", "authors", "tags", "version", "kind")
        front.refuse("Parley's tools are listed under metadata.parley.tools", "tools")
        front.refuse("an answer is text for a person", "outputs")
        description = front.first_text("description", "displayName") or ""
        _check_format(front)
        samples = _samples(front.any("sample"))
        placeholders = {name: _placeholder(name, fields) for name, fields in front.entries("inputs")}
        preference = _model(front)
        parley = _parley(front.fields("metadata"))
        with parley:
            template, match = _with_parley(parley, name, description, preference)
    look = look if template.capability == "chat" else example_images.never
    received = parse_body(source, lines, placeholders, samples, look)
    speaks = template.capability == "chat" or template.rewrite is not None
    if speaks and not received.system and not received.examples:
        raise source.error(len(source.lines), "the template says nothing: it has no 'system:' text")
    template = msgspec.structs.replace(
        template, system=received.system, examples=received.examples, inputs=received.inputs
    )
    return LoadedTemplate(
        msgspec.structs.replace(template, digest=digest(template)), parley, match, received.sampled
    )


def _parley(metadata: MappingReader) -> MappingReader:
    """Parley's own fields; other tools keep theirs beside them."""
    for key in metadata:
        if key != "parley" and difflib.get_close_matches(key, ["parley"], 1, 0.7):
            raise metadata.error(key, f"unknown field {key!r}; did you mean 'parley'?")
    return metadata.fields("parley")


def _check_format(front: MappingReader) -> None:
    """`template` says how holes are written; a plain hole is the same in every format that prompty knows."""
    if isinstance(front.any("template"), str):
        return
    with front.fields("template") as template:
        template.ignore("format", "parser", "type")


def _placeholder(name: str, fields: MappingReader) -> Placeholder:
    with fields:
        fields.ignore("name", "description", "required", "example", "sample", "enumValues", "strict")
        kind = fields.first_text("kind", "type")
        default = fields.any("default")
        if default is not None and not isinstance(default, str | int | float):
            raise fields.error("default", f"the default of {name!r} must be text or a number")
    return Placeholder(None if default is None else str(default), kind == "thread")


def _samples(given: object) -> dict[str, str]:
    """What a file of the first version is tried with; its own tools fill holes with it that nobody fills."""
    if not isinstance(given, dict):
        return {}
    values = cast("dict[str, object]", given).items()
    return {name: str(value).strip() for name, value in values if isinstance(value, str | int | float)}


def _with_parley(
    parley: MappingReader, name: str, description: str, preference: _ModelPreference
) -> tuple[Template, MappingReader]:
    """The template but for its body, and the fields of its match."""
    match = parley.fields("match")
    capability = parley.text("capability")
    template = Template(
        name=name,
        digest="",
        description=description,
        capability=_capability(parley, "capability", capability) if capability else preference.capability,
        pool=parley.text("pool"),
        shots=parley.count("shots", MOST_SHOTS),
        tools=parley.texts("tools"),
        knowledge=parley.texts("knowledge"),
        deployment=parley.text("deployment") or preference.deployment,
        parameters=preference.parameters,
        match=_match(match),
        past_messages=parley.count("past_messages", MOST_PAST) if "past_messages" in parley else None,
        rewrite=_rewrite(parley),
        extra=parley.plain("extra"),
    )
    if template.rewrite is not None and template.capability != "image":
        raise parley.error(
            "rewrite", "only wishes for pictures are rewritten: this needs 'capability: image'"
        )
    if (template.pool is None) != (template.shots == 0):
        raise parley.error("shots", "'pool' and 'shots', how many of its examples to show, go together")
    return template, match


def _rewrite(parley: MappingReader) -> str | None:
    """Who rewrites a wish: anybody (true), or a deployment by name or tag."""
    if isinstance(parley.any("rewrite"), str):
        return parley.text("rewrite") or None
    return "" if parley.flag("rewrite") else None


def _capability(fields: MappingReader, key: str, value: str) -> Capability:
    if value not in CAPABILITIES:
        raise fields.error(key, f"a template is for 'chat' or 'image', not {value!r}")
    return CAPABILITIES[value]


def _match(fields: MappingReader) -> Match:
    with fields:
        match = Match(
            default=fields.flag("default"),
            commands=fields.texts("commands"),
            prefixes=fields.texts("prefixes"),
            channels=fields.texts("channels"),
        )
    for command in match.commands:
        if not command.replace("-", "").isalnum() or command != command.lower():
            words = f"{command!r} can't be a command: it is one word in small letters, without the slash"
            raise fields.error("commands", words)
    if any(not text.strip() for text in (*match.prefixes, *match.channels)):
        raise fields.error("prefixes", "a prefix or channel can't be empty")
    return match


def _model(front: MappingReader) -> _ModelPreference:
    """What `model` wishes for, in the words of either version; where models are is for the settings."""
    model = front.any("model")
    if isinstance(model, str):
        return _ModelPreference("chat", model, Parameters())
    with front.fields("model") as fields:
        fields.ignore("provider", "response")
        with fields.fields("connection") as connection:
            connection.ignore("kind", "endpoint", "authenticationMode", "usageDescription", "name", "target")
            _demand_no_key(connection, "apiKey")
        api = "apiType" if "apiType" in fields else "api"
        capability = _capability(fields, api, fields.first_text("apiType", "api") or "chat")
        with fields.fields("configuration") as configuration:
            configuration.ignore("type", "name", "azure_endpoint", "api_version", "base_url", "organization")
            _demand_no_key(configuration, "api_key")
            deployment = configuration.text("azure_deployment")
        deployment = next((one for one in (fields.text("id"), deployment) if one and "${" not in one), None)
        found = _options(fields.fields("parameters")) | _options(fields.fields("options"))
    return _ModelPreference(capability, deployment, msgspec.convert(found, Parameters))


def _demand_no_key(fields: MappingReader, name: str) -> None:
    """Where models are is for the settings, whatever a file says; but a key in a file is a mistake."""
    if not (fields.text(name) or "${").startswith("${"):
        raise fields.error(name, f"{name!r} can't be used here: keys are settings, and never stand in a file")


def _options(options: MappingReader) -> dict[str, object]:
    """The parameters by Parley's names, each checked by itself so that an error names its line."""
    found: dict[str, object] = {}
    options.refuse("an answer is text for a person", "response_format")
    options.refuse("Parley's tools are listed under metadata.parley.tools", "tools", "tool_choice")
    for key in options:
        if key == "additionalProperties":
            found |= _options(options.fields(key))
            continue
        field = OPTIONS.get(key)
        if field is None:
            raise options.error(key, f"unknown parameter {key!r}{nearest(key, OPTIONS)}")
        value = options.any(key)
        if field == "stop" and isinstance(value, str):
            value = [value]
        try:
            msgspec.convert({field: value}, Parameters)
        except msgspec.ValidationError as error:
            raise options.error(key, f"{key!r}: {str(error).partition(' - at')[0]}") from None
        low, high = RANGES.get(field, (-math.inf, math.inf))
        if isinstance(value, int | float) and not low <= value <= high:
            raise options.error(key, f"{key!r} must be from {low} to {high}")
        found[field] = value
    return found


def digest(template: Template) -> str:
    """Of what the template sends; not of what it answers, nor of where it would like to be answered."""
    silent = msgspec.structs.replace(
        template,
        name="",
        digest="",
        description="",
        deployment=None,
        # A copy: what is left out as a default is decided by identity.
        parameters=msgspec.structs.replace(template.parameters),
        match=Match(),
        extra={},
    )
    return hashlib.sha256(msgspec.json.encode(silent)).hexdigest()[:12]
