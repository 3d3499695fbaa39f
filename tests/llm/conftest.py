"""A simulated Azure OpenAI, and models that speak to it."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from bot.domain.errors import BotError
from bot.domain.events import now
from bot.domain.prompts import Capability, Parameters, Prompt, say
from bot.domain.turns import Delta, Deployment, Prices
from bot.llm.catalog.catalog import locate
from bot.llm.catalog.prices import prices_in_force
from bot.llm.openai.client import Clients
from bot.llm.openai.model import AzureModel, Timeouts
from bot.llm.routing import attempts
from tests.simulators.azure import AzureSimulator

API_VERSION = "2024-10-21"
KEY = SecretStr("simulated-key")

Connect = Callable[..., AzureModel]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry at once."""
    monkeypatch.setattr(attempts, "PAUSE_S", 0.0)


@pytest.fixture
async def azure() -> AsyncGenerator[AzureSimulator]:
    """Azure OpenAI on loopback, without a fault."""
    async with AzureSimulator() as simulator:
        yield simulator


@pytest.fixture
async def clients() -> AsyncGenerator[Clients]:
    """Connections that are closed after the test."""
    opened = Clients(Timeouts(first_token_s=5, between_tokens_s=5))
    yield opened
    await opened.aclose()


@pytest.fixture
def connect(azure: AzureSimulator, clients: Clients) -> Connect:
    """Makes the model of a deployment on the simulator; keywords go into the Deployment."""

    def make(**more: Any) -> AzureModel:
        return clients.connect(deployment(azure, **more), KEY)

    return make


def deployment(azure: AzureSimulator, *, classic: bool = True, **more: Any) -> Deployment:
    """A deployment on the simulator, by the classic paths unless told otherwise."""
    base, wire = locate(azure.endpoint, API_VERSION if classic else None)
    fields: dict[str, Any] = {
        "name": "chat",
        "capability": "chat",
        "model": "",
        "family": "unknown-chat",
        "endpoint": base,
        "wire": wire,
        "api_version": API_VERSION if classic else None,
        "context_tokens": 128_000,
        "output_tokens": 4096,
        "prices": Prices(),
    }
    return Deployment(**{**fields, **more})


def asks(
    text: str, capability: Capability = "chat", parameters: Parameters | None = None, sticky: str = ""
) -> Prompt:
    """A prompt of a system message and a question."""
    messages = (say("system", "Be kind."), say("user", text))
    return Prompt(
        template="assistant",
        capability=capability,
        messages=messages,
        parameters=parameters or Parameters(),
        sticky=sticky,
    )


def table_prices(model: str) -> Prices:
    """The prices of today's table."""
    found = prices_in_force().table.prices_of(model, now().date())
    assert found is not None, model
    return found


def text_of(deltas: list[Delta]) -> str:
    """The whole answer."""
    return "".join(delta.text for delta in deltas)


async def heard(stream: AsyncIterator[Delta]) -> tuple[list[Delta], BotError | None]:
    """Every delta of a stream, and what it ended with."""
    deltas: list[Delta] = []
    try:
        async for delta in stream:
            deltas.append(delta)  # noqa: PERF401 - a comprehension would lose them
    except BotError as error:
        return deltas, error
    return deltas, None
