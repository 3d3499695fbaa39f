"""Which tokens of a `usage` object are read."""

from typing import Any

import pytest

from bot.llm.openai.loose_json import TokenUsage, usage_of
from tests.llm.conftest import Connect


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
                "completion_tokens_details": {"reasoning_tokens": 40},
            },
            TokenUsage(100, 60, 30, 50, 40),
        ),
        (
            {
                "input_tokens": 220,
                "output_tokens": 1100,
                "input_tokens_details": {"image_tokens": 200, "text_tokens": 20},
                "output_tokens_details": {"image_tokens": 1000, "text_tokens": 100},
            },
            TokenUsage(input_tokens=220, output_tokens=1100, image_tokens=200, output_text_tokens=100),
        ),
        ({"prompt_tokens": 9, "cache_creation_input_tokens": 4}, TokenUsage(9, cache_write_tokens=4)),
        (
            {
                "prompt_tokens": 9,
                "prompt_tokens_details": [1],
                "completion_tokens_details": {"reasoning_tokens": {}},
            },
            TokenUsage(9),
        ),
    ],
)
def test_every_detail_of_tokens_is_read(usage: dict[str, Any], expected: TokenUsage) -> None:
    """Field fault 114: cache writes and images have prices of their own; what is damaged is skipped."""
    assert usage_of(usage) == expected


def test_impossible_counts_are_reduced(connect: Connect) -> None:
    """Field fault 114: more cached than prompt tokens were recorded, and charged below zero."""
    counted = TokenUsage(10, 50, 40, 5, 70)
    usage = connect()._usage(counted, "gpt-4.1-2025-04-14")  # pyright: ignore[reportPrivateUsage]
    assert (usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens) == (10, 10, 5)
    assert (usage.model, usage.usd, usage.price) == ("gpt-4.1-2025-04-14", None, "")
