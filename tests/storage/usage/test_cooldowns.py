"""What processes know together of deployments, on a real Redis."""

import asyncio
import time

import pytest

from bot.domain.errors import StateUnavailable
from bot.storage.redis.client import Redis
from bot.storage.usage import cooldowns as cooldown_module
from bot.storage.usage.cooldowns import Cooldowns

Charge = tuple[float, float, float, float]
FREE: Charge = (0, 0, 0, 0)


async def test_unknown_deployments_are_free(redis: Redis) -> None:
    taken = await Cooldowns(redis).take(["a", "b"], [FREE, FREE], 5, {}, {})
    assert taken == (0, 0.0, [0.0, 0.0], [frozenset(), frozenset()])


async def test_a_cool_down_applies_to_all_processes(redis: Redis) -> None:
    first, second = Cooldowns(redis), Cooldowns(redis)
    await first.take([], [], 5, {"a": 20.0}, {})
    taken = await second.take(["a", "b"], [FREE, FREE], 5, {}, {})
    assert taken.chosen == 1
    assert 19 < taken.rests_s[0] <= 20
    assert taken.rests_s[1] == 0


async def test_reports_apply_before_the_choice(redis: Redis) -> None:
    """In one round trip."""
    taken = await Cooldowns(redis).take(["a", "b"], [FREE, FREE], 5, {"a": 20.0}, {"b": {"top_p", "seed"}})
    assert taken.chosen == 1
    assert taken.refused == [frozenset(), {"top_p", "seed"}]


async def test_a_shorter_cool_down_keeps_a_longer_one(redis: Redis) -> None:
    cooldowns = Cooldowns(redis)
    await cooldowns.take([], [], 5, {"a": 60.0}, {})
    taken = await cooldowns.take(["a"], [FREE], 5, {"a": 1.0}, {})
    assert taken.chosen is None
    assert 59 < taken.wait_s <= 60


async def test_a_cool_down_of_a_day_is_cut(redis: Redis) -> None:
    """Field fault 60: also one that an older version stored."""
    cooldowns = Cooldowns(redis)
    await cooldowns.take([], [], 5, {"a": 86_400.0}, {})
    assert (await cooldowns.take(["a"], [FREE], 5, {}, {})).wait_s == 60


async def test_an_operator_ends_a_cool_down(redis: Redis) -> None:
    """Field fault 60: for all processes."""
    cooldowns = Cooldowns(redis)
    await cooldowns.take([], [], 5, {"a": 60.0}, {})
    await cooldowns.wake("a")
    assert (await Cooldowns(redis).take(["a"], [FREE], 5, {}, {})).chosen == 0


async def test_turns_are_in_order_of_arrival(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 58: at the observed rate, behind the cool-down, in all processes."""
    cooldowns = [Cooldowns(redis), Cooldowns(redis)]

    monkeypatch.setattr(cooldown_module, "FASTER_S", 1e9)
    came = time.time()

    async def turn(
        name: str, told_s: float = 0.0, interval_s: float = 0.0, *, age_s: float = 0.0, again: bool = False
    ) -> float:
        request = (name, age_s, str((came - age_s) * 1000), again)
        wait_s, _ = await cooldowns[len(name) % 2].wait_turn(
            "a", request, told_s=told_s, interval_s=interval_s, take=True
        )
        return wait_s

    waits = [await turn("second", 20.0, 4.0), await turn("third", 20.0), await turn("first", 19.9, age_s=5)]
    assert waits == pytest.approx([20, 24, 20], abs=0.5), "in order of arrival, not of the refusal"
    assert await turn("second") == pytest.approx(24, abs=0.5)
    assert await turn("third") == pytest.approx(28, abs=0.5)
    assert (await cooldowns[0].take(["a"], [FREE], 5, {}, {})).chosen is None, "nobody overtakes"
    assert await turn("again", 22.0, age_s=60, again=True) == pytest.approx(22, abs=0.5)
    assert await turn("first") == pytest.approx(22 + 4 * 1.15, abs=0.5), "it moved behind"


async def test_the_interval_is_counted_from_turns(redis: Redis) -> None:
    """Field fault 58: five turns were taken since the last refusal, and the sixth was refused."""
    cooldowns, arrived = Cooldowns(redis), ""
    for n in range(6):
        request = (f"r{n}", 0.0, str(time.time() * 1000), False)
        wait_s, arrived = await cooldowns.wait_turn("a", request, told_s=0, interval_s=0, take=True)
        assert wait_s == 0
    refused = ("r5", 0.0, arrived, True)
    wait_s, again = await cooldowns.wait_turn("a", refused, told_s=20.0, interval_s=0, take=True)
    assert (wait_s, again) == (pytest.approx(20, abs=0.5), arrived)
    after = ("r6", 0.0, str(time.time() * 1000), False)
    wait_s, _ = await cooldowns.wait_turn("a", after, told_s=0, interval_s=0, take=True)
    assert 20 + 3.5 < wait_s < 20 + 4.5, "less than 20 s / 5, because the rate may grow"


async def test_no_turn_is_more_than_five_minutes_away(redis: Redis) -> None:
    """Field fault 58: however often turns are refused, and however many wait."""
    cooldowns = Cooldowns(redis)
    for n in range(9):
        request = (f"r{n}", 1.0, "0", False)
        wait_s, _ = await cooldowns.wait_turn("a", request, told_s=9e9, interval_s=9e9, take=True)
        assert wait_s == 300
    assert (await cooldowns.take(["a"], [FREE], 5, {}, {})).wait_s == pytest.approx(300, abs=0.5)


async def test_a_cool_down_ends(redis: Redis) -> None:
    cooldowns = Cooldowns(redis)
    await cooldowns.take([], [], 5, {"a": 0.5}, {})
    taken = await cooldowns.take(["a"], [FREE], 5, {}, {})
    assert taken.chosen is None
    await asyncio.sleep(taken.wait_s)
    assert (await cooldowns.take(["a"], [FREE], 5, {}, {})).chosen == 0


async def test_calls_are_allowed_until_a_bucket_is_empty(redis: Redis) -> None:
    cooldowns = Cooldowns(redis)
    charge: Charge = (2.0, 4.0, 0, 0)  # one in two seconds, three at once
    waits = [(await cooldowns.take(["a"], [charge], 60, {}, {})).wait_s for _ in range(5)]
    assert waits[:3] == [0, 0, 0]
    assert 1 < waits[3] <= 2
    assert 3 < waits[4] <= 4


async def test_concurrent_processes_share_one_bucket(redis: Redis) -> None:
    charge: Charge = (10.0, 40.0, 0, 0)  # five at once
    workers = [Cooldowns(redis) for _ in range(20)]
    taken = await asyncio.gather(*(worker.take(["a"], [charge], 1, {}, {}) for worker in workers))
    assert sum(item.chosen is not None for item in taken) == 5


async def test_a_full_deployment_yields_to_a_free_one(redis: Redis) -> None:
    cooldowns = Cooldowns(redis)
    tight: Charge = (30.0, 0.0, 0, 0)
    chosen = [(await cooldowns.take(["a", "b"], [tight, FREE], 60, {}, {})).chosen for _ in range(3)]
    assert chosen == [0, 1, 1]


async def test_the_soonest_is_awaited_within_the_limit(redis: Redis) -> None:
    cooldowns = Cooldowns(redis)
    charges: list[Charge] = [(30.0, 0.0, 0, 0), (0, 0, 10.0, 0.0)]
    assert [(await cooldowns.take(["a", "b"], charges, 20, {}, {})).chosen for _ in range(2)] == [0, 1]
    third = await cooldowns.take(["a", "b"], charges, 20, {}, {})
    assert third.chosen == 1
    assert 9 < third.wait_s <= 10
    refused = await cooldowns.take(["a", "b"], charges, 5, {}, {})
    assert refused.chosen is None
    assert 19 < refused.wait_s <= 20


async def test_a_refused_request_is_not_counted(redis: Redis) -> None:
    cooldowns = Cooldowns(redis)
    charge: Charge = (30.0, 0.0, 0, 0)
    await cooldowns.take(["a"], [charge], 0, {}, {})
    waits = [(await cooldowns.take(["a"], [charge], 0, {}, {})).wait_s for _ in range(3)]
    assert all(29 < wait <= 30 for wait in waits)


async def test_without_a_server_it_raises() -> None:
    away = Redis("redis://127.0.0.1:9")
    with pytest.raises(StateUnavailable):
        await Cooldowns(away).take(["a"], [FREE], 5, {}, {})
    await away.close()
