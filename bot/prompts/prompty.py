"""Reads `.prompty` files, of either version of the format, into templates."""

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
from bot.prompts.imports.secrets import without_secrets

MOST_BYTES = 64 * 1024
MOST_SHOTS = 50
MOST_PAST = 1000

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
CAPABILITIES: dict[str, Capability] = {"chat": "chat", "responses": "chat", "image": "image"}

# Parameter names in prompty v1, prompty v2 and requests to Azure.
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
    """A template, the fields needed for errors about conflicts, and the placeholders filled by a sample only."""

    template: Template
    parley: MappingReader
    match: MappingReader
    sampled: tuple[str, ...]


class _ModelPreference(NamedTuple):
    capability: Capability
    deployment: str | None
    parameters: Parameters


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
    if not NAME.fullmatch(name):
        raise source.error(1, "a template name has lower-case letters, digits, - and _ (at most 64)")
    front, lines = front_matter(source)
    with front:
        front.ignore("name", "authors", "tags", "version", "kind")
        front.refuse("list tools under metadata.parley.tools", "tools")
        front.refuse("answers are always text", "outputs")
        description = front.first_text("description", "displayName") or ""
        _check_format(front)
        samples = _samples(front.any("sample"))
        placeholders = {name: _placeholder(name, fields) for name, fields in front.entries("inputs")}
        preference = _model(front)
        parley = _parley(front.fields("metadata"))
        with parley:
            template, match = _with_parley(parley, name, description, preference)
    load_image = load_image if template.capability == "chat" else example_images.no_images
    body = parse_body(source, lines, placeholders, samples, load_image)
    needs_text = template.capability == "chat" or template.rewrite is not None
    if needs_text and not body.system and not body.examples:
        raise source.error(len(source.lines), "the template is empty: add text under 'system:'")
    template = msgspec.structs.replace(
        template, system=body.system, examples=body.examples, inputs=body.inputs
    )
    return LoadedTemplate(
        msgspec.structs.replace(template, digest=digest(template)), parley, match, body.sampled
    )


def _parley(metadata: MappingReader) -> MappingReader:
    """The fields of Parley; `metadata` may have those of other tools as well."""
    for key in metadata:
        if key != "parley" and difflib.get_close_matches(key, ["parley"], 1, 0.7):
            raise metadata.error(key, f"unknown field {key!r}; did you mean 'parley'?")
    return metadata.fields("parley")


def _check_format(front: MappingReader) -> None:
    """Accept any `template` format: plain placeholders are the same in all formats of prompty."""
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
    """The `sample` of a file of the first version, whose values replace missing defaults."""
    if not isinstance(given, dict):
        return {}
    values = cast("dict[str, object]", given).items()
    return {name: str(value).strip() for name, value in values if isinstance(value, str | int | float)}


def _with_parley(
    parley: MappingReader, name: str, description: str, preference: _ModelPreference
) -> tuple[Template, MappingReader]:
    """The template without its body, and the fields of its match."""
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
        extra=without_secrets(parley.plain("extra")),
    )
    if template.rewrite is not None and template.capability != "image":
        raise parley.error("rewrite", "'rewrite' needs 'capability: image'")
    if (template.pool is None) != (template.shots == 0):
        raise parley.error("shots", "'pool' and 'shots' (the number of its examples) must be used together")
    return template, match


def _rewrite(parley: MappingReader) -> str | None:
    """The deployment that rewrites image requests, by name or tag; "" for any (true), None for none."""
    if isinstance(parley.any("rewrite"), str):
        return parley.text("rewrite") or None
    return "" if parley.flag("rewrite") else None


def _capability(fields: MappingReader, key: str, value: str) -> Capability:
    if value not in CAPABILITIES:
        raise fields.error(key, f"{value!r} is not supported; use 'chat' or 'image'")
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
            words = f"{command!r} can't be a command: use one lower-case word, without the slash"
            raise fields.error("commands", words)
    if any(not text.strip() for text in (*match.prefixes, *match.channels)):
        raise fields.error("prefixes", "a prefix or channel can't be empty")
    return match


def _model(front: MappingReader) -> _ModelPreference:
    """What `model` asks for, in either version. Endpoints are ignored: they belong in the settings."""
    model = front.any("model")
    if isinstance(model, str):
        return _ModelPreference("chat", model, Parameters())
    with front.fields("model") as fields:
        fields.ignore("provider", "response")
        with fields.fields("connection") as connection:
            connection.ignore("kind", "endpoint", "authenticationMode", "usageDescription", "name", "target")
            _check_no_key(connection, "apiKey")
        api = "apiType" if "apiType" in fields else "api"
        capability = _capability(fields, api, fields.first_text("apiType", "api") or "chat")
        with fields.fields("configuration") as configuration:
            configuration.ignore("type", "name", "azure_endpoint", "api_version", "base_url", "organization")
            _check_no_key(configuration, "api_key")
            deployment = configuration.text("azure_deployment")
        names = (fields.text("id"), deployment)
        deployment = next((name for name in names if name and "${" not in name), None)
        found = _options(fields.fields("parameters")) | _options(fields.fields("options"))
    return _ModelPreference(capability, deployment, msgspec.convert(found, Parameters))


def _check_no_key(fields: MappingReader, name: str) -> None:
    """Allow a reference such as `${env:KEY}`, which is ignored, but no key."""
    if not (fields.text(name) or "${").startswith("${"):
        raise fields.error(name, f"{name!r} must not contain a key; set keys in the settings")


def _options(options: MappingReader) -> dict[str, object]:
    """The parameters by Parley's names, checked one by one so that an error has its line number."""
    found: dict[str, object] = {}
    options.refuse("answers are always text", "response_format")
    options.refuse("list tools under metadata.parley.tools", "tools", "tool_choice")
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
