"""A prompt that is called by its command stays for the conversation."""

import pytest
from msgspec.structs import replace

from bot.domain.prompts import Match, Template
from tests.support.acts import ADA, received
from tests.support.harness import ASSISTANT, DRAW, Harness

SUPPORT = Template(name="support", digest="3" * 12, system="IT.", match=Match(commands=("support",)))
ASK = replace(ASSISTANT, match=Match(default=True, commands=("ask",)))


@pytest.fixture
def desk(harness: Harness) -> Harness:
    harness.templates = (ASK, SUPPORT, DRAW)
    return harness


def answered_by(desk: Harness) -> list[str]:
    return [prompt.template.partition("@")[0] for prompt in desk.model.prompts]


async def test_it_answers_what_follows(desk: Harness) -> None:
    """Field fault 110: "still black" went to the assistant, without the IT rules."""
    turns = await desk.answer(
        received("/support my laptop won't start", event="a"), received("still black", event="b")
    )
    await desk.answer(received("and now?", event="c"))
    assert answered_by(desk) == ["support"] * 3
    assert [turn.kept for turn in turns] == ["support", "support"]
    assert [reply.prompt for reply in desk.adapter.replies] == ["support"] * 3, "the person sees which one"


@pytest.mark.parametrize("ends", ["reset", "/ask and what is for lunch?", "/prompt auto"])
async def test_another_choice_or_a_reset_ends_it(desk: Harness, ends: str) -> None:
    """Field fault 110."""
    await desk.answer(
        received("/support black screen", event="a"), received(ends, event="b"), received("hello", event="c")
    )
    assert answered_by(desk)[-1] == "assistant"
    assert desk.adapter.replies[-1].prompt == "", "the default prompt is not named"


async def test_a_choice_in_settings_ends_it(desk: Harness) -> None:
    """Slack's Home tab, the Teams card and the studio say "Saved": then the chosen prompt answers."""
    await desk.answer(received("/support black screen", event="a"))
    await desk.preferences.choose(ADA, "", template="assistant")
    await desk.answer(received("hello", event="b"))
    assert answered_by(desk)[-1] == "assistant"
    await desk.answer(received("/support still black", event="c"), received("and now?", event="d"))
    assert answered_by(desk)[-1] == "support", "what is asked for later stays again"


async def test_commands_and_images_do_not_end_it(desk: Harness) -> None:
    await desk.answer(
        received("/support black screen", event="a"),
        received("/image a black screen", event="b"),
        received("usage", event="c"),
        received("still black", event="d"),
    )
    assert answered_by(desk)[-1] == "support"


async def test_an_image_template_does_not_stay(desk: Harness) -> None:
    """Each picture costs money: one is drawn only where it is asked for."""
    await desk.answer(received("/image a cat", event="a"), received("thanks", event="b"))
    assert answered_by(desk) == ["draw", "assistant"]


async def test_another_conversation_is_not_affected(desk: Harness) -> None:
    await desk.answer(received("/support black screen", event="a"))
    await desk.answer(received("hello", event="b", conversation="test:other"))
    assert answered_by(desk)[-1] == "assistant"


async def test_a_removed_template_no_longer_answers(desk: Harness) -> None:
    await desk.answer(received("/support black screen", event="a"))
    desk.templates = (ASK, DRAW)
    await desk.answer(received("still black", event="b"))
    assert answered_by(desk)[-1] == "assistant"
