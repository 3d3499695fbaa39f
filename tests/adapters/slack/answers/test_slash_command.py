"""Slash commands: acknowledged at once, answered for the asker only, never lost."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.slack.api import files
from bot.domain.errors import PlatformUnavailable
from bot.domain.events import MessageReceived, PostedMessage
from bot.domain.prompts import Image
from bot.domain.turns import Reply
from tests.adapters.slack.conftest import FakeAdapter, new_adapter
from tests.simulators.slack import Kind


async def typed(room: FakeAdapter, command: str, text: str, channel: str = "C0GENERAL") -> MessageReceived:
    await room.slack.command(channel, "U0ALICE", command, text)
    return room.engine.received[-1]


def ephemerals(room: FakeAdapter) -> list[str]:
    """The ephemeral messages after the acknowledgement."""
    received = room.slack.workspace.ephemeral
    return [m["markdown"] for m in received if "Working" not in m["markdown"]]


async def test_a_command_is_answered_by_its_response_url(
    room: FakeAdapter,
) -> None:
    """Field note 17."""
    received = await typed(room, "/image", "why is payload a word?")
    assert received.text == "/image why is payload a word?"
    assert "Working" in room.slack.workspace.ephemeral[0]["markdown"]
    post = await room.open(received)
    assert await room.adapter.update(post, "Bec")
    done = await room.adapter.close(post, Reply(text="Because.", rate=True))
    assert await room.adapter.close(post, Reply(text="Because.", rate=True)) == done
    assert ephemerals(room) == ["Because."]
    assert room.slack.workspace.ephemeral[-1]["response_type"] == "ephemeral"
    assert [m for m in room.slack.workspace.messages.values() if m.get("bot_id")] == []


async def test_a_long_command_answer_goes_beyond_five_responses(room: FakeAdapter) -> None:
    received = await typed(room, "/image", "tell me everything")
    text = "\n\n".join("word " * 1_000 for _ in range(14))
    await room.adapter.close(await room.open(received), Reply(text=text))
    shown = ephemerals(room)
    assert "".join("".join(shown).split()) == "".join(text.split())
    assert len(shown) == 7
    assert room.slack.calls["chat.postEphemeral"] == 2


async def test_an_expired_response_url_falls_back_to_ephemeral(room: FakeAdapter) -> None:
    received = await typed(room, "/image", "why?")
    address = received.address.data | {"response_url": received.address.data["response_url"] + "gone"}
    post = await room.open(received)
    await room.adapter.close(
        PostedMessage(id=post.id + "x", data=post.data | address), Reply(text="Because.")
    )
    assert ephemerals(room) == ["Because."]
    assert room.slack.calls["chat.postEphemeral"] == 1


@pytest.mark.parametrize(
    "told", [{"ok": False, "error": "expired_url"}, {"ok": False, "error": "invalid_blocks"}]
)
async def test_a_refusal_with_status_200_is_a_refusal(room: FakeAdapter, told: dict[str, object]) -> None:
    """Field fault 50: a response_url tells some refusals in its body only, and the answer was lost."""

    async def refused(request: web.Request) -> web.Response:
        return web.json_response(told)

    app = web.Application()
    app.add_routes([web.post("/used", refused)])
    async with TestServer(app) as server:
        received = await typed(room, "/image", "why?")
        post = await room.open(received)
        there = post.data | {"response_url": str(server.make_url("/used"))}
        await room.adapter.close(PostedMessage(id=post.id + "x", data=there), Reply(text="Because."))
    assert ephemerals(room) == ["Because."]
    assert room.slack.calls["chat.postEphemeral"] == 1


async def test_without_membership_a_command_is_answered_by_dm(room: FakeAdapter) -> None:
    received = await typed(room, "/image", "why?", channel="C0OTHER")
    address = received.address.data | {"response_url": received.address.data["response_url"] + "gone"}
    post = await room.open(received)
    await room.adapter.close(
        PostedMessage(id=post.id + "x", data=post.data | address), Reply(text="Because.")
    )
    own = [m["markdown"] for (c, _), m in room.slack.workspace.messages.items() if c == "D0ALICE"]
    assert own == ["Because."]


@pytest.mark.parametrize(("channel", "shown_in"), [("C0GENERAL", "C0GENERAL"), ("C0OTHER", "D0ALICE")])
async def test_an_image_from_a_command_is_uploaded(room: FakeAdapter, channel: str, shown_in: str) -> None:
    received = await typed(room, "/image", "a red bicycle", channel=channel)
    assert received.text == "/image a red bicycle"
    picture = Image(mime="image/png", data=b"picture", alt="A red bicycle")
    await room.adapter.close(await room.open(received), Reply(text="", images=(picture,)))
    assert ephemerals(room) == ["A red bicycle"]
    shared = [c for (c, _), m in room.slack.workspace.messages.items() if m.get("files")]
    assert shared == [shown_in]


async def test_a_failed_response_continues_where_it_stopped(
    room: FakeAdapter,
) -> None:
    """It raises PlatformUnavailable; the parts that were sent are not sent again."""
    received = await typed(room, "/image", "why?")
    post = await room.open(received)
    async with new_adapter(room.slack) as another:
        data = post.data | {"response_url": "http://127.0.0.1:9/nobody"}
        with pytest.raises(PlatformUnavailable):
            await another.close(PostedMessage(id=post.id, data=data), Reply(text="Because."))
    await room.adapter.close(post, Reply(text="Because."))
    assert ephemerals(room) == ["Because."]


async def test_another_attempt_continues_a_command_answer(room: FakeAdapter) -> None:
    """What was sent is recorded with the post: an ephemeral message can't be found again."""
    received = await typed(room, "/image", "tell me everything")
    reply = Reply(text="\n\n".join("word " * 1_000 for _ in range(14)))
    post = await room.open(received)
    room.slack.fault("chat.postEphemeral", "limited", count=3, seconds=60)
    for _ in range(3):
        with pytest.raises(PlatformUnavailable) as raised:
            await room.adapter.close(post, reply)
        post = await room.open(received, raised.value.post, retry=True)
    assert len(ephemerals(room)) == 5


@pytest.mark.parametrize("kind", ["error", "500"])
async def test_a_missing_image_is_explained_once(
    room: FakeAdapter, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    """The answer isn't sent again by direct message, with a reason that is none."""
    monkeypatch.setattr(files, "FILE_PATIENCE_S", 0.0)
    monkeypatch.setattr(files, "IMAGES_PATIENCE_S", 0.0)
    received = await typed(room, "/image", "a red bicycle")
    room.slack.fault("files.getUploadURLExternal", kind, count=9, code="storage_limit_reached")
    reply = Reply(text="Here.", images=(Image(mime="image/png", data=b"picture", alt="A bicycle"),))
    await room.adapter.close(await room.open(received), reply)
    note = files.NO_UPLOAD if kind == "500" else files.NO_IMAGE.format(code="storage_limit_reached")
    assert ephemerals(room) == ["Here.", note]
    assert [channel for channel, _ in room.slack.workspace.messages if channel == "D0ALICE"] == []


async def test_commands_of_two_people_share_nothing(room: FakeAdapter) -> None:
    """Field note 20."""
    await room.slack.command("C0GENERAL", "U0ALICE", "/image", "mine")
    await room.slack.command("C0GENERAL", "U0BOB", "/image", "yours")
    alices, bobs = room.engine.received
    assert alices.address.conversation != bobs.address.conversation
    await room.answer(alices, "for Alice")
    await room.answer(bobs, "for Bob")
    read = {m["user"]: m["markdown"] for m in room.slack.workspace.ephemeral}
    assert read == {"U0ALICE": "for Alice", "U0BOB": "for Bob"}


async def test_a_rating_of_a_command_answer_names_it(room: FakeAdapter) -> None:
    received = await typed(room, "/image", "why?")
    post = await room.adapter.close(await room.open(received), Reply(text="Because.", rate=True))
    message = room.slack.workspace.ephemeral[-1] | {"text": "Because."}
    await room.slack.press(message, "C0GENERAL", "U0ALICE")
    rated = room.engine.events[-1]
    assert getattr(rated, "post", None) == post.id
    assert rated.address.conversation == received.address.conversation


async def test_a_slash_command_confirms_with_a_button(room: FakeAdapter) -> None:
    """Field fault 81: `/parley forget` asks before it deletes."""
    received = await typed(room, "/parley", "forget")
    assert received.text == "/forget"
    reply = Reply(text="This deletes 3 answers.", private=True, confirm="forget me now")
    await room.adapter.close(await room.open(received), reply)
    shown = room.slack.workspace.ephemeral[-1]
    (button,) = [element for block in shown["blocks"] for element in block.get("elements", [])]
    assert (button["action_id"], button["style"]) == ("confirm", "danger")
    assert await typed(room, "/parley", "forget me now")
    assert room.engine.received[-1].text == "/forget me now"
