"""Channels and people of a workspace, found by name and by e-mail address."""

import pytest

from adapters.slack.api.web_api import SlackUnsure
from adapters.slack.workspaces import directory
from bot.domain.errors import ConfigError
from tests.adapters.slack.conftest import FakeAdapter
from tests.simulators.slack_methods import Args


async def test_channels_are_found_on_any_page(room: FakeAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "PAGE", 2)
    for number in range(5):
        room.slack.workspace.channel_names[f"C{number}"] = f"channel-{number}"
    found = await room.adapter.find_channels(["general", "channel-4", "no-such-channel"])
    assert found == {"general": "C0GENERAL", "channel-4": "C4"}
    assert room.slack.calls["conversations.list"] == 4
    assert await room.adapter.find_channels(["general"]) == {"general": "C0GENERAL"}
    assert room.slack.calls["conversations.list"] == 5, "the rest of the pages is not needed"


async def test_archived_and_foreign_channels_are_not_found(room: FakeAdapter) -> None:
    workspace = room.slack.workspace
    workspace.channel_names |= {"C1": "old", "C2": "secret", "C3": "ours"}
    workspace.archived, workspace.private = {"C1"}, {"C2", "C3"}
    workspace.channels |= {"C2": {"U0ALICE"}, "C3": {"U0ALICE", workspace.bot_user}}
    assert await room.adapter.find_channels(["old", "secret", "ours"]) == {"ours": "C3"}


async def test_public_channels_need_one_scope_only(room: FakeAdapter) -> None:
    def refuse(method: str, args: Args) -> str | None:
        return "missing_scope" if "private_channel" in str(args.get("types")) else None

    room.slack.refusal = refuse
    assert await room.adapter.find_channels(["general"]) == {"general": "C0GENERAL"}
    room.slack.refusal = lambda method, args: "missing_scope"
    with pytest.raises(ConfigError, match=r"Add channels:read to the app's scopes"):
        await room.adapter.find_channels(["general"])
    with pytest.raises(ConfigError, match=r"Add users:read.email to the app's scopes"):
        await room.adapter.find_person("alice@example.com")


async def test_active_members_are_found_by_address(room: FakeAdapter) -> None:
    assert await room.adapter.find_person("alice@example.com") == "U0ALICE"
    assert await room.adapter.find_person("nobody@example.com") == ""
    room.slack.workspace.emails["left@example.com"] = "U0LEFT"
    assert await room.adapter.find_person("left@example.com") == ""


async def test_a_limited_call_is_repeated(room: FakeAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    room.slack.fault("conversations.list", "limited", seconds=0.01)
    assert await room.adapter.find_channels(["general"]) == {"general": "C0GENERAL"}
    monkeypatch.setattr(directory, "PATIENCE_S", 0.0)
    room.slack.fault("conversations.list", "500")
    with pytest.raises(SlackUnsure):
        await room.adapter.find_channels(["general"])
