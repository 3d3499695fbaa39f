"""Counts the tokens of messages: with a tokenizer if there is one for the vocabulary, else by estimating."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import ParamSpec, TypeVar

from bot.domain.prompts import Image, Message, Part, Text, ToolCall, ToolResult
from bot.llm.tokens.estimator import Kind, Vocabulary, estimate_by_kind
from bot.llm.tokens.image_tokens import UNKNOWN, ImageRule, tokens_of
from bot.llm.tokens.tokenizer import Count

MESSAGE_TOKENS = 4
"""Overhead per message (role and separators), as OpenAI documents it for its chat models."""

LONG = 20_000
"""Characters; more are counted in a thread, because it takes over a millisecond or two."""

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")

_SHORT = 2000
"""Characters; the tokenizer takes up to a millisecond for that. Longer texts are estimated on the event loop."""
_TEXTS = 20_000
"""Results that are kept, about 5 MB of each sort."""


_Key = tuple[Vocabulary | None, int, int]


class _Recent(OrderedDict[_Key, _Result]):
    """The newest results by vocabulary, and hash and length of a text, which is not kept itself."""

    def keep(self, key: _Key, result: _Result) -> _Result:
        """Keep a result, and forget the oldest beyond the limit."""
        self[key] = result
        if len(self) > _TEXTS:
            self.popitem(last=False)
        return result


class _Cache:
    """The tokenizers of this process, and what they counted."""

    def __init__(self) -> None:
        self.tokenizers: dict[Vocabulary, Count] = {}
        self._counted = _Recent[int]()
        self._estimated = _Recent[dict[Kind, float]]()

    def count(self, text: str, vocabulary: Vocabulary) -> int | None:
        """What the tokenizer counts; None if there is none, or it would block the event loop."""
        count = self.tokenizers.get(vocabulary)
        if count is None:
            return None
        key = (vocabulary, hash(text), len(text))
        known = self._counted.get(key)
        if known is not None or (len(text) > _SHORT and _on_event_loop()):
            return known
        return self._counted.keep(key, count(text.encode(errors="replace").decode()))

    def estimate(self, text: str, vocabulary: Vocabulary | None) -> dict[Kind, float]:
        """The estimate by kind."""
        key = (vocabulary, hash(text), len(text))
        known = self._estimated.get(key)
        return self._estimated.keep(key, estimate_by_kind(text, vocabulary)) if known is None else known


_CACHE = _Cache()


def count_by(tokenizers: Mapping[Vocabulary, Count]) -> None:
    """Count with these tokenizers from now on; estimate what is in other vocabularies."""
    _CACHE.tokenizers = dict(tokenizers)


def is_counted() -> bool:
    """Whether there is a tokenizer."""
    return bool(_CACHE.tokenizers)


async def run_counting(
    characters: int, work: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _Result:
    """Do work that counts tokens: in a thread if there is a tokenizer, or if it counts more than `LONG` characters.

    The event loop goes on meanwhile: the estimator reads long texts in pieces, and the tokenizer releases the GIL.
    """
    if is_counted() or characters > LONG:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts for the deployments that may answer: the highest number of their vocabularies and image rules.

    The vocabulary of an unknown model is None. `factors` correct the estimates of a conversation by kind of text.
    """

    vocabularies: tuple[Vocabulary | None, ...] = ("o200k_base",)
    image_rules: tuple[ImageRule, ...] = (UNKNOWN,)
    factors: Mapping[Kind, float] = field(default_factory=dict[Kind, float])

    def text(self, text: str) -> int:
        """Tokens of a text."""
        return max(self._text(text, vocabulary) for vocabulary in self.vocabularies)

    def _text(self, text: str, vocabulary: Vocabulary | None) -> int:
        counted = _CACHE.count(text, vocabulary) if vocabulary else None
        if counted is not None:
            return counted
        by_kind = _CACHE.estimate(text, vocabulary)
        return ceil(sum(tokens * self.factors.get(kind, 1.0) for kind, tokens in by_kind.items()))

    def message(self, message: Message) -> int:
        """Tokens of a message, rather too many than too few."""
        return MESSAGE_TOKENS + sum(map(self._part, message.parts))

    def messages(self, messages: Iterable[Message]) -> int:
        """Tokens of messages."""
        return sum(map(self.message, messages))

    def _part(self, part: Part) -> int:
        match part:
            case Text():
                return self.text(part.text)
            case Image():
                return max(tokens_of(part, rule) for rule in self.image_rules)
            case ToolCall():
                return MESSAGE_TOKENS + self.text(part.name + part.arguments)
            case ToolResult():
                return MESSAGE_TOKENS + self.text(part.text)

    def by_kind(self, messages: Iterable[Message]) -> dict[Kind, float]:
        """The estimated tokens of the texts of messages by kind, without the factors."""
        whole: dict[Kind, float] = {}
        for message in messages:
            for part in message.parts:
                text = part.name + part.arguments if isinstance(part, ToolCall) else getattr(part, "text", "")
                for kind, tokens in _CACHE.estimate(text, self.vocabularies[0]).items():
                    whole[kind] = whole.get(kind, 0.0) + tokens
        return whole
