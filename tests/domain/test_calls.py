"""What is reserved and stored before a call is sent, so that each one is booked if its process dies."""

import pytest

from bot.domain.calls import Call, CallLog
from bot.domain.errors import BudgetSpent, StateUnavailable
from bot.domain.turns import Purpose, Usage

USED = Usage(deployment="test", input_tokens=100, usd=0.01)
HALF = Usage(deployment="test", input_tokens=100, output_tokens=50, usd=0.02)
MOST = Usage(deployment="test", input_tokens=100, output_tokens=1000, usd=0.5)


class ScriptedReserver:
    """Writes down what is asked of it, and raises what it is told to."""

    def __init__(self, log: CallLog) -> None:
        self.asked: list[str] = []
        self.error: Exception | None = None
        self._log = log

    async def reserve(self, most: Usage) -> None:
        self._write(f"reserve ${most.usd}")

    async def store(self) -> None:
        self._write(f"store {[one.output_tokens for one in self._log.to_store]}")

    def _write(self, words: str) -> None:
        if self.error is not None:
            raise self.error
        self.asked.append(words)
        self._log.has_stored(self._log.to_store)


@pytest.fixture
def log() -> CallLog:
    return CallLog()


@pytest.fixture
def reserver(log: CallLog) -> ScriptedReserver:
    made = ScriptedReserver(log)
    log.reserver = made
    return made


def announce(log: CallLog, *kinds: Purpose) -> None:
    """Reserve calls of which the first begins at once."""
    with log.announced(kinds, [HALF]):
        log.has_stored(log.to_store)


async def begins(log: CallLog, purpose: Purpose = "answer") -> Call:
    return await log.begins(USED, purpose, expected=HALF, most=MOST)


async def test_an_announced_call_asks_nothing(log: CallLog, reserver: ScriptedReserver) -> None:
    """An ordinary turn takes no further round trip."""
    announce(log, "answer")
    call = await begins(log)
    assert [one.output_tokens for one in log.to_store] == [50], "half of it, if the process dies"
    assert [one.output_tokens for one in log.usage] == [0], "nothing was read of it yet"
    call.end(MOST)
    assert reserver.asked == []


async def test_a_call_that_waits_is_not_stored(log: CallLog, reserver: ScriptedReserver) -> None:
    """Killed while it waited for a busy model, it was booked although it was never sent."""
    announce(log, "answer")
    await log.waits("answer")
    await log.waits("answer")
    await begins(log)
    assert reserver.asked == ["store []", "store [50]"]


async def test_a_repeated_call_is_stored(log: CallLog, reserver: ScriptedReserver) -> None:
    """Only the first call of an answer was known to other processes."""
    announce(log, "answer")
    (await begins(log)).fail(unprocessed=True)
    await begins(log)
    assert reserver.asked == ["store [0, 50]"], "it needs no reservation: the first one cost nothing"


async def test_a_repeated_paid_call_is_reserved(log: CallLog, reserver: ScriptedReserver) -> None:
    announce(log, "answer")
    (await begins(log)).fail(unprocessed=False)
    await begins(log)
    await begins(log)  # and one beside it
    assert reserver.asked == ["reserve $0.5"] * 2


async def test_later_calls_are_stored_when_they_begin(log: CallLog, reserver: ScriptedReserver) -> None:
    """A picture was booked if the process died while its description was written."""
    announce(log, "answer", "image")
    assert len(log.to_store) == 1
    await begins(log)
    await begins(log, "image")
    assert reserver.asked == ["store [50, 50]"]


async def test_a_refused_call_is_not_noted(log: CallLog, reserver: ScriptedReserver) -> None:
    reserver.error = BudgetSpent("used up")
    with pytest.raises(BudgetSpent):
        await begins(log, "embedding")
    with pytest.raises(BudgetSpent), log.announced(["answer"], [HALF]):
        raise reserver.error
    assert (log.usage, log.to_store) == ((), ())


async def test_a_begun_answer_goes_on_without_redis(log: CallLog, reserver: ScriptedReserver) -> None:
    reserver.error = StateUnavailable("away")
    with pytest.raises(StateUnavailable):
        await begins(log, "embedding")
    announce(log, "answer")
    (await begins(log)).fail(unprocessed=False)
    await begins(log)
    assert len(log.usage) == 2
