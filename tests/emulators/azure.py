"""AzureModel against aimock on every API style, and the simulator's bodies beside aimock's."""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import SecretStr

from bot.domain.errors import BotError, ContentFiltered, ModelUnavailable
from bot.domain.prompts import Parameters, Prompt, ToolSpec, say
from bot.domain.turns import Delta
from bot.llm.catalog.deployments import simple
from bot.llm.openai.client import Clients
from bot.llm.openai.model import AzureModel
from bot.llm.protocol import DeploymentBroken
from tests.simulators.azure import Answer, AzureSimulator
from tests.support import processes

PORT, KEY = 4010, "emulated-key"
CACHE = Path(os.environ.get("PARLEY_EMULATORS", "~/.cache/parley-emulators")).expanduser()
PROGRAM = CACHE / "n-aimock" / "node_modules" / ".bin" / "aimock"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
BLOCKED = {
    "message": "The response was filtered: it triggered Azure OpenAI's content management policy.",
    "code": "content_filter",
    "param": "prompt",
    "innererror": {
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": {"violence": {"filtered": True, "severity": "high"}},
    },
}
FIXTURES: list[dict[str, Any]] = [
    {
        "match": {"userMessage": "busy"},
        "response": {"error": {"message": "Slow down.", "code": "429"}, "status": 429, "retryAfter": 2},
    },
    {"match": {"userMessage": "filter me"}, "response": {"error": BLOCKED, "status": 400}},
    {
        "match": {"userMessage": "cut off"},
        "response": {"content": "This answer stops", "finishReason": "content_filter"},
    },
    {
        "match": {"userMessage": "weather"},
        "response": {"toolCalls": [{"id": "call_1", "name": "get_weather", "arguments": {"city": "Bern"}}]},
    },
    {
        "match": {"userMessage": "break off"},
        "response": {"content": "This will be cut in the middle of what it wanted to say."},
        "truncateAfterChunks": 2,
        "chunkSize": 6,
    },
    {
        "match": {"userMessage": "boom"},
        "response": {"error": {"message": "Internal server error", "type": "server_error"}, "status": 500},
    },
    {"match": {"userMessage": "ping"}, "response": {"content": "pong", "model": "gpt-4o-2024-11-20"}},
    {"match": {"endpoint": "image"}, "response": {"images": [{"b64Json": PIXEL}]}},
    {
        "match": {"userMessage": "hello"},
        "response": {
            "content": "Hello! How can I help you today?",
            "model": "gpt-4o-2024-11-20",
            "usage": {"prompt_tokens": 11, "completion_tokens": 9, "total_tokens": 20},
        },
    },
]
STYLES: dict[str, tuple[str, str | None]] = {
    "classic": ("", "2024-10-21"),
    "v1": ("", None),
    "openai-compatible": ("/v1", None),
}

# What only Azure adds; aimock doesn't know it.
ONLY_IN_AZURE = {
    "prompt_filter_results",
    "choices.content_filter_results",
    "choices.logprobs",
    "choices.delta.refusal",
    "choices.message.refusal",
    "usage.completion_tokens_details",
    "usage.prompt_tokens_details",
    "system_fingerprint",
}


def saw(what: str) -> None:
    """One line for each thing that was looked at."""
    print(f"  saw {what}", flush=True)


@asynccontextmanager
async def aimock() -> AsyncGenerator[str]:
    """aimock with our fixtures, until it answers; its address."""
    base = f"http://127.0.0.1:{PORT}"
    with tempfile.TemporaryDirectory() as folder:
        fixtures = Path(folder) / "fixtures"
        fixtures.mkdir()
        (fixtures / "parley.json").write_text(json.dumps({"fixtures": FIXTURES}))
        settings = {
            "llm": {"fixtures": str(fixtures), "chunkSize": 8},
            "auth": {"apiKeys": [KEY]},
            "port": PORT,
        }
        (Path(folder) / "aimock.json").write_text(json.dumps(settings))
        process = await asyncio.create_subprocess_exec(
            *("node", str(PROGRAM), "--config", "aimock.json", "--port", str(PORT)),
            cwd=folder,
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(30), aiohttp.ClientSession() as http:
                while True:
                    with contextlib.suppress(aiohttp.ClientConnectionError):
                        async with http.get(f"{base}/v1/models", headers={"authorization": f"Bearer {KEY}"}):
                            break
                    await asyncio.sleep(0.1)
            yield base
        finally:
            process.terminate()
            await process.wait()


def prompt(text: str) -> Prompt:
    """A question with one tool on offer."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    return Prompt(
        template="assistant",
        capability="chat",
        messages=(say("system", "You are a probe."), say("user", text)),
        tools=(ToolSpec(name="get_weather", description="The weather", schema=schema),),
        parameters=Parameters(temperature=0.1, max_output_tokens=100),
    )


async def heard(model: AzureModel, text: str) -> tuple[list[Delta], BotError | None]:
    """The deltas of an answer, and what it ended with."""
    deltas: list[Delta] = []
    try:
        async for delta in model.chat(prompt(text)):
            deltas.append(delta)  # noqa: PERF401 - what came before an error counts
    except BotError as error:
        return deltas, error
    return deltas, None


async def talk(model: AzureModel, style: str) -> None:
    """A plain answer, tool calls, and every failure that aimock can play."""
    deltas, error = await heard(model, "hello")
    assert error is None, error
    assert "".join(delta.text for delta in deltas) == "Hello! How can I help you today?"
    usage = deltas[-1].usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (11, 9)
    assert usage.usd is not None
    deltas, error = await heard(model, "weather")
    (call,) = [delta.call for delta in deltas if delta.call]
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Bern"})
    saw(f"{style}: a streamed answer with its price, and a whole tool call")
    _, error = await heard(model, "busy")
    assert isinstance(error, ModelUnavailable)
    assert error.retry_after_s == 2
    _, error = await heard(model, "boom")
    assert isinstance(error, ModelUnavailable)
    _, error = await heard(model, "filter me")
    assert isinstance(error, ContentFiltered), error
    assert error.categories in ((), ("violence",))  # aimock drops `innererror`
    deltas, error = await heard(model, "cut off")
    assert isinstance(error, ContentFiltered)
    assert "".join(delta.text for delta in deltas) == "This answer stops"
    deltas, error = await heard(model, "break off")
    assert isinstance(error, ModelUnavailable)
    assert "This will be".startswith("".join(delta.text for delta in deltas)[:12])
    saw(f"{style}: 429 with its wait, 500, the filter on both sides, a stream cut in the middle")


async def rest(clients: Clients, endpoint: str, version: str | None, style: str) -> None:
    """Pictures, vectors, and a key that is wrong."""
    chat, image, embedding = simple(endpoint, version, "gpt-4o", "gpt-image-2", "text-embedding-3-small")
    key = SecretStr(KEY)
    pictures, _ = await clients.connect(image, key).draw(prompt("a red bicycle"))
    assert pictures[0].mime == "image/png"
    vectors, _ = await clients.connect(embedding, key).embed(["one", "two"])
    assert len(vectors) == 2
    _, error = await heard(clients.connect(chat, SecretStr("wrong")), "hello")
    assert isinstance(error, DeploymentBroken)
    assert "AZURE_OPENAI_API_KEY" in str(error)
    saw(f"{style}: a picture, vectors, and a wrong key named as one")


FILE = """\
endpoint: {base}
deployments:
  - {{name: gpt-4o, api_version: 2024-10-21, tags: [classic]}}
  - {{name: gpt-4o-mini, tags: [v1]}}
  - {{name: gpt-4.1, endpoint: "{base}/v1", tags: [compatible]}}
  - {{name: gpt-image-2}}
  - {{name: text-embedding-3-small, api_version: 2024-10-21}}
"""


async def command(base: str, key: str) -> tuple[int | None, str]:
    """What `parley deployments test` says of deployments in every style, as a program of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deployments.yaml"
        path.write_text(FILE.format(base=base))
        process = await processes.start(
            [sys.executable, "-m", "bot", "deployments", "test"],
            {"PARLEY_DEPLOYMENTS": str(path), "AZURE_OPENAI_API_KEY": key},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
    return process.returncode, out.decode()


async def tried(base: str) -> None:
    """The command finds every deployment well with the right key, and none with a wrong one."""
    code, text = await command(base, KEY)
    assert code == 0, text
    for name in ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-image-2", "text-embedding-3-small"):
        line = next(line.split() for line in text.splitlines() if line.startswith(f"{name} "))
        assert line[3] == "ok", text
        assert float(line[4]) >= 0, text
    code, text = await command(base, "wrong")
    assert code == 1, text
    assert text.count("did not accept the key") == 5, text
    saw("parley deployments test: every style well, and a wrong key named as one")


# ------------------------------------------------------------------ does the simulator drift?


def paths(value: Any, at: str = "") -> set[str]:
    """Every key in a body, by its path; what is in a list counts once."""
    found: set[str] = set()
    if isinstance(value, list):
        for one in value:  # pyright: ignore[reportUnknownVariableType]
            found |= paths(one, at)
    elif isinstance(value, dict):
        for name, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
            found |= {f"{at}{name}"} | paths(inner, f"{at}{name}.")
    return found


async def bodies(base: str, style: str, what: str) -> set[str]:
    """The keys in the bodies that a server answers to the same request."""
    classic = style == "classic"
    prefix = f"{base}/openai/deployments/gpt-4o" if classic else f"{base}/openai/v1"
    query = "?api-version=2024-10-21" if classic else ""
    headers = {"api-key": KEY} if classic else {"authorization": f"Bearer {KEY}"}
    messages = [{"role": "user", "content": "hello"}]
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        "stream": (
            "chat/completions",
            {"messages": messages, "stream": True, "stream_options": {"include_usage": True}},
        ),
        "completion": ("chat/completions", {"messages": messages}),
        "vectors": ("embeddings", {"input": ["one"]}),
        "pictures": ("images/generations", {"prompt": "a bicycle"}),
    }
    path, body = asked[what]
    async with aiohttp.ClientSession() as http:
        request = http.post(f"{prefix}/{path}{query}", json={"model": "gpt-4o", **body}, headers=headers)
        async with request as response:
            text = await response.text()
            assert response.status == 200, f"{what}: {response.status} {text[:200]}"
    if what != "stream":
        return paths(json.loads(text))
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
    assert text.rstrip().endswith("data: [DONE]")
    return set[str]().union(*(paths(json.loads(line)) for line in lines))


async def compare(base: str) -> None:
    """Fail when one of the two knows a field that the other doesn't, beyond what is known."""
    async with AzureSimulator(key=KEY) as azure:
        azure.answer = lambda messages: Answer(text="Hello! How can I help you today?")
        for style in ("classic", "v1"):
            for what in ("stream", "completion", "vectors", "pictures"):
                theirs, ours = await bodies(base, style, what), await bodies(azure.endpoint, style, what)
                missing = theirs - ours - ONLY_IN_AZURE
                more = {path for path in ours - theirs if not known(path, what)}
                assert not missing, f"the simulator's {style} {what} lack {sorted(missing)}"
                assert not more, f"aimock's {style} {what} lack {sorted(more)}"
        saw("the simulator's bodies have the fields of aimock's, and Azure's own")


def known(path: str, what: str) -> bool:
    """Whether a field that aimock leaves out is one that Azure is documented to send."""
    if what == "pictures":
        return path.split(".")[0] in {"usage", "output_format", "size"}
    return any(path == name or path.startswith(f"{name}.") for name in ONLY_IN_AZURE)


async def run() -> None:
    """Everything, one style after another."""
    clients = Clients()
    async with aimock() as base:
        for style, (path, version) in STYLES.items():
            (chat,) = simple(base + path, version, "gpt-4o", None, None)
            await talk(clients.connect(chat, SecretStr(KEY)), style)
            await rest(clients, base + path, version, style)
        await tried(base)
        await compare(base)
    await clients.aclose()
