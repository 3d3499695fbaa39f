"""Targeted messages: what only one person sees in a group or a channel."""

import pytest

from adapters.teams.answers import cards
from bot.domain.events import MessageReceived
from bot.domain.turns import Reply
from tests.adapters.teams.conftest import Rig

CHANNEL, GROUP = "19:news@thread.tacv2", "19:group@thread.v2"


@pytest.mark.parametrize("conversation", [GROUP, CHANNEL])
async def test_a_private_reply_is_a_targeted_message(rig: Rig, conversation: str) -> None:
    received = await rig.asked(conversation, "usage", mention=True)
    post = await rig.answer(received, Reply(text="You used little.", private=True))
    (message,) = rig.teams.answers(received.address.data["conversation"])
    assert (message.text, message.only) == ("You used little.", "29:alice")
    again = await rig.adapter.open(received.address, post, retry=True)
    await rig.adapter.close(again, Reply(text="You used much.", private=True))
    assert [item.text for item in rig.teams.answers(message.conversation)] == ["You used much."]


async def test_without_targeted_messages_the_group_sees_a_note(rig: Rig) -> None:
    rig.teams.targets = False
    await rig.answer(await rig.asked(GROUP, mention=True), Reply(text="You used little.", private=True))
    (message,) = rig.teams.answers(GROUP)
    assert "a one-on-one chat" in message.text


@pytest.mark.parametrize("targets", [True, False])
async def test_a_public_answer_becomes_private(rig: Rig, targets: bool) -> None:
    """An edited question may be about the asker's own usage: nobody else reads that, and it is not lost."""
    rig.teams.targets = targets
    received = await rig.asked(GROUP, mention=True)
    post = await rig.answer(received, Reply(text="It is so."))
    await rig.adapter.close(
        await rig.adapter.open(received.address, post, False), Reply(text="You used little.", private=True)
    )
    seen, *alone = rig.teams.answers(GROUP)
    assert ("visible only to" if targets else "a one-on-one chat") in seen.text
    assert [(one.text, one.only) for one in alone] == [("You used little.", "29:alice")] * targets


async def test_one_on_one_everything_is_private_anyway(rig: Rig) -> None:
    await rig.answer(await rig.asked("a:alice"), Reply(text="You used little.", private=True))
    assert [message.only for message in rig.teams.answers("a:alice")] == [""]


async def test_a_targeted_question_has_a_targeted_answer(rig: Rig) -> None:
    """Field note 20."""
    await rig.teams.say_alone(GROUP, "alice", "hello")
    await rig.teams.say_alone(GROUP, "bob", "hello")
    alice, bob = (event for event in rig.events if isinstance(event, MessageReceived))
    public = await rig.asked(GROUP, mention=True)
    conversations = {item.address.conversation for item in (alice, bob, public)}
    assert len(conversations) == 3
    assert alice.addressed
    assert not alice.direct
    await rig.answer(bob, Reply(text="Hello, Bob.", rate=True))
    (message,) = rig.teams.answers(GROUP)
    assert message.only == "29:bob"
    assert "channelData" not in message.activity


async def test_a_targeted_question_is_never_answered_publicly(rig: Rig) -> None:
    await rig.teams.say_alone(GROUP, "alice", "hello")
    rig.teams.targets = False
    alice = rig.events[-1]
    assert isinstance(alice, MessageReceived)
    await rig.answer(alice, Reply(text="A secret."))
    assert "secret" not in rig.teams.answers(GROUP)[0].text


@pytest.mark.parametrize("conversation", ["a:alice", GROUP])
async def test_a_button_confirms_a_command(rig: Rig, conversation: str) -> None:
    """Field fault 81: platforms with buttons show a button."""
    received = await rig.asked(conversation, "forget me", mention=conversation == GROUP)
    await rig.answer(received, Reply(text="This deletes 3 answers.", private=True, confirm="forget me now"))
    (message,) = rig.teams.answers(conversation)
    (attachment,) = message.activity["attachments"]
    assert attachment == cards.attached(cards.confirming("forget me now"))
    pressed = attachment["content"]["actions"][0]["data"]["msteams"]
    await rig.teams.say(conversation, "alice", pressed["text"], value=pressed["value"], replyToId=message.id)
    confirmed = rig.events[-1]
    assert isinstance(confirmed, MessageReceived)
    assert (confirmed.text, confirmed.addressed) == ("forget me now", True)
