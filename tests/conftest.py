"""What every test may use: a Redis of its own, and the check that no key outlives its declared life."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from hypothesis import settings

from bot.domain.calls import unattributed
from bot.files.process_pool import ProcessPool
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.support import servers
from tests.support.harness import Harness
from tests.support.patience import PATIENCE_S

settings.register_profile("parley", deadline=None)  # on a busy machine any example may take long
settings.load_profile("parley")

UNMEASURED = (
    "adapters/shared/test_linear_text.py",
    "chaos",
    "failover",
    "files/test_hostile.py",
    "fuzz",
    "intent",
    "isolation",
    "project",
    "story",
    "worker/test_cost_oracle.py",
    "worker/test_crash.py",
)
"""Tests for which coverage is not measured: it doubles the time that Python takes, and these take long. They drive
all of Parley, or none of it, or count steps; what they reach has tests of its own."""

PERMANENT = {kind.name for kind in keys.KINDS if kind.permanent}
DECLARED = {kind.name for kind in keys.KINDS}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure coverage where it can tell something new: not in a browser, nor on a second kind of Redis."""
    unmeasured = {Path(__file__).parent / name for name in UNMEASURED}
    for item in items:
        callspec = getattr(item, "callspec", None)
        again = callspec is not None and "cluster" in callspec.params.values()
        if again or item.get_closest_marker("browser") or {item.path, *item.path.parents} & unmeasured:
            item.add_marker("no_cover")


@pytest.fixture(autouse=True)
def no_calls_of_earlier_tests() -> None:
    """What the models of other tests were asked is not booked in this one."""
    unattributed.take()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The URL of a real server, private to this run of the tests."""
    folder = tmp_path_factory.mktemp("redis")
    socket = folder / "redis.sock"
    with servers.running(servers.Server(folder, "--unixsocket", str(socket))):
        yield f"unix://{socket}"


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The URL of a real cluster of three nodes, started when a test first asks for it."""
    with servers.cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes[0].url.replace("redis://", "redis+cluster://")


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """Where the `redis` of a test is; the tests of bot.storage run on each kind."""
    return redis_server


@pytest.fixture
async def redis(redis_url: str) -> AsyncGenerator[Redis]:
    """An empty Redis. Afterwards every key has a TTL, or is of a kind that empties itself."""
    client = Redis(redis_url, timeout_s=PATIENCE_S)
    await client.call("FLUSHALL")
    try:
        yield client
        await immortal_keys(client)
    finally:
        await client.close()


async def immortal_keys(client: Redis) -> None:
    """Fail when a key of Parley's is undeclared, or would stay for ever without being meant to."""
    for name in [name async for name in client.scan("parley:*")]:
        kind = keys.kind_of(name)
        assert kind in DECLARED, f"{name}: a kind of key that bot/storage/redis/keys.py does not declare"
        if kind not in PERMANENT:
            assert await client.call("TTL", name) != -1, f"{name}: lives for ever, and is not declared to"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data directory."""
    return tmp_path / "data"


@pytest.fixture
async def pool() -> AsyncGenerator[ProcessPool]:
    """Processes that read files."""
    made = ProcessPool()
    yield made
    await made.close()


@pytest.fixture
async def harness(redis: Redis) -> AsyncGenerator[Harness]:
    """A worker over an empty Redis."""
    made = Harness(redis)
    yield made
    await made.files.pool.close()
