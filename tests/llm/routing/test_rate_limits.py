"""Requests are held back before a limit is hit, by all processes together."""

import asyncio
import random
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence

import pytest
from pydantic import SecretStr

from bot.domain.errors import ModelUnavailable, StateUnavailable
from bot.domain.prompts import Parameters
from bot.domain.turns import Deployment
from bot.llm.routing import router
from bot.llm.routing.circuit_breaker import PATIENCE, REST_S
from bot.llm.routing.rate_limits import FRESH_S, HELD_S, Bucket, bucket_cost
from bot.llm.routing.router import Gateway
from bot.storage.redis.client import Redis
from bot.storage.usage.cooldowns import Cooldowns
from tests.llm.conftest import asks, deployment, heard
from tests.llm.scripted import AWAY, Clock, Scripted, named, over, told
from tests.simulators.azure import AzureSimulator, Deployed

KEYS = {"AZURE_OPENAI_API_KEY": SecretStr("simulated-key")}
Charge = tuple[float, float, float, float]


class Counted:
    """What all processes know, with a count of the questions; `away` makes them fail."""

    def __init__(self, redis: Redis) -> None:
        self._cooldowns = Cooldowns(redis)
        self.asked: list[Sequence[str]] = []
        self.away = False

    async def take(
        self,
        candidates: Sequence[str],
        charges: Sequence[Charge],
        longest_s: float,
        rests_s: Mapping[str, float],
        refused: Mapping[str, Collection[str]],
    ) -> tuple[int | None, float, list[float], list[frozenset[str]]]:
        self.asked.append(candidates)
        if self.away:
            raise StateUnavailable("Redis is away")
        return await self._cooldowns.take(candidates, charges, longest_s, rests_s, refused)

    async def wait_turn(
        self,
        deployment: str,
        request: tuple[str, float, str, bool],
        *,
        told_s: float,
        interval_s: float,
        take: bool,
    ) -> tuple[float, str]:
        if self.away:
            raise StateUnavailable("Redis is away")
        return await self._cooldowns.wait_turn(
            deployment, request, told_s=told_s, interval_s=interval_s, take=take
        )

    async def wake(self, deployment: str) -> None:
        await self._cooldowns.wake(deployment)

    async def woken_at(self, deployment: str) -> float:
        if self.away:
            raise StateUnavailable("Redis is away")
        return await self._cooldowns.woken_at(deployment)


# ------------------------------------------------------------------ the arithmetic


@pytest.mark.parametrize(
    ("per_minute", "amount"), [(60, 1), (6, 1), (1000, 1), (30_000, 700), (30_000, 2_900)]
)
def test_no_sliding_minute_exceeds_the_limit(per_minute: int, amount: int) -> None:
    bucket, now, served = Bucket(), 1000.0, list[float]()
    dice = random.Random(7)
    while now < 1600:
        wait_s = bucket.wait_s(now, bucket_cost(per_minute, amount))
        if not wait_s:
            bucket.take(now, bucket_cost(per_minute, amount))
            served.append(now)
        now += max(wait_s, 0.001) if dice.random() < 0.9995 else dice.uniform(0, 40)
    for number, start in enumerate(served):
        in_a_minute = (bisect_left(served, start + 60) - number) * amount
        assert in_a_minute <= max(per_minute, amount)
    assert sum(amount for _ in served) > per_minute * 3  # and it is made use of


def test_a_large_request_waits_and_leaves_a_debt() -> None:
    bucket, large = Bucket(), bucket_cost(6_000, 3_000)
    assert bucket.wait_s(0.0, large) == 0
    bucket.take(0.0, large)
    assert bucket.wait_s(0.0, large) == pytest.approx(3_000 / 90)


def test_no_limit_costs_nothing() -> None:
    bucket = Bucket()
    bucket.take(5.0, bucket_cost(None, 100))
    assert bucket.wait_s(5.0, bucket_cost(None, 100)) == 0


# ------------------------------------------------------------------ one process


async def test_a_request_goes_where_there_is_room() -> None:
    clock = Clock()
    tight, roomy = Scripted("a"), Scripted("b")
    gateway = over(
        (named("a", order=0, requests_per_minute=1), tight), (named("b", order=1), roomy), clock=clock
    )
    for _ in range(4):
        await told(gateway)
    assert (tight.asked, roomy.asked) == (1, 3)
    clock.at += 70
    await told(gateway)
    assert tight.asked == 2


async def test_at_the_limit_nothing_is_sent() -> None:
    """Field note 36."""
    clock = Clock()
    model = Scripted("a")
    gateway = over((named("a", tokens_per_minute=10_000), model), clock=clock)
    ask = {"input_tokens": 8_000, "parameters": Parameters(max_output_tokens=1_000)}
    await told(gateway, **ask)
    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="60 s") as caught:
            await told(gateway, **ask)
        assert caught.value.retry_after_s == pytest.approx(60)
    assert model.asked == 1
    clock.at += 60.1
    await told(gateway, **ask)
    assert model.asked == 2


async def test_a_short_wait_is_waited_and_observed() -> None:
    seen: list[tuple[str, float]] = []

    def observe(measure: str, name: str, value: float) -> None:
        seen.append((measure, value))

    gateway = over((named("a", requests_per_minute=6_000), Scripted("a")), observe=observe)
    for _ in range(601):
        await told(gateway)
    held = [value for measure, value in seen if measure == "held_seconds"]
    assert len(held) == 1
    assert 0 < held[0] < HELD_S


# ------------------------------------------------------------------ all processes


def shared(
    redis: Redis, *models: tuple[Deployment, Scripted], clock: Clock | None = None
) -> tuple[Gateway, Counted]:
    counted = Counted(redis)
    return over(*models, clock=clock, shared=counted), counted


async def test_a_cool_down_applies_to_all_processes(redis: Redis) -> None:
    busy, other = Scripted("a", before=[ModelUnavailable("429", 20.0)]), Scripted("b")
    models = ((named("a", order=0), busy), (named("b", order=1), other))
    (first, _), (second, _) = shared(redis, *models), shared(redis, *models)
    assert await told(first) == "b says hello"
    assert await told(second) == "b says hello"
    assert busy.asked == 1


async def test_when_all_cool_down_the_wait_is_known(redis: Redis) -> None:
    model = Scripted("a", before=[ModelUnavailable("429", 30.0)])
    (first, _), (second, _) = shared(redis, (named("a"), model)), shared(redis, (named("a"), model))
    async with first:
        with pytest.raises(ModelUnavailable):
            await told(first, sticky="one")
    with pytest.raises(ModelUnavailable, match=r"Try again in (29|30) s"):
        await told(second, sticky="one")
    assert model.asked == 1


async def test_shared_state_is_requested_sparingly(
    redis: Redis,
) -> None:
    clock = Clock()
    free, limited = Scripted("a"), Scripted("b")
    gateway, counted = shared(
        redis,
        (named("a"), free),
        (named("b", requests_per_minute=600), limited),
        clock=clock,
    )
    for _ in range(10):
        await told(gateway, deployment="a")
    assert len(counted.asked) == 1
    clock.at += FRESH_S
    for _ in range(10):
        await told(gateway, deployment="a")
    assert len(counted.asked) == 2
    for _ in range(10):
        await told(gateway, deployment="b")
    assert len(counted.asked) == 12


async def test_the_next_request_shares_a_cool_down(redis: Redis) -> None:
    models = (
        (named("a", order=0), Scripted("a", before=[ModelUnavailable("429", 20.0)])),
        (named("b", order=1), Scripted("b")),
    )
    gateway, counted = shared(redis, *models, clock=Clock())
    async with gateway:
        await told(gateway)
    assert len(counted.asked) == 2  # one for each of the two calls


async def test_without_redis_local_state_counts(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    busy = Scripted("a", before=[ModelUnavailable("429", 20.0)])
    gateway, counted = shared(
        redis,
        (named("a", order=0), busy),
        (named("b", order=1, requests_per_minute=600), Scripted("b")),
        clock=clock,
    )
    counted.away = True
    for _ in range(5):
        assert await told(gateway) == "b says hello"
    assert busy.asked == 1
    assert len(counted.asked) == 1  # and is not asked again for every message
    assert "are not shared" in caplog.text
    counted.away = False
    clock.at += FRESH_S
    await told(gateway)
    clock.at -= FRESH_S
    other, _ = shared(redis, (named("a"), Scripted("a")))
    with pytest.raises(ModelUnavailable):  # what was learnt meanwhile is told late
        await told(other)


async def test_a_new_process_knows_refused_parameters(redis: Redis) -> None:
    class Learning(Scripted):
        async def embed(self, texts: Sequence[str]):  # type: ignore[no-untyped-def]
            self.refused.add("encoding_format")
            return await super().embed(texts)

    first, _ = shared(redis, (named("a", "embedding"), Learning("a")))
    async with first:
        await first.embed(["x"])
    fresh = Scripted("a")
    second, _ = shared(redis, (named("a", "embedding"), fresh))
    await second.embed(["x"])
    assert fresh.refused == {"encoding_format"}


async def test_two_processes_together_never_hit_the_limit(azure: AzureSimulator, redis: Redis) -> None:
    # The seventh comes 1.1 s after the others, some of which are late on a busy machine.
    azure.deployments = {"chat": Deployed(requests=6, window_s=0.3)}
    made = [deployment(azure, requests_per_minute=60)]
    async with (
        router.connect(made, KEYS, shared=Cooldowns(redis)) as first,
        router.connect(made, KEYS, shared=Cooldowns(redis)) as second,
    ):
        answers = await asyncio.gather(*(heard(item.chat(asks("Hello"))) for item in [first, second] * 4))
    assert [error for _, error in answers if error] == []
    assert azure.turned_away == 0


async def test_unconfigured_limits_are_read_from_headers(azure: AzureSimulator, redis: Redis) -> None:
    azure.deployments = {"a": Deployed(requests=1), "b": Deployed()}
    made = [deployment(azure, name="a", order=0), deployment(azure, name="b", order=1)]
    async with router.connect(made, KEYS, shared=Cooldowns(redis)) as first:
        for _ in range(3):
            assert (await heard(first.chat(asks("Hello"))))[1] is None
    async with router.connect(made, KEYS, shared=Cooldowns(redis)) as second:
        assert (await heard(second.chat(asks("Hello"))))[1] is None
    assert [asked.deployment for asked in azure.journal] == ["a", "b", "b", "b"]
    assert azure.turned_away == 0


async def test_retry_after_is_obeyed_by_every_process(azure: AzureSimulator, redis: Redis) -> None:
    azure.fail("rate_limited", deployment="a", times=-1, retry_after_s=30)
    made = [deployment(azure, name="a", order=0), deployment(azure, name="b", order=1)]
    for _ in range(3):
        async with router.connect(made, KEYS, shared=Cooldowns(redis)) as gateway:
            assert (await heard(gateway.chat(asks("Hello"))))[1] is None
    assert [asked.deployment for asked in azure.journal].count("a") == 1


async def test_one_caller_tests_a_failing_deployment(redis: Redis) -> None:
    clock = Clock()
    failing = Scripted("a", before=[AWAY] * (PATIENCE + 1))
    gateway, _ = shared(
        redis, (named("a", order=0), failing), (named("b", order=1), Scripted("b")), clock=clock
    )
    for _ in range(PATIENCE):
        await told(gateway)
    clock.at += REST_S + FRESH_S
    answers = await asyncio.gather(*(told(gateway) for _ in range(6)))
    assert answers == ["b says hello"] * 6
    assert failing.asked == PATIENCE + 1


async def test_a_reported_failure_applies_to_all_processes(azure: AzureSimulator, redis: Redis) -> None:
    azure.fail("server_error", deployment="a", times=-1)
    made = [deployment(azure, name="a", order=0), deployment(azure, name="b", order=1)]
    async with router.connect(made, KEYS, shared=Cooldowns(redis)) as first:
        for _ in range(PATIENCE + 1):
            assert (await heard(first.chat(asks("Hello"))))[1] is None
    async with router.connect(made, KEYS, shared=Cooldowns(redis)) as second:
        assert (await heard(second.chat(asks("Hello"))))[1] is None
    assert [asked.deployment for asked in azure.journal].count("a") == PATIENCE


async def test_away_is_not_told_as_a_cool_down(redis: Redis) -> None:
    failing, _ = shared(redis, (named("a"), Scripted("a", before=[AWAY] * 3)))
    async with failing:
        with pytest.raises(ModelUnavailable):
            await told(failing)
    other, _ = shared(redis, (named("a"), Scripted("a")))
    assert await told(other) == "a says hello"
