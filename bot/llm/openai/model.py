"""The model of one deployment on Azure OpenAI or a compatible server."""

import asyncio
import base64
import logging
import math
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import partial

import httpx2
import msgspec

from bot.domain.errors import BotError, ModelUnavailable, TooLong
from bot.domain.events import Frozen, now
from bot.domain.prompts import Image, Prompt
from bot.domain.turns import CheckResult, Delta, Deployment, Usage
from bot.domain.words import marked
from bot.llm.catalog import cost
from bot.llm.catalog.catalog import families, family_of
from bot.llm.catalog.prices import prices_in_force
from bot.llm.catalog.probe import probe, unwell, well
from bot.llm.openai import image_stream, images
from bot.llm.openai.chat_request import chat_body, without
from bot.llm.openai.chat_stream import ChatStream, deltas
from bot.llm.openai.loose_json import TokenUsage, loose, skipped, text_of, usage_of
from bot.llm.openai.transport import Transport
from bot.llm.openai_sdk import openai
from bot.llm.protocol import (
    EmptyAnswer,
    ImageInterrupted,
    ImageNotDownloaded,
    OnPartialImage,
    RequestRejected,
)

log = logging.getLogger(__name__)

# The maximum inputs of an embeddings request (https://learn.microsoft.com/azure/ai-foundry/openai/reference).
MAX_INPUTS = 2048

_GATHER_S = 0.05
"""The minimum interval between reads of a longer stream, because each read costs the event loop more than its
tokens, and no platform shows text faster."""


_DOWNLOAD_PAUSES_S = (0.0, 0.5, 2.0)
"""Before each attempt to download an image. Only the download is repeated, because the image is charged already."""


class Timeouts(Frozen):
    """Timeouts of a deployment in seconds. Reasoning models think before their first token."""

    connect_s: float = 5.0
    first_token_s: float = 120.0
    between_tokens_s: float = 30.0
    whole_s: float = 600.0
    picture_s: float = 180.0
    embedding_s: float = 30.0


_EMPTY = marked("The model returned no text. Ask again, perhaps in other words.")
_ONLY_REASONING = marked(
    "The model wrote only its reasoning, and no answer. Ask again, perhaps for less at once."
)
_ALL_REASONING = marked(
    "The model used up its maximum output for its reasoning before it wrote any text. Ask for less at once. "
    "Your administrator can also raise the maximum output tokens of this template, or lower its reasoning effort."
)
_ALL_REASONING_OF = marked(
    "The model used up its maximum output of {limit} tokens for its reasoning before it wrote any text. Ask for less "
    "at once. Your administrator can also raise the maximum output tokens of this template, or lower its reasoning "
    "effort."
)


class _Vector(msgspec.Struct):
    embedding: list[float] | str
    index: int | None = None


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    usage: msgspec.Raw = msgspec.Raw()
    model: msgspec.Raw = msgspec.Raw()


class AzureModel:
    """A deployment. Refused parameters are learnt from its responses, and kept in this object.

    `client` and `http` are as in Transport, and belong to the caller.
    """

    def __init__(
        self,
        deployment: Deployment,
        client: openai.AsyncOpenAI,
        http: httpx2.AsyncClient | None = None,
        limits: Timeouts | None = None,
    ) -> None:
        known = families().get(deployment.family)
        self.deployment = deployment
        self.family = known or family_of(deployment.family, deployment.capability)
        self._calls = Transport(deployment, client, http)
        self._limits = limits or Timeouts()
        self._most_inputs = MAX_INPUTS
        self._unopened = 0  # its latest answers began with reasoning, without an opening tag
        if deployment.model:  # a deployment name is only a hint
            self._calls.refused.update(self.family.refuses)

    @property
    def refused(self) -> set[str]:
        """The parameters that this deployment is known to refuse."""
        return self._calls.refused

    @property
    def on_spent(self) -> Callable[[float], None] | None:
        """Called with the seconds until the rate limit resets, when a response says that it is used up."""
        return self._calls.on_spent

    @on_spent.setter
    def on_spent(self, hear: Callable[[float], None] | None) -> None:
        self._calls.on_spent = hear

    @property
    def on_unauthorized(self) -> Callable[[], None] | None:
        """Called before a request that was answered with 401 is repeated once."""
        return self._calls.on_unauthorized

    @on_unauthorized.setter
    def on_unauthorized(self, renew: Callable[[], None] | None) -> None:
        self._calls.on_unauthorized = renew

    async def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
        """Stream an answer, one delta per read of the socket. Raises EmptyAnswer, too."""
        first_s = self._limits.first_token_s
        ends_at = asyncio.get_running_loop().time() + self._limits.whole_s
        response = await self._calls.ask(
            "/chat/completions", lambda refused: chat_body(prompt, self.deployment, refused), first_s
        )
        unopened, empty = self._unopened, True
        answer = ChatStream(unopened, self.deployment)
        try:
            async for delta in deltas(self._reads(response, answer, ends_at), answer):
                empty = (empty or delta.retracts) and not (delta.text or delta.call)
                yield delta
        finally:
            await response.aclose()
            if answer.unopened != unopened:
                self._unopened = answer.unopened
        usage = self._usage(answer.counted, answer.model)
        if empty and answer.finish != "content_filter":
            raise _empty(answer, prompt, usage)
        yield Delta(usage=usage, finish=answer.finish, filter=answer.filter)
        answer.check()

    async def _reads(
        self, response: httpx2.Response, answer: ChatStream, ends_at: float
    ) -> AsyncIterator[bytes]:
        """The bytes of a stream, within the time limits: to the first token, and between tokens of any kind."""
        loop = asyncio.get_running_loop()
        due, slow_from, grown = loop.time() + self._limits.first_token_s, math.inf, 0
        reads = response.aiter_bytes()
        while (data := await self._calls.read(reads, due, ends_at)) is not None:
            yield data
            if answer.grown == grown:
                continue
            grown, read_at = answer.grown, loop.time()
            due = read_at + self._limits.between_tokens_s
            slow_from = min(slow_from, read_at + _GATHER_S)
            if read_at > slow_from:
                await asyncio.sleep(_GATHER_S)

    async def draw(
        self, prompt: Prompt, on_partial_image: OnPartialImage | None = None
    ) -> tuple[tuple[Image, ...], Usage]:
        """Create images from the last user message, or edit the images in it."""
        within_s, watched = self._limits.picture_s, on_partial_image is not None
        files = await asyncio.to_thread(images.form_files, prompt, self.family)
        response = await self._calls.ask(
            f"/images/{images.way_of(prompt, self.family)}",
            lambda refused: images.image_body(prompt, self.deployment, self.family, refused, watched),
            within_s,
            files,
        )
        asked = images.asked_for(prompt)
        if on_partial_image is not None and response.headers.get("content-type", "").startswith(
            image_stream.MIME
        ):
            made = await self._watch(response, on_partial_image, asked)
        else:
            made = await self._calls.decode(
                response, image_stream.images_in, images.MAX_RESPONSE_BYTES, within_s
            )
        usage = images.spent(made, prompt, self.deployment, prices_in_force().of(self.deployment, now()))
        return await self._pictures(made, asked, usage), usage

    async def _pictures(self, made: images.ImagesResponse, asked: str, usage: Usage) -> tuple[Image, ...]:
        """The images of a response that can be read. Raises ModelUnavailable or ImageNotDownloaded if there is none."""
        found: list[Image] = []
        failed: BotError = ModelUnavailable(f"The deployment {self.deployment.name!r} returned no image")
        for item in made.data[: images.MAX_IMAGES]:  # more were not requested
            try:
                found.append(await self._picture(item, images.words_of(item) or asked, usage))
            except (ModelUnavailable, ImageNotDownloaded) as error:
                failed = failed if isinstance(failed, ImageNotDownloaded) else error
                skipped("image")
        if not found:
            raise failed
        return tuple(found)

    async def _watch(
        self, response: httpx2.Response, on_partial_image: OnPartialImage, alt: str
    ) -> images.ImagesResponse:
        """Read an image stream, and show its partial images."""
        ends_at = asyncio.get_running_loop().time() + self._limits.picture_s
        drawing = image_stream.ImageStream()
        try:
            reads = response.aiter_bytes()
            while (data := await self._calls.read(reads, ends_at, ends_at)) is not None:
                for unfinished in drawing.read(data):
                    await on_partial_image(await asyncio.to_thread(images.decoded, unfinished, alt))
                if drawing.failed:
                    raise drawing.failed
            drawing.end()
        except ModelUnavailable as error:
            raise error if isinstance(error, ImageInterrupted) else ImageInterrupted(str(error)) from error
        finally:
            await response.aclose()
        if drawing.failed:
            raise drawing.failed
        return drawing.made

    async def _picture(self, one: images.ImageItem, alt: str, usage: Usage) -> Image:
        if one.b64_json:
            return await asyncio.to_thread(images.decoded, one.b64_json, alt)
        address = images.allowed(one.url or "", self.deployment.endpoint)
        failed = ModelUnavailable("The image could not be downloaded in time")
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.picture_s):
                for pause_s in _DOWNLOAD_PAUSES_S:
                    await asyncio.sleep(pause_s)
                    try:
                        data = await self._calls.fetch(
                            address, images.MAX_IMAGE_BYTES, self._limits.picture_s
                        )
                        return Image(mime=images.kind(data), data=data, alt=alt)
                    except ModelUnavailable as error:
                        failed = error
        log.warning("A generated image of %s is lost: %s", self.deployment.name, failed)
        raise ImageNotDownloaded(usage)

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """One vector per text, in order."""
        vectors: list[list[float]] = []
        input_tokens, model = 0, ""
        within_s = self._limits.embedding_s
        at, most = 0, self._most_inputs
        while at < len(texts):
            # empty texts are refused, so a space is sent instead
            batch = [text or " " for text in texts[at : at + most]]
            body = {"model": self.deployment.name, "input": batch, "encoding_format": "base64"}
            try:
                response = await self._calls.ask("/embeddings", partial(without, body), within_s)
            except (RequestRejected, TooLong):
                if len(batch) == 1:
                    raise
                most = len(batch) // 2  # some servers accept only a few at once
                continue
            at += len(batch)
            found = await self._calls.decode(response, _vectors, images.MAX_RESPONSE_BYTES, within_s)
            if len(found.data) != len(batch):
                raise ModelUnavailable(f"The deployment {self.deployment.name!r} returned too few vectors")
            numbered = [
                (place if item.index is None else item.index, item) for place, item in enumerate(found.data)
            ]
            vectors += [_unit(item.embedding) for _, item in sorted(numbered, key=lambda pair: pair[0])]
            counted = usage_of(loose(found.usage)) if found.usage else None
            input_tokens += (counted and counted.input_tokens) or 0
            model = (text_of(loose(found.model)) or "") if found.model else ""
        self._most_inputs = min(self._most_inputs, most)  # all were accepted, so no text was at fault
        return vectors, self._usage(TokenUsage(input_tokens=input_tokens), model)

    async def check(self) -> CheckResult:
        """Check the deployment with the cheapest call: a word, a vector, no image."""
        if self.deployment.capability != "image":
            return (await probe(self.deployment, self)).finding
        try:
            await self._calls.refuses_nothing("/images/generations")
        except BotError as error:
            return unwell(self.deployment, error)
        return well(self.deployment)

    def _usage(self, counted: TokenUsage | None, model: str) -> Usage:
        """What a call used, and what it cost at the prices of now. `model` is the one that answered, if reported."""
        counted = counted or TokenUsage()
        prices = prices_in_force().of(self.deployment, now(), model)
        input_tokens, output_tokens = counted.input_tokens or 0, counted.output_tokens or 0
        usage = Usage(
            deployment=self.deployment.name,
            input_tokens=input_tokens,
            cached_tokens=min(counted.cached_tokens or 0, input_tokens),
            output_tokens=output_tokens,
            model=model or self.deployment.model,
            cache_write_tokens=min(counted.cache_write_tokens or 0, input_tokens),
            reasoning_tokens=min(counted.reasoning_tokens or 0, output_tokens),
        )
        return cost.charged(usage, cost.usd(prices, usage), prices)


def _vectors(data: bytes) -> _Vectors:
    """The body of an embeddings response. Raises ValueError."""
    try:
        return msgspec.json.decode(data, type=_Vectors)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _empty(answer: ChatStream, prompt: Prompt, usage: Usage) -> EmptyAnswer:
    """Why an answer is empty, and what helps."""
    if answer.finish != "length":
        return EmptyAnswer(_ONLY_REASONING if answer.reasoned else _EMPTY, usage)
    if (most := prompt.parameters.max_output_tokens) is None:
        return EmptyAnswer(_ALL_REASONING, usage, exhausted=True)
    return EmptyAnswer(_ALL_REASONING_OF, usage, exhausted=True, limit=most)


def _unit(embedding: list[float] | str) -> list[float]:
    """A vector of length 1, from numbers or from the base64 of little-endian 32-bit floats."""
    if isinstance(embedding, str):
        try:
            embedding = array("f", base64.b64decode(embedding)).tolist()
        except ValueError:
            raise ModelUnavailable("The response has an invalid vector") from None
    length = math.sqrt(sum(number * number for number in embedding)) or 1.0
    return [number / length for number in embedding]
