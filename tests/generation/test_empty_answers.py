"""Answers without text: what the person reads, and that nothing is repeated."""

from bot.domain.prompts import Prompt, ToolCall
from bot.domain.turns import Delta, Usage
from bot.llm.protocol import EmptyAnswer
from tests.support.acts import received
from tests.support.harness import Harness

USED = Usage(deployment="test", output_tokens=50)
EXHAUSTED = EmptyAnswer("All of it went into reasoning. Ask for less.", USED, exhausted=True)


async def test_an_empty_answer_is_explained_once(harness: Harness) -> None:
    """Field fault 63: the explanation is the reply, the model is not asked again, and the cost is kept."""
    asked: list[Prompt] = []

    def empty(prompt: Prompt) -> list[Delta | Exception]:
        asked.append(prompt)
        return [Delta(usage=USED), EXHAUSTED]

    harness.model.script = empty
    (turn,) = await harness.answer(received("think"))
    assert turn.reply.text == "All of it went into reasoning. Ask for less."
    assert turn.outcome == "refused"
    assert [one.input_tokens for one in turn.usage] == [USED.input_tokens]
    assert len(asked) == 1


async def test_a_stream_without_any_text_is_no_failure(harness: Harness) -> None:
    """Field fault 63: the last resort, for models that report nothing."""
    harness.model.script = lambda prompt: [Delta(usage=USED, finish="stop")]
    (turn,) = await harness.answer(received("hello"))
    assert turn.outcome == "refused"
    assert "no text" in turn.reply.text
    assert "continue" not in turn.reply.text


async def test_text_before_an_empty_round_is_kept(harness: Harness) -> None:
    """Field fault 63: what was written before a tool call is delivered, with a note."""
    rounds = iter(
        [
            [
                Delta(text="Let me look."),
                Delta(call=ToolCall(id="1", name="none", arguments="{}")),
                Delta(usage=USED, finish="tool_calls"),
            ],
            [Delta(usage=USED), EXHAUSTED],
        ]
    )
    harness.model.script = lambda prompt: next(rounds)
    (turn,) = await harness.answer(received("think"))
    assert turn.reply.text.startswith("Let me look.")
    assert "went into reasoning" in turn.reply.text
    assert turn.outcome == "answered"


async def test_retracted_text_is_not_kept(harness: Harness) -> None:
    """Field fault 69: text that turns out to be reasoning."""
    harness.model.script = lambda prompt: [
        Delta(text="Hm, so"),
        Delta(text="", retracts=True),
        Delta(text="Hello"),
        Delta(usage=USED, finish="stop"),
    ]
    (turn,) = await harness.answer(received("hi"))
    assert turn.reply.text == "Hello"
