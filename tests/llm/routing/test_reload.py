"""Deployments are reloaded without a restart, and without dropping answers."""

import asyncio
import signal
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from bot.app.services import open_services
from bot.app.settings import Settings
from bot.domain.errors import ConfigError
from bot.llm.catalog.deployments import DeploymentConfig, load
from bot.llm.routing import router
from bot.llm.routing.reload import reload
from bot.llm.routing.router import Gateway
from bot.storage.redis.client import Redis
from tests.llm.conftest import asks, deployment, text_of
from tests.llm.scripted import told
from tests.simulators.azure import Answer, AzureSimulator, Deployed
from tests.support import processes
from tests.support.patience import PATIENCE_S

KEYS = {"AZURE_OPENAI_API_KEY": SecretStr("simulated-key")}


def adopt(gateway: Gateway, config: DeploymentConfig) -> None:
    reload(gateway, lambda: (config, KEYS))


async def test_running_answers_keep_their_deployment(azure: AzureSimulator) -> None:
    azure.answer = lambda messages: Answer(text="one two three", chunks=3)
    azure.interval_s = 0.02
    old, new = deployment(azure, name="old"), deployment(azure, name="new")
    async with router.connect([old], KEYS) as gateway:
        stream = cast("Any", gateway.chat(asks("Count")))
        async with aclosing(stream):
            begun = [await anext(stream)]
            adopt(gateway, DeploymentConfig(deployments=(new,)))
            assert await told(gateway) == "one two three"
            rest = [delta async for delta in stream]
    assert text_of(begun + rest) == "one two three"
    assert [asked.deployment for asked in azure.journal] == ["old", "new"]


async def test_policy_and_hedge_are_read_anew_too(azure: AzureSimulator) -> None:
    async with router.connect([deployment(azure)], KEYS) as gateway:
        adopt(gateway, DeploymentConfig(deployments=(deployment(azure),), policy="cheapest", hedge_ms=20))
        assert gateway.policy == "cheapest"


async def test_unchanged_deployments_keep_what_was_learnt(azure: AzureSimulator) -> None:
    azure.fail("rate_limited", deployment="a", times=-1, retry_after_s=60)
    a, b, c = (deployment(azure, name=name, order=n) for n, name in enumerate("abc"))
    async with router.connect([a, b], KEYS) as gateway:
        await told(gateway)
        adopt(gateway, DeploymentConfig(deployments=(a, c)))
        await told(gateway)
    assert [asked.deployment for asked in azure.journal] == ["a", "b", "c"]


async def test_a_new_key_is_used(azure: AzureSimulator) -> None:
    made = DeploymentConfig(deployments=(deployment(azure),))
    async with router.connect(made, {"AZURE_OPENAI_API_KEY": SecretStr("old-key")}) as gateway:
        with pytest.raises(ConfigError):
            await told(gateway)
        adopt(gateway, made)
        assert await told(gateway) == "You said: Hello"


async def test_an_invalid_file_changes_nothing(
    azure: AzureSimulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "deployments.yaml"
    path.write_text("deployments:\n  - name: gpt-4o\n    weigth: 3\n")
    async with router.connect([deployment(azure)], KEYS) as gateway:
        reload(gateway, lambda: (load(path, azure.endpoint), KEYS))
        assert await told(gateway) == "You said: Hello"
    assert "were not reloaded" in caplog.text
    assert "line 3" in caplog.text
    assert "weight" in caplog.text


async def test_new_embedding_models_wait_for_a_restart(
    azure: AzureSimulator, caplog: pytest.LogCaptureFixture
) -> None:
    small = deployment(azure, name="small", capability="embedding", family="text-embedding-3-small")
    large = deployment(azure, name="large", capability="embedding", family="text-embedding-3-large")
    async with router.connect([small], KEYS) as gateway:
        adopt(gateway, DeploymentConfig(deployments=(deployment(azure), large)))
        assert [item.name for item in gateway.deployments("embedding")] == ["small"]
        assert await told(gateway) == "You said: Hello"
    assert "Restart Parley" in caplog.text


async def test_a_real_deployment_replaces_the_demo(azure: AzureSimulator) -> None:
    from bot.llm.demo.model import deployments

    async with router.connect(deployments(), {}) as gateway:
        adopt(gateway, DeploymentConfig(deployments=(deployment(azure),)))
        assert await told(gateway) == "You said: Hello"


async def test_choices_follow_the_file(redis: Redis, azure: AzureSimulator, tmp_path: Path) -> None:
    path = tmp_path / "deployments.yaml"
    path.write_text(f"endpoint: {azure.endpoint}\ndeployments: [{{name: old, capability: chat}}]\n")
    settings = Settings.model_validate({"redis_url": redis.url, "parley_deployments": path})
    async with open_services(settings) as services:
        path.write_text(
            f"endpoint: {azure.endpoint}\ndeployments:\n"
            "  - {name: new, capability: chat}\n  - {name: newer, capability: chat}\n"
        )
        services.reload()
        assert [one.name for one in services.deployments] == ["new", "newer"]
        assert services.model_info.comparable_deployments() == ("new", "newer")
        assert [state.deployment.name for state in services.gateway.states()] == ["new", "newer"]


async def test_limits_are_reloaded_too(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Field fault 117: a limit that was raised or lowered applied only after a restart."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PARLEY_LIMITS=person: 3 requests/day\n")
    settings = Settings.model_validate({"redis_url": redis.url, "parley_limits": "person: 3 requests/day"})
    async with open_services(settings) as services:
        (tmp_path / ".env").write_text("PARLEY_LIMITS=person: $1/day\n")
        services.reload()
        (limit,) = services.storage.ledger.limits.every
        assert str(limit) == "$1.00 a day"
        (tmp_path / ".env").write_text("PARLEY_LIMITS=person: as much as you like\n")
        services.reload()
        assert [str(each) for each in services.storage.ledger.limits.every] == ["$1.00 a day"]
    assert "The limits were not reloaded" in caplog.text


async def test_a_running_process_reloads_on_request(azure: AzureSimulator, tmp_path: Path) -> None:
    azure.deployments = {"old": Deployed(), "new": Deployed()}
    path = tmp_path / "deployments.yaml"

    def write(text: str) -> None:
        path.write_text(f"endpoint: {azure.endpoint}\n{text}")

    write("deployments:\n  - {name: old, capability: chat}\n")
    env = {
        "PARLEY_DEPLOYMENTS": str(path),
        "AZURE_OPENAI_API_KEY": "simulated-key",
        "PARLEY_DATA_DIR": str(tmp_path / "data"),
        "PORT": "0",
        "PARLEY_LOG": "json",
    }
    process = await processes.start(
        [sys.executable, "-m", "bot", "serve"],
        env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await line(process.stdout, "Parley is running")
        write("deployments:\n  - {name: new, capability: chat, odrer: 1}\n")
        process.send_signal(signal.SIGHUP)
        assert "order" in await line(process.stderr, "were not reloaded")
        write("policy: weighted\ndeployments:\n  - {name: new, capability: chat}\n")
        process.send_signal(signal.SIGHUP)
        assert "new" in await line(process.stderr, "Reloaded the deployments (weighted)")
    finally:
        await processes.end(process)


async def line(stream: asyncio.StreamReader | None, words: str) -> str:
    """The next line that holds these words."""
    assert stream is not None
    async with asyncio.timeout(PATIENCE_S):
        while read := (await stream.readline()).decode():
            if words in read:
                return read
    raise AssertionError(f"{words!r} was never said")
