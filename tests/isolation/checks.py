"""What the model was sent, what people were shown and what Redis holds, compared with the oracle."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from bot.domain.prompts import Image, Prompt, Text, ToolCall, ToolResult
from bot.domain.turns import Delta, Reply, Usage
from bot.llm.protocol import OnPartialImage
from tests.isolation.doubles import SMALL
from tests.isolation.oracle import Expectation, Oracle
from tests.isolation.world import CANARY
from tests.support.fake_adapter import ScriptedModel, words

AFTER_STOP = "and all the rest"
SUMMARY = "summary@parley"


def canaries(*texts: str | bytes) -> set[str]:
    """The canaries in these texts."""
    found: set[str] = set()
    for text in texts:
        found.update(
            word.decode() for word in CANARY.findall(text.encode() if isinstance(text, str) else text)
        )
    return found


def canaries_of(prompt: Prompt) -> set[str]:
    """Those in every part of a prompt, pictures and the results of tools included."""
    found: set[str] = set()
    for message in prompt.messages:
        for part in message.parts:
            match part:
                case Text(text=text) | ToolResult(text=text):
                    found |= canaries(text)
                case ToolCall():
                    found |= canaries(part.arguments)
                case Image():
                    found |= canaries(part.data, part.alt)
    return found


class CheckingModel(ScriptedModel):
    """Compares every prompt with what the oracle expects, and answers with a new canary."""

    def __init__(self, oracle: Oracle) -> None:
        super().__init__(self._answer)
        self.oracle = oracle
        self.expected: dict[str, Expectation] = {}
        self.begun: dict[str, asyncio.Event] = {}
        self.go: dict[str, asyncio.Event] = {}
        self.differences: list[str] = []
        self.checked = 0
        self.summaries = 0

    def differ(self, sentence: str) -> None:
        """Note a difference."""
        self.differences.append(sentence)

    # ------------------------------------------------------------------ answers

    def _answer(self, prompt: Prompt) -> Sequence[Delta | Exception] | AsyncGenerator[Delta]:
        self.prompts.clear()
        self.checked += 1
        if prompt.template == SUMMARY:
            return self._summary(prompt)
        expected = self._expectation(prompt)
        if expected is None:
            return words("Who are you?")
        self._check(prompt, expected)
        tools = {tool.name for tool in prompt.tools}
        if expected.summarises and "summarise" in tools and prompt.messages[-1].role != "tool":
            call = ToolCall(id="c1", name="summarise", arguments='{"scope": "conversation"}')
            return [Delta(call=call), *words(finish="tool_calls")]
        if expected.waits:
            return self._slowly(expected)
        return words(f"Noted: {expected.answer}.")

    async def _slowly(self, expected: Expectation) -> AsyncGenerator[Delta]:
        yield Delta(text=f"Noted: {expected.answer}, ")
        self.begun[expected.said.asked].set()
        await self.go[expected.said.asked].wait()
        yield Delta(
            text=AFTER_STOP, finish="stop", usage=Usage(deployment="test", input_tokens=10, usd=0.001)
        )

    def _summary(self, prompt: Prompt) -> list[Delta | Exception]:
        """All that was said here and that everybody here may know; of one conversation alone."""
        self.summaries += 1
        found = canaries_of(prompt)
        talks = {word: talk for talk in self.oracle.history for word in self.oracle.summarised(talk) & found}
        places = {talk for word, talk in talks.items() if word in self.oracle.tenant_of}
        if len(places) > 1:
            self.differ(f"A summary mixes the conversations {', '.join(sorted(places))}.")
        if strange := found - talks.keys() - self._names(places):
            self.differ(f"A summary of {', '.join(places) or 'a conversation'} holds {self._told(strange)}.")
        return words("Summary: " + " ".join(sorted(found)))

    def _names(self, talks: set[str]) -> set[str]:
        return {said.person.name for talk in talks for said in self.oracle.history[talk]}

    async def draw(
        self, prompt: Prompt, on_partial_image: OnPartialImage | None = None
    ) -> tuple[tuple[Image, ...], Usage]:
        self.checked += 1
        expected = self._expectation(prompt)
        picture = b"\x89PNG\r\n\x1a\n"
        if expected is not None:
            self._check(prompt, expected)
            picture += expected.answer.encode()
        drawn = Image(mime="image/png", data=picture, alt="a picture")
        return (drawn,), Usage(deployment="test-image", images=1, usd=0.04)

    # ------------------------------------------------------------------ comparison

    def _expectation(self, prompt: Prompt) -> Expectation | None:
        for message in reversed(prompt.messages):
            if message.role == "user":
                for word in canaries(message.text):
                    if word in self.expected:
                        return self.expected[word]
        self.differ(f"The model was asked what nobody asked just now: {self._told(canaries_of(prompt))}.")
        return None

    def _check(self, prompt: Prompt, expected: Expectation) -> None:
        expected.prompts += 1
        said = expected.said
        where = f"The prompt for {said.person.id} ({said.person.role}) in {said.place.conversation}"
        found = canaries_of(prompt)
        if strange := found - expected.may:
            self.differ(f"{where} holds {self._told(strange)}.")
        if missing := expected.must - found:
            self.differ(f"{where} lacks {self._told(missing)}.")
        if prompt.capability != "chat":
            return
        if prompt.template.partition("@")[0] != expected.template:
            self.differ(f"{where} is made from {prompt.template} instead of {expected.template}.")
        if (prompt.deployment or "") != expected.deployment:
            self.differ(f"{where} goes to {prompt.deployment!r} instead of {expected.deployment!r}.")
        tools = {tool.name for tool in prompt.tools}
        self._check_tools(where, tools, expected)

    def _check_tools(self, where: str, tools: set[str], expected: Expectation) -> None:
        """Apps may neither have anything summed up nor draw."""
        forbidden = {"summarise", "draw"} & tools if expected.said.person.role == "bot" else set[str]()
        if forbidden:
            self.differ(f"{where} offers {', '.join(sorted(forbidden))}, which an app may not use.")
        large = expected.template != SMALL  # a small context window has no room for the tools
        if expected.summarises and large and expected.said.person.role != "bot" and "summarise" not in tools:
            self.differ(f"{where} does not offer to sum up.")

    def _told(self, found: set[str]) -> str:
        """Canaries with what they are."""
        return ", ".join(f"{word} ({self._origin(word)})" for word in sorted(found)) or "nothing known"

    def _origin(self, word: str) -> str:
        gone = ", gone" if word in self.oracle.gone else ""
        for (tenant, person), owned in self.oracle.owned.items():
            if word in owned:
                return f"of {person} in {tenant}{gone}"
        for tenant, house in self.oracle.house.items():
            if word in house:
                return f"of the prompt of {tenant}{gone}"
        return f"a name{gone}"

    def check_reply(self, reply: Reply | None, expected: Expectation, *, private: bool) -> None:
        """Whether somebody was answered, and who sees it."""
        said = expected.said
        where = f"The answer to {said.person.id} ({said.person.role}) in {said.place.conversation}"
        shown = (
            canaries(reply.text, *(image.data for image in reply.images)) if reply is not None else set[str]()
        )
        if reply is None or expected.answer not in shown:
            self.differ(f"{where} is {reply.text if reply else 'missing'!r}, without {expected.answer}.")
        elif reply.private != private:
            self.differ(f"{where} is {'private' if reply.private else 'shown to everybody'}.")

    def check_scan(self, found: dict[str, set[str]], after: str) -> None:
        """What has to be gone is gone, and nothing else."""
        left = found.keys() & self.oracle.gone
        for word in sorted(left)[:5]:
            self.differ(f"After {after}, {self._told({word})} is still in {', '.join(sorted(found[word]))}.")
        for word in sorted(self.oracle.stored() - found.keys())[:5]:
            self.differ(f"After {after}, {self._told({word})} is no longer stored.")
