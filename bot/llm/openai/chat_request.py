"""Builds the JSON request of a chat deployment from a prompt."""

import base64
import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec

from bot.domain.prompts import Image, Message, Part, Prompt, Text, ToolCall, ToolResult
from bot.domain.turns import Deployment
from bot.llm.catalog.catalog import host_of, is_azure
from bot.llm.failures.lessons import EFFORT_NONE, NO_DEVELOPER, NO_SYSTEM, TOOL, output_limit

# Optional parameters: if a model refuses one, the request is repeated without it.
OPTIONAL = frozenset(
    {
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "stop",
        "reasoning_effort",
        "verbosity",
        "stream_options",
        "size",
        "quality",
        "style",
        "background",
        "response_format",
        "output_format",
        "stream",
        "partial_images",
        "n",
        "encoding_format",
        "prompt_cache_key",
        "tools",
    }
)

_ID_CHARACTERS = 40
"""OpenAI refuses longer ids of tool calls ("string too long", microsoft/autogen#6377)."""


def chat_body(prompt: Prompt, deployment: Deployment, refused: Collection[str]) -> dict[str, Any]:
    """The body of a streaming request, without parameters that this deployment has refused."""
    asked = prompt.parameters
    limits = [most for most in (asked.max_output_tokens, output_limit(refused)) if most]
    most = _ID_CHARACTERS if _is_openai(deployment) else None
    messages = [wired for message in prompt.messages for wired in _message(message, most)]
    body: dict[str, Any] = {
        "model": deployment.name,
        "messages": _roles(messages, refused),
        "stream": True,
        "stream_options": {"include_usage": True},
        # the newer name is only used for models that refuse the older one, which all servers know
        "max_completion_tokens" if "max_tokens" in refused else "max_tokens": min(limits, default=None)
        if asked.max_output_tokens
        else None,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "presence_penalty": asked.presence_penalty,
        "frequency_penalty": asked.frequency_penalty,
        "seed": asked.seed,
        "stop": list(asked.stop) or None,
        "reasoning_effort": asked.reasoning_effort,
        "verbosity": asked.verbosity,
        "prompt_cache_key": cache_key(prompt.sticky, deployment),
    }
    if tools := _tools(prompt, refused):
        body["tools"] = tools
        if EFFORT_NONE in refused:
            body["reasoning_effort"] = "none"
    return without(body, refused)


def _tools(prompt: Prompt, refused: Collection[str]) -> list[dict[str, Any]]:
    """The tools, without those whose definition was refused."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.schema},
        }
        for tool in prompt.tools
        if f"{TOOL}{tool.name}" not in refused
    ]


def _roles(messages: list[dict[str, Any]], refused: Collection[str]) -> list[dict[str, Any]]:
    """The messages with roles that the deployment accepts: system, else developer, else as part of the question."""
    if NO_DEVELOPER not in refused:
        if NO_SYSTEM in refused:
            messages = [
                {**item, "role": "developer"} if item["role"] == "system" else item for item in messages
            ]
        return messages
    told = "\n\n".join(item["content"] for item in messages if item["role"] == "system")
    rest = [item for item in messages if item["role"] != "system"]
    first = next((n for n, item in enumerate(rest) if item["role"] == "user"), None)
    if not told or first is None:
        return [{"role": "user", "content": told}, *rest] if told else rest
    content: str | list[dict[str, Any]] = rest[first]["content"]
    whole = f"{told}\n\n{content}" if isinstance(content, str) else [{"type": "text", "text": told}, *content]
    return [*rest[:first], {**rest[first], "content": whole}, *rest[first + 1 :]]


def cache_key(sticky: str, deployment: Deployment) -> str | None:
    """The prompt cache key: an anonymous hash of the conversation, whose requests begin alike.

    Only for providers that document it (https://learn.microsoft.com/azure/foundry/openai/how-to/prompt-caching),
    because other servers may refuse unknown parameters.
    """
    if not sticky or deployment.wire != "v1" or not _is_openai(deployment):
        return None
    return hashlib.blake2b(sticky.encode(), digest_size=16).hexdigest()


def _is_openai(deployment: Deployment) -> bool:
    return is_azure(deployment.endpoint) or host_of(deployment.endpoint) == "api.openai.com"


def without(body: dict[str, Any], refused: Collection[str]) -> dict[str, Any]:
    """The body without unset and refused parameters."""
    return {name: value for name, value in body.items() if value is not None and name not in refused}


def data_url(image: Image) -> str:
    """An image as a `data:` URL."""
    return f"data:{image.mime};base64,{base64.b64encode(image.data).decode()}"


def _message(message: Message, most: int | None) -> Iterator[dict[str, Any]]:
    """One message in the service's format; each tool result is a message of its own. `most` limits the ids of calls."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    for result in results:
        yield {"role": "tool", "tool_call_id": _id(result.id, most), "content": result.text}
    rest = [part for part in message.parts if not isinstance(part, ToolResult)]
    if not rest:
        return
    wired: dict[str, Any] = {"role": message.role, "content": _content(message.role, rest)}
    calls = [part for part in rest if isinstance(part, ToolCall)]
    if calls:
        wired["tool_calls"] = [
            {
                "id": _id(call.id, most),
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call)},
            }
            for call in calls
        ]
    yield wired


def _id(id: str, most: int | None) -> str:
    """The id of a call; a digest of one that is too long, which another provider made."""
    if most is None or len(id) <= most:
        return id
    return f"call_{hashlib.blake2b(id.encode(errors='replace'), digest_size=16).hexdigest()}"


def _arguments(call: ToolCall) -> str:
    """The arguments that a model wrote; none where they are no JSON object, because many servers then refuse the whole
    request (vllm-project/vllm#43995). The result of the call says that they are invalid.
    """
    try:
        msgspec.json.decode(call.arguments, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return "{}"
    return call.arguments


def _content(role: str, parts: Sequence[Part]) -> str | list[dict[str, Any]] | None:
    """Text as a string, or a list with images. Only user messages may contain images; others describe them."""
    shown = role == "user" and any(isinstance(part, Image) and part.data for part in parts)
    if not shown:
        text = "".join(_words(part) for part in parts)
        return text or (None if any(isinstance(part, ToolCall) for part in parts) else "")
    content: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Image) and part.data:
            content.append({"type": "image_url", "image_url": {"url": data_url(part)}})
        elif words := _words(part):
            content.append({"type": "text", "text": words})
    return content


def _words(part: Part) -> str:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Image):
        return f"[picture: {part.alt}]" if part.alt else "[picture]"
    return ""
