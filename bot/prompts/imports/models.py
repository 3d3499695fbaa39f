"""Reads what `model` asks for, in every version of `.prompty`: the deployment and the parameters."""

import difflib
import math
from typing import NamedTuple

import msgspec

from bot.domain.prompts import Capability, Parameters
from bot.prompts.front_matter import MappingReader, SourceFile, nearest

CAPABILITIES: dict[str, Capability] = {"chat": "chat", "responses": "chat", "image": "image"}

# Parameter names in prompty v1, prompty v2 and requests to Azure.
OPTIONS = {name: name for name in Parameters.__struct_fields__} | {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "maxOutputTokens": "max_output_tokens",
    "maxTokens": "max_output_tokens",
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
NOT_USED = (
    "stream",
    "response_format",
    "responseFormat",
    "tools",
    "tool_choice",
    "toolChoice",
    "parallel_tool_calls",
    "allowMultipleToolCalls",
    "functions",
    "function_call",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "user",
    "top_k",
    "topK",
    "model",
    "model_id",
    "deployment_name",
    "timeout",
    "extra_headers",
)
"""Parameters of other tools that change nothing here."""
_OTHER_APIS = ("agent", "assistant", "completion", "completions", "prompt", "serverless", "text")
CONNECTION = (
    "kind",
    "type",
    "endpoint",
    "authenticationMode",
    "usageDescription",
    "name",
    "target",
    "azure_endpoint",
)
CONFIGURATION = ("type", "name", "azure_endpoint", "api_version", "base_url", "organization", "connection")
_KEYS = ("apiKey", "api_key", "key")
_NEAR = 0.85


class ModelPreference(NamedTuple):
    """What a file asks for; `deployment` is a name or a tag."""

    capability: Capability
    deployment: str | None
    parameters: Parameters


def model_of(source: SourceFile, front: MappingReader) -> ModelPreference:
    """What `model` asks for, in either version. Endpoints are ignored: they belong in the settings.

    Problems are collected in the source.
    """
    model = front.any("model")
    if isinstance(model, str):
        return ModelPreference("chat", None if _is_reference(source, front, "model") else model, Parameters())
    found: dict[str, object] = {}
    names: list[str | None] = []
    capability: Capability = "chat"
    with source.collecting(), front.fields("model") as fields:
        fields.ignore("provider", "response")
        api = "apiType" if "apiType" in fields else "api"
        asked = source.attempt(None, fields.first_text, "apiType", "api") or "chat"
        capability = source.attempt("chat", _api, source, fields, api, asked)
        names.append(source.attempt(None, fields.text, "id"))
        names.append(source.attempt(None, _place, source, fields, "configuration", CONFIGURATION))
        names.append(source.attempt(None, _place, source, fields, "connection", CONNECTION))
        for key in ("parameters", "options"):
            if not _is_reference(source, fields, key):
                found |= source.attempt({}, _options, source, fields, key)
    deployment = next((name for name in names if name and "${" not in name), None)
    return ModelPreference(capability, deployment, msgspec.convert(found, Parameters))


def capability_of(fields: MappingReader, key: str, value: str) -> Capability:
    """The capability by the name of an API. Raises TemplateError for those that can't answer."""
    if value not in CAPABILITIES:
        raise fields.error(key, f"{value!r} is not supported; use 'chat' or 'image'")
    return CAPABILITIES[value]


def _api(source: SourceFile, fields: MappingReader, key: str, value: str) -> Capability:
    if value.lower() in _OTHER_APIS:
        source.note(fields.line(key), f"the API {value!r} is not used: the chat API is")
        return "chat"
    return capability_of(fields, key, value.lower() if source.foreign else value)


def _is_reference(source: SourceFile, fields: MappingReader, key: str) -> bool:
    """Whether a field is the name of a file or variable, which is not read."""
    value = fields.any(key)
    mapped = key in ("configuration", "connection", "parameters", "options")
    if not isinstance(value, str) or not ((source.foreign and mapped) or "${" in value):
        return False
    source.note(fields.line(key), f"{key!r} refers to something else, which is not read")
    return True


def _place(source: SourceFile, fields: MappingReader, key: str, ignored: tuple[str, ...]) -> str | None:
    """The deployment that `configuration` or `connection` names. Keys are refused, references to them are not."""
    if _is_reference(source, fields, key):
        return None
    with fields.fields(key) as place:
        place.ignore(*ignored)
        for name in _KEYS:
            value = place.any(name)
            if value and not str(value).lstrip().startswith(("${", "<")):
                raise place.error(name, f"{name!r} must not contain a key; set keys in the settings")
        return place.text("azure_deployment")


def _options(source: SourceFile, fields: MappingReader, key: str) -> dict[str, object]:
    """The parameters by Parley's names, checked one by one so that an error has its line number."""
    options = fields.fields(key)
    found: dict[str, object] = {}
    for name in options:
        if name == "additionalProperties":
            found |= source.attempt({}, _options, source, options, name)
        elif name in NOT_USED or (
            source.foreign and name not in OPTIONS and not difflib.get_close_matches(name, OPTIONS, 1, _NEAR)
        ):
            options.note(name)
        elif not _is_reference(source, options, name) or OPTIONS.get(name) not in RANGES:
            with source.collecting():
                found |= _option(options, name)
    return found


def _option(options: MappingReader, key: str) -> dict[str, object]:
    field = OPTIONS.get(key)
    if field is None:
        raise options.error(key, f"unknown parameter {key!r}{nearest(key, OPTIONS)}")
    value = options.any(key)
    if value is None:
        return {}
    if field == "stop" and isinstance(value, str):
        value = [value]
    try:
        msgspec.convert({field: value}, Parameters)
    except msgspec.ValidationError as error:
        raise options.error(key, f"{key!r}: {str(error).partition(' - at')[0]}") from None
    low, high = RANGES.get(field, (-math.inf, math.inf))
    if isinstance(value, int | float) and not low <= value <= high:
        raise options.error(key, f"{key!r} must be from {low} to {high}")
    return {field: value}
