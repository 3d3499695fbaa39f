"""What every model does, whoever made it: deployments on both wires, the demo model, a gateway over them."""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import pytest
from pydantic import SecretStr

from bot.domain.errors import NotAllowed
from bot.domain.prompts import Capability, Image, Message, Parameters, Prompt, Text, say
from bot.domain.turns import Deployment
from bot.llm.catalog.deployments import simple
from bot.llm.demo.model import DemoModel, deployments
from bot.llm.openai.client import Clients
from bot.llm.protocol import Model
from bot.llm.routing import router
from tests.simulators.azure import AzureSimulator
from tests.simulators.azure_wire import png

KEY = SecretStr("simulated-key")
Models = dict[Capability, Model]


def catalogue(azure: AzureSimulator, version: str | None, path: str = "") -> tuple[Deployment, ...]:
    return simple(azure.endpoint + path, version, "gpt-4o", "gpt-image-2", "text-embedding-3-small")


@asynccontextmanager
async def azure_models(version: str | None, path: str = "") -> AsyncGenerator[Models]:
    """One deployment for each capability, each a model."""
    clients = Clients()
    async with AzureSimulator() as azure:
        yield {item.capability: clients.connect(item, KEY) for item in catalogue(azure, version, path)}
        await clients.aclose()


@asynccontextmanager
async def demo() -> AsyncGenerator[Models]:
    """The built-in model."""
    yield {deployment.capability: DemoModel(deployment, pace_s=0) for deployment in deployments()}


@asynccontextmanager
async def gateway() -> AsyncGenerator[Models]:
    """A gateway over deployments of both wires."""
    async with AzureSimulator() as azure:
        both = (*catalogue(azure, None), *catalogue(azure, "2024-10-21"))
        async with router.connect(both, {"AZURE_OPENAI_API_KEY": KEY}) as model:
            yield {"chat": model, "image": model, "embedding": model}


MAKERS: dict[str, Callable[[], Any]] = {
    "azure": lambda: azure_models("2024-10-21"),
    "v1": lambda: azure_models(None),
    "openai-compatible": lambda: azure_models(None, "/v1"),
    "demo": demo,
    "gateway": gateway,
}


@pytest.fixture(params=MAKERS)
async def models(request: pytest.FixtureRequest) -> AsyncGenerator[Models]:
    async with MAKERS[request.param]() as made:
        yield made


def prompt(*received: str, capability: Capability = "chat", **more: Any) -> Prompt:
    messages = (say("system", "Be kind."), *(say("user", text) for text in received))
    return Prompt(template="assistant", capability=capability, messages=messages, **more)


async def test_an_answer_streams_and_ends_with_usage(models: Models) -> None:
    deltas = [delta async for delta in models["chat"].chat(prompt("my name is Zoë"))]
    assert "Zoë" in "".join(delta.text for delta in deltas)
    assert all(delta.usage is None for delta in deltas[:-1])
    usage = deltas[-1].usage
    assert usage is not None
    assert usage.deployment
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0
    assert usage.usd is None or usage.usd >= 0
    assert deltas[-1].finish == "stop"


async def test_every_delta_but_the_last_says_something(models: Models) -> None:
    deltas = [delta async for delta in models["chat"].chat(prompt("hello"))]
    assert all(delta.text or delta.call for delta in deltas[:-1])


async def test_a_stream_may_be_left_at_any_time(models: Models) -> None:
    stream = models["chat"].chat(prompt("hello"))
    async with aclosing(cast("Any", stream)):
        assert (await anext(stream)).text
    assert [delta async for delta in models["chat"].chat(prompt("hello again"))]


async def test_answers_may_be_asked_for_at_once(models: Models) -> None:
    streams = [models["chat"].chat(prompt(f"my name is Name{n}")) for n in range(3)]
    firsts = [(await anext(stream)).text for stream in streams]
    rests = ["".join([delta.text async for delta in stream]) for stream in streams]
    for n, (first, rest) in enumerate(zip(firsts, rests, strict=True)):
        assert f"Name{n}" in first + rest


async def test_an_image_has_alt_text(models: Models) -> None:
    wish = prompt("a red bicycle", capability="image", parameters=Parameters(size="1024x1024"))
    pictures, usage = await models["image"].draw(wish)
    assert [picture.mime for picture in pictures] == ["image/png"]
    assert pictures[0].data.startswith(b"\x89PNG")
    assert "bicycle" in pictures[0].alt
    assert usage.images == 1


async def test_a_given_picture_is_changed(models: Models) -> None:
    given = Image(mime="image/png", data=png(64, 64))
    asked = Message(role="user", parts=(Text(text="make it brighter"), given))
    pictures, usage = await models["image"].draw(
        Prompt(template="draw", capability="image", messages=(asked,))
    )
    assert pictures[0].data.startswith(b"\x89PNG")
    assert pictures[0].data != given.data
    assert usage.images == 1


async def test_nothing_to_draw_is_refused_in_words(models: Models) -> None:
    drawing: Awaitable[object] = models["image"].draw(prompt("", capability="image"))
    with pytest.raises(NotAllowed, match="image"):
        await drawing


async def test_vectors_keep_their_order_and_have_length_one(models: Models) -> None:
    texts = ["one", "two", "", "one"]
    vectors, usage = await models["embedding"].embed(texts)
    assert len(vectors) == 4
    assert vectors[0] == pytest.approx(vectors[3])
    assert vectors[0] != pytest.approx(vectors[1])
    for vector in vectors:
        assert math.fsum(number * number for number in vector) == pytest.approx(1.0)
    assert usage.input_tokens > 0


async def test_no_texts_have_no_vectors(models: Models) -> None:
    assert (await models["embedding"].embed([]))[0] == []
