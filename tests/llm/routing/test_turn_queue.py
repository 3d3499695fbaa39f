"""Requests at a busy deployment have their turns in order, at the rate that it reveals."""

import asyncio

import pytest

from bot.domain.errors import ModelBusy
from bot.llm.openai.client import Clients
from bot.llm.openai.model import Timeouts
from bot.llm.routing import attempts, rate_limits, turn_queue
from bot.llm.routing.router import Gateway
from bot.llm.routing.turn_queue import ObservedRate, TurnQueue, WaitingRequest
from tests.llm.conftest import KEY, deployment
from tests.llm.scripted import told
from tests.simulators.azure import AzureSimulator
from tests.simulators.limited import SAYS, Limited

PEOPLE, WINDOW_S = 60, 0.5


async def ask(gateway: Gateway, number: int, answered: list[int]) -> None:
    """Ask until answered, as the inbox does, and wait as long as one is told to."""
    while True:
        try:
            assert await told(gateway, sticky=f"person {number}") == "fine"
        except ModelBusy as busy:
            await asyncio.sleep(busy.retry_after_s or 0.0)
        else:
            answered.append(number)
            return


async def sixty(azure: AzureSimulator, clients: Clients, says: str) -> tuple[list[int], int]:
    """Who is answered, and how many requests were refused."""
    limited = Limited(SAYS[says], WINDOW_S)
    azure.instead[says] = limited.answer
    model = clients.connect(deployment(azure, name=says), KEY)
    gateway, answered = Gateway([(model.deployment, model)]), list[int]()
    tasks: list[asyncio.Task[None]] = []
    for number in range(PEOPLE):
        tasks.append(asyncio.create_task(ask(gateway, number, answered)))
        await asyncio.sleep(0.001)
    await asyncio.gather(*tasks)
    return answered, limited.refused


async def test_sixty_people_are_all_answered(azure: AzureSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field faults 58, 59: 6 requests per window, said in each of five ways; without Redis.

    On a busy machine the refusals of so short a window come late, so the order is checked below, and with Redis in
    tests/worker/test_busy_models.py.
    """
    for module in (attempts, rate_limits):
        monkeypatch.setattr(module, "TURN_S", 0.05)
    clients = Clients(
        Timeouts(connect_s=60, first_token_s=60, between_tokens_s=60)
    )  # this is no test of speed
    results = await asyncio.gather(*(sixty(azure, clients, says) for says in SAYS))
    await clients.aclose()
    for says, (answered, refused) in zip(SAYS, results, strict=True):
        assert sorted(answered) == list(range(PEOPLE))
        assert refused < 10 * PEOPLE, says


def test_the_rate_is_seen_from_a_refusal() -> None:
    """Field fault 58: six answers in a second, and twenty seconds to wait."""
    rate = ObservedRate()
    for n in range(6):
        rate.answered(100 + n / 5)
    assert rate.interval_s(101.0, 20.0) == pytest.approx(21 / 6)
    assert rate.interval_s(101.0, 20.0) == 0, "too little is known"


def test_old_answers_say_nothing_about_the_rate() -> None:
    """Field fault 58: a quiet bot, and one refusal."""
    rate = ObservedRate()
    for hour in range(3):
        rate.answered(hour * 3600.0)
    assert rate.interval_s(7201.0, 10.0) == 0
    for n in range(3):
        rate.answered(8000.0 + 15 * n)
    assert rate.interval_s(8040.0, 10.0) == 10, "never more than was asked for"


def test_no_turn_is_more_than_five_minutes_away() -> None:
    """Field fault 58: however often turns are refused, and however many wait."""
    queue, now = TurnQueue(), 0.0
    for n in range(60):
        now += 11
        queue.wait_s(now, WaitingRequest(f"r{n}", again=True), now + 10, 0, take=False)
    late = [queue.wait_s(now, WaitingRequest(f"n{n}", 60 - n), now + 10, 0, take=True) for n in range(60)]
    assert late[0] < 200
    assert max(late) < 300
    queue.wait_s(now, WaitingRequest("told to wait"), now + 900, 0, take=True)
    assert queue.wait_s(now, WaitingRequest("last"), now + 900, 0, take=True) == 300
    assert queue.free_s(now) == 300


def test_turns_keep_their_order_behind_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 58: in order of arrival; who was refused in its turn goes first, and all others move behind."""
    queue = TurnQueue()
    monkeypatch.setattr(turn_queue, "FASTER_S", 1e9)

    def wait_s(
        now: float, name: str, till: float, *, seen: float = 0.0, age: float = 0, again: bool = False
    ) -> float:
        request = WaitingRequest(name, age, again=again)
        return round(queue.wait_s(now, request, till, seen, take=True), 3)

    assert [wait_s(0, "b", 20, seen=4, age=1), wait_s(0, "c", 20), wait_s(0, "a", 20, age=2)] == [20, 24, 20]
    assert wait_s(20, "a", 20) == 0
    assert wait_s(20, "a", 23, age=30, again=True) == 3
    assert wait_s(20, "b", 23) > 7
    assert wait_s(20, "d", 23) > wait_s(20, "c", 23) > wait_s(20, "b", 23)
    assert queue.free_s(20) > 0
    queue.forget()
    assert queue.free_s(20) == 0


def test_a_turn_is_kept_for_a_moment() -> None:
    """Field fault 58: nobody passes an earlier request that is a little late."""
    queue = TurnQueue()

    def wait_s(now: float, name: str, age: float) -> float:
        return queue.wait_s(now, WaitingRequest(name, age), 10.0, 0.1, take=True)

    assert wait_s(0, "first", 2) == 10
    assert wait_s(0, "second", 1) > 10
    assert wait_s(11.5, "second", 12.5) == pytest.approx(0.05)
    assert wait_s(12.1, "second", 13.1) == 0
    assert wait_s(12.2, "first", 14.2) == 0
