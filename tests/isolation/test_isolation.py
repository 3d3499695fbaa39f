"""Field faults 120, 123 and 124: operations of nine tenants with equal ids cross nothing, and the table decides."""

import pytest

from bot.storage.redis.client import Redis
from tests.isolation import play

OPERATIONS = 300


@pytest.mark.parametrize("seed", [7], ids=["fixed"])
async def test_operations_do_what_the_oracle_says(redis: Redis, seed: int) -> None:
    print(f"python -m tests.isolation --operations {OPERATIONS} --seed {seed}")
    report = await play(redis, OPERATIONS, seed)
    assert report.differences == []
    assert report.done.total() == OPERATIONS
    assert report.prompts > OPERATIONS / 3
    assert report.refused.total() > OPERATIONS / 50
