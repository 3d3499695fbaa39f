"""The bot is removed: the data of that conversation is deleted."""

import pytest

from bot.domain.events import AppUninstalled, MessageReceived
from tests.adapters.teams.conftest import Rig
from tests.simulators.teams import TENANT
from tests.simulators.teams_graph import TEAM

CHANNEL, GROUP = "19:news@thread.tacv2", "19:group@thread.v2"


def last(rig: Rig) -> AppUninstalled:
    event = rig.events[-1]
    assert isinstance(event, AppUninstalled)
    return event


@pytest.mark.parametrize("conversation", ["a:alice", GROUP])
async def test_removal_from_a_chat_deletes_that_chat(rig: Rig, conversation: str) -> None:
    received = await rig.asked(conversation, mention=True)
    await rig.teams.remove(conversation, "alice")
    gone = last(rig)
    assert received.address.conversation.startswith(gone.conversation_prefix)
    assert (gone.marks, gone.whole, gone.user.tenant) == ({}, False, TENANT)
    assert gone.at >= received.at


async def test_removal_from_a_team_deletes_all_its_channels(rig: Rig) -> None:
    received = await rig.asked("19:other@thread.tacv2", mention=True)
    await rig.teams.remove(CHANNEL, "alice")
    gone = last(rig)
    assert received.address.conversation.startswith(gone.conversation_prefix)
    assert gone.marks == {"team": TEAM}
    assert gone.marks.items() <= received.address.data.items()


async def test_deleting_a_channel_deletes_its_threads(rig: Rig) -> None:
    received = await rig.asked(CHANNEL, mention=True)
    data = {"eventType": "channelDeleted", "channel": {"id": CHANNEL}, "team": {"id": TEAM}}
    general = rig.teams.activity("conversationUpdate", TEAM, "alice", id="1")
    general["channelData"] |= data
    await rig.teams.deliver(general)
    gone = last(rig)
    assert received.address.conversation.startswith(gone.conversation_prefix)
    assert gone.conversation_prefix.endswith(CHANNEL)
    assert gone.marks == {}
    general["channelData"]["eventType"] = "teamDeleted"
    await rig.teams.deliver(general)
    assert last(rig).marks == {"team": TEAM}


async def test_app_updates_and_other_changes_delete_nothing(rig: Rig) -> None:
    received = await rig.asked("a:alice")
    for type, fields in (
        ("installationUpdate", {"action": "add-upgrade"}),
        ("installationUpdate", {"action": "remove-upgrade"}),
        ("conversationUpdate", {"membersRemoved": [{"id": "29:bob"}]}),
    ):
        await rig.teams.deliver(rig.teams.activity(type, "a:alice", "alice", id="1", **fields))
    assert rig.events == [received]
    assert isinstance(received, MessageReceived)


async def test_every_delivery_is_the_same_event(rig: Rig) -> None:
    told = await rig.teams.remove("a:alice", "alice")
    await rig.teams.deliver(told.activity)
    first, second = rig.events
    assert first == second
