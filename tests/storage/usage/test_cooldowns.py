"""What processes know together of deployments, on a real Redis."""

import asyncio

import pytest

from bot.domain.errors import StateUnavailable
from bot.storage.redis.client import Redis
from bot.storage.usage.cooldowns import Cooldowns

Charge = tuple[float, float, float, float]
FREE: Charge = (0, 0, 0, 0)


async def test_what_nobody_told_of_is_free(redis: Redis) -> None:
    taken = await Cooldowns(redis).take(["a", "b"], [FREE, FREE], 5, {}, {})
    assert taken == (0, 0.0, [0.0, 0.0], [frozenset(), frozenset()])


async def test_a_deployment_that_one_process_was_sent_away_from_is_skipped_by_all(redis: Redis) -> None:
    first, second = Cooldowns(redis), Cooldowns(redis)
    await first.take([], [], 5, {"a": 20.0}, {})
    taken = await second.take(["a", "b"], [FREE, FREE], 5, {}, {})
    assert taken.chosen == 1
    assert 19 < taken.rests_s[0] <= 20
    assert taken.rests_s[1] == 0


async def test_what_is_told_counts_before_the_choice_in_one_round_trip(redis: Redis) -> None:
    taken = await Cooldowns(redis).take(["a", "b"], [FREE, FREE], 5, {"a": 20.0}, {"b": {"top_p", "seed"}})
    assert taken.chosen == 1
    assert taken.refused == [frozenset(), {"top_p", "seed"}]


async def test_a_shorter_cool_down_does_not_end_a_longer_one(redis: Redis) -> None:
    cooldowns = Cooldowns(redis)
    await cooldowns.take([], [], 5, {"a": 60.0}, {})
    taken = await cooldowns.take(["a"], [FREE], 5, {"a": 1.0}, {})
    assert taken.chosen is None
    assert 59 < taken.wait_s <= 60


async def test_a_cool_down_of_a_day_is_kept_for_a_day(redis: Redis) -> None:
    cooldowns = Cooldowns(redis)
    await cooldowns.take([], [], 5, {"a": 86_400.0}, {})
    await cooldowns.take([], [], 5, {"a": 1.0}, {})
    (name,) = [name async for name in redis.scan("parley:*:pace:*")]
    assert await redis.call("TTL", name) > 86_000


async def test_a_cool_down_ends(redis: Redis) -> None:
    cooldowns = Cooldowns(redis)
    await cooldowns.take([], [], 5, {"a": 0.5}, {})
    taken = await cooldowns.take(["a"], [FREE], 5, {}, {})
    assert taken.chosen is None
    await asyncio.sleep(taken.wait_s)
    assert (await cooldowns.take(["a"], [FREE], 5, {}, {})).chosen == 0


async def test_places_are_given_out_until_a_bucket_is_empty_then_one_by_one(redis: Redis) -> None:
    cooldowns = Cooldowns(redis)
    charge: Charge = (2.0, 4.0, 0, 0)  # one in two seconds, three at once
    waits = [(await cooldowns.take(["a"], [charge], 60, {}, {})).wait_s for _ in range(5)]
    assert waits[:3] == [0, 0, 0]
    assert 1 < waits[3] <= 2
    assert 3 < waits[4] <= 4


async def test_processes_that_ask_at_once_share_one_bucket(redis: Redis) -> None:
    charge: Charge = (10.0, 40.0, 0, 0)  # five at once
    workers = [Cooldowns(redis) for _ in range(20)]
    taken = await asyncio.gather(*(worker.take(["a"], [charge], 1, {}, {}) for worker in workers))
    assert sum(item.chosen is not None for item in taken) == 5


async def test_a_full_deployment_passes_work_on_to_one_with_room(redis: Redis) -> None:
    cooldowns = Cooldowns(redis)
    tight: Charge = (30.0, 0.0, 0, 0)
    chosen = [(await cooldowns.take(["a", "b"], [tight, FREE], 60, {}, {})).chosen for _ in range(3)]
    assert chosen == [0, 1, 1]


async def test_the_soonest_is_waited_for_and_never_longer_than_may_be(redis: Redis) -> None:
    cooldowns = Cooldowns(redis)
    charges: list[Charge] = [(30.0, 0.0, 0, 0), (0, 0, 10.0, 0.0)]
    assert [(await cooldowns.take(["a", "b"], charges, 20, {}, {})).chosen for _ in range(2)] == [0, 1]
    third = await cooldowns.take(["a", "b"], charges, 20, {}, {})
    assert third.chosen == 1
    assert 9 < third.wait_s <= 10
    refused = await cooldowns.take(["a", "b"], charges, 5, {}, {})
    assert refused.chosen is None
    assert 19 < refused.wait_s <= 20


async def test_a_request_that_was_not_let_in_takes_no_place(redis: Redis) -> None:
    cooldowns = Cooldowns(redis)
    charge: Charge = (30.0, 0.0, 0, 0)
    await cooldowns.take(["a"], [charge], 0, {}, {})
    waits = [(await cooldowns.take(["a"], [charge], 0, {}, {})).wait_s for _ in range(3)]
    assert all(29 < wait <= 30 for wait in waits)


async def test_without_a_server_it_says_so() -> None:
    away = Redis("redis://127.0.0.1:9")
    with pytest.raises(StateUnavailable):
        await Cooldowns(away).take(["a"], [FREE], 5, {}, {})
    await away.close()
