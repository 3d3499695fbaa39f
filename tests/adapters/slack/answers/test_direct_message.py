"""Messages to operators, who have asked nothing: once each, in their language."""

import pytest

from adapters.slack.api.web_api import SlackRejected, SlackUnsure
from bot.domain.events import User
from bot.domain.words import tr
from tests.adapters.slack.conftest import FakeAdapter

ALICE = User(id="U0ALICE", tenant="T0SIM")
DIRECT = "D0ALICE"


def said(room: FakeAdapter) -> list[str]:
    messages = room.slack.workspace.messages.items()
    return [message["markdown"] for (channel, _), message in messages if channel == DIRECT]


async def test_a_notice_is_a_direct_message(room: FakeAdapter) -> None:
    room.slack.workspace.locales["U0ALICE"] = "de-DE"
    assert await room.adapter.tell(ALICE, None, "n1", lambda: tr("Good"))
    assert said(room) == ["Gut"]
    (message,) = room.slack.workspace.messages.values()
    assert message["metadata"] == {"event_type": "parley_notice", "event_payload": {"id": "n1"}}


async def test_a_lost_response_sends_nothing_twice(room: FakeAdapter) -> None:
    room.slack.fault("chat.postMessage", "drop_after")
    with pytest.raises(SlackUnsure):
        await room.adapter.tell(ALICE, None, "n1", lambda: "80 %")
    assert await room.adapter.tell(ALICE, None, "n1", lambda: "80 %")
    assert await room.adapter.tell(ALICE, None, "n2", lambda: "100 %")
    assert said(room) == ["80 %", "100 %"]


async def test_an_unreadable_chat_gets_the_message(room: FakeAdapter) -> None:
    room.slack.fault("conversations.history", "error", code="missing_scope")
    assert await room.adapter.tell(ALICE, None, "n1", lambda: "80 %")
    assert said(room) == ["80 %"]


async def test_strangers_are_left_to_other_platforms(room: FakeAdapter) -> None:
    assert not await room.adapter.tell(User(id="U0NOBODY", tenant="T0SIM"), None, "n1", lambda: "80 %")
    calls = room.slack.calls.total()
    assert not await room.adapter.tell(User(id="29:1abc", tenant="T0SIM"), None, "n1", lambda: "80 %")
    assert room.slack.calls.total() == calls
    room.slack.fault("conversations.open", "error", code="token_revoked")
    with pytest.raises(SlackRejected, match="token_revoked"):
        await room.adapter.tell(ALICE, None, "n1", lambda: "80 %")
