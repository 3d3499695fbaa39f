"""Answers: streams, single messages, crashes, limits and errors."""

import asyncio
import base64
import io
import itertools
from typing import Any

import pytest
from PIL import Image as Picture

from adapters.teams.activities.parser import FILE
from bot.domain.errors import PlatformUnavailable
from bot.domain.events import MessageReceived, PostedMessage
from bot.domain.prompts import Image
from bot.domain.turns import Reply, Source
from tests.adapters.teams.card_rules import problems
from tests.adapters.teams.conftest import Rig, rigged
from tests.simulators.teams import BOT, Fault, Message
from tests.support.patience import PATIENCE_S

GROUP = "19:project@thread.v2"
CHANNEL = "19:help@thread.tacv2"
ROOT_MESSAGE = "https://schema.org/Message"


def label(message: Message) -> dict[str, Any]:
    (entity,) = [item for item in message.activity["entities"] if item["type"] == ROOT_MESSAGE]
    return entity


async def shown(rig: Rig, post: PostedMessage, text: str, frame: str) -> None:
    """Update the answer, and wait until the text is visible."""
    assert await rig.adapter.update(post, text)
    await rig.teams.until(lambda: rig.teams.answers("a:alice")[-1].frames[-1] == frame)


def noise(side: int, kind: str = "PNG", mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Picture.effect_noise((side, side), 90).convert(mode).save(out, kind)
    return out.getvalue()


# ------------------------------------------------------------------ personal chats


async def test_in_personal_chats_one_message_grows(rig: Rig) -> None:
    """Field note 21."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    await shown(rig, post, "Hello", "Hello")
    assert await rig.adapter.update(post, "Hello **wor")
    await shown(rig, post, "Hello **world**, how", "Hello **world**, how")
    reply = Reply(text="Hello **world**, how are you?", generated=True)
    closed = await rig.adapter.close(post, reply)
    (message,) = rig.teams.answers("a:alice")
    assert (
        message.frames
        == [
            "Thinking…",
            "Hello",
            "Hello **world**, how",
            "Hello **world**, how are you?",
        ]
        or message.frames[-1] == "Hello **world**, how are you?"
    )
    assert message.state == "whole"
    assert label(message)["additionalType"] == ["AIGeneratedContent"]
    assert closed.id == post.id == f"a:alice|{message.id}"


async def test_updates_keep_the_interval() -> None:
    """Field note 21."""
    async with rigged(pace_s=0.2) as slow:
        received = await slow.asked("a:alice")
        post = await slow.adapter.open(received.address, None, retry=False)
        for end in range(1, 40):
            await slow.adapter.update(post, "x" * end)
            await asyncio.sleep(0)
        await slow.teams.until(lambda: len(slow.teams.answers("a:alice")[0].frames) == 2)
        assert slow.teams.answers("a:alice")[0].frames[1] in {"x" * end for end in range(1, 40)}
        await slow.adapter.close(post, Reply(text="x" * 40))
        assert slow.teams.answers("a:alice")[0].text == "x" * 40


async def test_retry_after_of_teams_is_respected(rig: Rig) -> None:
    post = await rig.adapter.open((await rig.asked("a:alice")).address, None, retry=False)
    rig.teams.faults = [Fault(on="stream", status=429, retry_after="30")]
    for end in range(1, 40):
        await rig.adapter.update(post, "x" * end)
        await asyncio.sleep(0.005)
    assert [kind for kind, _ in rig.teams.calls].count("stream") == 2


async def test_after_the_time_limit_the_message_is_edited(rig: Rig) -> None:
    """Field note 21."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    await shown(rig, post, "One", "One")
    rig.teams.stream_limit_s = 0.0
    await shown(rig, post, "One two", "One two")
    await shown(rig, post, "One two three", "One two three")
    await rig.adapter.close(post, Reply(text="One two three four", rate=True))
    (message,) = rig.teams.answers("a:alice")
    assert (message.text, message.state) == ("One two three four", "whole")
    assert message.edits == 3
    assert message.activity["channelData"]["feedbackLoop"] == {"type": "default"}


async def test_the_time_limit_may_pass_without_an_update(rig: Rig) -> None:
    """Field note 21."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    rig.teams.stream_limit_s = 0.0
    await rig.adapter.close(post, Reply(text="late"))
    (message,) = rig.teams.answers("a:alice")
    assert (message.text, message.state) == ("late", "whole")


async def test_stop_ends_the_answer_and_keeps_the_text(rig: Rig) -> None:
    """Field note 22."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    await shown(rig, post, "One", "One")
    rig.teams.stop("a:alice")
    text = "One"
    async with asyncio.timeout(PATIENCE_S):
        while await rig.adapter.update(post, text):
            text += " more"
            await asyncio.sleep(0.01)
    closed = await rig.adapter.close(post, Reply(text="One two three"))
    (message,) = rig.teams.answers("a:alice")
    assert (message.text, message.state) == ("One", "stopped")
    assert closed.id == post.id


async def test_stop_may_come_with_the_last_update(rig: Rig) -> None:
    """Field note 22."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    await shown(rig, post, "One", "One")
    rig.teams.stop("a:alice")
    await rig.adapter.close(post, Reply(text="One two"))
    assert [m.text for m in rig.teams.answers("a:alice")] == ["One"]


async def test_the_time_limit_is_not_a_stop(rig: Rig) -> None:
    """Field note 22."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    rig.teams.stream_limit_s = 0.0
    await shown(rig, post, "still here", "still here")
    assert await rig.adapter.update(post, "still here and there")


async def test_a_complete_answer_is_one_message(rig: Rig) -> None:
    received = await rig.asked("a:alice")
    await rig.answer(received, Reply(text="Yes."))
    (message,) = rig.teams.answers("a:alice")
    assert message.frames == ["Thinking…", "Yes."]


async def test_without_streams_one_message_is_sent(rig: Rig) -> None:
    rig.teams.streams = False
    received = await rig.asked("a:alice")
    closed = await rig.answer(received, Reply(text="Yes."), growing=("Y", "Ye"))
    (message,) = rig.teams.answers("a:alice")
    assert (message.frames, closed.id) == (["Yes."], f"a:alice|{message.id}")


async def test_a_changed_text_is_corrected_at_the_end(rig: Rig) -> None:
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    await shown(rig, post, "One two", "One two")
    assert await rig.adapter.update(post, "Another")
    await rig.adapter.close(post, Reply(text="Another thing"))
    (message,) = rig.teams.answers("a:alice")
    assert message.text == "Another thing"


async def test_a_failed_update_is_left_to_the_next(rig: Rig) -> None:
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    rig.teams.faults = [Fault(status=429), Fault(status=502), Fault(drop=True)]
    for text in ("a", "ab", "abc"):
        left = len(rig.teams.faults)
        assert await rig.adapter.update(post, text)
        await rig.teams.until(lambda left=left: len(rig.teams.faults) < left)
    await shown(rig, post, "abcd", "abcd")
    await rig.adapter.close(post, Reply(text="abcde"))
    assert [m.text for m in rig.teams.answers("a:alice")] == ["abcde"]


WORDINGS = [
    ("One two three", "_The content filter stopped this answer._"),
    ("One two three", "One two"),
    ("One two three", "One two four"),
    ("- a\n- b", "- a\n- c"),
    ("Half of an ans", "Sorry, I can't answer this at the moment."),
    ("**bold** words", "bold words"),
    ("```\ncode", "No code."),
    ("A long answer", "…"),
    ("word " * 4_700, "paragraph\n\n" * 4_000),
    ("Ünïcode 😀 text", "Another 😀 text"),
]


@pytest.mark.parametrize(("streamed", "final"), WORDINGS, ids=range(len(WORDINGS)))
async def test_a_final_text_may_have_other_words(rig: Rig, streamed: str, final: str) -> None:
    """Field fault 74: Teams refuses a final message that does not continue the stream; five answers were paid for."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    assert await rig.adapter.update(post, streamed)
    await rig.teams.until(lambda: rig.teams.answers("a:alice")[0].state == "streaming")
    before = rig.teams.answers("a:alice")[0].text
    closed = await rig.adapter.close(post, Reply(text=final, rate=True))
    first, *_ = rig.teams.answers("a:alice")
    assert closed.id == post.id == f"a:alice|{first.id}"
    assert first.state == "whole"
    assert first.frames[-2] == before, "the stream was closed with what it showed"
    assert first.edits == 1
    assert " ".join(m.text for m in rig.teams.answers("a:alice")).split() == final.split()
    assert first.activity["channelData"] == {"feedbackLoop": {"type": "default"}}


async def test_a_second_attempt_knows_what_was_streamed(rig: Rig) -> None:
    """Field fault 74: an attempt with other words completes the message of the one before."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    await shown(rig, post, "One two", "One two")
    again = await rig.adapter.open(received.address, post, retry=True)
    assert await rig.adapter.update(again, "Another")
    await shown(rig, again, "One two, three", "One two, three")
    await rig.adapter.close(again, Reply(text="Another answer"))
    (message,) = rig.teams.answers("a:alice")
    assert (message.text, message.state) == ("Another answer", "whole")


async def test_the_next_attempt_repeats_a_failed_edit(rig: Rig) -> None:
    """Field fault 74: after the stream is closed, only the edit remains to be done."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    await shown(rig, post, "One two", "One two")
    rig.teams.faults = [Fault(on="put", status=500)]
    with pytest.raises(PlatformUnavailable):
        await rig.adapter.close(post, Reply(text="Another"))
    again = await rig.adapter.open(received.address, post, retry=True)
    await rig.adapter.close(again, Reply(text="Another"))
    assert [(m.text, m.state) for m in rig.teams.answers("a:alice")] == [("Another", "whole")]


@pytest.mark.parametrize("streamed", [None, "Half of"])
async def test_another_process_completes_the_stream(rig: Rig, streamed: str | None) -> None:
    """Field fault 74: with the streamed text that was stored, or else in a new message."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    await shown(rig, post, "Half of", "Half of")
    known = {"streamed": streamed} if streamed else {}
    begun = PostedMessage(id=post.id, data={**post.data, **known})
    second = await rig.restart()
    closed = await second.close(
        await second.open(received.address, begun, retry=True), Reply(text="Other words")
    )
    assert [(m.text, m.state) for m in rig.teams.answers("a:alice")] == [("Other words", "whole")]
    assert (closed.id == post.id) is bool(streamed)


async def test_an_unconfirmed_update_counts_as_shown(rig: Rig) -> None:
    """Field fault 74: the connection broke after Teams had shown the update."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    await shown(rig, post, "One", "One")
    rig.teams.faults = [Fault(on="stream", drop=True, after=True)]
    assert await rig.adapter.update(post, "One two")
    await rig.teams.until(lambda: not rig.teams.faults)
    await rig.adapter.close(post, Reply(text="One more"))
    (message,) = rig.teams.answers("a:alice")
    assert (message.text, message.state, message.edits) == ("One more", "whole", 1)


async def test_a_stream_has_no_blanks_at_its_end(rig: Rig) -> None:
    """Field fault 74: the final text has none either, and has to continue the stream."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    await shown(rig, post, "One\n\n", "One")
    await rig.adapter.close(post, Reply(text="One\n\n"))
    (message,) = rig.teams.answers("a:alice")
    assert (message.text, message.edits) == ("One", 0)


@pytest.mark.parametrize("conversation", ["a:alice", GROUP])
async def test_lines_stay_apart(rig: Rig, conversation: str) -> None:
    """Field fault 73: “Status: open” and “Owner: Ann” were shown as one line, and a heading ran into its text."""
    received = await rig.asked(conversation, mention=True)
    text = "# Ticket\nStatus: open\nOwner: Ann\n\n- one\n- two\n\n```\na\nb\n```\nDone.\nBye."
    await rig.answer(received, Reply(text=text), growing=(text[:20], text[:30], text))
    (message,) = rig.teams.answers(conversation)
    assert message.text.split("\n") == [
        "**Ticket**", "", "Status: open", "Owner: Ann", "", "- one", "- two", "",
        "```", "a", "b", "```", "", "Done.", "Bye.",
    ]  # fmt: skip
    for earlier, later in itertools.pairwise(message.frames[1:]):
        assert later.startswith(earlier)


# ------------------------------------------------------------------ groups and channels


async def test_a_group_sees_typing_then_one_message(rig: Rig) -> None:
    """Field note 21."""
    received = await rig.asked(GROUP, mention=True)
    post = await rig.adapter.open(received.address, None, retry=False)
    await rig.teams.until(lambda: rig.teams.typing.get(GROUP, 0) >= 1)
    assert await rig.adapter.update(post, "Hel")
    assert rig.teams.answers(GROUP) == []
    closed = await rig.adapter.close(post, Reply(text="Hello"))
    (message,) = rig.teams.answers(GROUP)
    assert (message.text, message.frames) == ("Hello", ["Hello"])
    assert closed.id == f"{GROUP}|{message.id}"
    assert not [call for call in rig.teams.calls if call[0] == "stream"]


async def test_typing_is_shown_again_while_the_model_thinks(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.teams.answers.stream.TYPING_S", 0.01)
    received = await rig.asked(GROUP, mention=True)
    post = await rig.adapter.open(received.address, None, retry=False)
    await rig.teams.until(lambda: rig.teams.typing.get(GROUP, 0) >= 3)
    await rig.adapter.close(post, Reply(text="done"))
    assert rig.adapter._showing == {}  # pyright: ignore[reportPrivateUsage]


async def test_a_channel_is_answered_in_its_thread(rig: Rig) -> None:
    """Field note 24."""
    received = await rig.asked(CHANNEL, mention=True)
    await rig.answer(received, Reply(text="Hello"))
    thread = received.address.data["conversation"]
    assert thread.startswith(f"{CHANNEL};messageid=")
    assert [m.text for m in rig.teams.answers(thread)] == ["Hello"]
    again = await rig.asked(thread, mention=True)
    assert again.address.conversation == received.address.conversation


# ------------------------------------------------------------------ crashes and repetition


async def test_closing_twice_changes_nothing_that_people_see(rig: Rig) -> None:
    for conversation in ("a:alice", GROUP):
        received = await rig.asked(conversation, mention=True)
        post = await rig.adapter.open(received.address, None, retry=False)
        reply = Reply(text="Hello", rate=True)
        closed = await rig.adapter.close(post, reply)
        calls = len(rig.teams.calls)
        assert await rig.adapter.close(post, reply) == closed
        assert await rig.adapter.close(closed, reply) == closed
        assert await (await rig.restart()).close(closed, reply) == closed
        assert len(rig.teams.calls) == calls
        assert len(rig.teams.answers(conversation)) == 1


async def test_a_stream_of_a_crashed_process_is_completed(rig: Rig) -> None:
    """Field note 10."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    await shown(rig, post, "Half of", "Half of")
    second = await rig.restart()
    resumed = await second.open(received.address, post, retry=True)
    assert resumed == post
    assert await second.update(resumed, "Another")
    await second.close(resumed, Reply(text="Another answer, whole"))
    (message,) = rig.teams.answers("a:alice")
    assert (message.text, message.state) == ("Another answer, whole", "whole")


async def test_an_unrecorded_complete_answer_is_replaced(rig: Rig) -> None:
    """Field note 10."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    await rig.adapter.close(post, Reply(text="First"))
    second = await rig.restart()
    await second.close(await second.open(received.address, post, retry=True), Reply(text="Second"))
    assert [m.text for m in rig.teams.answers("a:alice")] == ["Second"]


async def test_a_crash_after_the_time_limit_is_completed(rig: Rig) -> None:
    """Field note 10."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    rig.teams.stream_limit_s = 0.0
    second = await rig.restart()
    await second.close(await second.open(received.address, post, retry=True), Reply(text="Whole"))
    assert [m.text for m in rig.teams.answers("a:alice")] == ["Whole"]


async def test_a_rerun_edits_the_answer(rig: Rig) -> None:
    """Field note 11."""
    for conversation in ("a:alice", GROUP):
        received = await rig.asked(conversation, mention=True)
        first = await rig.answer(received, Reply(text="First"))
        again = await rig.adapter.open(received.address, first, retry=False)
        assert again.id == first.id
        await rig.adapter.close(again, Reply(text="Second"))
        (message,) = rig.teams.answers(conversation)
        assert (message.text, message.edits) == ("Second", 1)


async def test_a_second_attempt_continues_in_the_same_process(rig: Rig) -> None:
    received = await rig.asked(GROUP, mention=True)
    post = await rig.adapter.open(received.address, None, retry=False)
    await rig.teams.until(lambda: rig.teams.typing.get(GROUP, 0) >= 1)
    rig.teams.faults = [Fault(status=500)]
    with pytest.raises(PlatformUnavailable):
        await rig.adapter.close(post, Reply(text="Hello"))
    await rig.adapter.close(await rig.adapter.open(received.address, post, retry=True), Reply(text="Hello"))
    assert [m.text for m in rig.teams.answers(GROUP)] == ["Hello"]


# ------------------------------------------------------------------ limits


def paragraphs(count: int) -> str:
    return "\n\n".join(f"Paragraph {number} " + "word " * 100 for number in range(count))


@pytest.mark.parametrize("conversation", ["a:alice", GROUP])
async def test_a_long_answer_is_split_and_loses_nothing(rig: Rig, conversation: str) -> None:
    """Field note 23."""
    received = await rig.asked(conversation, mention=True)
    text = paragraphs(100)
    closed = await rig.answer(received, Reply(text=text, rate=True), growing=(text[:1000], text))
    parts = [m for m in rig.teams.answers(conversation) if m.state == "whole"]
    assert len(parts) == 3
    assert " ".join(m.text for m in parts).split() == text.split()
    assert closed.id == f"{conversation}|{parts[0].id}"
    assert [("feedbackLoop" in m.activity.get("channelData", {})) for m in parts] == [True, False, False]


@pytest.mark.parametrize("conversation", ["a:alice", GROUP])
async def test_a_message_too_large_is_split(rig: Rig, conversation: str) -> None:
    """Field note 23."""
    rig.teams.size_limit_bytes = 16_000
    received = await rig.asked(conversation, mention=True)
    text = paragraphs(40)
    await rig.answer(received, Reply(text=text), growing=(text,))
    parts = [m for m in rig.teams.answers(conversation) if m.state == "whole"]
    assert len(parts) > 2
    assert " ".join(m.text for m in parts).split() == text.split()


async def test_a_shorter_rerun_deletes_surplus_messages(rig: Rig) -> None:
    received = await rig.asked("a:alice")
    first = await rig.answer(received, Reply(text=paragraphs(100)))
    again = await (await rig.restart()).open(received.address, first, retry=False)
    closed = await rig.adapter.close(again, Reply(text="Short"))
    assert [m.text for m in rig.teams.answers("a:alice")] == ["Short"]
    assert closed.id == first.id


async def test_a_failed_deletion_does_not_affect_the_answer(rig: Rig) -> None:
    received = await rig.asked("a:alice")
    first = await rig.answer(received, Reply(text=paragraphs(100)))
    rig.teams.faults = [Fault(status=501, times=9, on="delete")]
    again = await rig.adapter.open(received.address, first, retry=False)
    await rig.adapter.close(again, Reply(text="Short"))
    assert rig.teams.answers("a:alice")[0].text == "Short"


@pytest.mark.parametrize("status", [412, 429, 502, 503, 504])
async def test_temporary_errors_are_retried(rig: Rig, status: int) -> None:
    received = await rig.asked(GROUP, mention=True)
    post = await rig.adapter.open(received.address, None, retry=False)
    rig.teams.faults = [Fault(status=status, times=2, on="message", retry_after="0.01")]
    await rig.adapter.close(post, Reply(text="Hello"))
    assert [m.text for m in rig.teams.answers(GROUP)] == ["Hello"]
    assert rig.teams.faults == []


async def test_a_rejected_token_is_renewed(rig: Rig) -> None:
    received = await rig.asked(GROUP, mention=True)
    rig.teams.faults = [Fault(status=401, on="message")]
    await rig.answer(received, Reply(text="Hello"))
    assert [m.text for m in rig.teams.answers(GROUP)] == ["Hello"]
    assert len(rig.teams.token_requests) == 2


async def test_a_long_retry_after_returns_the_event(rig: Rig) -> None:
    received = await rig.asked(GROUP, mention=True)
    post = await rig.adapter.open(received.address, None, retry=False)
    rig.teams.faults = [Fault(status=429, times=99, on="message", retry_after="120")]
    with pytest.raises(PlatformUnavailable) as caught:
        await rig.adapter.close(post, Reply(text="Hello"))
    assert caught.value.retry_after_s == 120
    rig.teams.faults = [Fault(status=502, times=99, on="message")]
    with pytest.raises(PlatformUnavailable):
        await rig.adapter.close(post, Reply(text="Hello"))
    assert rig.teams.faults[0].times == 94


async def test_an_error_with_status_200_is_a_failure(rig: Rig) -> None:
    """Field note 09."""
    received = await rig.asked(GROUP, mention=True)
    post = await rig.adapter.open(received.address, None, retry=False)
    rig.teams.faults = [Fault(status=200, on="message")]
    with pytest.raises(PlatformUnavailable):
        await rig.adapter.close(post, Reply(text="Hello"))
    await rig.adapter.close(post, Reply(text="Hello"))
    assert [m.text for m in rig.teams.answers(GROUP)] == ["Hello"]


async def test_an_unconfirmed_final_message_is_not_posted_twice(rig: Rig) -> None:
    """Field note 08."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    rig.teams.faults = [Fault(drop=True, after=True)]
    await rig.adapter.close(post, Reply(text="Hello"))
    assert [m.text for m in rig.teams.answers("a:alice")] == ["Hello"]


async def test_an_outage_of_teams_fails_to_open(rig: Rig) -> None:
    received = await rig.asked("a:alice")
    rig.teams.faults = [Fault(status=502, times=99)]
    with pytest.raises(PlatformUnavailable, match="502"):
        await rig.adapter.open(received.address, None, retry=False)


async def test_a_foreign_service_url_is_never_called(rig: Rig) -> None:
    received = await rig.asked(GROUP, mention=True)
    data = {**received.address.data, "service_url": "https://connector.example.com/"}
    with pytest.raises(PlatformUnavailable, match="Microsoft"):
        await rig.adapter.close(PostedMessage(id="x|?1", data=data), Reply(text="secret"))


# ------------------------------------------------------------------ parts of a reply


async def test_sources_are_citations_with_marks(rig: Rig) -> None:
    received = await rig.asked("a:alice")
    sources = (
        Source(title="T" * 200, url="https://example.com/a", excerpt="E" * 300),
        Source(title="Second", url="http://insecure.example.com"),
    )
    await rig.answer(received, Reply(text="It is so [1].", sources=sources))
    (message,) = rig.teams.answers("a:alice")
    assert message.text == "It is so [1].\n\nSources: [2]"
    first, second = label(message)["citation"]
    assert (first["position"], len(first["appearance"]["name"])) == (1, 80)
    assert len(first["appearance"]["abstract"]) == 160
    assert first["appearance"]["url"] == "https://example.com/a"
    assert "url" not in second["appearance"]


async def test_images_are_attached_within_teams_limits(rig: Rig) -> None:
    received = await rig.asked("a:alice")
    images = (
        Image(mime="image/png", data=noise(1536), alt="a red bicycle"),
        Image(mime="image/webp", data=noise(200, "WEBP", "RGBA")),
    )
    await rig.answer(received, Reply(text="Here it is.", images=images))
    messages = rig.teams.answers("a:alice")
    assert [m.text for m in messages] == ["Here it is.", ""]
    for message in messages:
        (attachment,) = message.activity["attachments"]
        kind, _, data = attachment["contentUrl"].partition(";base64,")
        raw = base64.b64decode(data)
        assert kind == f"data:{attachment['contentType']}"
        assert len(raw) <= 1_000_000
        with Picture.open(io.BytesIO(raw)) as opened:
            assert max(opened.size) <= 1024
            assert attachment["contentType"] == f"image/{opened.format}".lower()
    assert messages[0].activity["attachments"][0]["name"] == "a red bicycle"


async def test_an_image_that_is_too_large_is_shrunk(rig: Rig) -> None:
    """Field note 23."""
    rig.teams.faults = [Fault(status=413, times=2, on="message")]
    received = await rig.asked(GROUP, mention=True)
    await rig.answer(received, Reply(text="Here.", images=(Image(mime="image/png", data=noise(1024)),)))
    (message,) = rig.teams.answers(GROUP)
    url = message.activity["attachments"][0]["contentUrl"]
    assert len(base64.b64decode(url.partition(",")[2])) <= 62_500


async def test_an_invalid_image_is_left_out(rig: Rig) -> None:
    received = await rig.asked(GROUP, mention=True)
    await rig.answer(received, Reply(text="Here.", images=(Image(mime="image/png", data=b"no picture"),)))
    (message,) = rig.teams.answers(GROUP)
    assert (message.text, message.activity.get("attachments")) == ("Here.", None)


async def test_an_image_without_text_is_still_a_message(rig: Rig) -> None:
    received = await rig.asked(GROUP, mention=True)
    await rig.answer(received, Reply(text="", images=(Image(mime="image/png", data=noise(64)),)))
    (message,) = rig.teams.answers(GROUP)
    assert len(message.activity["attachments"]) == 1


async def test_an_empty_reply_is_still_a_message(rig: Rig) -> None:
    received = await rig.asked("a:alice")
    await rig.answer(received, Reply(text=""))
    assert [m.text for m in rig.teams.answers("a:alice")] == ["…"]


async def test_the_bot_is_the_sender_of_its_messages(rig: Rig) -> None:
    received = await rig.asked(GROUP, mention=True)
    await rig.answer(received, Reply(text="Hello"))
    activity = rig.teams.answers(GROUP)[0].activity
    assert activity["from"] == {"id": BOT}
    assert activity["recipient"] == {"id": "29:alice"}
    assert activity["textFormat"] == "markdown"


async def test_an_authenticating_connector_needs_a_token() -> None:
    async with rigged(authenticate=False) as rig:
        received = await rig.asked("a:alice")
        rig.teams.authenticate = True
        with pytest.raises(PlatformUnavailable, match="401"):
            await rig.adapter.open(received.address, None, retry=False)


# ------------------------------------------------------------------ status, buttons, labels


@pytest.mark.parametrize(
    ("attachment", "words"),
    [
        (
            {"contentType": "image/*", "contentUrl": "https://smba.trafficmanager.net/1"},
            "Looking at your image…",
        ),
        (
            {"contentType": FILE, "name": "a.pdf", "content": {"downloadUrl": "https://a"}},
            "Reading your file…",
        ),
        ({"contentType": "text/html", "content": "<p>hello</p>"}, "Thinking…"),
    ],
)
async def test_the_status_line_names_the_attachment(rig: Rig, attachment: dict[str, Any], words: str) -> None:
    await rig.teams.say("a:alice", "alice", "what is this?", attachments=[attachment])
    await rig.adapter.open(rig.events[-1].address, None, retry=False)
    assert rig.teams.answers("a:alice")[0].frames == [words]


async def test_an_answer_to_one_person_has_buttons(rig: Rig) -> None:
    received = await rig.asked("a:alice")
    await rig.answer(received, Reply(text="Yes.", rate=True))
    (message,) = rig.teams.answers("a:alice")
    actions = message.activity["suggestedActions"]["actions"]
    assert [action["type"] for action in actions] == ["imBack", "imBack"]
    commands = [(await rig.asked("a:alice", action["value"])).command for action in actions]
    assert commands == [("again", ""), ("sent", "")]


@pytest.mark.parametrize(
    "reply",
    [Reply(text="help"), Reply(text="x", rate=True, images=(Image(mime="image/png", data=noise(8)),))],
)
async def test_buttons_need_an_answer_without_attachments(rig: Rig, reply: Reply) -> None:
    await rig.answer(await rig.asked("a:alice"), reply)
    (message,) = rig.teams.answers("a:alice")
    assert "suggestedActions" not in message.activity


async def test_the_playground_gets_buttons_without_markdown_only() -> None:
    async with rigged(authenticate=False) as rig:
        for text in ("Yes.", "**Yes.**"):
            await rig.answer(await rig.asked("a:alice"), Reply(text=text, rate=True))
        plain, marked = rig.teams.answers("a:alice")
        assert "suggestedActions" in plain.activity
        assert "suggestedActions" not in marked.activity


async def test_in_a_group_an_answer_has_no_buttons(rig: Rig) -> None:
    await rig.answer(await rig.asked(GROUP, mention=True), Reply(text="Yes.", rate=True))
    (message,) = rig.teams.answers(GROUP)
    assert "suggestedActions" not in message.activity
    assert message.activity["channelData"]["feedbackLoop"] == {"type": "default"}


async def test_a_sensitivity_label_is_on_every_part() -> None:
    async with rigged(sensitivity="Confidential: for employees only") as rig:
        await rig.answer(await rig.asked("a:alice"), Reply(text="word " * 9_000))
        messages = rig.teams.answers("a:alice")
        assert len(messages) == 2
        for message in messages:
            info = label(message)["usageInfo"]
            assert (info["name"], info["description"]) == ("Confidential", "for employees only")


async def test_without_a_label_nothing_is_said_of_sensitivity(rig: Rig) -> None:
    await rig.answer(await rig.asked("a:alice"), Reply(text="Yes."))
    (message,) = rig.teams.answers("a:alice")
    assert [entity["type"] for entity in message.activity["entities"]] == ["streaminfo"]


async def test_only_model_output_is_labelled_as_generated() -> None:
    async with rigged(sensitivity="Confidential") as rig:
        await rig.answer(await rig.asked("a:alice"), Reply(text="I can do this.", private=True))
        assert "additionalType" not in label(rig.teams.answers("a:alice")[0])
        await rig.answer(await rig.asked(GROUP, mention=True), Reply(text="x " * 20_000, generated=True))
        assert len(rig.teams.answers(GROUP)) == 2
        assert all(label(message)["additionalType"] for message in rig.teams.answers(GROUP))


async def test_each_part_cites_the_sources_it_names(rig: Rig) -> None:
    sources = tuple(Source(title=f"Source {number}") for number in (1, 2, 3))
    text = "So [1]. " + "word " * 5_000 + "And so [2]."
    await rig.answer(await rig.asked("a:alice"), Reply(text=text, sources=sources))
    first, second = (label(message)["citation"] for message in rig.teams.answers("a:alice"))
    assert [item["position"] for item in first] == [1]
    assert [item["position"] for item in second] == [2, 3]


async def test_a_deleted_answer_is_posted_again_when_edited(rig: Rig) -> None:
    received = await rig.asked(GROUP, mention=True)
    post = await rig.answer(received, Reply(text="First"))
    rig.teams.messages[GROUP].remove(rig.teams.answers(GROUP)[0])
    again = await rig.adapter.open(received.address, post, retry=False)
    closed = await rig.adapter.close(again, Reply(text="Second"))
    (message,) = rig.teams.answers(GROUP)
    assert (message.text, closed.id) == ("Second", f"{GROUP}|{message.id}")


@pytest.mark.parametrize("code", ["MessageWritesBlocked", "BotNotInConversationRoster"])
async def test_a_blocked_bot_pays_for_no_further_answer(rig: Rig, code: str) -> None:
    received = await rig.asked(GROUP, mention=True)
    post = await rig.adapter.open(received.address, None, retry=False)
    rig.teams.faults = [Fault(on="message", status=403, code=code, times=9)]
    with pytest.raises(PlatformUnavailable) as gone:
        await rig.adapter.close(post, Reply(text="Hello"))
    assert (gone.value.retry_after_s or 0) > 3600
    assert [kind for kind, _ in rig.teams.calls].count("message") == 1
    alone = await rig.asked("a:alice")
    rig.teams.faults = [Fault(on="stream", status=403, code=code, times=9)]
    with pytest.raises(PlatformUnavailable):
        await rig.adapter.open(alone.address, None, retry=False)


@pytest.mark.parametrize("place", ["a:alice", GROUP])
async def test_an_image_has_its_buttons_on_a_card(rig: Rig, place: str) -> None:
    received = await rig.asked(place, mention=place == GROUP)
    picture = Image(mime="image/png", data=noise(8), alt="noise")
    post = await rig.answer(received, Reply(text="noise", rate=True, images=(picture,)))
    (message,) = rig.teams.answers(place)
    image, card = message.activity["attachments"]
    assert image["contentType"].startswith("image/")
    assert not problems(card["content"])
    commands: list[tuple[str, str] | None] = []
    for action in card["content"]["actions"]:
        back = action["data"]["msteams"]
        await rig.teams.say(place, "alice", back["text"], value=back["value"], replyToId=message.id)
        pressed = rig.events[-1]
        assert isinstance(pressed, MessageReceived)
        assert pressed.addressed
        commands.append(pressed.command)
    assert commands == [("variations", post.id), ("again", post.id), ("sent", post.id)]
