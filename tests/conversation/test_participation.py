"""Participation in channels: when the bot answers without a mention, and the context of a thread."""

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from bot.app.intake import Intake
from bot.app.settings import Settings
from bot.conversation.thread_context import is_asked_for
from bot.domain.errors import NotAllowed
from bot.domain.events import MessageReceived, QuotedMessage, User
from bot.domain.participation import ParticipationMode
from bot.storage.queue.inbox import Claim
from bot.storage.queue.unanswered import UnansweredMessages
from bot.storage.redis.keys import shard_of
from tests.support.acts import ADA, BOB, received
from tests.support.fake_adapter import words
from tests.support.harness import Harness

SOON = timedelta(seconds=1)


def overheard(
    text: str, event: str, conversation: str = "test:room", user: User = BOB, **more: bool
) -> MessageReceived:
    """Somebody says something in the channel without a mention."""
    said = received(text, event=event, conversation=conversation, channel="C1", addressed=False, user=user)
    return replace(said, **more)


def answered(harness: Harness) -> list[str]:
    """The events that were answered."""
    return [event for event, _, _ in harness.adapter.opened]


async def records(harness: Harness) -> dict[str, str]:
    """The messages that were not answered, with the reasons."""
    return {one.event: one.reason for one in await UnansweredMessages(harness.redis).all()}


async def test_a_follow_up_needs_no_mention(harness: Harness) -> None:
    await harness.answer(received("hello", event="a", channel="C1"))
    await harness.answer(overheard("and now?", "b", user=ADA))
    assert harness.adapter.texts[-1] == "You said: and now?"


async def test_the_bot_is_silent_while_others_talk(harness: Harness) -> None:
    """Field fault 105: whoever joins ends the dialogue, until the bot is mentioned again."""
    await harness.answer(
        received("hello", event="a", channel="C1"),
        overheard("lol", "b"),
        overheard("right?", "c", user=ADA),
        overheard("brb", "d"),
        received("what do you think?", event="e", channel="C1"),
        overheard("and in French?", "f", user=ADA),
    )
    assert answered(harness) == ["a", "e", "f"]
    expected = dict.fromkeys("bcd", "several-people")
    assert await records(harness) == expected
    assert "lol" not in " ".join(m.text for prompt in harness.model.prompts for m in prompt.messages)


async def test_tagging_somebody_else_ends_the_dialogue(harness: Harness) -> None:
    """Field fault 105: "@Bob can you check this?" is not for the bot, nor is what comes after it."""
    await harness.answer(
        received("hello", event="a", channel="C1"),
        overheard("@Bob can you check this?", "b", user=ADA, mentions_others=True),
        overheard("it is urgent", "c", user=ADA),
    )
    assert answered(harness) == ["a"]
    assert await records(harness) == {"b": "tags-others", "c": "several-people"}


@pytest.mark.parametrize(
    "text",
    [
        "Forget!",
        "forget me",
        "forget me now",
        "/forget",
        "Mute!",
        "mute",
        "reset",
        "/reset",
        "usage",
        "follow",
    ],
)
async def test_talk_without_a_mention_runs_no_command(harness: Harness, text: str) -> None:
    """Field fault 104: Ann's "Forget!" to Bob deleted her history; in a dialogue it is a question."""
    await harness.answer(received("hello", event="a", channel="C1"))
    await harness.answer(overheard(text, "b", user=ADA), overheard(text, "c"))
    assert harness.adapter.texts == ["You said: hello", f"You said: {text}"]
    assert (await harness.preferences.store.of(ADA, "C1")).participation == ""
    assert len(await harness.turns.turns("test:room")) == 2


@pytest.mark.parametrize("text", ["draw a red bicycle", "/image a red bicycle"])
async def test_talk_without_a_mention_chooses_no_template(harness: Harness, text: str) -> None:
    """Field fault 104: "image is broken again" drew a paid picture."""
    turns = await harness.answer(received("hello", event="a", channel="C1"), overheard(text, "b", user=ADA))
    assert [turn.template.partition("@")[0] for turn in turns] == ["assistant", "assistant"]


@pytest.mark.parametrize("default", ["follow", "dialogue", "mention", "mute"])
async def test_the_operator_chooses_the_default_mode(harness: Harness, default: ParticipationMode) -> None:
    """Field fault 105: there was no operator default."""
    harness.default_mode = default
    await harness.answer(
        received("hello", event="a", channel="C1"),
        overheard("and now?", "b", user=ADA),
        overheard("what?", "c"),
        overheard("@Cid look", "d", mentions_others=True),
        received("dialogue", event="e", channel="C1"),
    )
    counts = {"follow": "abce", "dialogue": "abe"}
    assert "".join(answered(harness)) == counts.get(default, "ae")
    assert harness.adapter.replies[0].private == (default == "mute")
    await harness.answer(overheard("and now?", "f", user=ADA))
    assert answered(harness)[-1] == "f", "the channel's own choice counts"


async def test_a_bare_stop_is_for_its_asker(harness: Harness) -> None:
    intake = Intake(Settings(parley_data_dir=Path()), harness.inbox, harness.engine())
    await harness.accept(received("a long story", event="a", channel="C1"))
    assert await intake.accept(overheard("stop", "b")) == "accepted"
    claim = await harness.inbox.claim(shard_of("test:room"))
    assert isinstance(claim, Claim)
    assert not claim.stop, "Bob's word is one of the things that people say"
    assert await intake.accept(overheard("stop", "c", user=ADA)) == "accepted"
    assert await harness.inbox.hold(claim) == "a\nasked"


@pytest.mark.parametrize("word", ["mention-only", "quiet", "mention only"])
async def test_mention_only_ignores_other_messages(harness: Harness, word: str) -> None:
    await harness.answer(received("hello", event="a", channel="C1"), received(word, event="b", channel="C1"))
    await harness.answer(overheard("not for you", "c"), received("for you", event="d", channel="C1"))
    assert harness.adapter.texts[2:] == ["You said: for you"]
    assert "not for you" not in " ".join(m.text for m in harness.model.prompts[-1].messages)


async def test_quiet_is_per_conversation_mention_only_per_channel(harness: Harness) -> None:
    other = "test:other"
    await harness.answer(
        received("hello", event="a", channel="C1"),
        received("quiet", event="b", channel="C1"),
        received("hello", event="c", channel="C1", conversation=other),
    )
    await harness.answer(overheard("here", "d", user=ADA), overheard("there", "e", other, user=ADA))
    assert harness.adapter.texts[-1] == "You said: there"
    await harness.answer(received("mention-only", event="f", channel="C1"))
    await harness.answer(overheard("there again", "g", other))
    assert "there again" not in " ".join(harness.adapter.texts)


async def test_a_muted_channel_is_answered_privately(harness: Harness) -> None:
    """Field fault 104: after "Mute!" a mention got no reply at all."""
    await harness.preferences.store.choose(ADA, "C1", mode="mute")
    await harness.answer(
        received("a question", event="b", channel="C1"),
        overheard("and now?", "c", user=ADA),
        received("/help", event="d", channel="C1"),
    )
    assert answered(harness) == ["b", "d"]
    assert [reply.private for reply in harness.adapter.replies] == [True, True]
    assert not harness.adapter.replies[0].rate
    shown = [text for post, text in harness.adapter.history if post == "post of b"]
    assert shown == ["…", "You said: a question"], "nothing is shown while it is written"
    await harness.answer(
        received("unmute", event="e", channel="C1"), received("a question", event="f", channel="C1")
    )
    assert harness.adapter.texts[-1] == "You said: a question"
    assert not harness.adapter.replies[-1].private


async def test_a_failure_in_a_muted_channel_is_private(harness: Harness) -> None:
    await harness.preferences.store.choose(ADA, "C1", mode="mute")
    harness.model.script = lambda prompt: [TypeError("a fault")]
    harness.attempts = 1
    await harness.answer(received("a question", event="b", channel="C1"))
    assert [reply.private for reply in harness.adapter.replies] == [True]


async def test_ignored_messages_leave_no_trace(harness: Harness) -> None:
    await harness.answer(
        received("hello", event="a", channel="C1"), received("mention-only", event="b", channel="C1")
    )
    turns = await harness.answer(overheard("psst", "c"))
    assert [turn.id for turn in turns] == ["a", "b"]
    assert not [text for _, text in harness.adapter.history if "psst" in text]


async def test_chats_without_threads_need_a_mention(harness: Harness) -> None:
    def chat(text: str, event: str, addressed: bool) -> MessageReceived:
        return replace(received(text, event=event, channel="G1", addressed=addressed), threaded=False)

    await harness.answer(chat("hello", "a", True), chat("not for you", "b", False))
    assert harness.adapter.texts == ["You said: hello"]
    await harness.answer(chat("follow", "c", True), chat("for all", "d", False))
    assert harness.adapter.texts[1:] == [
        "I'll respond to all messages here, unless somebody else is tagged. To undo this, mention me with "
        "`mention-only`.",
        "You said: for all",
    ]


async def test_chats_without_threads_include_messages_since(harness: Harness) -> None:
    def chat(text: str, event: str) -> MessageReceived:
        return replace(received(text, event=event, channel="G1"), threaded=False)

    await harness.answer(first := chat("hello", "a"))
    old, new = (
        QuotedMessage(author="Bob", text=text, at=first.at + step)
        for text, step in (("Old.", -SOON), ("New.", SOON))
    )
    harness.adapter.before = (old, new, QuotedMessage(author="Bob", text="Some time."))
    await harness.answer(chat("and now?", "b"))
    text = harness.model.prompts[1].messages[-1].text
    assert "New." in text
    assert "Old." not in text
    assert "Some time." not in text


async def test_help_names_the_mode_of_the_channel(harness: Harness) -> None:
    """Field faults 105 and 112: the mode was hidden, and the hint `/follow` is no command of Slack."""
    await harness.preferences.store.choose(ADA, "C1", mode="mute")
    await harness.answer(received("help", event="b", channel="C1"))
    text = harness.adapter.texts[-1]
    assert "the mode is *quiet*: Answers mentions only, visibly only to the person who asks." in text
    assert "- `dialogue` answer mentions here" in text
    assert not {"/follow", "/dialogue", "/mention-only", "/quiet", "/mute"} & set(text.split("`"))
    await harness.answer(replace(received("help", event="c", channel="D1"), direct=True))
    assert "the mode is" not in harness.adapter.texts[-1]


async def test_participation_modes_are_for_channels(harness: Harness) -> None:
    (turn,) = await harness.answer(replace(received("/mute", channel="D1"), direct=True))
    assert turn.outcome == "refused"


# ------------------------------------------------------------------ the thread before the call


async def test_a_mention_in_a_thread_includes_it(harness: Harness) -> None:
    """Field note 17: the earlier messages of a thread are context."""
    harness.adapter.before = (QuotedMessage(author="Bob", text="The printer is on fire."),)
    await harness.answer(received("what shall we do?", channel="C1", event="a"))
    text = harness.model.prompts[0].messages[-1].text
    assert '<message author="Bob">\nThe printer is on fire.\n</message>' in text
    assert text.endswith("what shall we do?")
    harness.adapter.before = (QuotedMessage(author="Bob", text="Later."),)
    await harness.answer(received("and then?", channel="C1", event="b"))
    assert harness.model.prompts[1].messages[-1].text == "and then?"


async def test_a_bare_mention_is_about_the_thread(harness: Harness) -> None:
    """Field note 17: a mention without text in a thread is about the thread."""
    harness.adapter.before = (QuotedMessage(author="Bob", text="The printer is on fire."),)
    await harness.answer(received("", channel="C1"))
    assert "on fire" in harness.model.prompts[0].messages[-1].text


async def test_a_reset_hides_earlier_thread_messages(harness: Harness) -> None:
    harness.adapter.before = (QuotedMessage(author="Bob", text="The printer is on fire."),)
    await harness.answer(received("what shall we do?", channel="C1", event="a"))
    await harness.answer(received("reset", channel="C1", event="b"))
    await harness.answer(received("what is new?", channel="C1", event="c"))
    assert not [message for message in harness.model.prompts[1].messages if "on fire" in message.text]
    await harness.answer(received("summarise this thread", channel="C1", event="d"))
    assert "on fire" in harness.model.prompts[2].messages[-1].text, "unless the thread is what is asked about"


async def test_direct_messages_have_no_thread(harness: Harness) -> None:
    harness.adapter.before = (QuotedMessage(author="Bob", text="elsewhere"),)
    await harness.answer(replace(received("hello"), direct=True))
    assert harness.model.prompts[0].messages[-1].text == "hello"


async def test_missing_thread_access_still_answers(harness: Harness) -> None:
    """Field fault 53: the person and the model are told what could not be read."""
    harness.adapter.broken.add("context")
    harness.model.script = lambda prompt: words("Hi.")
    await harness.answer(received("hello", channel="C1"))
    note = "The earlier messages of this thread could not be read at the moment. Ask again in a minute."
    assert harness.adapter.texts == [f"Hi.\n\n_{note}_"]
    assert note in harness.model.prompts[0].messages[-1].text


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


async def test_a_summary_without_access_is_refused(harness: Harness) -> None:
    harness.adapter.refusal = NotAllowed("I can't see what was said here.")
    (turn,) = await harness.answer(received("summarise this thread", channel="C1", event="a"))
    assert (harness.adapter.texts, turn.outcome) == (["I can't see what was said here."], "refused")
    await harness.answer(received("why is the sky blue?", channel="C1", event="b"))
    assert harness.adapter.texts[1].startswith("You said: ")
    assert harness.model.prompts[0].messages[-1].text.endswith("why is the sky blue?")


async def test_a_partial_summary_says_so(harness: Harness) -> None:
    harness.adapter.refusal = NotAllowed("I can't see what was said here.")
    await harness.answer(received("hello", channel="C1", event="a"))
    await harness.answer(received("summarise this thread", channel="C1", event="b"))
    assert harness.adapter.texts[1].endswith("_I could only read messages addressed to me in this thread._")


async def test_a_thread_summary_includes_other_people(harness: Harness) -> None:
    await harness.answer(received("hello", channel="C1", event="a"))
    harness.adapter.before = (QuotedMessage(author="Bob", text="The printer is on fire."),)
    await harness.answer(received("summarise this thread", channel="C1", event="b"))
    assert "The printer is on fire." in harness.model.prompts[1].messages[-1].text


async def test_an_empty_thread_is_not_summarized(harness: Harness) -> None:
    await harness.answer(received("summarise this channel", channel="C1", event="a"))
    assert harness.adapter.texts == ["There are no earlier messages here to summarize."]


async def test_a_summary_waits_for_the_platform(harness: Harness) -> None:
    harness.adapter.broken.add("context")
    await harness.answer(received("summarise this thread", channel="C1", event="a"))
    assert "in a minute" in harness.adapter.texts[0]


async def test_a_long_thread_keeps_its_newest_messages(harness: Harness) -> None:
    harness.context_tokens = 100_000
    harness.adapter.before = tuple(QuotedMessage(author="Bob", text=f"m{n} " + "x" * 500) for n in range(60))
    await harness.answer(received("sum up", channel="C1"))
    text = harness.model.prompts[0].messages[-1].text
    assert "m59 " in text
    assert 20 < text.count("<message") < 25


async def test_a_thread_never_crowds_out_the_question(harness: Harness) -> None:
    """Field note 31: quoted messages take at most a part of the prompt."""
    harness.context_tokens = 1000
    harness.adapter.before = tuple(QuotedMessage(author="Bob", text=f"m{n} " + "x" * 300) for n in range(20))
    (turn,) = await harness.answer(received("sum up", channel="C1"))
    (prompt,) = harness.model.prompts
    assert prompt.messages[-1].text.endswith("sum up")
    assert turn.left_out[0].what == "earlier messages of the thread"
    assert prompt.input_tokens < 1000


async def test_channel_context_is_read_only_if_wanted(harness: Harness) -> None:
    harness.adapter.before = (QuotedMessage(author="Bob", text="Lunch at noon?"),)
    await harness.answer(received("hello", event="a", channel="C1"))
    await harness.answer(received("Summarise this channel", event="b", channel="C1"))
    assert harness.adapter.rooms == [False, True]
    assert "Lunch at noon?" in harness.model.prompts[-1].messages[-1].text
