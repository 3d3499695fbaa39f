"""A platform and a command are one entry of a registry each: everything else follows from it."""

from pathlib import Path

import pytest

from bot.app import platforms, server
from bot.app.services import open_services
from bot.app.settings import Settings
from bot.conversation.commands import registry
from bot.conversation.commands.command import Command, CommandCall, CommandResult
from bot.domain.turns import Reply
from bot.storage.redis.client import Redis
from tests.support.acts import received
from tests.support.fake_adapter import FakeAdapter
from tests.support.harness import Harness


def matrix(is_there: bool) -> platforms.Platform:
    """A platform that nobody has written an adapter for."""
    room = FakeAdapter()
    room.name = "matrix"
    return platforms.Platform(
        name="matrix",
        path="/matrix/events",
        how_to_set_up="not configured: to use it, set MATRIX_TOKEN",
        is_set_up=lambda _: is_there,
        adapter=lambda _: room,
    )


class PingCommand(Command):
    """`/ping`."""

    name = "ping"
    help = "say whether I am there"
    menu = "Say whether I am there"
    aliases = ("are you there?",)

    async def run(self, call: CommandCall) -> CommandResult | None:
        return CommandResult(Reply(text="Yes."))


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_platform_is_one_entry(
    redis: Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_there: bool,
) -> None:
    entries = (*platforms.PLATFORMS, matrix(is_there))
    monkeypatch.setattr(server, "PLATFORMS", entries)
    settings = Settings.model_validate({"redis_url": redis.url, "parley_data_dir": tmp_path})
    async with open_services(settings) as services:
        adapters = server.find_adapters(services)
        assert ("matrix" in {adapter.name for adapter in adapters}) == is_there
        server._print_urls(services, adapters, 3978)  # pyright: ignore[reportPrivateUsage]
    assert ("matrix   http://localhost:3978/matrix/events" in capsys.readouterr().out) == is_there
    words = [found.words for found in await server.check(settings) if found.subject == "matrix"]
    assert ("not configured: to use it, set MATRIX_TOKEN" in words) != is_there


async def test_a_command_is_one_entry(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "COMMANDS", (*registry.COMMANDS, PingCommand()))
    messages = ("/ping", "ping", "Are you there?", "/help", "ping of death")
    turns = await harness.answer(*(received(text, event=str(at)) for at, text in enumerate(messages)))
    *pings, listed, question = turns
    assert [turn.reply.text for turn in pings] == ["Yes."] * 3
    assert "- `ping` say whether I am there" in listed.reply.text
    assert question.template == "assistant@" + "0" * 12
    assert ("ping", "Say whether I am there", False) in registry.menu()
