"""How an answer becomes visible: streamed, edited or posted, complete in the end, never twice."""

import contextlib
import gc
import re
from unittest import mock

import pytest
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from adapters.slack.answers import stream, thread
from bot.domain.errors import ConfigError, PlatformUnavailable
from bot.domain.events import MessageReceived, PostedMessage
from bot.domain.prompts import Image
from bot.domain.turns import Reply, Source
from tests.adapters.slack.conftest import Engine, FakeAdapter, listening, new_adapter
from tests.simulators.slack import SlackSimulator

PICTURE = b"\x89PNG" + b"picture" * 300_000
LONG = "\n\n".join(f"Paragraph {number}: " + "words and more words " * 40 for number in range(40))


@pytest.fixture(autouse=True)
def _quick() -> object:
    """Shorten the intervals that are meant for people."""
    with (
        mock.patch.object(stream, "APPEND_INTERVAL_S", 0.01),
        mock.patch.object(stream, "EDIT_INTERVAL_S", 0.01),
        mock.patch.object(stream, "FIRST_PAUSE_S", 0.01),
        mock.patch.object(stream, "FINISH_PATIENCE_S", 2.0),
    ):
        yield


async def grow(room: FakeAdapter, received: MessageReceived, post: PostedMessage, text: str) -> None:
    """Update the answer and wait until the text is visible."""
    assert await room.adapter.update(post, text)
    await room.slack.until(lambda: room.shown(received) == [text])


async def test_an_answer_is_streamed_from_start_to_end(room: FakeAdapter) -> None:
    received = await room.asked()
    post = await room.open(received)
    await grow(room, received, post, "Be")
    await grow(room, received, post, "Because it is")
    done = await room.adapter.close(post, Reply(text="Because it is so.", rate=True))
    assert room.shown(received) == ["Because it is so."]
    (message,) = room.slack.thread("C0GENERAL", received.address.data["thread"])
    assert message["streaming"] is False
    assert message["metadata"]["event_payload"] == {"event": received.id}
    assert message["blocks"][0]["type"] == "context_actions"
    assert done.id == f"T0SIM:C0GENERAL:{message['ts']}"
    assert room.slack.calls["chat.postMessage"] == 0
    assert next(m for m, _, _ in room.slack.log if m.startswith("chat.")) == "chat.startStream"


@pytest.mark.parametrize("begun", ["Because it is ", "Because it is\n\n", "Because it is *"])
async def test_trailing_white_space_in_streams_needs_no_edit(room: FakeAdapter, begun: str) -> None:
    received = await room.asked()
    post = await room.open(received)
    await room.adapter.update(post, begun)
    await room.slack.until(lambda: room.shown(received) == ["Because it is"])
    await room.adapter.close(post, Reply(text="Because it is\n\n_Stopped._"))
    assert room.shown(received) == ["Because it is\n\n_Stopped._"]
    assert room.slack.calls["chat.update"] == 0


async def test_complete_answers_are_not_kept_in_memory(room: FakeAdapter) -> None:
    text = "A long answer. " * 200

    async def ask() -> None:
        received = await room.asked()
        post = await room.open(received)
        await room.adapter.update(post, text)
        await room.slack.until(lambda: bool(room.shown(received)))
        done = await room.adapter.close(post, Reply(text=text.strip()))
        calls = room.slack.calls.copy()
        assert await room.adapter.close(post, Reply(text=text.strip())) == done
        assert room.slack.calls == calls

    def held() -> int:
        gc.collect()
        return sum(isinstance(obj, stream.SlackAnswer) for obj in gc.get_objects())

    before = held()
    await ask()
    assert held() == before


async def test_an_answer_without_partial_text_is_one_post(room: FakeAdapter) -> None:
    received = await room.asked()
    done = await room.answer(received, "Because.")
    assert room.shown(received) == ["Because."]
    assert room.slack.calls["chat.postMessage"] == 1
    assert room.slack.calls["chat.startStream"] == room.slack.calls["chat.update"] == 0
    assert done.data["messages"] == done.id.rpartition(":")[2]


async def test_closing_again_changes_nothing(room: FakeAdapter) -> None:
    received = await room.asked()
    post = await room.open(received)
    await room.adapter.update(post, "Bec")
    reply = Reply(text="Because.", rate=True, sources=(Source(title="A page", url="https://example.com"),))
    done = await room.adapter.close(post, reply)
    calls = room.slack.calls.copy()
    assert await room.adapter.close(post, reply) == done
    assert await room.adapter.close(done, reply) == done
    async with new_adapter(room.slack) as another:
        assert await another.close(done, reply) == done
    assert room.slack.calls == calls


@pytest.mark.parametrize("code", ["unknown_method", "channel_type_not_supported", "restricted_action"])
async def test_without_native_streams_answers_are_edited(room: FakeAdapter, code: str) -> None:
    """Field note 12."""
    room.slack.fault("chat.startStream", "error", count=99, code=code)
    received = await room.asked()
    post = await room.open(received)
    await grow(room, received, post, "Because it")
    await grow(room, received, post, "Because it is")
    await room.adapter.close(post, Reply(text="Because it is so."))
    assert room.shown(received) == ["Because it is so."]
    await room.answer(await room.asked(), "Again.")
    assert room.slack.calls["chat.startStream"] == 1, "a refusal is remembered"


async def test_a_rate_limited_start_falls_back_to_edits(room: FakeAdapter) -> None:
    """Field note 12: the limited method is not called again until it is allowed."""
    room.slack.fault("chat.startStream", "limited", seconds=60)
    for _ in range(2):
        received = await room.asked()
        post = await room.open(received)
        await grow(room, received, post, "Because")
        await room.adapter.close(post, Reply(text="Because it is so."))
        assert room.shown(received) == ["Because it is so."]
    assert room.slack.calls["chat.startStream"] == 1


async def test_rate_limited_edits_end_in_one_last_edit(room: FakeAdapter) -> None:
    """Field note 12."""
    room.slack.fault("chat.startStream", "error", code="unknown_method")
    received = await room.asked()
    post = await room.open(received)
    await grow(room, received, post, "Because")
    room.slack.fault("chat.update", "limited", seconds=0.2)
    for end in range(20):
        await room.adapter.update(post, "Because " + "x" * end)
    await room.adapter.close(post, Reply(text="Because it is so."))
    assert room.shown(received) == ["Because it is so."]
    assert room.slack.calls["chat.update"] <= 3


async def test_a_closed_stream_is_completed_by_another_message(room: FakeAdapter) -> None:
    """Field note 12: the new message holds only the rest."""
    received = await room.asked()
    post = await room.open(received)
    await grow(room, received, post, "The first half.")
    room.slack.workspace.stream_life_s = 0.0
    done = await room.adapter.close(post, Reply(text="The first half.\n\nThe second half.", rate=True))
    assert room.shown(received) == ["The first half.", "The second half."]
    assert len(done.data["messages"].split()) == 2
    assert (
        await room.adapter.close(post, Reply(text="The first half.\n\nThe second half.", rate=True)) == done
    )


async def test_a_stream_closed_early_continues_in_another_message(room: FakeAdapter) -> None:
    """Field note 12."""
    received = await room.asked()
    post = await room.open(received)
    await grow(room, received, post, "One.")
    room.slack.workspace.stream_life_s = 0.0
    await room.adapter.update(post, "One. Two.")
    await room.slack.until(lambda: room.shown(received) == ["One.", " Two."])
    await room.adapter.update(post, "One. Two. Three.")
    await room.slack.until(lambda: room.shown(received) == ["One.", " Two. Three."])
    await room.adapter.close(post, Reply(text="One. Two. Three. Four."))
    assert room.shown(received) == ["One.", " Two. Three. Four."]
    assert room.slack.calls["chat.startStream"] == 1


async def test_a_late_failing_stop_completes_the_same_message(room: FakeAdapter) -> None:
    """Field note 08."""
    received = await room.asked()
    post = await room.open(received)
    await grow(room, received, post, "Because")
    room.slack.fault("chat.stopStream", "drop_after")
    await room.adapter.close(post, Reply(text="Because it is so."))
    assert room.shown(received) == ["Because it is so."]


async def test_an_append_of_unknown_outcome_is_not_doubled(room: FakeAdapter) -> None:
    """Field note 08."""
    received = await room.asked()
    post = await room.open(received)
    await grow(room, received, post, "One")
    room.slack.fault("chat.appendStream", "drop_after")
    await room.adapter.update(post, "One two")
    await room.slack.until(lambda: room.slack.calls["chat.appendStream"] == 1)
    await room.adapter.close(post, Reply(text="One two three"))
    assert room.shown(received) == ["One two three"]


@pytest.mark.parametrize("method", ["chat.startStream", "chat.postMessage"])
async def test_a_post_of_unknown_outcome_is_found_again(room: FakeAdapter, method: str) -> None:
    """Field note 08."""
    received = await room.asked()
    post = await room.open(received)
    room.slack.fault(method, "drop_after")
    if method == "chat.startStream":
        await room.adapter.update(post, "Because")
        await room.slack.until(lambda: room.shown(received) == ["Because"])
    await room.adapter.close(post, Reply(text="Because it is so."))
    assert room.shown(received) == ["Because it is so."]


@pytest.mark.parametrize("kind", ["error", "500", "drop", "limited"])
async def test_the_last_edit_is_retried_until_visible(room: FakeAdapter, kind: str) -> None:
    """Field note 09."""
    room.slack.fault("chat.startStream", "error", code="unknown_method")
    received = await room.asked()
    post = await room.open(received)
    await grow(room, received, post, "Because")
    room.slack.fault("chat.update", kind, count=2, seconds=0.05)  # pyright: ignore[reportArgumentType]
    await room.adapter.close(post, Reply(text="Because it is so."))
    assert room.shown(received) == ["Because it is so."]


async def test_ok_false_is_a_failure(room: FakeAdapter) -> None:
    """Field note 09."""
    received = await room.asked()
    post = await room.open(received)
    room.slack.fault("chat.postMessage", "error", code="token_revoked")
    with pytest.raises(ConfigError, match="token_revoked: copy SLACK_BOT_TOKEN again"):
        await room.adapter.close(post, Reply(text="Because."))
    assert room.shown(received) == []


async def test_a_long_outage_of_slack_is_platform_unavailable(room: FakeAdapter) -> None:
    received = await room.asked()
    post = await room.open(received)
    room.slack.fault("*", "500", count=99)
    with mock.patch.object(stream, "FINISH_PATIENCE_S", 0.05), pytest.raises(PlatformUnavailable):
        await room.adapter.close(post, Reply(text="Because."))


async def test_a_rate_limited_stop_is_retried_in_background(room: FakeAdapter) -> None:
    """The text is complete at once; the stream is ended later."""
    received = await room.asked()
    post = await room.open(received)
    await grow(room, received, post, "Because")
    room.slack.fault("chat.stopStream", "limited", seconds=0.05)
    await room.adapter.close(post, Reply(text="Because it is so.", rate=True))
    assert room.shown(received) == ["Because it is so."]
    (message,) = room.slack.thread("C0GENERAL", received.address.data["thread"])
    await room.slack.until(lambda: not message["streaming"])
    assert message["blocks"]


# ------------------------------------------------------------------ crashes


async def test_an_interrupted_answer_is_completed_in_place(room: FakeAdapter) -> None:
    """Field note 10."""
    received = await room.asked()
    begun = await room.open(received)
    await grow(room, received, begun, "Because it")
    async with new_adapter(room.slack) as second:
        post = await second.open(received.address, begun, True)
        assert post.data["messages"]
        assert await second.update(post, "Since it")
        await second.close(post, Reply(text="Since it is so."))
    assert room.shown(received) == ["Since it is so."]


async def test_an_abandoned_attempt_stops_writing(room: FakeAdapter) -> None:
    received = await room.asked()
    begun = await room.open(received)
    await grow(room, received, begun, "Because")
    with mock.patch.object(stream, "APPEND_INTERVAL_S", 0.05):
        begun = await room.adapter.open(received.address, begun, True)
        await room.adapter.update(begun, "Since it")
        await room.slack.until(lambda: room.shown(received) == ["Since it"])
        await room.adapter.update(begun, "Since it was given up")
    post = await room.adapter.open(received.address, begun, True)
    await room.adapter.close(post, Reply(text="Since it is so."))
    calls = room.slack.calls.total()
    await room.slack.say("C0GENERAL", "U0ALICE", "something else, which takes a while")
    assert room.shown(received) == ["Since it is so."]
    assert room.slack.calls.total() == calls


@pytest.mark.parametrize("streams", [True, False])
async def test_an_unrecorded_message_is_found_by_its_metadata(room: FakeAdapter, streams: bool) -> None:
    """Field note 10."""
    if not streams:
        room.slack.fault("chat.startStream", "error", code="unknown_method")
    received = await room.asked()
    lost = await room.open(received)
    await grow(room, received, lost, "Because it")
    async with new_adapter(room.slack) as second:
        post = await second.open(received.address, None, True)
        await second.close(post, Reply(text="Since it is so."))
    assert room.shown(received) == ["Since it is so."]


async def test_a_crash_after_the_end_finds_the_answer(room: FakeAdapter) -> None:
    received = await room.asked()
    post = await room.open(received)
    await grow(room, received, post, "Because it")
    await room.adapter.close(post, Reply(text=LONG))
    before = len(room.shown(received))
    async with new_adapter(room.slack) as second:
        post = await second.open(received.address, None, True)
        await second.close(post, Reply(text="Short."))
    assert before > 1
    assert room.shown(received) == ["Short."], "messages that are no longer needed are deleted"


async def test_answers_to_other_questions_stay_untouched(room: FakeAdapter) -> None:
    first = await room.asked()
    thread_ts = first.address.data["thread"]
    second = await room.asked("<@U0BOT> and why that?", thread_ts=thread_ts)
    await room.answer(first, "Because.")
    post = await room.open(second)
    await room.adapter.update(post, "Sin")
    await room.slack.until(lambda: room.shown(first) == ["Because.", "Sin"])
    async with new_adapter(room.slack) as other:
        post = await other.open(second.address, None, True)
        await other.close(post, Reply(text="Since."))
    assert room.shown(first) == ["Because.", "Since."]


async def test_an_edited_question_changes_the_answer_in_place(room: FakeAdapter) -> None:
    """Field note 11."""
    received = await room.asked()
    done = await room.answer(received, "Because.")
    await room.slack.edit("C0GENERAL", received.address.data["question"], "<@U0BOT> why not?")
    edited = room.engine.events[-1]
    post = await room.adapter.open(edited.address, done, False)
    await room.adapter.update(post, "Since")
    again = await room.adapter.close(post, Reply(text="Since it isn't."))
    assert room.shown(received) == ["Since it isn't."]
    assert again.id == done.id
    assert room.slack.calls["conversations.replies"] == 0


# ------------------------------------------------------------------ length, formatting, people

SHOWY = """## Ways

Take the **train**, not the *car* or `a bus`.

| Way | Speed |
|---|---:|
| Train | 160 |
| Car | 100 |

- [x] a ticket
  1. a book

> said [somebody](https://example.com/a_b)

```python
hours = km / kmh
```

Done."""
RAW = re.compile(r"[*`|#]|\]\(|\[(?![ x]\])")


@pytest.mark.parametrize("streams", [True, False])
async def test_partial_text_shows_no_open_markdown(room: FakeAdapter, streams: bool) -> None:
    """Field note 15."""
    if not streams:
        room.slack.fault("chat.startStream", "error", code="unknown_method")
    received = await room.asked()
    post = await room.open(received)
    seen: list[str] = []
    for end in range(1, len(SHOWY), 3):
        await room.adapter.update(post, SHOWY[:end])
        calls = room.slack.calls.total()
        with contextlib.suppress(TimeoutError):
            await room.slack.until(lambda calls=calls: room.slack.calls.total() > calls, timeout_s=0.03)
        seen += room.shown(received)
    await room.adapter.close(post, Reply(text=SHOWY))
    assert room.shown(received) == [SHOWY]
    assert len(set(seen)) > 8
    assert [words for text in seen for words in words_of(text) if RAW.search(words)] == []
    assert not [answer for _, _, answer in room.slack.log if answer.get("error")] or not streams


def words_of(text: str) -> list[str]:
    """The text that a Markdown parser finds, without markup."""
    tree = SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(text))
    return [node.content for node in tree.walk() if node.type == "text"]


LEAKY = "Look ![a chart](https://foreign.example/?q=1) and <img src=x>."
WRITING = ("chat.startStream", "chat.appendStream", "chat.stopStream", "chat.postMessage", "chat.update")


@pytest.mark.parametrize("streams", [True, False])
async def test_no_message_loads_what_it_names(room: FakeAdapter, streams: bool) -> None:
    """Field fault 103: an image becomes a link, in every chunk, and no message has previews."""
    if not streams:
        room.slack.fault("chat.startStream", "error", code="unknown_method")
    received = await room.asked()
    post = await room.open(received)
    for text in ("Look", "Look !", "Look ![a cha", "Look ![a chart](https://foreign.example/?q=1)", LEAKY):
        await room.adapter.update(post, text)
    await room.adapter.close(post, Reply(text=LEAKY))
    assert room.shown(received) == ["Look [a chart](https://foreign.example/?q=1) and <\u2060img src=x>."]
    sent = [args for method, args, _ in room.slack.log if method in WRITING]
    assert sent
    assert not [args for args in sent if "![" in str(args) or "<img" in str(args)]
    begun = [args for method, args, _ in room.slack.log if method in ("chat.startStream", "chat.postMessage")]
    assert begun
    assert all(args["unfurl_links"] is args["unfurl_media"] is False for args in begun)


async def test_a_long_answer_is_split_within_limits(room: FakeAdapter) -> None:
    """Field note 14."""
    received = await room.asked()
    post = await room.open(received)
    for end in range(0, len(LONG), 4_000):
        await room.adapter.update(post, LONG[:end])
    await room.adapter.close(post, Reply(text=LONG, rate=True))
    shown = room.shown(received)
    assert "".join("".join(shown).split()) == "".join(LONG.split())
    assert len(shown) == 4
    assert not [answer for _, _, answer in room.slack.log if answer.get("error")]


async def test_code_fences_are_balanced_across_streamed_messages(room: FakeAdapter) -> None:
    """Field note 14."""
    code = "Look:\n\n```python\n" + "\n".join(f"line_{n} = {n}" for n in range(1_500)) + "\n```"
    received = await room.asked()
    post = await room.open(received)
    await room.adapter.update(post, code[:9_000])
    await room.slack.until(lambda: room.shown(received) == [code[:9_000]])
    await room.adapter.update(post, code[:16_000])
    await room.slack.until(lambda: len(room.shown(received)) == 2)
    await room.adapter.close(post, Reply(text=code))
    for part in room.shown(received):
        assert part.count("```") % 2 == 0
    assert "line_1499 = 1499" in room.shown(received)[-1]


async def test_a_refusal_for_size_leads_to_smaller_messages(room: FakeAdapter) -> None:
    room.slack.fault("chat.postMessage", "error", code="msg_blocks_too_long")
    received = await room.asked()
    await room.answer(received, LONG[:10_000])
    assert len(room.shown(received)) == 2


async def test_model_output_notifies_nobody(room: FakeAdapter) -> None:
    """Field note 16."""
    received = await room.asked()
    post = await room.open(received)
    for text in ("Hi <", "Hi <!chan", "Hi <!channel> and @he", "Hi <!channel> and @here, <@U0BOB>"):
        await room.adapter.update(post, text)
    await room.adapter.close(post, Reply(text="Hi <!channel> and @here, <@U0BOB> and `@here`, a@here.com"))
    (shown,) = room.shown(received)
    assert shown.replace("\u2060", "") == "Hi <!channel> and @here, <@U0BOB> and `@here`, a@here.com"
    for page in ("<!", "<@", " @here,"):
        assert page not in shown
    assert "`@here`, a@here.com" in shown
    for _, args, _ in room.slack.log:
        assert "<!channel" not in str(args)


async def test_only_the_asker_sees_a_private_reply(room: FakeAdapter) -> None:
    received = await room.asked()
    post = await room.open(received)
    done = await room.adapter.close(post, Reply(text="You spent 3 cents.", private=True))
    assert await room.adapter.close(post, Reply(text="You spent 3 cents.", private=True)) == done
    assert room.shown(received) == []
    (message,) = room.slack.workspace.ephemeral
    assert (message["user"], message["markdown"]) == ("U0ALICE", "You spent 3 cents.")
    assert message["thread_ts"] == received.address.data["thread"]


@pytest.mark.parametrize("recorded", [True, False])
async def test_a_public_answer_becomes_private(room: FakeAdapter, recorded: bool) -> None:
    """An edited question, or a second attempt after a crash, may be answered privately in place of what is visible."""
    received = await room.asked()
    post = await room.open(received)
    seen = await room.adapter.close(post, Reply(text="It is so."))
    again = await room.adapter.open(received.address, seen if recorded else None, True)
    done = await room.adapter.close(again, Reply(text="You spent 3 cents.", private=True))
    assert await room.adapter.close(done, Reply(text="You spent 3 cents.", private=True)) == done
    (note,) = room.shown(received)
    assert "visible only to the person who asked" in note
    (message,) = room.slack.workspace.ephemeral
    assert (message["user"], message["markdown"]) == ("U0ALICE", "You spent 3 cents.")


async def test_private_images_go_to_the_askers_direct_messages(room: FakeAdapter) -> None:
    """Field fault 104: a mention in a muted channel is answered privately, also with an image."""
    received = await room.asked()
    picture = Image(mime="image/png", data=PICTURE, alt="A red bicycle")
    reply = Reply(text="Here.", images=(picture,), private=True)
    done = await room.adapter.close(await room.open(received), reply)
    assert await room.adapter.close(done, reply) == done
    assert room.shown(received) == []
    (message,) = room.slack.workspace.ephemeral
    assert message["markdown"] == "Here.\n\n_The images are in your direct messages with me._"
    shared = [args for method, args, _ in room.slack.log if method == "files.completeUploadExternal"]
    assert [args["channel_id"][0] for args in shared] == ["D"]
    assert not any("thread_ts" in args for args in shared)


async def test_images_are_uploaded_once_with_alt_text(room: FakeAdapter) -> None:
    received = await room.asked()
    post = await room.open(received)
    reply = Reply(text="", images=(Image(mime="image/png", data=PICTURE, alt="A red bicycle"),))
    done = await room.adapter.close(post, reply)
    assert await room.adapter.close(done, reply) == done
    text, picture = room.slack.thread("C0GENERAL", received.address.data["thread"])
    assert text["markdown"] == "A red bicycle"
    (file,) = picture["files"]
    assert (file["alt_txt"], file["title"]) == ("A red bicycle", "A red bicycle")
    assert room.slack.workspace.files[file["id"]]["content"] == PICTURE


async def test_a_new_image_replaces_the_previous_one(room: FakeAdapter) -> None:
    received = await room.asked()
    first = Reply(text="Here.", images=(Image(mime="image/png", data=b"one", alt="One"),))
    second = Reply(text="Here.", images=(Image(mime="image/png", data=b"two", alt="Two"),))
    await room.adapter.close(await room.open(received), first)
    async with new_adapter(room.slack) as other:
        await other.close(await other.open(received.address, None, True), second)
    contents = [file.get("content") for file in room.slack.workspace.files.values()]
    assert contents == [b"two"]
    assert len(room.slack.thread("C0GENERAL", received.address.data["thread"])) == 2


async def test_sources_are_a_line_below_the_answer(room: FakeAdapter) -> None:
    received = await room.asked()
    sources = (Source(title="A <b> & c", url="https://example.com/a|b"), Source(title="A book"))
    await room.adapter.close(await room.open(received), Reply(text="Because.", sources=sources))
    (message,) = room.slack.thread("C0GENERAL", received.address.data["thread"])
    (line,) = message["blocks"][1]["elements"]
    # An invisible joiner, because no HTML of a title may become an image anywhere.
    assert line["text"] == "Sources: <https://example.com/a%7Cb|A &lt;\u2060b&gt; &amp; c>, A book"


async def test_stopping_the_stream_stops_the_engine(room: FakeAdapter) -> None:
    received = await room.asked()
    post = await room.open(received)
    await grow(room, received, post, "Because")
    (message,) = room.slack.thread("C0GENERAL", received.address.data["thread"])
    await room.slack.stop_stream("C0GENERAL", message["ts"], "U0ALICE")
    await room.adapter.update(post, "Because it")
    await room.slack.until(lambda: room.slack.calls["chat.appendStream"] == 1)
    await room.slack.until(lambda: room.slack.calls["chat.update"] == 1)
    assert await room.adapter.update(post, "Because it is") is False
    await room.adapter.close(post, Reply(text="Because it (stopped)"))
    assert room.shown(received) == ["Because it (stopped)"]


async def test_without_the_event_streams_are_not_stoppable(room: FakeAdapter) -> None:
    room.slack.workspace.subscribed_to_stops = False
    for _ in range(2):
        received = await room.asked()
        post = await room.open(received)
        await grow(room, received, post, "Because")
        await room.adapter.close(post, Reply(text="Because."))
    assert room.slack.calls["chat.startStream"] == 3


async def test_a_deleted_answer_is_posted_again(room: FakeAdapter) -> None:
    received = await room.asked()
    post = await room.open(received)
    await grow(room, received, post, "Because")
    (message,) = room.slack.thread("C0GENERAL", received.address.data["thread"])
    del room.slack.workspace.messages["C0GENERAL", message["ts"]]
    await room.adapter.close(post, Reply(text="Because."))
    assert room.shown(received) == ["Because."]


async def test_the_thinking_status_only_appears_after_a_moment(room: FakeAdapter) -> None:
    with mock.patch("adapters.slack.adapter.STATUS_AFTER_S", 0.01):
        received = await room.asked()
        post = await room.open(received)
        await room.slack.until(lambda: room.slack.workspace.statuses)
        await room.adapter.close(post, Reply(text="Because."))
        assert room.slack.workspace.statuses == {}
        await room.answer(await room.asked(), "At once.")
    assert room.slack.calls["assistant.threads.setStatus"] == 1


async def test_under_real_rate_limits_every_answer_appears_once() -> None:
    assert thread.STOP_PATIENCE_S > 60
    limits = {"chat.startStream": (2, 60.0), "chat.update": (3, 0.3), "chat.appendStream": (3, 0.3)}
    async with SlackSimulator(limits=limits) as slack, new_adapter(slack) as adapter:
        engine = Engine()
        runner, slack.bot_url = await listening(adapter, engine)
        room = FakeAdapter(slack, adapter, engine)
        questions = [await room.asked() for _ in range(4)]
        posts = [await room.open(received) for received in questions]
        for text in ("One", "One two", "One two three"):
            for post in posts:
                await adapter.update(post, text)
        for post in posts:
            await adapter.close(post, Reply(text="One two three four."))
        assert [room.shown(received) for received in questions] == [["One two three four."]] * 4
        await runner.cleanup()


# ------------------------------------------------------------------ unusual behaviour of Slack


async def test_a_message_still_streaming_is_ended_first(room: FakeAdapter) -> None:
    received = await room.asked()
    begun = await room.open(received)
    await grow(room, received, begun, "Because it")
    (message,) = room.slack.thread("C0GENERAL", received.address.data["thread"])
    recorded = PostedMessage(
        id=f"T0SIM:C0GENERAL:{message['ts']}", data=begun.data | {"messages": message["ts"]}
    )
    async with new_adapter(room.slack) as second:
        await second.close(
            await second.open(received.address, recorded, False), Reply(text="Since it is so.")
        )
    assert room.shown(received) == ["Since it is so."]
    assert message["streaming"] is False


async def test_a_surplus_message_that_cannot_be_deleted_stays(room: FakeAdapter) -> None:
    received = await room.asked()
    done = await room.adapter.close(await room.open(received), Reply(text=LONG))
    room.slack.fault("chat.delete", "error", count=99, code="cant_delete_message")
    done = await room.adapter.close(await room.open(received, begun=done), Reply(text="Short."))
    assert room.shown(received)[0] == "Short."
    assert done.data["messages"] == done.id.rpartition(":")[2]


async def test_an_ended_unrepairable_stream_is_continued(room: FakeAdapter) -> None:
    received = await room.asked()
    post = await room.open(received)
    await grow(room, received, post, "The first half.")
    room.slack.workspace.stream_life_s = 0.0
    room.slack.fault("chat.update", "error", count=1, code="edit_window_closed")
    await room.adapter.close(post, Reply(text="The first half.\n\nThe second half."))
    assert room.shown(received) == ["The first half.", "The second half."]


async def test_a_failed_upload_is_retried(room: FakeAdapter) -> None:
    received = await room.asked()
    room.slack.fault("files.completeUploadExternal", "500")
    reply = Reply(text="Here.", images=(Image(mime="image/jpeg", data=b"picture", alt="A bicycle"),))
    await room.adapter.close(await room.open(received), reply)
    text, picture = room.slack.thread("C0GENERAL", received.address.data["thread"])
    assert text["markdown"] == "Here."
    assert picture["files"][0]["name"].endswith(".jpg")


async def test_an_image_is_shared_once_despite_lost_responses(room: FakeAdapter) -> None:
    received = await room.asked()
    room.slack.fault("files.completeUploadExternal", "drop_after")
    reply = Reply(text="Here.", images=(Image(mime="image/png", data=b"picture", alt="A bicycle"),))
    done = await room.adapter.close(await room.open(received), reply)
    text, picture = room.slack.thread("C0GENERAL", received.address.data["thread"])
    assert text["markdown"] == "Here."
    (file,) = picture["files"]
    assert done.data["files"] == f"{file['name']}={file['id']}"
    assert room.slack.calls["files.completeUploadExternal"] == 1


async def test_an_unreadable_thread_needs_the_token(room: FakeAdapter) -> None:
    received = await room.asked()
    room.slack.fault("conversations.replies", "error", count=99, code="token_revoked")
    with pytest.raises(ConfigError, match="token_revoked"):
        await room.open(received, retry=True)


async def test_the_cache_of_stream_refusals_is_bounded() -> None:
    streams = thread.NativeStreams()
    for number in range(thread.REFUSALS_KEPT + 2):
        streams.refused("T1", f"C{number}", "channel_type_not_supported")
    assert streams.allowed("T1", "C0")
    assert not streams.allowed("T1", f"C{thread.REFUSALS_KEPT + 1}")
