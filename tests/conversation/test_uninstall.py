"""Uninstalling the bot, or `parley forget`, deletes the data of a place."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from bot.app.services import open_services
from bot.app.settings import Settings
from bot.cli.main import parley as command_line
from bot.domain.adapter import StillServed
from bot.domain.events import Address, AppUninstalled, User, now
from bot.domain.prompts import Prompt
from bot.domain.turns import Delta, Usage
from bot.storage.queue.inbox import Inbox
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.support.acts import ADA, received
from tests.support.fake_adapter import FakeAdapter
from tests.support.harness import CONVERSATION, Harness


def departed(event: str = "gone", conversations: str = "test:") -> AppUninstalled:
    address = Address(conversation="departed:acme", event=event)
    user = User(id="", tenant="acme")
    return AppUninstalled(
        id=event, address=address, user=user, at=now(), conversation_prefix=conversations, whole=True
    )


async def test_uninstalling_deletes_and_allows_reinstalling(harness: Harness) -> None:
    assert len(await harness.answer(received("hello"))) == 1
    assert await harness.answer(departed()) == ()
    day = now().date()
    assert (await harness.ledger.spent("acme", "ada", day, day)).turns == 0
    assert (await harness.ledger.spent("acme", None, day, day)).turns == 1
    (turn,) = await harness.answer(received("hello again", event="e2"))
    assert turn.received.text == "hello again"


async def test_a_running_answer_is_dropped_on_uninstall(harness: Harness) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def slowly(prompt: Prompt) -> AsyncGenerator[Delta]:
        yield Delta(text="Well")
        begun.set()
        await go.wait()
        yield Delta(text=", yes", finish="stop", usage=Usage(deployment="test"))

    harness.model.script = slowly
    await harness.accept(received("slow"))
    async with harness.working():
        await begun.wait()
        await harness.accept(departed())
        await harness.until(harness.idle)
        go.set()
    kept = {keys.kind_of(name) async for name in harness.redis.scan(f"parley:*:{CONVERSATION}*")}
    assert kept == {"seen", "lease"}, "neither of them holds a word"


@pytest.mark.parametrize(("policy", "left"), [("delete", 0), ("keep", 1)])
async def test_the_operator_can_keep_data(
    redis: Redis, folder: Path, policy: str, left: int, caplog: pytest.LogCaptureFixture
) -> None:
    await redis.call("RPUSH", keys.of("turns", CONVERSATION), "a turn")
    await redis.call("EXPIRE", keys.of("turns", CONVERSATION), 60)
    settings = Settings.model_validate(
        {"redis_url": redis.url, "parley_data_dir": folder, "parley_on_uninstall": policy}
    )
    with caplog.at_level(logging.INFO):
        async with open_services(settings) as services:
            uninstaller = services.worker([])._uninstaller  # pyright: ignore[reportPrivateUsage]
            await uninstaller.uninstall(departed(), StillServed())
    assert await redis.call("LLEN", keys.of("turns", CONVERSATION)) == left
    assert "removed from acme" in caplog.text


async def test_an_operator_deletes_a_tenant_or_person(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis.url)
    room = "slack:T1:C1:1"
    inbox = Inbox(redis, lease_s=30, limit=20, retention_s=3600)
    await inbox.accept(received("hello", conversation=room, user=User(id="ada", tenant="T1")))
    await redis.call("SADD", keys.of_tenant("talks", "T1", "ada"), room)
    await redis.call("EXPIRE", keys.of_tenant("talks", "T1", "ada"), 60)

    async def forget(*arguments: str, answer: str = "") -> str:
        command = ["forget", "--tenant", "T1", *arguments]
        done = await asyncio.to_thread(CliRunner().invoke, command_line, command, answer)
        return done.output

    refused = await forget(answer="n\n")
    assert "Aborted" in refused
    assert "from slack: conversations 1, answers 0, waiting messages 1," in refused, (
        "field fault 81: how much"
    )
    assert "This deletes: 0 conversations, 0 answers" in await forget("--person", "ada", answer="n\n")
    assert await redis.call("LLEN", keys.of("inbox", room)) == 1
    assert "Done. I deleted" in await forget("--person", "ada", answer="y\n")
    assert "Deleted from slack: conversations 1, answers 0, waiting messages 1," in await forget("--yes")
    assert await forget("--yes") == "No data of T1 is stored.\n"
    assert await redis.call("LLEN", keys.of("inbox", room)) == 0


class Grid(FakeAdapter):
    """An adapter whose app another installation may still serve. Implements KnowsInstallations."""

    served = StillServed()

    async def still_served(self, removal: AppUninstalled) -> StillServed:
        return self.served


@pytest.mark.parametrize(
    ("served", "turns", "settings"),
    [
        (StillServed(), 0, ""),
        (StillServed(renewed=True), 0, "assistant"),
        (StillServed(frozenset(("acme",))), 1, "assistant"),
    ],
)
async def test_an_older_removal_wipes_nothing_newer(
    harness: Harness, served: StillServed, turns: int, settings: str
) -> None:
    """Field fault 124: settings that were made after a reinstallation, or under another installation, were lost."""
    harness.adapter = Grid()
    harness.adapter.served = served
    await harness.preferences.store.choose(ADA, "C1", template="assistant")
    await harness.answer(received("hello"))
    removal = replace(departed(), address=Address(conversation="test:departed:acme", event="gone"))
    await harness.accept(removal)
    async with harness.working():
        await harness.until(harness.idle)
    assert len(await harness.turns.turns(CONVERSATION)) == turns
    assert (await harness.preferences.store.of(ADA, "C1")).template == settings
