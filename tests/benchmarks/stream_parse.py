"""CPU of one streamed answer of 50 chunks: the SDK's chunk objects, its raw response, and ours.

`python -m tests.benchmarks.stream_parse [--answers 300] [--uvloop]` prints milliseconds of CPU per answer, of
this process only; the simulator of Azure OpenAI runs in another.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai

from bot.domain.prompts import Parameters, Prompt, say
from bot.llm.catalog.deployments import simple
from bot.llm.openai.chat_stream import ChatStream
from bot.llm.openai.model import AzureModel

CHUNKS = 50
AT_ONCE = 16
TURNS_BEFORE = 10  # a conversation that has gone on for a while

Ask = Callable[[], Awaitable[str]]


def prompt() -> Prompt:
    """A system message, some history and a question."""
    history = [
        say(role, "some words of an earlier turn " * 5) for role in ("user", "assistant") * TURNS_BEFORE
    ]
    messages = (say("system", "You are helpful."), *history, say("user", "And now?"))
    parameters = Parameters(max_output_tokens=500, temperature=0.2)
    return Prompt(template="assistant", capability="chat", messages=messages, parameters=parameters)


@asynccontextmanager
async def simulator() -> AsyncGenerator[str]:
    """The address of a simulator in a process of its own."""
    command = (sys.executable, "-m", "tests.simulators.azure", "--port", "0", "--chunks", str(CHUNKS))
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    yield (await process.stdout.readline()).decode().strip()
    process.terminate()
    await process.wait()


def ways(endpoint: str, http: httpx2.AsyncClient) -> dict[str, Ask]:
    """The same question, asked in three ways over one client."""
    (deployment,) = simple(endpoint, "2024-10-21", "gpt-4o", None, None)
    client = openai.AsyncAzureOpenAI(
        azure_endpoint=endpoint, api_version="2024-10-21", api_key="x", http_client=http, max_retries=0
    )
    asked = prompt()
    untyped: Any = client  # create() has dozens of overloads; the benchmark needs none of them
    messages: Any = [{"role": message.role, "content": message.text} for message in asked.messages]
    options: Any = {
        "model": "gpt-4o",
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 500,
        "temperature": 0.2,
    }

    async def objects() -> str:
        text = ""
        async for chunk in await untyped.chat.completions.create(**options):
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        return text

    async def raw() -> str:
        answer = ChatStream()
        async with untyped.chat.completions.with_streaming_response.create(**options) as response:
            return "".join([answer.read(data) async for data in response.iter_bytes()]) + answer.end()

    model = AzureModel(deployment, client)

    async def ours() -> str:
        return "".join([delta.text async for delta in model.chat(asked)])

    return {"SDK chunk objects": objects, "SDK raw response, our parser": raw, "AzureModel": ours}


async def measure(ask: Ask, answers: int) -> tuple[float, float]:
    """Milliseconds of CPU per answer, and answers per second."""
    expected = await ask()
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with gate:
            assert await ask() == expected

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(one() for _ in range(answers)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu / answers * 1000, answers / wall


async def run(answers: int) -> None:
    """Print a table: every way over every transport."""
    print(f"{CHUNKS} chunks per answer, {AT_ONCE} answers at once, {2 * TURNS_BEFORE + 2} messages asked")
    print(f"{'transport':<10} {'way':<30} {'ms CPU/answer':>14} {'answers/s':>10}")
    transports: dict[str, Callable[[], httpx2.AsyncClient]] = {
        "httpx2": openai.DefaultAsyncHttpxClient,
        "aiohttp": openai.DefaultAioHttpClient,
    }
    async with simulator() as endpoint:
        for transport, make in transports.items():
            async with make() as http:
                for way, ask in ways(endpoint, http).items():
                    cpu_ms, rate = await measure(ask, answers)
                    print(f"{transport:<10} {way:<30} {cpu_ms:>14.2f} {rate:>10.0f}", flush=True)


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=300)
    parser.add_argument("--uvloop", action="store_true")
    given = parser.parse_args()
    if given.uvloop:
        import uvloop

        uvloop.run(run(given.answers))
    else:
        asyncio.run(run(given.answers))


if __name__ == "__main__":
    main()
