"""A prompt as code that sends it: Python with the openai package, and curl."""

import json
from pprint import pformat
from shlex import quote
from typing import Any

import msgspec

from adapters.studio.playground.prompt_report import words_of
from bot.domain.prompts import Prompt
from bot.domain.turns import Deployment

_NAMES = {"max_output_tokens": "max_completion_tokens"}
_SENT = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "max_output_tokens",
    "reasoning_effort",
    "verbosity",
)


def request_of(prompt: Prompt, deployment: Deployment) -> dict[str, Any]:
    """The body of the chat completions request; images are named, not included."""
    body: dict[str, Any] = {"model": deployment.name, "messages": list(map(_message, prompt.messages))}
    for name, value in msgspec.structs.asdict(prompt.parameters).items():
        if name in _SENT and value not in (None, ()):
            body[_NAMES.get(name, name)] = list(value) if name == "stop" else value
    return body


def _message(message: Any) -> dict[str, str]:
    return {"role": message.role, "content": words_of(message)}


def as_python(prompt: Prompt, deployment: Deployment) -> str:
    """A whole program."""
    key = deployment.key_env or "AZURE_OPENAI_API_KEY"
    lines = ["import os", ""]
    if deployment.wire == "azure":
        lines += [
            "from openai import AzureOpenAI",
            "",
            "client = AzureOpenAI(",
            f"    azure_endpoint={_endpoint(deployment)!r},",
            f"    api_version={deployment.api_version!r},",
        ]
    else:
        lines += [
            "from openai import OpenAI",
            "",
            "client = OpenAI(",
            f"    base_url={_endpoint(deployment)!r},",
        ]
    lines += [f"    api_key=os.environ[{key!r}],", ")", "stream = client.chat.completions.create("]
    for name, value in {**request_of(prompt, deployment), "stream": True}.items():
        first, *rest = pformat(value, width=90, sort_dicts=False).split("\n")
        lines += [f"    {name}={first}", *(f"    {' ' * (len(name) + 1)}{line}" for line in rest)]
        lines[-1] += ","
    lines += [
        ")",
        "for chunk in stream:",
        "    for choice in chunk.choices:",
        '        print(choice.delta.content or "", end="", flush=True)',
    ]
    return "\n".join(lines)


def as_curl(prompt: Prompt, deployment: Deployment) -> str:
    """One command."""
    key = deployment.key_env or "AZURE_OPENAI_API_KEY"
    endpoint = _endpoint(deployment).rstrip("/")
    if deployment.wire == "azure":
        path = f"openai/deployments/{deployment.name}/chat/completions?api-version={deployment.api_version}"
    else:
        path = "chat/completions"
    body = json.dumps(request_of(prompt, deployment), indent=2, ensure_ascii=False)
    return (
        f"curl {quote(f'{endpoint}/{path}')} \\\n"
        f'  -H "api-key: ${key}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d {quote(body)}"
    )


def _endpoint(deployment: Deployment) -> str:
    return deployment.endpoint or "https://NAME.openai.azure.com/openai/v1/"
