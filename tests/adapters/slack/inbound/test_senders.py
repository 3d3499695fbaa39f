"""Field fault 108: who sent a message, with which time zone, and in which channel."""

from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.slack.workspaces import people
from bot.domain.events import MessageReceived
from bot.domain.local_time import in_words
from tests.adapters.slack.conftest import FakeAdapter, room_with


class KeptSecrets:
    """The shared store, in memory. Implements Secrets."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.lives: dict[str, int | None] = {}

    async def get(self, name: str) -> bytes | None:
        return self.stored.get(name)

    async def put(self, name: str, value: bytes, life_s: int | None = None) -> None:
        self.stored[name], self.lives[name] = value, life_s

    async def take(self, name: str) -> bytes | None:
        return self.stored.pop(name, None)

    async def delete(self, name: str) -> None:
        self.stored.pop(name, None)

    async def names(self, prefix: str) -> list[str]:
        return sorted(name for name in self.stored if name.startswith(prefix))


async def known(room: FakeAdapter, text: str = "<@U0BOT> why?", **more: Any) -> MessageReceived:
    return await room.adapter.with_sender(await room.asked(text, **more))


async def test_a_reply_without_a_mention_has_a_name(room: FakeAdapter) -> None:
    """Unmentioned messages of a thread came "From somebody"."""
    room.slack.workspace.zones["U0ALICE"] = "Asia/Tokyo"
    room.slack.workspace.locales["U0ALICE"] = "ja-JP"
    root = await room.slack.say("C0GENERAL", "U0BOB", "<@U0BOT> hello")
    received = await known(room, "and now?", thread_ts=root)
    assert not received.addressed
    assert (received.user.name, received.user.zone, received.user.locale) == ("alice", "Asia/Tokyo", "ja-JP")
    assert received.channel_name == "#general"
    evening = datetime(2026, 11, 30, 20, 5, tzinfo=UTC)
    assert in_words(evening, received.user.zone) == "Tuesday 2026-12-01 05:05 Asia/Tokyo"


async def test_people_are_looked_up_once_a_day() -> None:
    """What one process has learnt, the next one knows."""
    secrets = KeptSecrets()
    for lookups in (1, 0):
        async with room_with(secrets=secrets) as room:
            for _ in range(3):
                assert (await known(room)).user.name == "alice"
            assert room.slack.calls["users.info"] == lookups
    (life_s,) = [life for name, life in secrets.lives.items() if name.startswith("person:")]
    assert life_s == 86_400


async def test_without_a_scope_the_message_stays(room: FakeAdapter) -> None:
    for method in ("users.info", "conversations.info"):
        room.slack.fault(method, "error", count=9, code="missing_scope")
    received = await known(room)
    assert (received.text, received.user.id, received.user.zone) == ("why?", "U0ALICE", "")
    assert received.channel_name == ""


async def test_names_of_private_channels_stay_private(room: FakeAdapter) -> None:
    room.slack.workspace.private.add("C0GENERAL")
    assert (await known(room)).channel_name == ""


async def test_renamed_people_have_their_new_name() -> None:
    """Field fault 125: they kept the old one for a day."""
    secrets = KeptSecrets()
    async with room_with(secrets=secrets) as room:
        assert (await known(room)).user.name == "alice"
        await room.slack.change("U0ALICE", name="alicia")
        assert (await known(room)).user.name == "alicia"
        await room.slack.change("U0ALICE", is_restricted=True)
        assert (await known(room)).user.role == "guest"
        assert room.slack.calls["users.info"] == 3
        assert b"alicia" in secrets.stored["person:T0SIM:U0ALICE"]


async def test_a_new_status_changes_nothing() -> None:
    """Field fault 125: Slack tells of each status with the same event."""
    async with room_with(secrets=KeptSecrets()) as room:
        await room.slack.change("U0BOB", status_text="away")
        await known(room)
        await room.slack.change("U0ALICE", status_text="away")
        await known(room)
        assert room.slack.calls["users.info"] == 1


async def test_other_processes_learn_the_new_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 125: Slack sends an event to one process."""
    monkeypatch.setattr(people, "READ_AGAIN_S", 0)
    secrets = KeptSecrets()
    async with room_with(secrets=secrets) as room, room_with(secrets=secrets) as other:
        assert (await known(other)).user.name == (await known(room)).user.name == "alice"
        other.slack.workspace.people["U0ALICE"] = "alicia"
        await room.slack.change("U0ALICE", name="alicia")
        assert (await known(other)).user.name == "alicia"
