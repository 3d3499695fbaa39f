"""An operator ends a cool-down, and the health check sends what a real turn sends."""

import asyncio

import pytest

from bot.domain.errors import ConfigError, ModelUnavailable
from bot.llm.openai.client import Clients
from bot.llm.protocol import DeploymentBroken
from bot.llm.routing import rate_limits
from bot.llm.routing.router import Gateway
from bot.storage.redis.client import Redis
from bot.storage.usage.cooldowns import Cooldowns
from tests.llm.conftest import KEY, deployment
from tests.llm.scripted import Scripted, named, told
from tests.simulators.azure import AzureSimulator, Deployed


@pytest.mark.parametrize("error", [ModelUnavailable("429", 200.0), DeploymentBroken("It is broken.", 300.0)])
async def test_a_cool_down_ends_in_all_processes(redis: Redis, error: Exception) -> None:
    """Field fault 60: by the process that was told, and at the next request by all others."""
    models = [Scripted("a", before=[error]), Scripted("a", before=[error])]
    first, second = (Gateway([(named("a"), model)], shared=Cooldowns(redis)) for model in models)
    for gateway in (first, second):
        with pytest.raises((ModelUnavailable, ConfigError)):
            await told(gateway, sticky="one")
        assert gateway.states()[0].rest_s > 100
    models[1].before = []
    assert await first.wake("a")
    assert not await first.wake("nobody")
    assert first.states()[0] == (named("a"), 0.0, "", 0)
    models[0].before = []
    for gateway in (first, second):
        assert await told(gateway) == "a says hello"


async def test_a_cool_down_ends_beside_others(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 60: other processes use it again although another one is free; they look once a second."""
    monkeypatch.setattr(rate_limits, "FRESH_S", 0.0)
    broken = DeploymentBroken("It is broken.", 300.0)
    models = [Scripted("a", before=[broken]), Scripted("a", before=[broken])]
    first, second = (
        Gateway([(named("a"), model), (named("b", order=1), Scripted("b"))], shared=Cooldowns(redis))
        for model in models
    )
    for gateway in (first, second):
        assert await told(gateway) == "b says hello"
    for model in models:
        model.before = []
    assert await told(second) == "b says hello"
    assert await first.wake("a")
    async with asyncio.timeout(10):
        while await told(second) != "a says hello":  # noqa: ASYNC110 - a look in the background has no event
            await asyncio.sleep(0.01)
    assert second.states()[0].broken == ""


async def test_the_health_check_sends_a_real_turn(azure: AzureSimulator, clients: Clients) -> None:
    """Field fault 57: instructions, tools, an image, streaming and usage."""
    model = clients.connect(deployment(azure, model="gpt-4.1", family="gpt-4.1"), KEY)
    (result,) = await Gateway([(model.deployment, model)]).probe()
    assert result.finding.level == "ok"
    body = azure.journal[-1].body
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert "image_url" in str(body["messages"][1])
    assert body["tools"]
    assert body["stream_options"] == {"include_usage": True}


async def test_the_health_check_finds_what_turns_meet(azure: AzureSimulator, clients: Clients) -> None:
    """Field fault 57: a deployment that refuses tools, and cannot do without, is not well."""
    azure.deployments = {"chat": Deployed(refuses=("messages",))}
    model = clients.connect(deployment(azure), KEY)
    (result,) = await Gateway([(model.deployment, model)]).probe()
    assert result.finding.level == "error"
