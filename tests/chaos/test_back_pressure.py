"""Where too much waits, the person is told so; where there is room again, the same words are taken."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from bot.storage.redis.client import Redis
from tests.chaos.scene import PLACES, Place, Scene
from tests.chaos.senders import Slack
from tests.simulators.azure import AzureSimulator


@pytest.fixture
async def azure() -> AsyncGenerator[AzureSimulator]:
    async with AzureSimulator() as azure:
        yield azure


@pytest.mark.parametrize("full", ["PARLEY_INBOX_LIMIT", "PARLEY_TENANT_LIMIT"])
@pytest.mark.parametrize("place", PLACES)
async def test_a_full_inbox_is_explained_and_recovers(
    place: Place, full: str, redis: Redis, redis_url: str, azure: AzureSimulator, tmp_path: Path
) -> None:
    async with Scene(place, redis_url, tmp_path, azure, {full: "1"}).open() as scene:
        platform = scene.platform
        await scene.ask("alpha")
        await scene.ask("beta")
        if isinstance(platform, Slack):
            await platform.until(lambda: platform.workspace.ephemeral)
            assert "try again in a moment" in platform.workspace.ephemeral[0]["markdown"]
        else:
            where = "a:alice" if place == "personal" else "19:room@thread.v2"
            assert "send this one again" in (await platform.answered(where)).text
        async with scene.healthy_worker():
            await scene.answered(1)
            await scene.ask("gamma")
            turns = await scene.answered(2)
        assert [turn.received.text.split()[-1] for turn in turns] == ["alpha", "gamma"]
