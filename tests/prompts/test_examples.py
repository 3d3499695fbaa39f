"""Few-shot examples: all of the template's own, and the nearest of its pool."""

import asyncio
import logging
from collections.abc import Iterator, Sequence

import pytest

from bot.domain.errors import ModelUnavailable, NotAllowed
from bot.domain.prompts import Example, Template
from bot.generation.prompt_builder import PromptInputs, TokenBudget, build_prompt
from bot.llm import similarity
from bot.prompts import examples
from bot.prompts.examples import choose, choose_why, rank
from tests.support.acts import received

VECTORS = {
    "north": [0.0, 1.0],
    "north-east": [0.7071, 0.7071],
    "east": [1.0, 0.0],
    "south": [0.0, -1.0],
    "up": [0.0, 1.0],
}
OWN = Example(user="own", assistant="own")
POOL = tuple(Example(user=name, assistant=name) for name in ("south", "east", "north-east", "north", "up"))


class Embedder:
    """Embeds by the table above, and records the texts."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked.append(list(texts))
        return [VECTORS[text] for text in texts]


@pytest.fixture(autouse=True)
def forgets() -> Iterator[None]:
    yield
    examples.forget()


def template(shots: int = 2) -> Template:
    return Template(name="t", digest="0" * 12, examples=(OWN,), pool="p", shots=shots)


async def test_own_examples_precede_the_nearest_of_the_pool() -> None:
    chosen = await choose(template(), POOL, "east", Embedder(), [])
    assert [one.user for one in chosen] == ["own", "east", "north-east"]


async def test_ties_keep_the_order_of_the_pool() -> None:
    chosen = await choose(template(), POOL, "north", Embedder(), [])
    assert [one.user for one in chosen] == ["own", "north", "up"]
    chosen = await choose(template(), POOL[::-1], "north", Embedder(), [])
    assert [one.user for one in chosen] == ["own", "up", "north"]


async def test_a_pool_is_embedded_once() -> None:
    embed = Embedder()
    await choose(template(), POOL, "north", embed, [])
    await choose(template(), POOL, "east", embed, [])
    assert embed.asked == [["north"], [one.user for one in POOL], ["east"]]


async def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_MOST_VECTORS", 2)
    embed = Embedder()
    await choose(template(), POOL, "north", embed, [])
    await choose(template(), POOL, "north", embed, [])
    assert embed.asked[3] == ["south", "east", "north-east"]


async def test_a_large_pool_is_embedded_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_BATCH", 2)
    embed = Embedder()
    chosen = await choose(template(), POOL, "east", embed, [])
    assert [len(texts) for texts in embed.asked] == [1, 2, 2, 1]
    assert [one.user for one in chosen] == ["own", "east", "north-east"]


async def test_what_takes_too_long_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 66: an answer does not wait for a slow deployment, and what came so far is kept."""
    monkeypatch.setattr(similarity, "_BATCH", 2)
    monkeypatch.setattr(similarity, "LIMIT_S", 0.05)
    embed = Embedder()

    async def slow(texts: Sequence[str]) -> list[list[float]]:
        if len(embed.asked) == 2:
            await asyncio.Event().wait()
        return await embed(texts)

    chosen = await choose(template(), POOL, "east", slow, [])
    assert [one.user for one in chosen] == ["own", "south", "east"]
    chosen = await choose(template(), POOL, "east", embed, [])
    assert [one.user for one in chosen] == ["own", "east", "north-east"]
    assert sum(map(len, embed.asked)) == len(POOL) + 2


async def test_long_questions_are_cut() -> None:
    """Field fault 66: no text is longer than what a deployment accepts."""
    asked: list[str] = []

    async def embed(texts: Sequence[str]) -> list[list[float]]:
        asked.extend(texts)
        return [[1.0] for _ in texts]

    await rank((*POOL, Example(user="y" * 9000, assistant="y")), "x" * 9000, embed)
    assert max(map(len, asked)) == 8000


async def test_vectors_of_another_size_are_recomputed() -> None:
    await choose(template(), POOL, "north", Embedder(), [])

    async def longer(texts: Sequence[str]) -> list[list[float]]:
        return [[0.0, *VECTORS[text]] for text in texts]

    chosen = await choose(template(), POOL, "east", longer, [])
    assert [one.user for one in chosen] == ["own", "east", "north-east"]


@pytest.mark.parametrize("shots", [0, 5, 9])
async def test_nothing_is_embedded_without_a_choice(shots: int) -> None:
    embed = Embedder()
    chosen = await choose(template(shots), POOL, "north", embed, [])
    assert chosen == (OWN, *POOL[:shots])
    assert embed.asked == []


@pytest.mark.parametrize("error", [ModelUnavailable("away"), NotAllowed("no embedding deployment")])
async def test_without_embeddings_the_first_examples_are_shown(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(texts: Sequence[str]) -> list[list[float]]:
        raise error

    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            chosen = await choose(template(), POOL, "north", away, [])
            assert [one.user for one in chosen] == ["own", "south", "east"]
    assert [record.message.count("not the nearest") for record in caplog.records] == [1]


async def test_each_example_has_a_reason() -> None:
    chosen = await choose_why(template(), POOL, "north", Embedder(), [])
    assert [(one.example.user, one.why, one.similarity) for one in chosen] == [
        ("own", "part of the template", None),
        ("north", "similar to the question", 1.0),
        ("up", "similar to the question", 1.0),
    ]
    whole = await choose_why(template(5), POOL, "north", Embedder(), [])
    assert {one.why for one in whole[1:]} == {"the whole pool is used"}


async def test_a_whole_pool_is_ranked_with_its_similarities() -> None:
    ranked = await rank(POOL, "east", Embedder())
    assert [one.user for one, _ in ranked] == ["east", "north-east", "south", "north", "up"]
    assert [round(similarity, 3) for _, similarity in ranked] == [1.0, 0.707, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(("context_tokens", "shown"), [(4000, 4), (900, 3), (600, 2), (300, 1)])
def test_pool_examples_stay_within_the_budget(context_tokens: int, shown: int) -> None:
    near = tuple(Example(user=f"{at}" * 200, assistant="xx " * 66) for at in range(3))
    inputs = PromptInputs(
        template=template(3), received=received("Why?"), question="Why?", examples=(OWN, *near), turns=()
    )
    prompt = build_prompt(inputs, TokenBudget(context_tokens=context_tokens, output_tokens=100))
    assert [message.text for message in prompt.messages][:2] == ["own", "own"]
    assert prompt.examples == 2
    listed = [message.text.count("Assistant: xx ") for message in prompt.messages if message.role == "system"]
    assert sum(listed) == shown - 1
    assert [one.count for one in prompt.left_out] == ([4 - shown] if shown < 4 else [])
