"""The limits of tool calls (per round, per answer, in money) and how they are reported."""

import asyncio
import gc
import json
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from bot.domain.errors import BotError, RateLimited
from bot.domain.prompts import Parameters, Prompt, ToolCall, ToolResult
from bot.domain.turns import MAX_TOOL_CALLS, Delta, Deployment, Usage
from bot.generation import image_options
from bot.generation.turn_builder import ToolCallAllowance
from bot.llm.openai.chat_request import chat_body
from bot.storage.usage.quota import Estimate
from bot.tools import registry
from bot.tools.registry import Tool, paid
from tests.support.acts import received
from tests.support.charges import reserve
from tests.support.fake_adapter import Script, words
from tests.support.harness import ASSISTANT, DRAW, Harness

NOT_RUN = "not run: at most 8 tool calls per round and 24 per answer"


@pytest.fixture
def pen(harness: Harness) -> Harness:
    """A bench whose chat template has the tools `draw` and `dice`."""
    harness.templates = (replace(ASSISTANT, tools=("draw", "dice")), DRAW)
    return harness


def draws(count: int, rounds: int = 1, text: str = "a cat", **more: object) -> Script:
    """A model that makes `count` draw calls in each of the first rounds, then answers."""

    def script(prompt: Prompt) -> list[Delta | Exception]:
        roles = [message.role for message in prompt.messages]
        asked = roles[len(roles) - roles[::-1].index("user") :].count("assistant")
        if asked >= rounds or not prompt.tools:
            return words("done")
        arguments = json.dumps({"prompt": text, **more})
        calls = [Delta(call=ToolCall(id=f"c{n}", name="draw", arguments=arguments)) for n in range(count)]
        return [*calls, *words(finish="tool_calls")]

    return script


def once(*calls: ToolCall) -> Script:
    """A model that makes these calls in its first round, then answers."""

    def script(prompt: Prompt) -> list[Delta | Exception]:
        if prompt.messages[-1].role == "tool":
            return words("done")
        return [*(Delta(call=call) for call in calls), *words(finish="tool_calls")]

    return script


def drawn(harness: Harness) -> list[Prompt]:
    return [prompt for prompt in harness.model.prompts if prompt.capability == "image"]


def parts(prompt: Prompt, kind: type[ToolCall] | type[ToolResult]) -> list[ToolCall | ToolResult]:
    return [part for message in prompt.messages for part in message.parts if isinstance(part, kind)]


def results(prompt: Prompt) -> list[ToolResult]:
    return [part for part in parts(prompt, ToolResult) if isinstance(part, ToolResult)]


# ------------------------------------------------------------------ how many


async def test_of_two_hundred_calls_eight_run(pen: Harness) -> None:
    """Field fault 91: one answer requested 200 images, and all were generated and charged."""
    pen.model.script = draws(200)
    (turn,) = await pen.answer(received("cats"))
    assert len(drawn(pen)) == 8
    assert len(turn.reply.images) == 8
    last = pen.model.prompts[-1]
    told = results(last)
    calls = [part for part in parts(last, ToolCall) if isinstance(part, ToolCall)]
    assert [one.id for one in told] == [one.id for one in calls]
    assert len(told) == MAX_TOOL_CALLS
    refused = [one for one in told if one.text.startswith(NOT_RUN)]
    assert len(refused) == MAX_TOOL_CALLS - 8
    assert all(one.failed for one in refused)
    assert f"{200 - MAX_TOOL_CALLS} more calls of this round were dropped" in refused[0].text
    assert "192 tool calls were not run. The limits are 8 at a time and 24" in turn.reply.text


async def test_an_answer_makes_at_most_twenty_four_calls(pen: Harness) -> None:
    """Field fault 91: calls add up over all rounds; after the last allowed one no tools are offered."""
    pen.model.script = draws(8, rounds=5)
    (turn,) = await pen.answer(received("cats"))
    assert len(drawn(pen)) == 24
    chats = [prompt for prompt in pen.model.prompts if prompt.capability == "chat"]
    assert [bool(prompt.tools) for prompt in chats] == [True, True, True, False]
    assert turn.reply.text == "done"


async def test_the_limits_are_settings(pen: Harness) -> None:
    """Field fault 91: the operator can set other limits."""
    pen.allowance = ToolCallAllowance(2, 3)
    pen.model.script = draws(5, rounds=5)
    (turn,) = await pen.answer(received("cats"))
    assert len(drawn(pen)) == 3
    assert "2 at a time and 3 per answer" in turn.reply.text


async def test_calls_made_up_for_later_are_not_mentioned(pen: Harness) -> None:
    """Field fault 91: a model that requests the rest again leaves nothing out."""

    def script(prompt: Prompt) -> list[Delta | Exception]:
        told = results(prompt)
        wanted = 10 if not told else sum(one.text.startswith(NOT_RUN) for one in told if len(told) == 10)
        calls = [
            Delta(call=ToolCall(id=f"c{n}", name="dice", arguments='{"sides":6}')) for n in range(wanted)
        ]
        return [*calls, *words(finish="tool_calls")] if calls else words("done")

    pen.model.script = script
    (turn,) = await pen.answer(received("roll"))
    assert len(results(pen.model.prompts[-1])) == 12
    assert turn.reply.text == "done"


async def test_each_image_counts_as_a_call(pen: Harness) -> None:
    """Field fault 91: eight calls for four images each give eight images, not thirty-two."""
    pen.model.script = draws(8, text="a cat", number=4)
    await pen.answer(received("cats", event="a"))
    assert [prompt.parameters.images for prompt in drawn(pen)] == [1] * 8
    assert "3 of 4 images were left out" in results(pen.model.prompts[-1])[0].text
    pen.model.prompts.clear()
    pen.model.script = draws(2, text="a cat", number=4)
    await pen.answer(received("cats", event="b"))
    assert [prompt.parameters.images for prompt in drawn(pen)] == [4, 4]


async def test_ten_thousand_calls_do_not_block(pen: Harness) -> None:
    """Field fault 91: 10,000 calls in one answer blocked the event loop."""

    async def flood() -> AsyncGenerator[Delta]:
        for n in range(10_000):
            if n % 100 == 0:
                await asyncio.sleep(0)
            yield Delta(call=ToolCall(id=f"c{n}", name="dice", arguments='{"sides":6}'))
        yield Delta(usage=Usage(deployment="test"), finish="tool_calls")

    def script(prompt: Prompt) -> Sequence[Delta | Exception] | AsyncGenerator[Delta]:
        return words("done") if results(prompt) else flood()

    pen.model.script = script
    (turn,) = await pen.answer(received("roll"))
    gc.collect()
    kept = sum(isinstance(one, ToolCall) for one in gc.get_objects())
    assert len(results(pen.model.prompts[-1])) == MAX_TOOL_CALLS
    assert f"{10_000 - 8:,} tool calls were not run" in turn.reply.text
    assert kept <= 4 * MAX_TOOL_CALLS
    assert sum(one.text == "6 of 6" for one in results(pen.model.prompts[-1])) == 8


async def test_the_last_round_runs_no_tools(pen: Harness) -> None:
    """Field fault 91: calls made although no tools were offered are not charged."""

    def script(prompt: Prompt) -> list[Delta | Exception]:
        call = ToolCall(id="c", name="draw", arguments='{"prompt":"a cat"}')
        return [Delta(text="."), Delta(call=call), *words(finish="tool_calls")]

    pen.model.script = script
    await pen.answer(received("cats"))
    assert len(drawn(pen)) == 4


# ------------------------------------------------------------------ money


async def test_concurrent_reservations_never_exceed_a_limit(harness: Harness) -> None:
    """Field fault 91: each call is reserved separately and atomically."""
    ledger = harness.limited("person: $1.00/day")
    await reserve(ledger, received(), "a", Estimate(usd=0.01), attempt="1")

    async def reserved() -> bool:
        try:
            await reserve(ledger, received(), "a", Estimate(usd=0.03), attempt="1", more=True)
        except BotError:
            return False
        return True

    answers = Counter(await asyncio.gather(*(reserved() for _ in range(200))))
    assert answers == {True: 33, False: 167}


async def test_images_beyond_the_budget_are_not_generated(pen: Harness) -> None:
    """Field fault 91: the model and the person learn which limit it was, once."""
    pen.ledger = pen.limited("person: $0.08/day")  # a round may take $0.01, a picture $0.02
    pen.model.script = draws(8)
    (turn,) = await pen.answer(received("cats"))
    assert len(drawn(pen)) == 3
    told = results(next(p for p in reversed(pen.model.prompts) if p.capability == "chat"))
    assert sum("Your budget for today" in one.text for one in told) == 5
    assert turn.reply.text.count("may take up to") == 1
    assert len(turn.reply.images) == 3


async def test_tokens_of_images_are_reserved(pen: Harness) -> None:
    """Field fault 91: an image takes thousands of tokens, which a token limit must reserve."""
    pen.picture_tokens = 4000
    pen.ledger = pen.limited("person: 15k tokens/day")
    pen.model.script = draws(8)
    await pen.answer(received("cats"))
    assert len(drawn(pen)) == 3


async def test_a_paid_tool_is_reserved_and_charged(harness: Harness) -> None:
    """Field fault 91: what a package's tool costs counts against the same limits."""
    ran: list[int] = []

    @paid(usd=0.05)
    async def look_up(number: int) -> str:
        """Look something up."""
        ran.append(number)
        return "found"

    harness.templates = (replace(ASSISTANT, tools=("look_up",)),)
    harness.tools = {"look_up": Tool(look_up)}
    harness.ledger = harness.limited("person: $0.19/day")  # three calls, beside a round of $0.01 and one more
    calls = [ToolCall(id=f"c{n}", name="look_up", arguments=f'{{"number":{n}}}') for n in range(5)]
    harness.model.script = once(*calls)
    (turn,) = await harness.answer(received("look"))
    assert len(set(ran)) == 3
    assert [one.usd for one in turn.usage if one.deployment == "tool look_up"] == [0.05] * 3
    assert turn.reply.text.count("may take up to") == 1
    told = results(harness.model.prompts[-1])
    assert sorted(one.text[:21] for one in told) == ["Your budget for today"] * 2 + ["found"] * 3


@pytest.mark.parametrize("usd", [0, -1, float("nan"), float("inf")])
def test_an_invalid_price_is_refused(usd: float) -> None:
    """Field fault 91: a price of zero or infinity would not be a reservation."""
    with pytest.raises(ValueError, match="positive number of dollars"):
        paid(usd)


# ------------------------------------------------------------------ hostile calls


@pytest.mark.parametrize(
    "arguments",
    [
        "[]",
        "null",
        '"text"',
        '{"sides":NaN}',
        '{"sides":1e999}',
        '{"sides":' + "9" * 5000 + "}",
        '{"sides":"\\ud800"}',
        "\ud800",
        "[" * 10_000,
        '{"sides":' + "[" * 10_000 + "]" * 10_000 + "}",
        '{"sides":6}{"sides":6}',
        '{"sides":6',
        "x" * 100_000,
    ],
)
async def test_invalid_arguments_are_reported_to_the_model(harness: Harness, arguments: str) -> None:
    """Field fault 91: the answer continues after any arguments."""
    (result,) = await registry.run_all(harness.tools, [ToolCall(id="c", name="dice", arguments=arguments)])
    assert result.failed
    assert result.text.startswith("Invalid arguments")
    assert len(result.text) < 500


async def test_arguments_nested_too_deeply_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Field fault 91: a tool that accepts any JSON gets more levels than the decoder follows."""

    async def anything(value: Any) -> str:
        """Take anything."""
        return "taken"

    deep = '{"value":' + "[" * 10_000 + "]" * 10_000 + "}"
    result = await Tool(anything).run(ToolCall(id="c", name="anything", arguments=deep))
    assert result.text == "Invalid arguments: they are nested too deeply"
    assert caplog.records == []


async def test_invalid_names_and_ids_are_repaired(harness: Harness) -> None:
    """Field fault 91: the API rejects a request that repeats a model's invalid names."""
    odd = ["", "no such tool", "x" * 1000, "dice\n", "рулетка"]
    calls = [ToolCall(id="same", name=name, arguments='{"sides":6}') for name in odd]
    harness.model.script = once(*calls, ToolCall(id="", name="dice", arguments='{"sides":6}'))
    await harness.answer(received("roll"))
    last = harness.model.prompts[-1]
    deployment = Deployment(
        name="d",
        capability="chat",
        model="",
        family="gpt-4o",
        endpoint="http://localhost",
        wire="v1",
        context_tokens=1000,
        output_tokens=100,
    )
    messages = chat_body(last, deployment, ())["messages"]
    sent = next(message["tool_calls"] for message in messages if "tool_calls" in message)
    ids = [one["id"] for one in sent]
    assert len(set(ids)) == len(ids) == 6
    assert [message["tool_call_id"] for message in messages if message["role"] == "tool"] == ids
    assert all(one["function"]["name"].isascii() and 0 < len(one["function"]["name"]) <= 64 for one in sent)
    told = results(last)
    assert "There is no tool" in told[1].text
    assert told[-1].text == "6 of 6"


async def test_a_tool_that_ignores_cancellation_is_abandoned(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Field fault 91: a tool that swallowed its cancellation blocked the answer forever."""
    monkeypatch.setattr(registry, "_GRACE_S", 0.01)
    let_go, called = asyncio.Event(), asyncio.Semaphore(0)

    async def stubborn() -> str:
        """Hang."""
        called.release()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        return ""

    tool = Tool(stubborn, timeout_s=0.01)
    async with asyncio.timeout(60):
        result = await tool.run(ToolCall(id="c", name="stubborn", arguments="{}"))
        assert result.text == "No result within 0 s."
        running = asyncio.create_task(Tool(stubborn).run(ToolCall(id="c", name="stubborn", arguments="{}")))
        await called.acquire()  # by the first call
        await called.acquire()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert "ignores its cancellation" in caplog.text
    let_go.set()


async def test_a_tool_that_cancels_itself_has_failed() -> None:
    """Field fault 91: a cancellation from inside a tool looked like the end of the worker."""

    async def confused() -> str:
        """Cancel oneself."""
        raise asyncio.CancelledError

    result = await Tool(confused).run(ToolCall(id="c", name="confused", arguments="{}"))
    assert (result.text, result.failed) == ("The tool failed.", True)


async def test_any_tool_result_can_be_sent() -> None:
    """Field fault 91: a lone surrogate in a tool's result made the next request impossible."""

    async def half() -> str:
        """Say half a character."""
        return "a\ud800b" + "x" * 30_000

    result = await Tool(half).run(ToolCall(id="c", name="half", arguments="{}"))
    assert result.text.startswith("a?b")
    assert len(result.text.encode()) < 20_100


async def test_a_refusal_of_a_tool_is_bounded() -> None:
    """Field fault 91: the text of an error counts as a tool's result."""

    async def long() -> str:
        """Refuse at length."""
        raise RateLimited("x" * 100_000)

    result = await Tool(long).run(ToolCall(id="c", name="long", arguments="{}"))
    assert result.failed
    assert len(result.text) < 20_100


async def test_a_request_that_is_too_long_is_refused(pen: Harness) -> None:
    """Field fault 91: image descriptions are bounded, too."""
    pen.model.script = draws(1, text="a" * 5000)
    await pen.answer(received("a cat"))
    assert drawn(pen) == []
    assert "length <= 4000" in results(pen.model.prompts[-1])[0].text


@pytest.mark.parametrize("number", ["²", "9" * 5000, "٣"])
def test_an_invalid_number_of_images_is_ignored(number: str) -> None:
    """Field fault 91: `--n` with digits that are no decimal number raised an unexpected error."""
    found = image_options.resolve(image_options.read(f"a cat --n {number}"), Parameters(), "gpt-image-1")
    assert 1 <= (found.parameters.images or 1) <= 4


def test_options_are_read_in_linear_time() -> None:
    """Field fault 92: 20,000 spaces in an image request kept the process busy for a minute."""
    found = image_options.read("a cat" + " " * 200_000 + "--portrait")
    assert (found.words, found.aspect_ratio) == ("a cat", "portrait")
