"""The built-in demo model, which needs no key and no network, and says so."""

import asyncio
import itertools
import json
import math
import random
import re
import zlib
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache

import msgspec

from bot.domain.errors import NotAllowed
from bot.domain.prompts import Capability, Image, Message, Prompt, ToolCall, ToolResult, say
from bot.domain.turns import CheckResult, Delta, Deployment, Prices, Usage
from bot.llm.demo import drawings, rules
from bot.llm.openai import images
from bot.llm.protocol import OnPartialImage

# People read about four words per second; fast models write ten times that.
PACE_S = 0.03

# The duration of a partial image, in words.
_STEP_WORDS = 25

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
    "I'm only the demo model, so I can't answer that. I can do sums (`17 * 23`) and dates (`what day is it in 10 "
    "days?`), remember facts (`my name is Ada`), summarise a text (`summarise: ...`) and create images "
    "(`/image a red bicycle`)."
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
        self._variants = itertools.count()

    async def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
        """Stream an answer, one word per delta; the first answer of a conversation says that it is a demo.

        A simple request for an image calls the tool `draw`, if available.
        """
        asked = sum(tokens(message.text) for message in prompt.messages)
        if (request := _image_request(prompt)) is not None:
            yield Delta(call=ToolCall(id="draw", name="draw", arguments=request))
            yield Delta(usage=self._usage(asked, tokens(request)), finish="tool_calls")
            return
        words = re.findall(r"\s*\S+\s*", reply(prompt))
        allowed = prompt.parameters.max_output_tokens or self.deployment.output_tokens
        spoken = ""
        for word in words:
            if tokens(spoken) >= allowed:
                break
            spoken += word
            yield Delta(text=word)
            if self._pace_s:
                await asyncio.sleep(self._pace_s * random.uniform(0.67, 1.33))
        finish = "stop" if spoken == "".join(words) else "length"
        yield Delta(usage=self._usage(asked, tokens(spoken)), finish=finish)

    async def draw(
        self, prompt: Prompt, on_partial_image: OnPartialImage | None = None
    ) -> tuple[tuple[Image, ...], Usage]:
        """Create images from the last user message, or edit the images in it; with partial images for one image."""
        request, given = images.asked_for(prompt), images.given(prompt)
        if not request:
            raise NotAllowed("Please describe the image that you want.")
        if given and not prompt.vary:
            made = [await asyncio.to_thread(drawings.edited, item.data, request, item.mask) for item in given]
        else:
            size = prompt.parameters.size
            count = max(1, min(prompt.parameters.images or 1, images.MAX_IMAGES))
            variants = itertools.islice(self._variants, count)
            made = [await asyncio.to_thread(drawings.draw, request, size, variant) for variant in variants]
        pictures = tuple(Image(mime="image/png", data=data, alt=request) for data in made)
        if on_partial_image is not None and len(pictures) == 1:
            for step in range(drawings.STEPS):
                unfinished = await asyncio.to_thread(drawings.unfinished, made[0], step)
                await on_partial_image(msgspec.structs.replace(pictures[0], data=unfinished))
                await asyncio.sleep(self._pace_s * _STEP_WORDS)
        return pictures, self._usage(tokens(request), images=len(pictures))

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """One vector per text: equal for equal texts, close for similar ones."""
        vectors = [list(vector(text)) for text in texts]
        return vectors, self._usage(sum(tokens(text) for text in texts))

    async def check(self) -> CheckResult:
        """Always healthy; the message points to real deployments."""
        subject = f"deployment {self.deployment.name}"
        words = "the built-in demo model answers; set AZURE_OPENAI_ENDPOINT to use your own deployments"
        return CheckResult(level="warning", subject=subject, words=words)

    def _usage(self, asked: int, answered: int = 0, images: int = 0) -> Usage:
        name = self.deployment.name
        return Usage(deployment=name, input_tokens=asked, output_tokens=answered, images=images, usd=0.0)


# ------------------------------------------------------------------ answers


def reply(prompt: Prompt) -> str:
    """The complete answer to a prompt."""
    talk = [message for message in prompt.messages if message.role != "system"]
    examples = [*talk[: prompt.examples], *_listed(prompt)]
    history = [message for message in talk[prompt.examples :] if not _SENT.fullmatch(message.text)]
    spoken = [_parted(message.text) for message in history if message.role == "user" and message.text.strip()]
    question, given = spoken.pop() if spoken else ("", "")
    if prompt.template.startswith("rewrite@"):  # an image prompt to rewrite (`bot.generation.image_prompt`)
        likeness, _, rewritten = nearest_example(question, examples)
        return rewritten if likeness >= SAME else question
    if history and history[-1].role == "tool":
        answer = _with_results(history)
    else:
        answer = _about_data(prompt, question, given) or _answer(
            prompt, question, examples, [words for words, _ in spoken if words]
        )
    first = all(message.role != "assistant" for message in history)
    return f"{answer}\n\n{INTRODUCTION}" if first else answer


_DATA = re.compile(
    r"(?:^[^\n]* follow as data\.[^\n]*\n)?^<(message|file) (?:author|name)=\"([^\"\n]*)\"[^>\n]*>\n"
    r"((?:(?!^<\1 ).)*?)\n</\1>\s*",
    re.S | re.M,
)
_NOTICE = re.compile(
    r"^[^\n]* follow as data\.[^\n]*\n<unread>\n(?:- [^\n]*\n)*</unread>\s*|\A\(The sender added no words\.[^\n]*\)\Z",
    re.M,
)
"""What could not be read, and what stands in place of a question (`bot.files.fenced_data`)."""
_SENT = re.compile(r"<sent [^<>\n]*/>")
"""Who sent the message after it, and when."""
_LISTED = re.compile(r"^User: (.*?)\n\nAssistant: (.*?)(?=\n\nUser: |\Z)", re.S | re.M)
"""Examples as `bot.generation.prompt_builder` lists the nearest ones."""
_SHORT = 160


def _listed(prompt: Prompt) -> list[Message]:
    """The examples of a pool, which are in a system message after the first."""
    texts = [message.text for message in prompt.messages[1:] if message.role == "system"]
    found = [pair for text in texts if text.startswith("Examples ") for pair in _LISTED.findall(text)]
    return [message for asked, answer in found for message in (say("user", asked), say("assistant", answer))]


def _parted(text: str) -> tuple[str, str]:
    """A person's question, and quoted messages or files that came with it, which are never questions."""
    given = [
        f"{found[2]}: {found[3]}" if found[1] == "message" else found[3] for found in _DATA.finditer(text)
    ]
    return _NOTICE.sub("", _DATA.sub("", text).strip()).strip(), "\n".join(given)


def _with_results(history: Sequence[Message]) -> str:
    called = [part.name for part in history[-2].parts if isinstance(part, ToolCall)]
    results = [part for part in history[-1].parts if isinstance(part, ToolResult)]
    if called == ["draw"] and not any(part.failed for part in results):
        return "Here it is."
    return "The tool returned:\n\n" + "\n\n".join(part.text for part in results)


def _about_data(prompt: Prompt, question: str, given: str) -> str | None:
    """The answer about images, or about quoted messages and files."""
    if not question and images.given(prompt):
        return "The demo model can't tell what is in an image."
    if not question and given:
        return f"The demo model can only summarise the attached text:\n\n{rules.shortened(given)}"
    sums_up = prompt.template.startswith("summar") and len(question) <= _SHORT
    return rules.shortened(given) if given and (sums_up or rules.asks_summary(question)) else None


def _answer(prompt: Prompt, question: str, examples: Sequence[Message], context: Sequence[str]) -> str:
    """The answer of an example, or by a rule."""
    if not question:
        return "Ask me something, or send `help`."
    likeness, shown, answer = nearest_example(question, examples)
    if likeness >= SAME:
        return answer
    if found := rules.answer(question, context):
        return found
    if prompt.template.startswith("summar"):
        return rules.shortened(question)
    if likeness >= NEAR:
        return f"The most similar example is “{shown.strip()}”, with this answer:\n\n{answer}"
    return ABILITIES


_REQUEST = re.compile(
    r"(?:please,? |can you |could you )?(?:draw|paint|sketch)(?: me| us)? (.+)", re.I | re.S
)
_CHANGE = re.compile(r"(?:please,? )?(make it .+)", re.I | re.S)


def _image_request(prompt: Prompt) -> str | None:
    """The arguments for the tool `draw` if the question is a simple request for an image."""
    if not any(tool.name == "draw" for tool in prompt.tools) or prompt.messages[-1].role != "user":
        return None
    question = prompt.messages[-1].text.strip()
    if found := _REQUEST.fullmatch(question):
        return json.dumps({"prompt": found[1].rstrip(" .!?")})
    pictured = any(
        "[image: " in message.text or any(getattr(part, "name", "") == "draw" for part in message.parts)
        for message in prompt.messages[:-1]
    )
    if pictured and (found := _CHANGE.fullmatch(question)):
        return json.dumps({"prompt": found[1], "change_last_picture": True})
    return None


def nearest_example(question: str, examples: Sequence[Message]) -> tuple[float, str, str]:
    """The similarity (1: equal), question and answer of the few-shot example with the most similar question."""
    sought = vector(question)
    found = [
        (sum(a * b for a, b in zip(sought, vector(asked.text), strict=True)), asked.text, answered.text)
        for asked, answered in itertools.pairwise(examples)
        if asked.role == "user" and answered.role == "assistant"
    ]
    return max(found, key=lambda one: one[0], default=(0.0, "", ""))


# ------------------------------------------------------------------ counting and comparing


def tokens(text: str) -> int:
    """An estimate for English: four bytes per token."""
    return (len(text.encode()) + 3) // 4


@lru_cache(maxsize=256)
def vector(text: str) -> tuple[float, ...]:
    """Words and their trigrams, hashed into a vector of length 1."""
    numbers = [0.0] * DIMENSIONS
    for word in re.findall(r"\w+", text[:MAX_CHARACTERS].lower()) or [text.strip().lower()]:
        weight = 0.2 if word in rules.STOP_WORDS else 1.0
        edged = f"^{word}$"
        trigrams = [(edged[at : at + 3], 0.4 * weight) for at in range(len(edged) - 2)]
        for feature, share in ((word, weight), *trigrams):
            hashed = zlib.crc32(feature.encode())
            numbers[hashed % DIMENSIONS] += share if hashed & 0x80000000 else -share
    length = math.sqrt(sum(number * number for number in numbers))
    if not length:
        numbers[0] = length = 1.0
    return tuple(number / length for number in numbers)
