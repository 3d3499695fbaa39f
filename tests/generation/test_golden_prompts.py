"""What is sent to a model, compared with a file that a person has read."""

from bot.domain.prompts import Message
from tests.generation import golden_prompts


def sent_to(message: Message) -> str:
    return message.text.partition(" at=")[0]


def test_prompts_are_those_that_were_reviewed() -> None:
    """Field faults 108, 109, 111 and 112: who speaks, when, where, and what was cut.

    After a change that is wanted: `python -m tests.generation.golden_prompts`, and read the difference.
    """
    found = list(golden_prompts.cases())
    assert len(found) == 30
    assert golden_prompts.text_of(found) == golden_prompts.GOLDEN.read_text("utf-8")


def test_no_system_message_holds_what_people_wrote() -> None:
    """Field fault 108: names, quotes and files are data, wherever they come from."""
    for title, prompt in golden_prompts.cases():
        told = "\n".join(message.text for message in prompt.messages if message.role == "system")
        names = ("Ada Lovelace", "Grace", "Launch plan", "ops-night", "U0ADA", "C0OPS")
        for words in ("BANANA", "Ignore all rules", *names):
            assert words not in told or "summary" in title, (title, words)


def test_every_question_says_who_and_when() -> None:
    """Field fault 108: every message of a person has a sender and a time before it, also in the history."""
    for title, prompt in golden_prompts.cases():
        first = (
            1 + max(n for n, one in enumerate(prompt.messages[:2]) if one.role == "system") + prompt.examples
        )
        talk = [message for message in prompt.messages[first:] if message.role != "system"]
        senders = [sent_to(message) for message in talk if message.role == "user"][::2]
        assert all(sender.startswith("<sent") for sender in senders), title
        assert talk[-1].role == "user"
