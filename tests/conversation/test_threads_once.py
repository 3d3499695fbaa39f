"""Field fault 109: what the model knows of a thread already is not sent a second time."""

from datetime import timedelta

from msgspec.structs import replace

from bot.domain.events import QuotedMessage
from tests.support.acts import ADA, BOB, received
from tests.support.fake_adapter import words
from tests.support.harness import Harness


async def test_a_thread_with_the_bot_is_sent_once(harness: Harness) -> None:
    """Bob writes, Ada asks the bot about it, Bob goes on, and Ada wants the thread summarised."""
    harness.context_tokens = 100_000
    harness.model.script = lambda prompt: words("Noted.")
    asked = received("What does the printer need?", event="a", channel="C1")
    first = QuotedMessage(
        author="Bob", text="The printer on floor 3 is on fire.", at=asked.at - timedelta(minutes=3), by=BOB.id
    )
    harness.adapter.before = (first,)
    await harness.answer(asked)
    own = QuotedMessage(author="Ada", text="What does the printer need?", at=asked.at, by=ADA.id)
    later = QuotedMessage(author="Bob", text="It is out now.", at=asked.at + timedelta(minutes=3), by=BOB.id)
    harness.adapter.before = (first, own, later)
    summary = replace(
        received("summarise this thread", event="b", channel="C1"), at=asked.at + timedelta(minutes=9)
    )
    await harness.answer(summary)
    text = "\n".join(message.text for message in harness.model.prompts[-1].messages)
    for words_of_thread in (first.text, own.text, later.text, "summarise this thread"):
        assert text.count(words_of_thread) == 1, words_of_thread
    assert "Those that are part of this conversation already are not repeated." in text


async def test_what_the_history_lost_is_quoted_again(harness: Harness) -> None:
    """Only what the prompt really contains is left out of the thread."""
    harness.context_tokens = 1500
    harness.model.script = lambda prompt: words("Noted. " + "So it goes. " * 30)
    quotes: list[QuotedMessage] = []
    for number in range(12):
        asked = received(f"Question number {number}, is it?", event=f"e{number}", channel="C1")
        quotes.append(QuotedMessage(author="Ada", text=asked.text, at=asked.at, by=ADA.id))
        await harness.answer(asked)
    harness.adapter.before = tuple(quotes)
    await harness.answer(received("summarise this thread", event="s", channel="C1"))
    prompt = [one for one in harness.model.prompts if not one.template.startswith("summary@")][-1]
    text = "\n".join(message.text for message in prompt.messages)
    assert [text.count(f"Question number {number},") for number in range(12)] == [1] * 12, text
