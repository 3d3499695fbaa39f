"""What Slack refuses is shown in a simpler form or at another place, and nobody is left without a word."""

from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest import mock

import pytest

from adapters.slack.answers import elsewhere, stream, thread
from adapters.slack.api import files
from bot.domain.errors import ConfigError, PlatformUnavailable
from bot.domain.events import Address, MessageReceived, PostedMessage
from bot.domain.prompts import Image
from bot.domain.turns import Reply, Source
from tests.adapters.slack.conftest import FakeAdapter, room_with

ANSWER = Reply(
    text="Because **it** is so.",
    rate=True,
    sources=(Source(title="The handbook", url="https://example.com/handbook"),),
)
POSTING = ("chat.startStream", "chat.postMessage", "chat.update", "chat.appendStream", "chat.stopStream")


@pytest.fixture(autouse=True)
def _quick() -> object:
    with (
        mock.patch.object(stream, "APPEND_INTERVAL_S", 0.01),
        mock.patch.object(stream, "EDIT_INTERVAL_S", 0.01),
        mock.patch.object(stream, "FINISH_PATIENCE_S", 0.5),
    ):
        yield


def types(args: dict[str, Any]) -> set[str]:
    return {block["type"] for block in args.get("blocks", ())}


def in_channel(code: str, method: str, args: dict[str, Any]) -> str | None:
    """Refuse whatever is posted in channels, direct messages excepted."""
    return code if method in (*POSTING, "chat.postEphemeral") and str(args["channel"])[0] == "C" else None


def direct(room: FakeAdapter) -> list[str]:
    """What the asker reads as direct messages."""
    messages = room.slack.workspace.messages.items()
    return [message["markdown"] for (channel, _), message in messages if channel == "D0ALICE"]


# ------------------------------------------------------------------ 50: parts that are refused

PARTS: dict[str, tuple[str, Callable[[str, dict[str, Any]], object]]] = {
    "buttons": ("invalid_blocks", lambda m, a: "context_actions" in types(a)),
    "any button": ("invalid_blocks", lambda m, a: types(a) & {"actions", "context_actions"}),
    "sources": ("invalid_blocks", lambda m, a: "context" in types(a)),
    "blocks of a new type": ("unsupported_block_type", lambda m, a: "context_actions" in types(a)),
    "every block": ("invalid_blocks", lambda m, a: bool(a.get("blocks"))),
    "every block, by another code": ("invalid_blocks_format", lambda m, a: bool(a.get("blocks"))),
    "Markdown blocks": ("invalid_blocks", lambda m, a: "markdown" in types(a)),
    "metadata": ("metadata_must_be_sent_from_app", lambda m, a: "metadata" in a),
    "metadata of a schema": ("invalid_metadata_schema", lambda m, a: "metadata" in a),
    "blocks and metadata": ("invalid_arguments", lambda m, a: bool(a.get("blocks") or "metadata" in a)),
    "long blocks": ("msg_blocks_too_long", lambda m, a: bool(a.get("blocks"))),
    "arguments of an update": ("invalid_arguments", lambda m, a: m == "chat.update" and bool(a["blocks"])),
    "a code nobody has heard of": ("brand_new_error", lambda m, a: bool(a.get("blocks"))),
}


@pytest.mark.parametrize("grown", [False, True], ids=["at once", "grown"])
@pytest.mark.parametrize("part", PARTS)
async def test_a_refused_part_is_left_out(room: FakeAdapter, part: str, grown: bool) -> None:
    """Field fault 50: a persistent refusal of a part ended in silence."""
    code, refused = PARTS[part]
    room.slack.refusal = lambda method, args: code if method in POSTING and refused(method, args) else None
    received = await room.asked()
    post = await room.open(received)
    if grown:
        await room.adapter.update(post, "Because")
        await room.slack.until(lambda: room.slack.calls["chat.startStream"] > 0)
    done = await room.adapter.close(post, ANSWER)
    (shown,) = room.shown(received)
    assert shown.replace("*", "").startswith("Because it is so.")
    assert "The handbook" in shown + str(room.slack.log)
    assert done.data["shown"]
    attempts = sum(room.slack.calls[method] for method in POSTING)
    assert attempts <= 8
    assert await room.adapter.close(post, ANSWER) == done


@pytest.mark.parametrize("part", ["every block", "Markdown blocks", "blocks and metadata"])
async def test_a_long_answer_arrives_in_plain_text(room: FakeAdapter, part: str) -> None:
    """Field fault 50: plain text is split at its own, smaller limit."""
    code, refused = PARTS[part]
    room.slack.refusal = lambda method, args: code if method in POSTING and refused(method, args) else None
    received = await room.asked()
    text = "\n\n".join(f"Paragraph {number} & <more> " + "words " * 60 for number in range(40))
    await room.adapter.close(await room.open(received), Reply(text=text))
    shown = "\n\n".join(room.shown(received))
    assert [f"Paragraph {number} " in shown for number in range(40)] == [True] * 40
    assert max(map(len, room.shown(received))) <= 4_000


@pytest.mark.parametrize("part", ["metadata", "blocks and metadata", "every block", "any button"])
async def test_a_simplified_answer_stays_its_own(room: FakeAdapter, part: str) -> None:
    """Field fault 50: a later answer in the thread does not take over a message without metadata."""
    code, refused = PARTS[part]
    room.slack.refusal = lambda method, args: code if method in POSTING and refused(method, args) else None
    received = await room.asked()
    await room.adapter.close(await room.open(received), Reply(text="First."))
    again = await room.asked(thread_ts=received.address.data["thread"])
    await room.adapter.close(await room.open(again, retry=True), Reply(text="Second."))
    assert room.shown(received) == ["First.", "Second."]


@pytest.mark.parametrize("part", ["every block", "a code nobody has heard of"])
async def test_a_private_reply_is_simplified_too(room: FakeAdapter, part: str) -> None:
    """Field fault 50: an ephemeral message has the same blocks."""
    code, refused = PARTS[part]
    room.slack.refusal = lambda method, args: code if refused(method, args) else None
    received = await room.asked()
    await room.adapter.close(await room.open(received), Reply(text="Only you.", private=True))
    assert [one["text"] for one in room.slack.workspace.ephemeral] == ["Only you."]


async def test_a_private_reply_goes_on_where_it_stopped(room: FakeAdapter) -> None:
    """Ephemeral messages can't be found again, so how many were sent is recorded with the post."""
    received = await room.asked()
    reply = Reply(text="\n\n".join("word " * 1_000 for _ in range(3)), private=True)
    post, sent, failing = await room.open(received), room.slack.workspace.ephemeral, True

    def refusal(method: str, args: dict[str, Any]) -> str | None:
        return "internal_error" if failing and len(sent) == 1 and "Ephemeral" in method else None

    room.slack.refusal = refusal
    for _ in range(2):
        with pytest.raises(PlatformUnavailable) as raised:
            await room.adapter.close(post, reply)
        post = await room.open(received, raised.value.post, retry=True)
    failing = False
    await room.adapter.close(post, reply)
    assert "".join(message["markdown"] for message in sent).count("word") == 3_000


@pytest.mark.parametrize(
    ("method", "code"),
    [
        *[
            ("files.getUploadURLExternal", code)
            for code in (
                *("missing_scope", "file_upload_size_restricted", "storage_limit_reached"),
                "file_uploads_disabled",
            )
        ],
        *[
            ("files.completeUploadExternal", code)
            for code in ("channel_not_found", "not_in_channel", "posting_to_channel_denied")
        ],
    ],
)
async def test_a_refused_image_is_named_below(room: FakeAdapter, method: str, code: str) -> None:
    """Field fault 50: the text arrives, and says that the image is missing."""
    room.slack.refusal = lambda called, args: code if called == method else None
    received = await room.asked()
    reply = Reply(text="Here.", images=(Image(mime="image/png", data=b"picture", alt="A bicycle"),))
    await room.adapter.close(await room.open(received), reply)
    (shown,) = room.shown(received)
    assert shown.startswith("Here.")
    assert code in shown


@pytest.mark.parametrize("code", ["msg_too_long", "streaming_mode_mismatch", "message_not_owned_by_app"])
async def test_a_stream_whose_end_is_refused_is_edited(room: FakeAdapter, code: str) -> None:
    """Field fault 50: the last words of a stream are refused, for example because all of it is too long."""
    refused = {"chat.appendStream", "chat.stopStream"}
    received = await room.asked()
    post = await room.open(received)
    await room.adapter.update(post, "Because")
    await room.slack.until(lambda: room.slack.calls["chat.startStream"] > 0)
    room.slack.refusal = lambda method, args: code if method in refused and "markdown_text" in args else None
    await room.adapter.close(post, ANSWER)
    (shown,) = room.shown(received)
    assert shown.replace("*", "").startswith("Because it is so.")
    assert direct(room) == []


async def test_an_image_that_fails_holds_nothing_up(
    room: FakeAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text is shown and says that the image is missing; later questions do not wait for an upload that fails."""
    monkeypatch.setattr(files, "FILE_PATIENCE_S", 0.0)
    monkeypatch.setattr(files, "IMAGES_PATIENCE_S", 0.0)
    room.slack.fault("files.getUploadURLExternal", "500", count=99)
    received = await room.asked()
    reply = Reply(text="Here.", images=(Image(mime="image/png", data=b"picture", alt="A bicycle"),))
    await room.adapter.close(await room.open(received), reply)
    assert room.shown(received) == [f"Here.\n\n{files.NO_UPLOAD}"]


# ------------------------------------------------------------------ 51: places

PLACES = {
    "is_archived": "archived",
    "restricted_action": "doesn't let me post",
    "restricted_action_read_only_channel": "read-only",
    "restricted_action_thread_only_channel": "threads",
    "restricted_action_non_threadable_channel": "threads",
    "restricted_action_thread_locked": "locked",
    "not_in_channel": "member",
    "channel_not_found": "member",
    "cannot_reply_to_message": "accept replies",
    "thread_not_found": "thread no longer exists",
    "invalid_thread_ts": "thread no longer exists",
    "no_permission": "permission",
    "ekm_access_denied": "organisation",
    "external_channel_migrating": "moved",
    "message_limit_exceeded": "limit",
    "msg_too_long": "msg_too_long",
    "slack_connect_canvas_sharing_blocked": "slack_connect_canvas_sharing_blocked",
    "some_future_restriction": "some_future_restriction",
}


@pytest.mark.parametrize("code", PLACES)
async def test_the_asker_gets_a_direct_message(room: FakeAdapter, code: str) -> None:
    """Field fault 51: the bot may not post, and the asker heard nothing."""
    room.slack.refusal = lambda method, args: in_channel(code, method, args)
    received = await room.asked()
    post = await room.open(received)
    await room.adapter.update(post, "Because")
    await room.adapter.close(post, ANSWER)
    assert room.shown(received) == []
    (told,) = direct(room)
    assert PLACES[code] in told
    assert "in #general:" in told
    assert "Because **it** is so." in told
    assert "sk" in told.partition("Because")[0], "it says what to do: ask"


@pytest.mark.parametrize("code", ["is_archived", "thread_not_found", "not_in_channel", "missing_scope"])
async def test_an_unreadable_thread_hides_no_answer(room: FakeAdapter, code: str) -> None:
    """Field fault 51: a second attempt looks up the first; where it can't, it answers all the same."""
    room.slack.refusal = lambda method, args: code if method == "conversations.replies" else None
    received = await room.asked()
    await room.adapter.close(await room.open(received, retry=True), ANSWER)
    assert len(room.shown(received)) == 1


async def test_images_reach_the_asker_as_well(room: FakeAdapter) -> None:
    """Field fault 51: an image was paid for, and is sent with the answer."""
    room.slack.refusal = lambda method, args: in_channel("is_archived", method, args)
    received = await room.asked()
    reply = Reply(text="Here.", images=(Image(mime="image/png", data=b"picture", alt="A bicycle"),))
    await room.adapter.close(await room.open(received), reply)
    messages = [m for (channel, _), m in room.slack.workspace.messages.items() if channel == "D0ALICE"]
    assert [bool(message.get("files")) for message in messages] == [False, True]


async def test_a_failed_image_repeats_no_direct_message(
    room: FakeAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 51: the answer arrived, and was sent again whenever its image could not be uploaded."""
    monkeypatch.setattr(files, "FILE_PATIENCE_S", 0.0)
    monkeypatch.setattr(files, "IMAGES_PATIENCE_S", 0.0)
    room.slack.refusal = lambda method, args: in_channel("is_archived", method, args)
    room.slack.fault("files.getUploadURLExternal", "500", count=99)
    received = await room.asked()
    reply = Reply(text="Here.", images=(Image(mime="image/png", data=b"picture", alt="A bicycle"),))
    done = await room.adapter.close(await room.open(received), reply)
    assert await room.adapter.close(done, reply) == done
    answer, note = direct(room)
    assert answer.endswith("Here.")
    assert note == files.NO_UPLOAD


async def test_an_image_follows_a_text_that_was_sent(
    room: FakeAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 51: the process ended between the direct message and its image, which was paid for."""
    room.slack.refusal = lambda method, args: in_channel("is_archived", method, args)
    received = await room.asked()
    reply = Reply(text="Here.", images=(Image(mime="image/png", data=b"picture", alt="A bicycle"),))

    async def ended(*_: object) -> str:
        raise PlatformUnavailable("the process ended")

    with monkeypatch.context() as patched:
        patched.setattr(files.ImageUploads, "show_or_explain", ended)
        with pytest.raises(PlatformUnavailable) as raised:
            await room.adapter.close(await room.open(received), reply)
    await room.adapter.close(await room.open(received, raised.value.post, retry=True), reply)
    messages = [m for (channel, _), m in room.slack.workspace.messages.items() if channel == "D0ALICE"]
    assert [bool(message.get("files")) for message in messages] == [False, True]


async def test_a_direct_message_goes_on_where_it_stopped(
    room: FakeAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 51: each attempt at its second part sent the first one again."""
    monkeypatch.setattr(elsewhere, "PATIENCE_S", 0.0)
    failing = True

    def refusal(method: str, args: dict[str, Any]) -> str | None:
        late = failing and len(direct(room)) == 1 and args.get("channel") == "U0ALICE"
        return in_channel("is_archived", method, args) or ("internal_error" if late else None)

    room.slack.refusal = refusal
    received = await room.asked()
    reply, post = Reply(text="\n\n".join("word " * 1_000 for _ in range(3))), await room.open(received)
    for _ in range(3):
        with pytest.raises(PlatformUnavailable) as raised:
            await room.adapter.close(post, reply)
        post = await room.open(received, raised.value.post, retry=True)
    failing = False
    await room.adapter.close(post, reply)
    assert "".join(direct(room)).count("word") == 3_000


@pytest.mark.parametrize("code", ["is_archived", "invalid_blocks"])
async def test_a_direct_message_in_plain_text(room: FakeAdapter, code: str) -> None:
    """Field fault 51 with 50: the direct message, too, may be refused in part."""

    def refusal(method: str, args: dict[str, Any]) -> str | None:
        return in_channel(code, method, args) or ("invalid_blocks" if args.get("blocks") else None)

    room.slack.refusal = refusal
    received = await room.asked()
    await room.adapter.close(await room.open(received), ANSWER)
    shown = [*direct(room), *room.shown(received)]
    assert any("Because *it* is so." in text for text in shown)


@pytest.mark.parametrize("code", ["messages_tab_disabled", "user_disabled", "cannot_dm_bot", "is_archived"])
async def test_the_operator_learns_both_refusals(room: FakeAdapter, code: str) -> None:
    """Field fault 51: when no place is left, a dead letter says what was tried."""

    def refusal(method: str, args: dict[str, Any]) -> str | None:
        return in_channel("is_archived", method, args) or (code if method in POSTING else None)

    room.slack.refusal = refusal
    received = await room.asked()
    with pytest.raises(ConfigError, match=f"is_archived: the channel is archived.*{code}"):
        await room.adapter.close(await room.open(received), ANSWER)


@pytest.mark.parametrize("code", ["invalid_auth", "token_revoked", "account_inactive", "missing_scope"])
async def test_a_useless_token_is_tried_once(room: FakeAdapter, code: str) -> None:
    """Field fault 50: nothing simpler helps against a token that may not post."""
    room.slack.refusal = lambda method, args: code if method in POSTING else None
    received = await room.asked()
    with pytest.raises(ConfigError, match=code):
        await room.adapter.close(await room.open(received), ANSWER)
    assert room.slack.calls["chat.postMessage"] == 1


async def test_a_slash_command_is_simplified_too(room: FakeAdapter) -> None:
    """Field fault 50: ephemeral and direct messages to a command are sent without the refused blocks."""
    room.slack.refusal = lambda method, args: "invalid_blocks" if args.get("blocks") else None
    await room.slack.command("C0GENERAL", "U0ALICE", "/parley", "why?")
    address = room.engine.received[-1].address
    data = {name: value for name, value in address.data.items() if name != "response_url"}
    post = await room.adapter.open(
        Address(conversation=address.conversation, event="e", data=data), None, False
    )
    await room.adapter.close(post, ANSWER)
    assert any("Because *it* is so." in one["markdown"] for one in room.slack.workspace.ephemeral)


# ------------------------------------------------------------------ 54: long waits


@pytest.fixture
async def unstreamed() -> AsyncIterator[FakeAdapter]:
    """A workspace without native streams."""
    async with room_with() as room:
        room.slack.fault("chat.startStream", "error", count=999, code="unknown_method")
        yield room


@pytest.mark.parametrize("seconds", [90, 300, 3600, 7200, 86_400])
async def test_a_long_wait_is_announced_once(unstreamed: FakeAdapter, seconds: int) -> None:
    """Field fault 54: `Retry-After: 7200` when posting, and nobody was told."""
    room = unstreamed
    room.slack.fault("chat.postMessage", "limited", count=99, seconds=seconds)
    for _ in range(2):
        received = await room.asked()
        post = await room.open(received)
        for _ in range(2):
            with pytest.raises(PlatformUnavailable) as raised:
                await room.adapter.close(post, ANSWER)
            assert raised.value.retry_after_s == pytest.approx(seconds, abs=5)
            assert raised.value.post is not None
            post = await room.open(received, raised.value.post, retry=True)
    told = room.slack.workspace.ephemeral
    assert [message["user"] for message in told] == ["U0ALICE"] * 2
    assert "again in about" in told[0]["markdown"]


async def test_a_wait_is_announced_by_direct_message(unstreamed: FakeAdapter) -> None:
    """Field fault 54: another route, where ephemeral messages are refused."""
    room = unstreamed
    room.slack.refusal = lambda method, args: "user_not_in_channel" if "Ephemeral" in method else None
    received = await room.asked()
    post = await room.open(received)
    room.slack.fault("chat.postMessage", "limited", seconds=7200)
    with pytest.raises(PlatformUnavailable):
        await room.adapter.close(post, ANSWER)
    (told,) = direct(room)
    assert "post in #general again in about 2 hours" in told


async def test_a_name_that_slack_hides_is_left_out(unstreamed: FakeAdapter) -> None:
    """Field fault 54: the direct message names no channel id instead."""
    room = unstreamed
    hidden = {"chat.postEphemeral": "user_not_in_channel", "conversations.info": "missing_scope"}
    room.slack.refusal = lambda method, args: hidden.get(method)
    received = await room.asked()
    post = await room.open(received)
    room.slack.fault("chat.postMessage", "limited", seconds=7200)
    with pytest.raises(PlatformUnavailable):
        await room.adapter.close(post, ANSWER)
    (told,) = direct(room)
    assert "in the channel where you asked" in told


async def test_a_later_answer_is_announced_too(unstreamed: FakeAdapter) -> None:
    """Field fault 54: the answer to an edited question waits as the first one did."""
    received = await unstreamed.asked()
    done = await unstreamed.answer(received, "First.")
    announced = PostedMessage(id=done.id, data=done.data | {"announced": "1"})
    again = await unstreamed.open(received, announced)
    assert "announced" not in again.data
    unfinished = PostedMessage(id=again.id, data=again.data | {"announced": "1"})
    assert "announced" in (await unstreamed.open(received, unfinished)).data


async def test_after_the_wait_the_answer_comes(unstreamed: FakeAdapter) -> None:
    """Field fault 54: announced, and later shown where it was asked for."""
    room = unstreamed
    received = await room.asked()
    post = await room.open(received)
    room.slack.fault("chat.postMessage", "limited", seconds=7200)
    with pytest.raises(PlatformUnavailable) as raised:
        await room.adapter.close(post, ANSWER)
    workspace = room.adapter._workspaces.only  # pyright: ignore[reportPrivateUsage]
    assert workspace is not None
    workspace.api._limited_until.clear()  # pyright: ignore[reportPrivateUsage]
    await room.adapter.close(await room.open(received, raised.value.post, retry=True), ANSWER)
    assert len(room.shown(received)) == 1


# ------------------------------------------------------------------ 52: what is remembered

REQUEST = [
    *("missing_recipient_user_id", "missing_recipient_team_id", "invalid_thread_ts", "thread_not_found"),
    *("user_not_found", "user_not_in_channel", "invalid_arguments", "invalid_arg_name", "invalid_chunks"),
    *("msg_too_long", "no_text", "markdown_text_conflict", "team_not_found", "some_future_error"),
]
CHANNEL = [
    *("channel_type_not_supported", "messages_tab_disabled", "restricted_action", "not_in_channel"),
    *("unknown_method", "missing_scope", "not_allowed_token_type", "restricted_action_read_only_channel"),
]


@pytest.mark.parametrize("code", REQUEST)
async def test_one_request_turns_streaming_off_for_nobody(room: FakeAdapter, code: str) -> None:
    """Field fault 52: a mention by a workflow turned native streams off for its channel."""
    room.slack.fault("chat.startStream", "error", code=code)
    for text in ("First.", "Second."):
        received = await room.asked()
        post = await room.open(received)
        await room.adapter.update(post, text[:-1])
        await room.slack.until(lambda: room.shown(received) != [])  # noqa: B023 - awaited at once
        await room.adapter.close(post, Reply(text=text))
        assert room.shown(received) == [text]
    assert room.slack.calls["chat.startStream"] == 2
    assert room.slack.calls["chat.stopStream"] == 1


@pytest.mark.parametrize("code", CHANNEL)
async def test_what_is_about_the_channel_is_remembered(room: FakeAdapter, code: str) -> None:
    """Field fault 52: a refusal that the next answer would meet, too, is asked for once."""
    room.slack.fault("chat.startStream", "error", count=99, code=code)
    for _ in range(2):
        received = await room.asked()
        post = await room.open(received)
        await room.adapter.update(post, "Because")
        await room.slack.until(lambda: room.shown(received) != [])  # noqa: B023 - awaited at once
        await room.adapter.close(post, ANSWER)
    assert room.slack.calls["chat.startStream"] == 1


async def test_a_workflow_gets_no_stream(room: FakeAdapter) -> None:
    """Field fault 52: without a recipient, no stream is tried."""
    received: MessageReceived = await room.asked()
    data = received.address.data | {"user": "", "user_team": ""}
    address = Address(conversation=received.address.conversation, event=received.id, data=data)
    post: PostedMessage = await room.adapter.open(address, None, False)
    await room.adapter.update(post, "Because")
    await room.slack.until(lambda: room.shown(received) != [])
    await room.adapter.close(post, ANSWER)
    assert len(room.shown(received)) == 1
    assert room.slack.calls["chat.startStream"] == 0
    assert thread.NativeStreams().allowed("T0SIM", "C0GENERAL")
