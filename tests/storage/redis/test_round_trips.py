"""A turn takes few round trips to Redis."""

from tests.support import round_trips

LIMIT = 8
"""One of them, which stores the finished reply, runs beside its delivery."""


async def test_a_turn_takes_few_round_trips_to_redis(redis_server: str) -> None:
    trips = await round_trips.of_one_turn(redis_server)
    counted = ", ".join(trips)
    assert len(trips) <= LIMIT, counted
    assert trips[:2] == ["accept", "claim"], counted
    assert {"hold", "admit", "generated", "commit", "settle"} <= set(trips), counted
