"""The JSON schema of a template's front matter, for editors."""

from typing import Any

from bot.domain.prompts import Match
from bot.prompts.prompty import CAPABILITIES, MOST_PAST, MOST_SHOTS, NAME, OPTIONS, RANGES

_TEXT = {"type": "string"}
_TEXTS = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_NUMBERS = {"temperature", "top_p", "presence_penalty", "frequency_penalty"}
_WHOLE = {"seed", "max_output_tokens", "images"}

_MATCH = {
    "default": "Answers everything that no other template claims; one template has it.",
    "commands": "Words in small letters, without the slash.",
    "prefixes": "Answers messages that begin with these words.",
    "channels": "Answers messages in these channels, by the platform's ids.",
}


def schema() -> dict[str, Any]:
    """What `bot.prompts.prompty` reads, as far as a schema can say it."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Front matter of a Parley template (.prompty)",
        **_fields(
            {
                "name": _TEXT,
                "displayName": _TEXT,
                "description": _text("What it does, in a few words; help shows it."),
                "model": {"anyOf": [_text("The deployment, by name or tag."), _model()]},
                "inputs": _inputs(),
                "metadata": {"type": "object", "properties": {"parley": _parley()}},
                "template": {},
                **dict.fromkeys(("authors", "tags", "version", "sample", "kind"), _ignored()),
            }
        ),
    }


def _model() -> dict[str, Any]:
    api = {"enum": sorted(CAPABILITIES)}
    configuration = {"azure_deployment": _text("The deployment (v1).")}
    ignored = ("type", "name", "azure_endpoint", "api_version", "base_url", "organization")
    no_key = {"type": "string", "pattern": r"^\$\{", "description": "Not used: keys are settings."}
    configuration |= {**dict.fromkeys(ignored, _ignored()), "api_key": no_key}
    kept = ("kind", "endpoint", "authenticationMode", "usageDescription", "name", "target")
    connection = {**dict.fromkeys(kept, _ignored()), "apiKey": no_key}
    return _fields(
        {
            "id": _text("The deployment, by name or tag."),
            "apiType": api,
            "api": api,
            "options": _options(),
            "parameters": _options(),
            "configuration": _fields(configuration),
            "connection": _fields(connection),
            "provider": _ignored(),
            "response": _ignored(),
        }
    )


def _options() -> dict[str, Any]:
    options = {name: _option(field) for name, field in OPTIONS.items()}
    return _fields({**options, "additionalProperties": _fields(options)})


def _option(field: str) -> dict[str, Any]:
    if field == "stop":
        return _TEXTS
    if field not in _NUMBERS | _WHOLE:
        return _TEXT
    low, high = RANGES.get(field, (None, None))
    kind = "number" if field in _NUMBERS else "integer"
    return {"type": kind, **({} if low is None else {"minimum": low, "maximum": high})}


def _inputs() -> dict[str, Any]:
    default = {"type": ["string", "number", "null"]}
    fields = {
        "default": default,
        "kind": _text("`thread` stands for the conversation."),
        "type": _TEXT,
        **dict.fromkeys(
            ("name", "description", "required", "example", "sample", "enumValues", "strict"), _ignored()
        ),
    }
    one = _fields(fields)
    return {
        "description": "The holes of the text, with their defaults.",
        "anyOf": [
            {"type": "object", "additionalProperties": {"anyOf": [default, one]}},
            {"type": "array", "items": {**one, "required": ["name"]}},
        ],
    }


def _parley() -> dict[str, Any]:
    match = {name: {**_TEXTS, "description": _MATCH[name]} for name in Match.__struct_fields__}
    match["default"] = {"type": "boolean", "description": _MATCH["default"]}
    return _fields(
        {
            "capability": {"enum": sorted(CAPABILITIES), "description": "`image`: the answer is a picture."},
            "match": _fields(match),
            "deployment": _text("The deployment, by name or tag, that should answer."),
            "pool": {
                **_text("Shows the nearest examples of pools/NAME.jsonl."),
                "pattern": f"^{NAME.pattern}$",
            },
            "shots": _count("How many examples of the pool.", MOST_SHOTS),
            "past_messages": _count("At most so many messages of the conversation.", MOST_PAST),
            "rewrite": {
                "anyOf": [{"type": "boolean"}, _TEXT],
                "description": "Pictures: a chat deployment (true: any; or by name or tag) first rewrites "
                "the wish by this template's text.",
            },
            "tools": {**_TEXTS, "description": "Tools that the model may call."},
            "knowledge": {**_TEXTS, "description": "Texts, knowledge/NAME.md, whose passages are shown."},
            "extra": {"type": "object", "description": "Fields of an imported set-up, kept for its export."},
        }
    )


def _fields(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _text(description: str) -> dict[str, Any]:
    return {**_TEXT, "description": description}


def _count(description: str, most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": most, "description": description}


def _ignored() -> dict[str, Any]:
    return {"description": "Read by other tools; it changes nothing here."}
