"""Converts templates to and from `.prompty` text, chat setups of Azure OpenAI Studio, and chat JSONL."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

import msgspec
import yaml

from bot.domain.errors import TemplateError
from bot.domain.prompts import Example, Template
from bot.prompts import example_images
from bot.prompts.imports.bodies import has_code
from bot.prompts.imports.secrets import secret_paths, without_secrets
from bot.prompts.prompty import MOST_BYTES, read_text

# Parameter names in a chat setup. The misspelling is Azure's; the correct spelling is accepted, too.
_STUDIO = {
    "maxResponseLength": "max_output_tokens",
    "temperature": "temperature",
    "topProbablities": "top_p",
    "stopSequences": "stop",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
}
_SPELT_RIGHT = "topProbabilities"
_PROMPTY = {
    "temperature": "temperature",
    "top_p": "topP",
    "max_output_tokens": "maxOutputTokens",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
    "seed": "seed",
    "stop": "stopSequences",
}
_OURS = "parley"
_SETUP = {"systemPrompt", "chatParameters", "fewShotExamples"}
_TEXTS = {"systemPrompt", "fewShotExamples", "messages"}
"""Fields that become the text of a template."""


# ------------------------------------------------------------------ .prompty


def to_prompty(template: Template) -> str:
    """The template as `.prompty` text of the second version, from which it can be read back unchanged.

    Only whitespace around texts and the type of line ends are lost. Raises TemplateError for texts that the
    format can't express, such as a line `user:` in an example, and for anything invalid in a file.
    """
    template = _tidy(template)
    front = _front(template)
    if len(msgspec.json.encode(front)) > MOST_BYTES:  # writing YAML takes seconds per megabyte
        raise TemplateError(f"{template.name}.prompty: the front matter would exceed {MOST_BYTES} bytes")
    written = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=100) if front else ""
    text = f"---\n{written}---\n{_body(template)}"
    read = read_text(text, template.name, example_images.from_examples(template.examples)).template
    expected = msgspec.structs.replace(template, digest=read.digest)
    if example_images.without_images(read.examples) == example_images.without_images(template.examples):
        expected = msgspec.structs.replace(expected, examples=read.examples)
    for field in Template.__struct_fields__:
        if getattr(read, field) != getattr(expected, field):
            raise TemplateError(f"{template.name}.prompty: {_unwritable(field, read, expected)}")
    return text


def _tidy(template: Template) -> Template:
    """Without whitespace around texts and with plain line ends, as the format keeps them, and without secrets."""
    examples = tuple(
        msgspec.structs.replace(example, user=_plain(example.user), assistant=_plain(example.assistant))
        for example in template.examples
    )
    extra = without_secrets(template.extra)
    texts = {"system": _plain(template.system), "question": _plain(template.question)}
    return msgspec.structs.replace(template, **texts, examples=examples, extra=extra)


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _front(template: Template) -> dict[str, Any]:
    """The front matter, without fields that have their default."""
    parley = _bare(
        {
            "capability": template.capability if template.capability != "chat" else None,
            "pool": template.pool,
            "shots": template.shots,
            "past_messages": template.past_messages,
            "rewrite": template.rewrite if template.rewrite != "" else True,
            "tools": template.tools,
            "knowledge": template.knowledge,
            "match": msgspec.to_builtins(template.match),
            "extra": template.extra,
        }
    )
    # Without any field of Parley's, code in an example would be taken for that of another tool, and run.
    coded = any(has_code(f"{each.user}\n{each.assistant}") for each in template.examples)
    metadata = {_OURS: parley} if parley or coded else {}
    given: dict[str, Any] = msgspec.to_builtins(template.parameters)
    options = {_PROMPTY[name]: value for name, value in given.items() if name in _PROMPTY}
    options |= _bare({"additionalProperties": {k: v for k, v in given.items() if k not in _PROMPTY}})
    return _bare(
        {
            "description": template.description,
            "model": _bare({"id": template.deployment, "options": options}),
            "inputs": {name: {"default": value} for name, value in template.inputs.items()},
            "metadata": metadata,
        }
    )


def _bare(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without empty fields; 0 is only empty for `shots`."""
    return {
        name: list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value
        for name, value in fields.items()
        if value not in (None, "", (), {}) and (name, value) != ("shots", 0)
    }


def _body(template: Template) -> str:
    blocks = [f"system:\n{template.system}\n"] if template.system else []
    for example in template.examples:
        blocks += [f"user:\n{example.user}\n", f"assistant:\n{example.assistant}\n"]
    blocks += [f"user:\n{template.question}\n"] if template.question else []
    return "\n".join(blocks)


def _unwritable(field: str, read: Template, expected: Template) -> str:
    if field == "examples":
        for number, (actual, other) in enumerate(zip(read.examples, expected.examples, strict=False), 1):
            if actual != other:
                why = "it has tags" if other.tags else "a line would be read as a role, such as 'user:'"
                return f"example {number} can't be written: {why}"
    if field in ("system", "examples", "question"):
        return f"the {field} can't be written: a line would be read as a role, such as 'user:'"
    return f"{field} {getattr(expected, field)!r} can't be expressed in this format"


def diff(old: Template, new: Template) -> str:
    """A unified diff of two templates as `.prompty`; empty if they are equal. Raises TemplateError."""
    before, after = (to_prompty(template).splitlines() for template in (old, new))
    return "\n".join(difflib.unified_diff(before, after, old.version, new.version, lineterm=""))


# ------------------------------------------------------------------ Azure OpenAI Studio


def from_studio(data: bytes, name: str) -> Template:
    """The template of a chat setup exported from the playground. Raises TemplateError.

    Whitespace around texts and empty examples are dropped; unknown fields are kept in `extra` for the export,
    without what may be a secret (see `left_out`).
    """
    setup = _setup(data, name)
    ours = _object(name, setup.pop(_OURS, None), _OURS)
    chat = _object(name, setup.pop("chatParameters", None), "chatParameters")
    parameters = _parameters(name, chat)
    past = _count(name, chat.pop("pastMessagesToInclude", None))
    deployment = _text(name, chat.pop("deploymentName", None), "deploymentName")
    system = _text(name, setup.pop("systemPrompt", None), "systemPrompt")
    examples = tuple(_rows(name, setup.pop("fewShotExamples", None)))
    extra: dict[str, Any] = setup | ({"chatParameters": chat} if chat else {})
    fields = ours | parameters
    fields["parameters"] = _object(name, ours.get("parameters"), "parameters") | parameters["parameters"]
    fields |= {"name": name, "digest": "", "system": system, "extra": extra, "past_messages": past}
    fields |= {"deployment": deployment or None, "examples": examples}
    return _template(name, fields)


def to_studio(template: Template) -> bytes:
    """The chat setup for import into the playground; fields that it does not have go under `parley`.

    Raises TemplateError for image templates and examples with images, which the chat playground can't import.
    """
    if template.capability != "chat":
        raise TemplateError(f"{template.name}: image templates can't be exported as a chat setup")
    _check_text_only(template, "a chat setup")
    given: dict[str, Any] = msgspec.to_builtins(template.parameters)
    chat: dict[str, Any] = {"deploymentName": template.deployment or ""}
    for theirs, mine in _STUDIO.items():
        if mine in given or theirs == "stopSequences":
            chat[theirs] = given.pop(mine, None)
    if template.past_messages is not None:
        chat["pastMessagesToInclude"] = template.past_messages
    extra = without_secrets(template.extra)
    chat |= extra.pop("chatParameters", {})
    setup: dict[str, Any] = {
        "systemPrompt": template.system,
        "fewShotExamples": [
            {"userInput": example.user, "chatbotResponse": example.assistant} for example in template.examples
        ],
        "chatParameters": chat,
        **extra,
    }
    exported = {"name", "digest", "system", "examples", "deployment", "past_messages", "extra", "parameters"}
    ours = _ours(template, exported) | ({"parameters": given} if given else {})
    encoded = msgspec.json.encode(setup | ({_OURS: ours} if ours else {}))
    return msgspec.json.format(encoded, indent=2) + b"\n"


def _setup(data: bytes, name: str) -> dict[str, Any]:
    setup = _decode(data, name)
    if not isinstance(setup, dict) or not _SETUP & setup.keys():
        words = "it has neither 'systemPrompt' nor 'fewShotExamples' nor 'chatParameters'"
        raise TemplateError(f"{name}: not a chat setup of Azure OpenAI Studio: {words}")
    return cast("dict[str, Any]", setup)


def _parameters(name: str, chat: dict[str, Any]) -> dict[str, Any]:
    """Remove the parameters from a setup and return them, without nulls."""
    if _SPELT_RIGHT in chat:
        chat.setdefault("topProbablities", chat.pop(_SPELT_RIGHT))
        chat.pop(_SPELT_RIGHT, None)
    found = {mine: chat.pop(theirs) for theirs, mine in _STUDIO.items() if theirs in chat}
    if isinstance(found.get("stop"), str):
        found["stop"] = [found["stop"]]
    return {"parameters": {mine: value for mine, value in found.items() if value is not None}}


def _count(name: str, value: object) -> int | None:
    """`pastMessagesToInclude`, a number or a text with a number."""
    if value is None or value == "":
        return None
    try:
        return int(cast("str | int", value))
    except (TypeError, ValueError):
        raise TemplateError(f"{name}: 'pastMessagesToInclude' is {value!r}, not a number") from None


def _rows(name: str, rows: object) -> Iterator[Example]:
    if rows is not None and not isinstance(rows, list):
        raise TemplateError(f"{name}: 'fewShotExamples' must be a list")
    for number, row in enumerate(cast("list[object]", rows or []), 1):
        where = f"fewShotExamples, number {number}"
        fields = _object(name, row, where)
        user, assistant = (
            _text(name, fields.pop(key, None), f"{key} of {where}")
            for key in ("userInput", "chatbotResponse")
        )
        if fields:
            raise TemplateError(f"{name}: unknown field {next(iter(fields))!r} in {where}")
        if bool(user) != bool(assistant):
            raise TemplateError(f"{name}: {where} needs both 'userInput' and 'chatbotResponse'")
        if user:
            yield Example(user=user, assistant=assistant)


# ------------------------------------------------------------------ chat JSONL


class _JsonlMessage(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["system", "developer", "user", "assistant"]
    content: str
    weight: Literal[1] | None = None


class _JsonlLine(msgspec.Struct, forbid_unknown_fields=True):
    messages: list[_JsonlMessage]
    parley: dict[str, Any] = {}


def from_jsonl(data: bytes, name: str) -> Template:
    """The template of chat examples, `{"messages": [...]}` on each line: a system message and examples.

    Raises TemplateError with the line number.
    """
    fields: dict[str, Any] = {}
    systems: list[str] = []
    examples: list[Example] = []
    for number, line in enumerate(_read(data, name).split("\n"), 1):
        if not line.strip():
            continue
        try:
            read = msgspec.json.decode(line, type=_JsonlLine)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise TemplateError(f"{name}:{number}: not a valid chat example: {error}") from None
        fields |= read.parley
        system = [message for message in read.messages if message.role in ("system", "developer")]
        systems += [_plain(message.content) for message in system]
        pairs = [message for message in read.messages if message.role in ("user", "assistant")]
        if [message.role for message in pairs] != ["user", "assistant"] * (len(pairs) // 2):
            raise TemplateError(f"{name}:{number}: examples are pairs of a 'user' and an 'assistant' message")
        examples += [
            Example(user=user.content, assistant=answer.content)
            for user, answer in zip(pairs[::2], pairs[1::2], strict=True)
        ]
    if len(set(systems)) > 1:
        raise TemplateError(f"{name}: the lines have different system messages; a template has one")
    fields |= {"name": name, "digest": "", "system": next(iter(systems), ""), "examples": examples}
    return _template(name, fields)


def to_jsonl(template: Template) -> str:
    """A line per example, with the system message; the first line has all other fields under `parley`.

    Raises TemplateError for examples with images.
    """
    _check_text_only(template, "chat JSONL")
    system = [{"role": "system", "content": template.system}] if template.system else []
    lines: list[dict[str, Any]] = [
        {
            "messages": [
                *system,
                {"role": "user", "content": example.user},
                {"role": "assistant", "content": example.assistant},
            ]
        }
        for example in template.examples
    ] or [{"messages": system}]
    ours = _ours(template, {"name", "digest", "system", "examples"})
    if ours:
        lines[0][_OURS] = ours
    return "".join(msgspec.json.encode(line).decode() + "\n" for line in lines)


# ------------------------------------------------------------------ shared


def _check_text_only(template: Template, form: str) -> None:
    if any(example.images for example in template.examples):
        words = f"an example has an image, which {form} does not support; export it as .prompty"
        raise TemplateError(f"{template.name}: {words}")


def _ours(template: Template, exported: set[str]) -> dict[str, Any]:
    """The fields of a template that the other format does not have."""
    fields: dict[str, Any] = msgspec.to_builtins(template)
    fields["extra"] = without_secrets(template.extra)
    return {name: value for name, value in fields.items() if name not in exported and value != {}}


def _template(name: str, fields: dict[str, Any]) -> Template:
    """A template with its digest, checked like a file."""
    unknown = fields.keys() - set(Template.__struct_fields__)
    if unknown:
        raise TemplateError(f"{name}: unknown field {min(unknown)!r} in {_OURS}")
    fields["examples"] = msgspec.to_builtins(fields["examples"])
    try:
        given = {name: value for name, value in fields.items() if value is not None}
        template = msgspec.convert(given, Template)
    except msgspec.ValidationError as error:
        raise TemplateError(f"{name}: {error}") from None
    return read_text(to_prompty(template), name).template


def _read(data: bytes, name: str) -> str:
    if len(data) > MOST_BYTES:
        raise TemplateError(f"{name}: the file has {len(data)} bytes; the limit is {MOST_BYTES}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TemplateError(f"{name}: not UTF-8 text") from None


def _decode(data: bytes, name: str) -> object:
    try:
        return msgspec.json.decode(_read(data, name))
    except (msgspec.DecodeError, RecursionError) as error:
        raise TemplateError(f"{name}: not valid JSON: {error}") from None


def _object(name: str, value: object, what: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise TemplateError(f"{name}: {what} must be a JSON object")
    return dict(cast("dict[str, Any]", value or {}))


def _text(name: str, value: object, what: str) -> str:
    if value is not None and not isinstance(value, str):
        raise TemplateError(f"{name}: {what} must be text")
    return _plain(value or "")


def read(file: str, data: bytes, name: str) -> Template:
    """The template of chat examples (`file` ends in .jsonl) or of a chat setup. Raises TemplateError."""
    return from_jsonl(data, name) if file.endswith(".jsonl") else from_studio(data, name)


def left_out(file: str, data: bytes) -> tuple[str, ...]:
    """The fields of an imported file that were not kept because they may be secrets; not their values."""
    lines = data.splitlines() if file.endswith(".jsonl") else [data]
    found: list[str] = []
    for line in lines:
        try:
            fields = msgspec.json.decode(line.removeprefix(b"\xef\xbb\xbf"))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue
        if isinstance(fields, dict):
            kept = cast("dict[str, object]", fields)
            found += secret_paths({key: value for key, value in kept.items() if key not in _TEXTS})
    return tuple(dict.fromkeys(found))


def write(template: Template, form: str) -> str:
    """The template as prompty, jsonl, or else as a chat setup of Azure OpenAI Studio. Raises TemplateError."""
    if form == "jsonl":
        return to_jsonl(template)
    return to_prompty(template) if form == "prompty" else to_studio(template).decode()
