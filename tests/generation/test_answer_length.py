"""The length limit of an answer."""

from collections.abc import AsyncGenerator

import pytest

from bot.domain.prompts import Prompt
from bot.domain.turns import Delta, Usage
from bot.generation.turn_builder import ToolCallAllowance
from tests.support.acts import received
from tests.support.fake_adapter import words
from tests.support.harness import Harness


@pytest.mark.parametrize(
    ("channel", "hint"), [("", "Reply “continue”"), ("C1", "Mention me with “continue”")]
)
async def test_the_rest_is_asked_for_as_it_works(harness: Harness, channel: str, hint: str) -> None:
    """Field fault 112: in a channel, "continue" without a mention may be for somebody else."""
    harness.model.script = lambda prompt: words("Once upon", finish="length")
    await harness.answer(received("tell me a story", channel=channel))
    assert harness.adapter.texts[0].endswith(f"_The answer reached its length limit. {hint} for the rest._")


async def test_an_answer_is_cut_at_its_length_limit(harness: Harness) -> None:
    """Field fault 92: the stream is closed there, the text so far is shown, and a note says so."""
    read: list[str] = []

    async def endless(_: Prompt) -> AsyncGenerator[Delta]:
        for sign in "abcdefgh":
            read.append(sign)
            yield Delta(text=sign * 600)
        yield Delta(usage=Usage(deployment="test"), finish="stop")

    harness.allowance = ToolCallAllowance(characters=1000)
    harness.model.script = endless
    (turn,) = await harness.answer(received("write a book"))
    assert turn.reply.text.startswith("a" * 600 + "b" * 400 + "\n\n")
    assert "limit of 1,000 characters" in turn.reply.text
    assert "continue" in turn.reply.text, "the next step"
    assert read == ["a", "b"], "nothing more is read, nor paid for"


async def test_an_answer_of_exactly_the_limit_is_whole(harness: Harness) -> None:
    """Field fault 92: nothing is cut, so there is no note."""

    async def fitting(_: Prompt) -> AsyncGenerator[Delta]:
        yield Delta(text="a" * 1000)
        yield Delta(usage=Usage(deployment="test"), finish="stop")

    harness.allowance = ToolCallAllowance(characters=1000)
    harness.model.script = fitting
    (turn,) = await harness.answer(received("write a page"))
    assert turn.reply.text == "a" * 1000
