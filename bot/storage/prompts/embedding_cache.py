"""Caches embeddings by their text."""

from collections.abc import Sequence
from hashlib import sha256
from struct import pack, unpack

from bot.domain.prompts import Embed
from bot.storage.redis import keys
from bot.storage.redis.client import Redis


class EmbeddingCache:
    """A cache for an embedding model. Raises StateUnavailable, and errors of the model."""

    def __init__(self, redis: Redis, model: str, embed: Embed) -> None:
        self._redis = redis
        self._model = model
        self._embed = embed

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector per text, in order."""
        names = [self._name(text) for text in texts]
        stored: list[bytes | None] = await self._redis.many([("GET", name) for name in names])
        known = zip(texts, names, stored, strict=True)
        missing = {text: name for text, name, vector in known if vector is None}
        fresh: dict[str, list[float]] = {}
        if missing:
            fresh = dict(zip(missing, await self._embed(list(missing)), strict=True))
            stored_now = (
                (missing[text], pack(f"<{len(vector)}f", *vector)) for text, vector in fresh.items()
            )
            await self._redis.many([("SET", *pair, "EX", keys.VECTOR_S) for pair in stored_now])
        return [
            list(unpack(f"<{len(vector) // 4}f", vector)) if vector is not None else fresh[text]
            for text, vector in zip(texts, stored, strict=True)
        ]

    def _name(self, text: str) -> str:
        digest = sha256(f"{self._model}\0{text}".encode()).hexdigest()
        return keys.of("vector", digest)
