"""The calls of an answer as rows: what for, where, how many tokens, at what cost, and whether that is estimated."""

import pytest
from msgspec.structs import replace

from adapters.studio.playground.prompt_report import call_rows, cost_words
from bot.domain.turns import Turn, Usage, past_turn
from tests.support.acts import received


def turn_of(*calls: Usage) -> Turn:
    """An answered turn with these calls."""
    return replace(past_turn(received(), "hello", "Hi."), usage=calls)


@pytest.mark.parametrize(
    ("call", "row"),
    [
        (
            Usage(deployment="a", input_tokens=1200, output_tokens=30, usd=0.0123, purpose="answer"),
            ("Answer", "a", "1,200 + 30", "$0.0123"),
        ),
        (
            Usage(deployment="a", input_tokens=9, usd=0.00004, purpose="embedding"),
            ("Embedding", "a", "9 + 0", "$0.000040"),
        ),
        (
            Usage(deployment="b", images=2, usd=0.08, purpose="image"),
            ("Image", "b", "2 images", "$0.0800"),
        ),
        (
            Usage(
                deployment="a",
                input_tokens=5,
                output_tokens=1,
                usd=0.5,
                estimated=True,
                outcome="interrupted",
            ),
            ("Answer", "a", "5 + 1", "about $0.5000, estimated, interrupted"),
        ),
        (
            Usage(deployment="a", input_tokens=5, output_tokens=1, purpose="rewrite", outcome="empty"),
            ("Rewrite", "a", "5 + 1", "price unknown, without an answer"),
        ),
        (
            Usage(deployment="a", usd=0.0, purpose="answer", outcome="failed"),
            ("Answer", "a", "", "failed, not charged"),
        ),
    ],
)
def test_a_call_is_a_row(call: Usage, row: tuple[str, ...]) -> None:
    (found,) = call_rows(turn_of(call))
    assert tuple(found.values()) == row
    assert list(found) == ["purpose", "deployment", "tokens", "cost"]


def test_rows_add_up_to_the_cost() -> None:
    calls = [Usage(deployment="a", input_tokens=10, usd=0.25), Usage(deployment="b", input_tokens=1, usd=0.5)]
    turn = turn_of(*calls)
    assert [row["cost"] for row in call_rows(turn)] == ["$0.2500", "$0.5000"]
    assert cost_words(turn).endswith("$0.7500")
