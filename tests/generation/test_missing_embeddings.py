"""Answers of templates with examples and knowledge while embeddings are unavailable."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from bot.domain.errors import TooLong, Unavailable
from bot.domain.prompts import Embed, Example
from bot.generation.prompt_sources import FilePrompts
from bot.knowledge.retrieval import retrieve
from bot.llm.openai.client import Clients
from bot.llm.routing.router import Gateway
from bot.prompts.library import LoadedPrompts
from tests.llm.conftest import KEY, deployment
from tests.simulators.azure import AzureSimulator
from tests.support.acts import received
from tests.support.fake_adapter import words
from tests.support.harness import ASSISTANT, Harness

TEMPLATE = replace(ASSISTANT, pool="faq", shots=1, knowledge=("handbook",))
NOTES = ("documents could not be searched", "examples closest to your question could not be found")


def sources(embed: Embed) -> FilePrompts:
    """A template with a pool of two examples, and a handbook."""
    files = LoadedPrompts(
        templates=[TEMPLATE],
        pools={"faq": [Example(user="a", assistant="b"), Example(user="c", assistant="d")]},
        texts={"handbook": ("one", "two")},
        check=lambda _: None,
    )
    return FilePrompts(files=files, embed=embed)


@pytest.mark.parametrize("status", [401, 404, 422])
async def test_a_person_reads_what_is_missing(harness: Harness, status: int) -> None:
    """Field fault 66: an answer without passages and examples, and a note; once, also if the prompt is built twice."""
    async with AzureSimulator() as azure:
        azure.deployments = {}
        azure.key = KEY.get_secret_value() if status != 401 else "another"
        clients = Clients()
        model = clients.connect(deployment(azure, capability="embedding"), KEY)
        harness.sources = sources(Gateway([(model.deployment, model)]).vectors)
        await harness.answer(*(received("x " * 200, event=f"e{n}") for n in range(5)))
        refusals = [TooLong("too long", limit_tokens=200, asked_tokens=400)]
        harness.model.script = lambda prompt: [refusals.pop()] if refusals else words("fine")
        await harness.answer(received("How?", event="e5"))
        await clients.aclose()
    assert harness.adapter.texts[-1].startswith("fine")
    assert [harness.adapter.texts[-1].count(note) for note in NOTES] == [1, 1]
    assert "it read less of it" in harness.adapter.texts[-1]


async def test_no_embedding_deployment_needs_no_note(harness: Harness) -> None:
    """Field fault 66: that is a choice of the operator, which people need not read under every answer."""
    harness.sources = sources(Gateway([]).vectors)
    await harness.answer(received("How?", event="e"))
    assert "could not be" not in harness.adapter.texts[-1]


async def test_passages_are_embedded_once() -> None:
    """Field fault 66: a question costs one short request."""
    asked: list[list[str]] = []

    async def embed(texts: Sequence[str]) -> list[list[float]]:
        asked.append(list(texts))
        if len(asked) > 3:
            raise Unavailable("away")
        return [[float(text == "p 3"), float(text != "p 3")] for text in texts]

    texts = {"handbook": tuple(f"p {n}" for n in range(9))}
    assert (await retrieve(TEMPLATE, texts, "p 3", embed, []))[0] == "p 3"
    assert len(await retrieve(TEMPLATE, texts, "another", embed, [])) == 4
    assert asked == [["p 3"], [f"p {n}" for n in range(9)], ["another"]]
