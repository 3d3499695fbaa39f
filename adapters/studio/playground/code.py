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
    *("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop"),
    *("max_output_tokens", "reasoning_effort", "verbosity"),
)
_PYTHON = """\
import os

from openai import {client}

client = {client}(
    {where},
    api_key=os.environ[{key!r}],
)
stream = client.chat.completions.create(
{arguments}
)
for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)"""


def request_of(prompt: Prompt, deployment: Deployment) -> dict[str, Any]:
    """The body of the chat completions request; images are named, not included."""
    messages = [{"role": message.role, "content": words_of(message)} for message in prompt.messages]
    body: dict[str, Any] = {"model": deployment.name, "messages": messages}
    for name, value in msgspec.structs.asdict(prompt.parameters).items():
        if name in _SENT and value not in (None, ()):
            body[_NAMES.get(name, name)] = list(value) if name == "stop" else value
    return body


def as_python(prompt: Prompt, deployment: Deployment) -> str:
    """A whole program."""
    key = deployment.key_env or "AZURE_OPENAI_API_KEY"
    client, where = "OpenAI", f"base_url={_endpoint(deployment)!r}"
    if deployment.wire == "azure":
        client, where = "AzureOpenAI", f"azure_endpoint={_endpoint(deployment)!r}"
        where += f",\n    api_version={deployment.api_version!r}"
    arguments: list[str] = []
    for name, value in {**request_of(prompt, deployment), "stream": True}.items():
        lines = pformat(value, width=90, sort_dicts=False).split("\n")
        indent = "\n" + " " * (len(name) + 5)
        arguments.append(f"    {name}={indent.join(lines)},")
    return _PYTHON.format(client=client, where=where, key=key, arguments="\n".join(arguments))


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
