"""No text is embedded twice, wherever its vector is kept."""

from collections.abc import Sequence

from bot.storage.prompts.embedding_cache import EmbeddingCache
from bot.storage.redis.client import Redis


class Model:
    """Embeds a text as its length, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked.append(list(texts))
        return [[float(len(text)), 0.5] for text in texts]


async def test_vectors_are_in_order_and_cached(redis: Redis) -> None:
    model = Model()
    vectors = EmbeddingCache(redis, "model", model.embed)
    texts = [f"{'x' * number}" for number in range(40)]
    assert await vectors.embed(texts[:30]) == [[float(number), 0.5] for number in range(30)]
    assert await vectors.embed(texts[::-1]) == [[float(number), 0.5] for number in reversed(range(40))]
    assert [sorted(map(len, texts)) for texts in model.asked] == [[*range(30)], [*range(30, 40)]]


async def test_a_repeated_text_is_embedded_once(redis: Redis) -> None:
    model = Model()
    assert await EmbeddingCache(redis, "model", model.embed).embed(["a", "bb", "a"]) == [
        [1.0, 0.5],
        [2.0, 0.5],
        [1.0, 0.5],
    ]
    assert model.asked == [["a", "bb"]]


async def test_another_model_has_vectors_of_its_own(redis: Redis) -> None:
    first, second = Model(), Model()
    await EmbeddingCache(redis, "one", first.embed).embed(["a"])
    await EmbeddingCache(redis, "two", second.embed).embed(["a"])
    assert second.asked == [["a"]]
