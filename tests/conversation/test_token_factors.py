"""Estimates of tokens are corrected by what was counted, in the same conversation and nowhere else."""

from msgspec.structs import replace

from bot.domain.prompts import Prompt
from bot.domain.turns import Delta, Usage
from tests.support.acts import received
from tests.support.harness import Harness


def counted(prompt: Prompt) -> list[Delta | Exception]:
    """An answer of a deployment that counts half as many tokens again."""
    usage = Usage(deployment="test", input_tokens=round(prompt.input_tokens * 1.5))
    return [Delta(text="ok"), Delta(usage=usage)]


async def test_a_conversation_corrects_its_own_estimates(harness: Harness) -> None:
    """Field fault 116: one CSV shrank the context of a deployment for everybody in the process."""
    harness.model.script = counted
    rows = "\n".join(f"{number},{number * 7919 % 1000}" for number in range(200))
    (first,) = await harness.answer(received(rows, event="csv"))
    assert first.token_factors["numbers"] > first.token_factors["words"] >= 1.0
    *_, second = await harness.answer(received(rows, event="again"))
    assert second.token_factors["numbers"] > first.token_factors["numbers"]
    csv, again = harness.model.prompts
    assert again.input_tokens > 2.2 * csv.input_tokens, "the CSV twice, with the correction"
    elsewhere = received(rows, event="other")
    address = replace(elsewhere.address, conversation=f"{elsewhere.address.conversation}-elsewhere")
    await harness.answer(replace(elsewhere, address=address))
    assert harness.model.prompts[-1].input_tokens == csv.input_tokens
