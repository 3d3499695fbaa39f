"""The built-in demo model, which needs no key and no network, and says so."""

import asyncio
import json
import math
import random
import re
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from itertools import pairwise

import msgspec

from bot.domain.errors import NotAllowed
from bot.domain.prompts import Capability, Image, Message, Prompt, ToolCall, ToolResult
from bot.domain.turns import CheckResult, Delta, Deployment, Prices, Usage
from bot.llm.demo import drawings, rules
from bot.llm.openai import images
from bot.llm.protocol import OnPartialImage

# People read about four words per second; fast models write ten times that.
PACE_S = 0.03

# The duration of a partial image, in words.
_STEP_WORDS = 25

# Requests whose number of variants is remembered.
_MOST_REQUESTS = 1000

DIMENSIONS = 256

# Characters of a text that are embedded, as with embedding models.
MAX_CHARACTERS = 32_000

# Thresholds for the cosine similarity to an example's question: nearly the same, and on the same subject.
SAME = 0.85
NEAR = 0.45

INTRODUCTION = (
    "> **This is the demo model**. It needs no key and no network, and only uses simple rules and this "
    "prompt's examples. To use your own Azure OpenAI deployments, set `AZURE_OPENAI_ENDPOINT`, "
    "`AZURE_OPENAI_API_KEY` and `AZURE_OPENAI_CHAT_DEPLOYMENT` in `.env` and restart Parley."
)

ABILITIES = (
    "I'm only the demo model, so I can't answer that. I can do sums "
    "(`17 * 23`), dates (`what day is it in 10 days?`), remember facts (`my name is Ada`), "
    "summarise a text (`summarise: ...`), make lists (`list: milk, bread, tea`), count (`how many words: ...`) "
    "and create images (`/image a red bicycle`)."
)


def deployments() -> tuple[Deployment, ...]:
    """The deployments of the demo model: chat, images and embeddings, free of charge."""
    free = Prices(input_usd=0.0, cached_usd=0.0, output_usd=0.0, image_usd=0.0)
    capabilities: tuple[Capability, ...] = ("chat", "image", "embedding")
    return tuple(
        Deployment(
            name=f"demo-{capability}",
            capability=capability,
            model="demo",
            family="demo",
            endpoint="",
            wire="offline",
            context_tokens=16_000,
            output_tokens=2_000,
            tags=("demo",),
            prices=free,
        )
        for capability in capabilities
    )


class DemoModel:
    """Answers from the prompt's examples and by rules, one word per `pace_s` seconds (0: at once)."""

    def __init__(self, deployment: Deployment | None = None, *, pace_s: float = PACE_S) -> None:
        self.deployment = deployment or deployments()[0]
        self._pace_s = pace_s
        self._drawn = Counter[str]()

    async def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
        """Stream an answer, one word per delta; the first answer of a conversation says that it is a demo.

        A simple request for an image calls the tool `draw`, if available.
        """
        if (request := _drawn_by_tool(prompt)) is not None:
            yield Delta(call=ToolCall(id="draw", name="draw", arguments=request))
            asked = sum(tokens(message.text) for message in prompt.messages)
            yield Delta(
                usage=self._usage(input_tokens=asked, output_tokens=tokens(request)), finish="tool_calls"
            )
            return
        words = re.findall(r"\s*\S+\s*", reply(prompt)) or [""]
        allowed = prompt.parameters.max_output_tokens or self.deployment.output_tokens
        spoken: list[str] = []
        for word in words:
            if tokens("".join(spoken)) >= allowed:
                break
            spoken.append(word)
            yield Delta(text=word)
            if self._pace_s:
                await asyncio.sleep(self._pace_s * random.uniform(0.67, 1.33))
        asked = sum(tokens(message.text) for message in prompt.messages)
        usage = self._usage(input_tokens=asked, output_tokens=tokens("".join(spoken)))
        yield Delta(usage=usage, finish="stop" if len(spoken) == len(words) else "length")

    async def draw(
        self, prompt: Prompt, on_partial_image: OnPartialImage | None = None
    ) -> tuple[tuple[Image, ...], Usage]:
        """Create images from the last user message, or edit the images in it; with partial images for one image."""
        request = images.asked_for(prompt)
        given = images.given(prompt)
        if not request:
            raise NotAllowed("Please describe the image that you want.")
        if given and not prompt.vary:
            made = [await asyncio.to_thread(drawings.edited, item.data, request, item.mask) for item in given]
        else:
            count = max(1, min(prompt.parameters.images or 1, images.MAX_IMAGES))
            size = prompt.parameters.size
            made = [
                await asyncio.to_thread(drawings.draw, request, size, variant)
                for variant in self._variants(request, count)
            ]
        pictures = tuple(Image(mime="image/png", data=data, alt=request) for data in made)
        if on_partial_image is not None and len(pictures) == 1:
            await self._show_steps(pictures[0], on_partial_image)
        return pictures, self._usage(input_tokens=tokens(request), images=len(pictures))

    def _variants(self, request: str, count: int) -> range:
        """Variants for a repeated request, as with any model."""
        if len(self._drawn) >= _MOST_REQUESTS:
            self._drawn.clear()
        first = self._drawn[request]
        self._drawn[request] += count
        return range(first, first + count)

    async def _show_steps(self, picture: Image, on_partial_image: OnPartialImage) -> None:
        """Show partial images: outlines first, then with a wash of colour."""
        for step in range(drawings.STEPS):
            unfinished = await asyncio.to_thread(drawings.unfinished, picture.data, step)
            await on_partial_image(msgspec.structs.replace(picture, data=unfinished))
            await asyncio.sleep(self._pace_s * _STEP_WORDS)

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """One vector per text: equal for equal texts, close for similar ones."""
        vectors = [list(vector(text)) for text in texts]
        return vectors, self._usage(input_tokens=sum(tokens(text) for text in texts))

    async def check(self) -> CheckResult:
        """Always healthy; the message points to real deployments."""
        subject = f"deployment {self.deployment.name}"
        words = "the built-in demo model answers; set AZURE_OPENAI_ENDPOINT to use your own deployments"
        return CheckResult(level="warning", subject=subject, words=words)

    def _usage(self, input_tokens: int = 0, output_tokens: int = 0, images: int = 0) -> Usage:
        return Usage(
            deployment=self.deployment.name,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            images=images,
            usd=0.0,
        )


# ------------------------------------------------------------------ answers


def reply(prompt: Prompt) -> str:
    """The complete answer to a prompt."""
    talk = [message for message in prompt.messages if message.role != "system"]
    examples, history = talk[: prompt.examples], talk[prompt.examples :]
    talked = [_parted(message.text) for message in history if message.role == "user" and message.text.strip()]
    question, given = talked.pop() if talked else ("", "")
    if prompt.template.startswith("rewrite@"):  # an image prompt to rewrite (`bot.generation.image_prompt`)
        nearest, likeness = nearest_example(question, examples)
        return nearest[1] if nearest and likeness >= SAME else question
    context = [words for words, _ in talked if words]
    answer = _answer(prompt, question, given, context, examples, history)
    if any(message.role == "assistant" for message in history):
        return answer
    return f"{answer}\n\n{INTRODUCTION}"


_DATA = re.compile(
    r"(?:^[^\n]* follow as data\.[^\n]*\n)?^<(message|file) (?:author|name)=\"([^\"\n]*)\">\n"
    r"((?:(?!^<\1 ).)*?)\n</\1>\s*",
    re.S | re.M,
)
_SHORT = 160


def _parted(text: str) -> tuple[str, str]:
    """A person's question, and quoted messages or files that came with it, which are never questions."""
    given = [
        f"{found[2]}: {found[3]}" if found[1] == "message" else found[3] for found in _DATA.finditer(text)
    ]
    return _DATA.sub("", text).strip(), "\n".join(given)


def _answer(
    prompt: Prompt,
    question: str,
    given: str,
    context: list[str],
    examples: Sequence[Message],
    history: Sequence[Message],
) -> str:
    if history and history[-1].role == "tool":
        called = [part.name for part in history[-2].parts if isinstance(part, ToolCall)]
        results = [part.text for part in history[-1].parts if isinstance(part, ToolResult)]
        if called == ["draw"] and not any(getattr(part, "failed", False) for part in history[-1].parts):
            return "Here it is."
        return "The tool returned:\n\n" + "\n\n".join(results)
    seen = len(images.given(prompt))
    if seen and not question:
        return f"I received {'an image' if seen == 1 else f'{seen} images'}, but the demo model can't process images."
    sums_up = prompt.template.startswith("summar")
    if given and (rules.asks_summary(question) or (sums_up and len(question) <= _SHORT)):
        return rules.shortened(given)
    if given and not question:
        return f"The demo model can only summarise the attached text:\n\n{rules.shortened(given)}"
    if not question:
        return "Ask me something, or send `help`."
    nearest, likeness = nearest_example(question, examples)
    if nearest and likeness >= SAME:
        return nearest[1]
    if found := rules.answer(question, context):
        return found
    if sums_up:
        return rules.shortened(question)
    if nearest and likeness >= NEAR:
        shown = nearest[0].strip()
        return f"The most similar example is “{shown}”, with this answer:\n\n{nearest[1]}"
    return ABILITIES


_REQUEST = re.compile(
    r"(?:please,? |can you |could you )?(?:draw|paint|sketch)(?: me| us)? (.+)", re.I | re.S
)
_CHANGE = re.compile(r"(?:please,? )?(make it .+)", re.I | re.S)


def _drawn_by_tool(prompt: Prompt) -> str | None:
    """The arguments for the tool `draw` if the question is a simple request for an image."""
    if not any(tool.name == "draw" for tool in prompt.tools) or prompt.messages[-1].role != "user":
        return None
    question = prompt.messages[-1].text.strip()
    if found := _REQUEST.fullmatch(question):
        return json.dumps({"description": found[1].rstrip(" .!?")})
    pictured = any("[image: " in message.text for message in prompt.messages[:-1]) or "draw" in {
        part.name for message in prompt.messages for part in message.parts if isinstance(part, ToolCall)
    }
    if pictured and (found := _CHANGE.fullmatch(question)):
        return json.dumps({"description": found[1], "change_last_picture": True})
    return None


def nearest_example(question: str, examples: Sequence[Message]) -> tuple[tuple[str, str] | None, float]:
    """The few-shot example with the most similar question, and its similarity (1: equal)."""
    pairs = [
        (asked.text, answered.text)
        for asked, answered in pairwise(examples)
        if asked.role == "user" and answered.role == "assistant"
    ]
    best, likeness = None, 0.0
    sought = vector(question)
    for pair in pairs:
        near = sum(a * b for a, b in zip(sought, vector(pair[0]), strict=True))
        if near > likeness:
            best, likeness = pair, near
    return best, likeness


# ------------------------------------------------------------------ counting and comparing


def tokens(text: str) -> int:
    """An estimate for English: four bytes per token."""
    return (len(text.encode()) + 3) // 4


@lru_cache(maxsize=256)
def vector(text: str) -> tuple[float, ...]:
    """Words and their trigrams, hashed into a vector of length 1."""
    numbers = [0.0] * DIMENSIONS
    words = re.findall(r"\w+", text[:MAX_CHARACTERS].lower()) or [text.strip().lower()]
    for word in words:
        weight = 0.2 if word in rules.STOP_WORDS else 1.0
        _add(numbers, word, weight)
        edged = f"^{word}$"
        for at in range(len(edged) - 2):
            _add(numbers, edged[at : at + 3], 0.4 * weight)
    length = math.sqrt(sum(number * number for number in numbers))
    if not length:
        numbers[0] = length = 1.0
    return tuple(number / length for number in numbers)


def _add(numbers: list[float], feature: str, weight: float) -> None:
    hashed = zlib.crc32(feature.encode())
    numbers[hashed % DIMENSIONS] += weight if hashed & 0x80000000 else -weight
