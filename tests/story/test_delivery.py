"""What people meet when a platform refuses an answer, or is away: start reading the delivery's tests here."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from tests.simulators.slack_methods import Message
from tests.simulators.teams import Fault
from tests.story.conftest import Town

pytestmark = pytest.mark.asyncio(loop_scope="module")

GENERAL = "C0GENERAL"
POSTING = ("chat.startStream", "chat.postMessage", "chat.update", "chat.appendStream", "chat.stopStream")
_numbers = itertools.count()


def calls(town: Town, word: str) -> int:
    """How often the model was asked about this."""
    return sum(word in str(asked.body) for asked in town.azure.journal)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what a simulator does not announce."""
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def read_by_alice(town: Town) -> list[Message]:
    """What the bot wrote to Alice alone."""
    messages = town.slack.workspace.messages.items()
    return [message for (channel, _), message in messages if channel == "D0ALICE" and message.get("bot_id")]


@pytest.fixture(autouse=True)
def accepting(town: Town) -> Any:
    """Slack accepts everything again afterwards."""
    before = town.slack.refusal
    yield
    town.slack.refusal = before
    town.teams.faults.clear()


async def test_an_outage_of_slack_costs_no_answer(town: Town) -> None:
    """Field fault 128: Slack answers 500; every question is answered afterwards, and each model was called once."""
    ts = await town.slack.say(GENERAL, "U0ALICE", "<@U0BOT> hello")
    await town.slack.until(lambda: town.slack.answers(GENERAL, ts) == ["You said: hello"])
    town.slack.fault("*", "500", count=10**6)
    asked = [f"outage{next(_numbers)}x" for _ in range(6)]
    threads = [await town.slack.say(GENERAL, "U0ALICE", f"<@U0BOT> {word}") for word in asked]
    await until(lambda: all(calls(town, word) for word in asked))
    failed = town.slack.calls.total()
    await until(lambda: town.slack.calls.total() >= failed + 20)
    town.slack.faults.clear()
    await town.slack.until(
        lambda: all(town.slack.answers(GENERAL, thread) for thread in threads), timeout_s=60
    )
    answers = [town.slack.answers(GENERAL, thread) for thread in threads]
    assert answers == [[f"You said: {word}"] for word in asked]
    assert [calls(town, word) for word in asked] == [1] * 6


async def test_failures_of_teams_cost_one_model_call(town: Town) -> None:
    """Field fault 75: three 500s from Teams cost four model calls."""
    word = f"teams{next(_numbers)}x"
    town.teams.faults.append(Fault(status=500, times=3))
    await town.teams.say("19:delivery@thread.v2", "ada", word, mention=True)
    answer = await town.teams.answered("19:delivery@thread.v2")
    assert word in answer.text
    assert calls(town, word) == 1


async def test_an_archived_channel_is_explained(town: Town) -> None:
    """Field fault 51: silence in an archived channel."""
    word = f"archived{next(_numbers)}x"
    town.slack.refusal = lambda method, args: (
        "is_archived" if method in POSTING and args["channel"] == GENERAL else None
    )
    ts = await town.slack.say(GENERAL, "U0ALICE", f"<@U0BOT> {word}")
    await town.slack.until(lambda: any(word in message["markdown"] for message in read_by_alice(town)))
    assert "the channel is archived" in read_by_alice(town)[-1]["markdown"]
    assert town.slack.answers(GENERAL, ts) == []
    assert calls(town, word) == 1


async def test_refused_blocks_are_left_out(town: Town) -> None:
    """Field fault 50: 5 model calls, 29 posts, and nothing visible."""
    word = f"blocks{next(_numbers)}x"
    before = sum(town.slack.calls[method] for method in POSTING)
    town.slack.refusal = lambda method, args: "invalid_blocks" if args.get("blocks") else None
    ts = await town.slack.say(GENERAL, "U0ALICE", f"<@U0BOT> {word}")
    await town.slack.until(lambda: town.slack.answers(GENERAL, ts) == [f"You said: {word}"])
    assert calls(town, word) == 1
    assert sum(town.slack.calls[method] for method in POSTING) - before <= 8


async def test_a_wait_of_hours_is_announced(town: Town) -> None:
    """Field fault 54: `Retry-After: 7200` when posting, for this and every later question; nobody was told.

    The bot remembers the wait, so this happens in a channel of its own.
    """
    town.slack.workspace.channels["C0LATE"] = {"U0ALICE", town.slack.workspace.bot_user}
    town.slack.refusal = lambda method, args: "channel_type_not_supported" if "Stream" in method else None
    town.slack.fault("chat.postMessage", "limited", count=10**6, seconds=7200)
    words = [f"late{next(_numbers)}x" for _ in range(2)]
    for number, word in enumerate(words, 1):
        before = len(town.slack.workspace.ephemeral)
        await town.slack.say("C0LATE", "U0ALICE", f"<@U0BOT> {word}")
        await town.slack.until(lambda: len(town.slack.workspace.ephemeral) > before)  # noqa: B023 - awaited
        told = town.slack.workspace.ephemeral[-1]
        assert (told["user"], told["channel"]) == ("U0ALICE", "C0LATE")
        assert "2 hours" in told["markdown"]
        assert sum(calls(town, word) for word in words) == number
