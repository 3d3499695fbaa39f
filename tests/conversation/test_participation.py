"""Participation in channels: when the bot answers without a mention, and the context of a thread."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from bot.conversation.thread_context import is_asked_for
from bot.domain.errors import NotAllowed
from bot.domain.events import MessageReceived, QuotedMessage
from tests.support.acts import BOB, received
from tests.support.bench import Bench

SOON = timedelta(seconds=1)


def overheard(text: str, event: str, conversation: str = "test:room") -> MessageReceived:
    return received(text, event=event, conversation=conversation, channel="C1", addressed=False, user=BOB)


async def test_the_bot_follows_its_threads(bench: Bench) -> None:
    await bench.answer(received("hello", event="a", channel="C1"))
    await bench.answer(overheard("and now?", "b"))
    assert bench.room.texts[-1] == "You said: and now?"


@pytest.mark.parametrize("word", ["mention-only", "quiet", "mention only"])
async def test_mention_only_ignores_other_messages(bench: Bench, word: str) -> None:
    await bench.answer(received("hello", event="a", channel="C1"), received(word, event="b", channel="C1"))
    await bench.answer(overheard("not for you", "c"), received("for you", event="d", channel="C1"))
    assert bench.room.texts[2:] == ["You said: for you"]
    assert "not for you" not in " ".join(m.text for m in bench.model.prompts[-1].messages)


async def test_quiet_is_per_conversation_mention_only_per_channel(bench: Bench) -> None:
    other = "test:other"
    await bench.answer(
        received("hello", event="a", channel="C1"),
        received("quiet", event="b", channel="C1"),
        received("hello", event="c", channel="C1", conversation=other),
    )
    await bench.answer(overheard("here", "d"), overheard("there", "e", other))
    assert bench.room.texts[-1] == "You said: there"
    await bench.answer(received("mention-only", event="f", channel="C1"))
    await bench.answer(overheard("there again", "g", other))
    assert "there again" not in " ".join(bench.room.texts)


async def test_a_muted_channel_answers_commands_only(bench: Bench) -> None:
    await bench.answer(
        received("/mute", event="a", channel="C1"),
        received("a question", event="b", channel="C1"),
        received("/help", event="c", channel="C1"),
    )
    assert [event for event, _, _ in bench.room.opened] == ["a", "c"]
    await bench.answer(
        received("unmute", event="d", channel="C1"), received("a question", event="e", channel="C1")
    )
    assert bench.room.texts[-1] == "You said: a question"


async def test_ignored_messages_leave_no_trace(bench: Bench) -> None:
    await bench.answer(
        received("hello", event="a", channel="C1"), received("mention-only", event="b", channel="C1")
    )
    turns = await bench.answer(overheard("psst", "c"))
    assert [turn.id for turn in turns] == ["a", "b"]
    assert not [text for _, text in bench.room.history if "psst" in text]


async def test_chats_without_threads_need_a_mention(bench: Bench) -> None:
    def chat(text: str, event: str, addressed: bool) -> MessageReceived:
        return replace(received(text, event=event, channel="G1", addressed=addressed), threaded=False)

    await bench.answer(chat("hello", "a", True), chat("not for you", "b", False))
    assert bench.room.texts == ["You said: hello"]
    await bench.answer(chat("follow", "c", True), chat("for all", "d", False))
    assert bench.room.texts[1:] == [
        "I'll respond to all messages here. To undo this, send `/mention-only`.",
        "You said: for all",
    ]


async def test_chats_without_threads_include_messages_since(bench: Bench) -> None:
    def chat(text: str, event: str) -> MessageReceived:
        return replace(received(text, event=event, channel="G1"), threaded=False)

    await bench.answer(first := chat("hello", "a"))
    old, new = (
        QuotedMessage(author="Bob", text=text, at=first.at + step)
        for text, step in (("Old.", -SOON), ("New.", SOON))
    )
    bench.room.before = (old, new, QuotedMessage(author="Bob", text="Some time."))
    await bench.answer(chat("and now?", "b"))
    text = bench.model.prompts[1].messages[-1].text
    assert "New." in text
    assert "Old." not in text
    assert "Some time." not in text


async def test_participation_modes_are_for_channels(bench: Bench) -> None:
    (turn,) = await bench.answer(replace(received("/mute", channel="D1"), direct=True))
    assert turn.outcome == "refused"


# ------------------------------------------------------------------ the thread before the call


async def test_a_mention_in_a_thread_includes_it(bench: Bench) -> None:
    """Field note 17: the earlier messages of a thread are context."""
    bench.room.before = (QuotedMessage(author="Bob", text="The printer is on fire."),)
    await bench.answer(received("what shall we do?", channel="C1", event="a"))
    text = bench.model.prompts[0].messages[-1].text
    assert '<message author="Bob">\nThe printer is on fire.\n</message>' in text
    assert text.endswith("what shall we do?")
    bench.room.before = (QuotedMessage(author="Bob", text="Later."),)
    await bench.answer(received("and then?", channel="C1", event="b"))
    assert bench.model.prompts[1].messages[-1].text == "and then?"


async def test_a_bare_mention_is_about_the_thread(bench: Bench) -> None:
    """Field note 17: a mention without text in a thread is about the thread."""
    bench.room.before = (QuotedMessage(author="Bob", text="The printer is on fire."),)
    await bench.answer(received("", channel="C1"))
    assert "on fire" in bench.model.prompts[0].messages[-1].text


async def test_a_reset_hides_earlier_thread_messages(bench: Bench) -> None:
    bench.room.before = (QuotedMessage(author="Bob", text="The printer is on fire."),)
    await bench.answer(received("what shall we do?", channel="C1", event="a"))
    await bench.answer(received("reset", channel="C1", event="b"))
    await bench.answer(received("what is new?", channel="C1", event="c"))
    assert not [message for message in bench.model.prompts[1].messages if "on fire" in message.text]
    await bench.answer(received("summarise this thread", channel="C1", event="d"))
    assert "on fire" in bench.model.prompts[2].messages[-1].text, "unless the thread is what is asked about"


async def test_direct_messages_have_no_thread(bench: Bench) -> None:
    bench.room.before = (QuotedMessage(author="Bob", text="elsewhere"),)
    await bench.answer(replace(received("hello"), direct=True))
    assert bench.model.prompts[0].messages[-1].text == "hello"


async def test_missing_thread_access_still_answers(bench: Bench) -> None:
    bench.room.broken.add("context")
    await bench.answer(received("hello", channel="C1"))
    assert bench.room.texts == ["You said: hello"]


@pytest.mark.parametrize(
    "words",
    [
        "summarise this thread",
        "/summarise",
        "/tldr the discussion so far, please",
        "What was decided in this channel?",
        "What did I miss here?",
        "can you recap the conversation?",
    ],
)
def test_these_request_a_summary(words: str) -> None:
    assert is_asked_for(received(words))


@pytest.mark.parametrize(
    "words",
    ["summarise: the cat sat on the mat", "is this thread safe?", "what was decided in 1815?", "hello"],
)
def test_these_request_something_else(words: str) -> None:
    assert not is_asked_for(received(words))


async def test_a_summary_without_access_is_refused(bench: Bench) -> None:
    bench.room.refusal = NotAllowed("I can't see what was said here.")
    (turn,) = await bench.answer(received("summarise this thread", channel="C1", event="a"))
    assert (bench.room.texts, turn.outcome) == (["I can't see what was said here."], "refused")
    await bench.answer(received("why is the sky blue?", channel="C1", event="b"))
    assert bench.room.texts[1] == "You said: why is the sky blue?"


async def test_a_partial_summary_says_so(bench: Bench) -> None:
    bench.room.refusal = NotAllowed("I can't see what was said here.")
    await bench.answer(received("hello", channel="C1", event="a"))
    await bench.answer(received("summarise this thread", channel="C1", event="b"))
    assert bench.room.texts[1].endswith("_I could only read messages addressed to me in this thread._")


async def test_a_thread_summary_includes_other_people(bench: Bench) -> None:
    await bench.answer(received("hello", channel="C1", event="a"))
    bench.room.before = (QuotedMessage(author="Bob", text="The printer is on fire."),)
    await bench.answer(received("summarise this thread", channel="C1", event="b"))
    assert "The printer is on fire." in bench.model.prompts[1].messages[-1].text


async def test_an_empty_thread_is_not_summarized(bench: Bench) -> None:
    await bench.answer(received("summarise this channel", channel="C1", event="a"))
    assert bench.room.texts == ["There are no earlier messages here to summarize."]


async def test_a_summary_waits_for_the_platform(bench: Bench) -> None:
    bench.room.broken.add("context")
    await bench.answer(received("summarise this thread", channel="C1", event="a"))
    assert "in a minute" in bench.room.texts[0]


async def test_a_long_thread_keeps_its_newest_messages(bench: Bench) -> None:
    bench.context_tokens = 100_000
    bench.room.before = tuple(QuotedMessage(author="Bob", text=f"m{n} " + "x" * 500) for n in range(60))
    await bench.answer(received("sum up", channel="C1"))
    text = bench.model.prompts[0].messages[-1].text
    assert "m59 " in text
    assert 20 < text.count("<message") < 25


async def test_a_thread_never_crowds_out_the_question(bench: Bench) -> None:
    """Field note 31: quoted messages take at most a part of the prompt."""
    bench.context_tokens = 1000
    bench.room.before = tuple(QuotedMessage(author="Bob", text=f"m{n} " + "x" * 300) for n in range(20))
    (turn,) = await bench.answer(received("sum up", channel="C1"))
    (prompt,) = bench.model.prompts
    assert prompt.messages[-1].text.endswith("sum up")
    assert turn.left_out[0].what == "earlier messages of the thread"
    assert prompt.input_tokens < 1000


async def test_channel_context_is_read_only_if_wanted(bench: Bench) -> None:
    bench.room.before = (QuotedMessage(author="Bob", text="Lunch at noon?"),)
    await bench.answer(received("hello", event="a", channel="C1"))
    await bench.answer(received("Summarise this channel", event="b", channel="C1"))
    assert bench.room.rooms == [False, True]
    assert "Lunch at noon?" in bench.model.prompts[-1].messages[-1].text
