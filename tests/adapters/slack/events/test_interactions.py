"""Buttons below answers, and the forms that they open."""

from unittest import mock

import pytest

from adapters.slack.answers import stream
from bot.domain.events import FeedbackGiven, MessageReceived, StopRequested
from bot.domain.prompts import Image
from bot.domain.turns import Reply
from tests.adapters.slack.conftest import FakeAdapter
from tests.simulators.slack_methods import Message

CHANNEL = "C0GENERAL"


async def answered(room: FakeAdapter) -> tuple[MessageReceived, Message]:
    """A rated answer to a question, and the message that shows it."""
    received = await room.asked()
    await room.adapter.close(await room.open(received), Reply(text="Because.", rate=True))
    (message,) = room.slack.thread(CHANNEL, received.address.data["thread"])
    return received, message


async def test_try_again_is_a_command_in_its_conversation(room: FakeAdapter) -> None:
    received, message = await answered(room)
    delivery = await room.slack.press_button(message, CHANNEL, "U0BOB", "again")
    assert (delivery.status, delivery.body) == (200, "")
    again = room.engine.received[-1]
    post = f"T0SIM:{CHANNEL}:{message['ts']}"
    assert (again.text, again.user.id, again.addressed) == (f"/again {post}", "U0BOB", True)
    assert again.address.conversation == received.address.conversation
    await room.answer(again, "Since.")
    assert room.shown(received) == ["Because.", "Since."]


async def test_only_the_asker_sees_the_sent_prompt(
    room: FakeAdapter,
) -> None:
    """Field note 41."""
    received, message = await answered(room)
    await room.slack.press_button(message, CHANNEL, "U0ALICE", "sent")
    asked = room.engine.received[-1]
    assert asked.text == f"/sent T0SIM:{CHANNEL}:{message['ts']}"
    assert asked.address.conversation == received.address.conversation
    await room.adapter.close(await room.open(asked), Reply(text="I sent this.", private=True))
    (message,) = room.slack.workspace.ephemeral
    assert (message["user"], message["markdown"]) == ("U0ALICE", "I sent this.")
    assert room.shown(received) == ["Because."]


async def test_two_presses_differ_and_a_redelivery_does_not(room: FakeAdapter) -> None:
    _, message = await answered(room)
    await room.slack.press_button(message, CHANNEL, "U0ALICE", "again")
    await room.slack.press_button(message, CHANNEL, "U0ALICE", "again")
    assert len({received.id for received in room.engine.received}) == 3


async def test_buttons_of_a_command_answer_use_its_conversation(room: FakeAdapter) -> None:
    await room.slack.command("C0OTHER", "U0ALICE", "/image", "a bicycle")
    received = room.engine.received[-1]
    await room.adapter.close(await room.open(received), Reply(text="Here.", rate=True))
    message = room.slack.workspace.ephemeral[-1]
    await room.slack.press_button(message, "C0OTHER", "U0ALICE", "again", ephemeral=True)
    again = room.engine.received[-1]
    assert again.address.conversation == received.address.conversation
    await room.answer(again, "Here is another.")
    assert room.slack.workspace.ephemeral[-1]["markdown"] == "Here is another."


async def test_a_bad_rating_opens_a_comment_form(room: FakeAdapter) -> None:
    received, message = await answered(room)
    await room.slack.press(message, CHANNEL, "U0BOB", good=False)
    await room.slack.until(lambda: "U0BOB" in room.slack.workspace.views.forms)
    await room.slack.submit("U0BOB", "It is wrong.")
    first, second = [event for event in room.engine.events if isinstance(event, FeedbackGiven)]
    assert (first.good, first.comment) == (False, "")
    assert (second.good, second.comment, second.post) == (False, "It is wrong.", first.post)
    assert second.address.conversation == received.address.conversation
    assert second.user.id == "U0BOB"


async def test_a_good_rating_or_empty_comment_adds_nothing(room: FakeAdapter) -> None:
    _, message = await answered(room)
    await room.slack.press(message, CHANNEL, "U0ALICE", good=True)
    await room.slack.press(message, CHANNEL, "U0BOB", good=False)
    await room.slack.until(lambda: room.slack.workspace.views.forms)
    assert list(room.slack.workspace.views.forms) == ["U0BOB"]
    delivery = await room.slack.submit("U0BOB", "")
    assert delivery.status == 200
    assert len([event for event in room.engine.events if isinstance(event, FeedbackGiven)]) == 2


async def test_an_unfinished_edited_answer_has_a_stop_button(room: FakeAdapter) -> None:
    room.slack.fault("chat.startStream", "error", code="unknown_method")
    with mock.patch.object(stream, "EDIT_INTERVAL_S", 0.01):
        received = await room.asked()
        post = await room.open(received)
        await room.adapter.update(post, "Because")
        await room.slack.until(lambda: room.shown(received) == ["Because"])
        (message,) = room.slack.thread(CHANNEL, received.address.data["thread"])
        await room.slack.press_button(message, CHANNEL, "U0ALICE", "stop")
        stopped = room.engine.events[-1]
        assert isinstance(stopped, StopRequested)
        assert (stopped.address.conversation, stopped.target) == (received.address.conversation, received.id)
        room.engine.receipt = "ignored"
        await room.slack.press_button(message, CHANNEL, "U0BOB", "stop")
        await room.slack.until(lambda: room.slack.workspace.ephemeral)
        assert "Only the person who asked" in room.slack.workspace.ephemeral[-1]["text"]
        await room.adapter.close(post, Reply(text="Because (stopped)", rate=True))
    actions = [e["action_id"] for b in message["blocks"] for e in b.get("elements", ())]
    assert actions == ["feedback", "again", "sent"]


@pytest.mark.parametrize("action", ["again", "sent", "stop", "feedback"])
async def test_a_button_with_a_foreign_value_is_ignored(room: FakeAdapter, action: str) -> None:
    pressed = {"action_id": action, "value": '{"conversation": "elsewhere"}', "action_ts": "1.1"}
    delivery = await room.slack.act(
        {
            "type": "block_actions",
            "user": {"id": "U0ALICE"},
            "container": {"message_ts": "1.1", "channel_id": CHANNEL},
            "actions": [pressed],
        }
    )
    assert delivery.status == 200
    assert room.engine.events == []


async def test_an_image_has_a_button_for_variations(room: FakeAdapter) -> None:
    received = await room.asked()
    image = Image(mime="image/png", data=b"\x89PNG\r\n\x1a\n picture", alt="a cat")
    await room.adapter.close(await room.open(received), Reply(text="a cat", images=(image,), rate=True))
    message = room.slack.thread(CHANNEL, received.address.data["thread"])[0]
    await room.slack.press_button(message, CHANNEL, "U0BOB", "variations")
    asked = room.engine.received[-1]
    assert asked.text == f"/variations T0SIM:{CHANNEL}:{message['ts']}"
    assert asked.address.conversation == received.address.conversation


async def test_a_button_confirms_a_command_for_its_asker(room: FakeAdapter) -> None:
    """Field fault 81: platforms with buttons show a button."""
    asked = await room.asked()
    reply = Reply(text="This deletes 3 answers.", private=True, confirm="forget me now")
    await room.adapter.close(await room.open(asked), reply)
    (message,) = room.slack.workspace.ephemeral
    (button,) = [element for block in message["blocks"] for element in block.get("elements", [])]
    assert (button["text"]["text"], button["style"]) == ("Delete", "danger")
    assert room.shown(asked) == []
    delivery = await room.slack.press_button(message, CHANNEL, "U0BOB", "confirm", ephemeral=True)
    assert delivery.status == 200
    received = room.engine.received[-1]
    assert (received.text, received.user.id) == ("forget me now", "U0BOB"), "it is said by whoever presses"
    assert received.address.conversation == asked.address.conversation
