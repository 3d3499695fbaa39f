"""What every test may use: a Redis of its own, and the check that no key outlives its declared life."""

import asyncio
import subprocess
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from bot.state import keys
from bot.state.embedded import find_server
from bot.state.redis import Redis

PERMANENT = {kind.name for kind in keys.KINDS if kind.permanent}
DECLARED = {kind.name for kind in keys.KINDS}


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The URL of a real server, private to this run of the tests."""
    folder = tmp_path_factory.mktemp("redis")
    socket = folder / "redis.sock"
    program = asyncio.run(find_server())
    command = [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the Redis server for the tests did not start")
        time.sleep(0.01)
    yield f"unix://{socket}"
    process.terminate()
    process.wait(10)


@pytest.fixture
async def redis(redis_server: str) -> AsyncGenerator[Redis]:
    """An empty Redis. Afterwards every key has a TTL, or is of a kind that empties itself."""
    client = Redis(redis_server)
    await client.call("FLUSHALL")
    yield client
    await immortal_keys(client)
    await client.close()


async def immortal_keys(client: Redis) -> None:
    """Fail when a key of Parley's is undeclared, or would stay for ever without being meant to."""
    for name in [name async for name in client.scan("parley:*")]:
        kind = keys.kind_of(name)
        assert kind in DECLARED, f"{name}: a kind of key that bot/state/keys.py does not declare"
        if kind not in PERMANENT:
            assert await client.call("TTL", name) > 0, f"{name}: lives for ever, and is not declared to"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data directory."""
    return tmp_path / "data"
