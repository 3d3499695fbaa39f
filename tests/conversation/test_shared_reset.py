"""Starting over where several people take part: who may, and only after a confirmation."""

from msgspec.structs import replace

from tests.support.acts import BOB, received
from tests.support.harness import Harness

BOTH = (received("the plan is May", event="a"), received("no, June", event="b", user=BOB))


async def test_alone_it_starts_over_at_once(harness: Harness) -> None:
    turns = await harness.answer(received("hello", event="a"), received("reset", event="b"))
    assert turns[-1].resets


async def test_with_others_it_says_what_happens(harness: Harness) -> None:
    """Field fault 104: "reset?" of one person wiped the thread for everybody."""
    turns = await harness.answer(*BOTH, received("/reset", event="c"))
    assert not any(turn.resets for turn in turns)
    (asks,) = harness.adapter.replies[-1:]
    assert (asks.private, asks.confirm, asks.confirm_label) == (True, "reset now", "Start over")
    assert "for Bob, too" in asks.text
    turns = await harness.answer(received("reset now", event="d"))
    assert turns[-1].resets


async def test_nobody_confirms_what_nobody_asked(harness: Harness) -> None:
    turns = await harness.answer(*BOTH, received("reset now", event="c"))
    assert not any(turn.resets for turn in turns)
    assert "nothing to confirm" in harness.adapter.texts[-1]


async def test_only_who_began_or_operators_may(harness: Harness) -> None:
    turns = await harness.answer(*BOTH, received("reset", event="c", user=BOB))
    assert not any(turn.resets for turn in turns)
    assert harness.adapter.texts[-1].startswith("Only Ada (who began this conversation), administrators")
    harness.operators = {BOB.id}
    await harness.answer(received("reset", event="d", user=BOB), received("reset now", event="e", user=BOB))
    assert harness.adapter.texts[-1].startswith("Done.")


async def test_what_is_not_said_to_the_bot(harness: Harness) -> None:
    """Field fault 104: in a thread, words without a mention run no command and choose no template."""
    await harness.answer(received("hello", event="a", channel="C1"))
    for number, text in enumerate(
        ("reset", "forget me", "mute", "/image a cat", "draw: a cat", "usage", "stop")
    ):
        await harness.answer(replace(received(text, event=f"b{number}", channel="C1"), addressed=False))
    turns = await harness.turns.turns("test:room")
    assert not any(turn.resets or turn.reply.images for turn in turns)
    assert not [turn for turn in turns if turn.template.startswith("/")]
