"""How long deployments took: counted in memory, kept by the hour, read as shares."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.storage.redis.client import Redis
from bot.storage.usage import latency
from bot.storage.usage.latency import Latency

HOUR = datetime(2026, 11, 22, 14, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The time, which a test can set."""
    times = [HOUR + timedelta(minutes=30)]
    monkeypatch.setattr(latency, "now", lambda: times[-1])
    return times


async def test_percentiles_are_exact_to_a_tenth(redis: Redis) -> None:
    kept = Latency(redis)
    async with kept.keeping():
        for number in range(1, 101):
            kept.took("first_delta_seconds", "chat", number / 100)
            kept.took("failures", "chat", 1.0)
    (took,) = await kept.read(24)
    assert (took.hour, took.deployment, took.measure, took.count) == (HOUR, "chat", "first", 100)
    assert took.p50_s == pytest.approx(0.5, rel=0.2)
    assert took.p95_s == pytest.approx(0.95, rel=0.2)


async def test_processes_add_up_and_hours_are_separate(redis: Redis, clock: list[datetime]) -> None:
    mine, other = Latency(redis), Latency(redis)
    async with mine.keeping(), other.keeping():
        mine.took("call_seconds", "chat", 2.0)
        other.took("call_seconds", "chat", 2.0)
        clock.append(HOUR + timedelta(hours=1, minutes=5))
        other.took("call_seconds", "pictures", 20.0)
    assert [(took.hour.hour, took.deployment, took.count) for took in await mine.read(2)] == [
        (14, "chat", 2),
        (15, "pictures", 1),
    ]
    assert [took.deployment for took in await mine.read(1)] == ["pictures"]


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e-9, 1e9])
async def test_impossible_times_are_counted_at_the_edge(redis: Redis, seconds: float) -> None:
    kept = Latency(redis)
    async with kept.keeping():
        kept.took("call_seconds", "chat", seconds)
    (took,) = await kept.read(1)
    assert 0.01 <= took.p50_s == took.p95_s < 700
