"""What deployments mean for a prompt: how long an answer may be where a budget counts it."""

import pytest

from bot.domain.limits import read
from bot.domain.prompts import Template
from bot.generation.model_info import ModelInfo
from tests.llm.scripted import Scripted, named, over

CHAT = Template(name="assistant", digest="0" * 12, system="Be kind.")


@pytest.mark.parametrize(
    ("limits", "family", "gives", "answer"),
    [
        ("person: 30 requests/minute", "gpt-4o", 16_384, None),
        ("person: $2/day", "gpt-4o", 16_384, 4000),
        ("channel C1: 1M tokens/day", "gpt-4o", 1000, 1000),
        ("person: $2/day", "gpt-5", 128_000, 16_000),
    ],
)
def test_budgets_limit_the_answer_length(limits: str, family: str, gives: int, answer: int | None) -> None:
    gateway = over((named("a", family=family, output_tokens=gives), Scripted("a")))
    assert ModelInfo(gateway, read(limits)).token_budget(CHAT).answer_tokens == answer
