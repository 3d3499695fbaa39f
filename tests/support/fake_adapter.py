"""A platform and a model for tests of the worker: an adapter whose messages can be read, and a scripted model."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from aiohttp import web

from bot.domain.adapter import Accept
from bot.domain.errors import NotAllowed, PlatformUnavailable, Refused
from bot.domain.events import Address, Attachment, PostedMessage, QuotedMessage
from bot.domain.prompts import Image, Message, Prompt
from bot.domain.turns import CheckResult, Delta, Reply, Usage
from bot.llm.protocol import OnPartialImage


class FakeAdapter:
    """An adapter whose platform is a dictionary: `shown` is what a person sees, by post.

    `broken` names the methods that fail (`open`, `close`); `history` is every text that was ever shown.
    """

    name = "test"

    def __init__(self) -> None:
        self.shown: dict[str, str] = {}
        self.history: list[tuple[str, str]] = []
        self.replies: list[Reply] = []
        self.opened: list[tuple[str, PostedMessage | None, bool]] = []
        self.broken: set[str] = set()
        self.wanted = True
        self.refused = 0
        self.files: dict[str, bytes] = {}
        self.before: tuple[QuotedMessage, ...] = ()
        self.rooms: list[bool] = []
        self.refusal: Refused | None = None
        self.links: dict[str, tuple[QuotedMessage, ...] | str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def routes(self, accept: Accept) -> Iterable[web.AbstractRouteDef]:
        return ()

    async def listen(self, accept: Accept) -> None: ...

    async def open(self, address: Address, begun: PostedMessage | None, retry: bool) -> PostedMessage:
        self.opened.append((address.event, begun, retry))
        if "open" in self.broken:
            raise PlatformUnavailable("the room is shut")
        post = begun or PostedMessage(id=f"post of {address.event}")
        self._show(post, "…")
        return post

    async def update(self, post: PostedMessage, text: str) -> bool:
        self._show(post, text)
        return self.wanted

    async def close(self, post: PostedMessage, reply: Reply) -> PostedMessage:
        if "close" in self.broken:
            self.refused += 1
            raise PlatformUnavailable("the room is shut")
        self._show(post, reply.text)
        self.replies.append(reply)
        return post

    async def context(self, address: Address, include_channel: bool = False) -> tuple[QuotedMessage, ...]:
        """What the test put there."""
        self.rooms.append(include_channel)
        if self.refusal is not None:
            raise self.refusal
        if "context" in self.broken:
            raise PlatformUnavailable("the room is shut")
        return self.before

    async def linked(self, address: Address, link: str) -> tuple[QuotedMessage, ...]:
        """What the test put there, by link; a text is the reason of a refusal."""
        found = self.links.get(link, "I can't read the linked message.")
        if isinstance(found, str):
            raise NotAllowed(found)
        return found

    async def fetch(self, attachment: Attachment) -> bytes:
        return self.files[attachment.id]

    async def check(self) -> list[CheckResult]:
        return []

    def _show(self, post: PostedMessage, text: str) -> None:
        self.shown[post.id] = text
        self.history.append((post.id, text))

    @property
    def texts(self) -> list[str]:
        """What a person sees, message by message."""
        return list(self.shown.values())


def spoken(prompt: Prompt) -> list[Message]:
    """The messages of a prompt without those that say who sent the next one, and when."""
    return [message for message in prompt.messages if not message.text.startswith("<sent ")]


Script = Callable[[Prompt], Sequence[Delta | Exception] | AsyncGenerator[Delta]]


def words(*texts: str, finish: str = "stop") -> list[Delta | Exception]:
    """A stream of these texts, ended as a model ends it."""
    usage = Usage(deployment="test", input_tokens=10, output_tokens=len(texts), usd=0.001)
    return [*(Delta(text=text) for text in texts), Delta(usage=usage, finish=finish)]


def echo(prompt: Prompt) -> list[Delta | Exception]:
    """A stream that repeats the question."""
    return words(f"You said: {prompt.messages[-1].text}")


class ScriptedModel:
    """A model that does what its script says, and keeps every prompt that it was sent."""

    def __init__(self, script: Script = echo) -> None:
        self.script: Script = script
        self.prompts: list[Prompt] = []
        self.pictures = (Image(mime="image/png", data=b"\x89PNG\r\n\x1a\n", alt="a picture"),)

    async def chat(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        self.prompts.append(prompt)
        deltas = self.script(prompt)
        if isinstance(deltas, AsyncGenerator):
            async for delta in deltas:
                yield delta
            return
        for delta in deltas:
            await asyncio.sleep(0)
            if isinstance(delta, Exception):
                raise delta
            yield delta

    async def draw(
        self, prompt: Prompt, on_partial_image: OnPartialImage | None = None
    ) -> tuple[tuple[Image, ...], Usage]:
        self.prompts.append(prompt)
        return self.pictures, Usage(deployment="test-image", images=1, usd=0.04)

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        return [[1.0, 0.0] for _ in texts], Usage(deployment="test-embedding")
