"""Field fault 109: what of a long document reaches the model, and what it is told of the rest."""

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from bot.domain.errors import ConfigError, ContentFiltered, ModelUnavailable, NotAllowed, TooLong
from bot.domain.events import Attachment, MessageReceived
from bot.domain.turns import Usage
from bot.files import attachments, excerpts
from bot.files.excerpts import SimilarToQuestion, excerpt
from bot.llm import similarity
from bot.llm.protocol import RequestRejected
from tests.support.acts import ADA, received
from tests.support.fake_adapter import ScriptedModel, words
from tests.support.harness import Harness
from tests.support.patience import PATIENCE_S

FACT = "The vault opens with the code 7319. "


class TopicModel(ScriptedModel):
    """A model whose vectors tell texts about the vault from others."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(lambda prompt: words("Read."))
        self.error = error
        self.embedded: list[str] = []
        self.calls = 0
        self.hangs = False

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        self.calls += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        self.embedded += texts
        vectors = [[1.0, 0.0] if "vault" in text else [0.0, 1.0] for text in texts]
        return vectors, Usage(deployment="ada", input_tokens=len(texts), usd=0.0001)


@pytest.fixture(autouse=True)
def no_vectors() -> None:
    similarity.forget()


def long_text(characters: int = 1_100_000) -> str:
    """A document with one fact, deep inside."""
    line = "Nothing happened on this day, as on the day before it.\n"
    lines = line * (characters // len(line) // 2)
    return f"It begins here.\n{lines}{FACT}\n{lines}It ends here."


def with_file(harness: Harness, text: str, question: str) -> MessageReceived:
    harness.adapter.files["log"] = text.encode()
    file = Attachment(id="log", name="log.txt", mime="text/plain")
    return replace(received(question), attachments=(file,))


async def test_a_long_document_arrives_where_it_matters(harness: Harness) -> None:
    """1.1 MB came as the first 60,000 characters, and the model was not told."""
    model = harness.model = TopicModel()
    harness.context_tokens = 100_000
    text = long_text()
    (turn,) = await harness.answer(with_file(harness, text, "How is the vault opened?"))
    sent = model.prompts[0].messages[-1].text
    assert "It begins here." in sent
    assert FACT in sent
    assert sent.index(FACT) < sent.index("It ends here.") < sent.rindex("How is the vault opened?")
    assert "characters left out here" in sent
    assert (
        f"of {len(text):,} characters: the beginning, the parts nearest to the question, and the end" in sent
    )
    assert len(sent) < attachments.TEXT_BYTES + 2_000
    assert len(model.embedded) <= excerpts.MOST_PARTS + 1
    embedded = {usage.deployment for usage in turn.usage if usage.purpose == "embedding"}
    assert embedded == {"ada"}, "what it cost is charged"
    assert "were read: the beginning, the parts nearest" in harness.adapter.texts[-1]


@pytest.mark.parametrize(
    "error",
    [
        NotAllowed("Semantic search isn't set up."),
        ModelUnavailable("away"),
        ConfigError("The key is wrong."),
        RequestRejected("no such parameter"),
        TooLong("That is too long."),
        ContentFiltered("A page of it was filtered."),
    ],
)
async def test_without_embeddings_both_ends_arrive(harness: Harness, error: Exception) -> None:
    """A wrong key of the embedding deployment left every question with a long file without an answer."""
    harness.model = TopicModel(error)
    harness.context_tokens = 100_000
    await harness.answer(with_file(harness, long_text(), "How is the vault opened?"))
    sent = harness.model.prompts[0].messages[-1].text
    assert "It begins here." in sent
    assert "It ends here." in sent
    assert "characters: the beginning and the end" in sent
    assert FACT not in sent


async def test_a_question_is_repeated_around_long_content(harness: Harness) -> None:
    """The question stands before and after what is long, and only once where it is short."""
    harness.model.script = lambda prompt: words("Fine.")
    harness.context_tokens = 100_000
    await harness.answer(with_file(harness, "Short.", "What does it say?"))
    assert harness.model.prompts[-1].messages[-1].text.count("What does it say?") == 1
    await harness.answer(replace(with_file(harness, long_text(30_000), "What does it say?"), id="e2"))
    text = harness.model.prompts[-1].messages[-1].text
    assert text.startswith("(The question, which follows in full after the data: What does it say?)")
    assert text.endswith("What does it say?")


async def test_the_beginning_of_a_long_message_is_repeated(harness: Harness) -> None:
    harness.model.script = lambda prompt: words("Fine.")
    harness.context_tokens = 100_000
    await harness.answer(received("Turn this into a table: " + "a, b, c; " * 2_000))
    text = harness.model.prompts[-1].messages[-1].text
    assert text.startswith("Turn this into a table: a, b, c;")
    assert "(That was long. It began with: Turn this into a table: a, b, c;" in text[-700:]


async def test_parts_cover_a_text_without_gaps() -> None:
    seen: list[str] = []

    async def similar(texts: Sequence[str], /) -> Sequence[float]:
        seen.extend(texts)
        return [float(FACT in text) for text in texts]

    text = long_text(400_000)
    found = await excerpt(text, 30_000, similar)
    assert len(seen) <= excerpts.MOST_PARTS
    middle = "".join(seen)
    assert text.index(middle) <= 9_000
    assert len(middle) > len(text) - 9_000 - 4_500 - 500
    assert FACT in found.text
    assert found.kept <= 30_000
    assert len(found.text) < 32_000


async def test_nothing_is_embedded_without_a_question() -> None:
    model = TopicModel()
    assert await SimilarToQuestion(model, " ")(["a"]) is None
    assert model.calls == 0


@pytest.mark.parametrize("hangs", [True, False])
async def test_embeddings_that_fail_are_tried_once(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    """Each of several long files waited ten seconds for embeddings that no longer came."""
    monkeypatch.setattr(similarity, "LIMIT_S", 0.2)
    model = harness.model = TopicModel(ModelUnavailable("away"))
    model.hangs = hangs
    harness.context_tokens = 100_000
    asked = with_file(harness, long_text(), "How is the vault opened?")
    files = tuple(replace(asked.attachments[0], name=f"{number}.txt") for number in range(3))
    (turn,) = await harness.answer(replace(asked, attachments=files))
    assert turn.outcome == "answered"
    assert model.prompts[0].messages[-1].text.count("It begins here.") == 2
    assert model.calls == 1


async def test_all_files_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer waits ten seconds for embeddings, not for each of its files."""
    model = TopicModel()
    similar = SimilarToQuestion(model, "How is the vault opened?")
    monkeypatch.setattr(similarity, "LIMIT_S", 0.5)
    assert await similar(["a", "vault"]) == [0.0, 1.0]
    monkeypatch.setattr(similarity, "LIMIT_S", 2 * PATIENCE_S)
    model.hangs = True
    async with asyncio.timeout(PATIENCE_S):
        assert await similar(["b"]) is None


async def test_over_the_limit_nothing_is_embedded(harness: Harness) -> None:
    """Whoever had used up a limit could still use up the embeddings that everybody shares."""
    model = harness.model = TopicModel()
    harness.context_tokens = 100_000
    harness.ledger = harness.limited("person: 1 request/minute")
    await harness.answer(received("hi", event="e0"))
    *_, refused = await harness.answer(with_file(harness, long_text(), "How is the vault opened?"))
    assert (refused.outcome, refused.reason) == ("refused", "RateLimited")
    assert model.calls == 0


async def test_embeddings_beyond_a_limit_are_not_made(harness: Harness) -> None:
    """Embeddings were only counted afterwards: whoever had a token left could embed a whole document."""
    model = harness.model = TopicModel()
    harness.context_tokens = 100_000
    harness.ledger = harness.limited("person: 100 tokens/day")
    (turn,) = await harness.answer(with_file(harness, long_text(), "How is the vault opened?"))
    assert (turn.outcome, turn.reason) == ("refused", "BudgetSpent")
    assert model.embedded == ["How is the vault opened?"], "the document does not fit"
    today, _ = await harness.ledger.today_and_month(ADA)
    assert (today.tokens, today.turns) == (1, 0), "what was embedded is charged"
    assert [status.used for status in await harness.ledger.limit_status(ADA, "")] == [1], "nothing is held"


async def test_embeddings_that_do_not_fit_are_left_out(harness: Harness) -> None:
    """A weaker prompt is better than no answer: the limit has room for the question, not for its document."""
    model = harness.model = TopicModel()
    harness.context_tokens = 100_000
    harness.ledger = harness.limited("person: 90k tokens/day")
    text = "\n".join(f"On day {number}, nothing happened." for number in range(20_000))
    (turn,) = await harness.answer(with_file(harness, text, "How is the vault opened?"))
    assert turn.outcome == "answered"
    assert model.embedded == ["How is the vault opened?"]
    assert "characters: the beginning and the end" in model.prompts[0].messages[-1].text
