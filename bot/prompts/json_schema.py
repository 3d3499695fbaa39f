"""The JSON schema of a template's front matter, for editors."""

from typing import Any

from bot.domain.prompts import Match
from bot.prompts.imports.models import CAPABILITIES, CONFIGURATION, CONNECTION, NOT_USED, OPTIONS, RANGES
from bot.prompts.prompty import MOST_PAST, MOST_SHOTS, NAME
from bot.prompts.prompty import NOT_USED as NOT_USED_FIELDS

_TEXT = {"type": "string"}
_TEXTS = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_NUMBERS = {"temperature", "top_p", "presence_penalty", "frequency_penalty"}
_WHOLE = {"seed", "max_output_tokens", "images"}
_IGNORED = {"description": "Used by other tools. Parley ignores it."}
_MATCH = {
    "default": "Answers everything that no other template matches. Exactly one template has it.",
    "commands": "Command words in lower case, without the slash.",
    "prefixes": "Answers messages that begin with these words and a colon.",
    "channels": "Answers messages in these channels. Use the platform's channel ids.",
}


def schema() -> dict[str, Any]:
    """The schema of what `bot.prompts.prompty` accepts, as far as JSON schema can express it."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Front matter of a Parley template (.prompty)",
        **_fields(
            {
                "name": _TEXT,
                "displayName": _TEXT,
                "description": _text("What the template does, in a few words. Shown by help."),
                "model": {"anyOf": [_text("The deployment, by name or tag."), _model()]},
                "inputs": _inputs(),
                "metadata": {"type": "object", "properties": {"parley": _parley()}},
                "template": {},
                **dict.fromkeys(("authors", "tags", "version", "sample", "kind", *NOT_USED_FIELDS), _IGNORED),
            }
        ),
    }


def _model() -> dict[str, Any]:
    api = {"enum": sorted(CAPABILITIES)}
    configuration = {"azure_deployment": _text("The deployment (v1).")}
    no_key = {"type": "string", "pattern": r"^\$\{", "description": "Not used. Set keys in the settings."}
    configuration |= {**dict.fromkeys(CONFIGURATION, _IGNORED), "api_key": no_key}
    connection = {**dict.fromkeys(CONNECTION, _IGNORED), "apiKey": no_key, "api_key": no_key}
    connection |= {"azure_deployment": _text("The deployment (v1).")}
    return _fields(
        {
            "id": _text("The deployment, by name or tag."),
            "apiType": api,
            "api": api,
            "options": _options(),
            "parameters": _options(),
            "configuration": _fields(configuration),
            "connection": {"anyOf": [_IGNORED | _TEXT, _fields(connection)]},
            "provider": _IGNORED,
            "response": _IGNORED,
        }
    )


def _options() -> dict[str, Any]:
    options = {name: _option(field) for name, field in OPTIONS.items()}
    options |= dict.fromkeys(NOT_USED, _IGNORED)
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
    default = {"type": ["string", "number", "boolean", "array", "object", "null"]}
    fields = {
        "default": default,
        "kind": _text("`thread`: the conversation history."),
        "type": _TEXT,
        **dict.fromkeys(
            ("name", "description", "required", "example", "sample", "enumValues", "strict"), _IGNORED
        ),
        "is_chat_input": {"type": "boolean", "description": "The placeholder stands for the question."},
        "is_chat_history": {"type": "boolean", "description": "The placeholder stands for the history."},
    }
    entry = _fields(fields)
    plain = {"type": ["string", "number", "boolean", "array", "null"]}
    return {
        "description": "The placeholders of the system message, with their defaults.",
        "anyOf": [
            {"type": "object", "additionalProperties": {"anyOf": [plain, entry]}},
            {"type": "array", "items": {**entry, "required": ["name"]}},
        ],
    }


def _parley() -> dict[str, Any]:
    match = {name: {**_TEXTS, "description": _MATCH[name]} for name in Match.__struct_fields__}
    match["default"] = {"type": "boolean", "description": _MATCH["default"]}
    return _fields(
        {
            "capability": {"enum": sorted(CAPABILITIES), "description": "`image`: generates images."},
            "match": _fields(match),
            "deployment": _text("The preferred deployment, by name or tag."),
            "pool": {
                **_text("Adds the nearest examples of pools/NAME.jsonl."),
                "pattern": f"^{NAME.pattern}$",
            },
            "shots": _count("Number of examples from the pool.", MOST_SHOTS),
            "past_messages": _count("Maximum number of history messages.", MOST_PAST),
            "rewrite": {
                "anyOf": [{"type": "boolean"}, _TEXT],
                "description": "Images: a chat deployment (true: any; or its name or tag) first rewrites "
                "the request with this template's system message.",
            },
            "tools": {**_TEXTS, "description": "Tools that the model may call."},
            "knowledge": {**_TEXTS, "description": "Adds the nearest passages of knowledge/NAME.md."},
            "extra": {"type": "object", "description": "Fields of an imported setup, kept for its export."},
        }
    )


def _fields(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _text(description: str) -> dict[str, Any]:
    return {**_TEXT, "description": description}


def _count(description: str, most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": most, "description": description}
