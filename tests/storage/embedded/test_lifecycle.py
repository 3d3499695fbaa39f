"""The Redis that comes with Parley: one for each data directory, shared, kept, and left by the last."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bot.domain.errors import ConfigError, StateUnavailable
from bot.storage.embedded.lifecycle import embedded, find_server, socket_path
from bot.storage.redis.client import Redis
from tests.support.patience import PATIENCE_S
from tests.support.processes import end, start


async def call(url: str, *command: str) -> object:
    redis = Redis(url)
    try:
        return await redis.call(*command)
    finally:
        await redis.close()


async def test_data_survives_a_restart(folder: Path) -> None:
    async with embedded(folder) as url:
        await call(url, "SET", "parley:x", "kept")
    with pytest.raises(StateUnavailable):
        await call(url, "PING")
    async with embedded(folder) as url:
        assert await call(url, "GET", "parley:x") == b"kept"


async def test_the_last_process_of_a_directory_ends_it(folder: Path) -> None:
    async with embedded(folder) as first:
        pid = await call(first, "CONFIG", "GET", "dir")
        async with embedded(folder) as second:
            assert second == first
            assert await call(second, "CONFIG", "GET", "dir") == pid
        assert await call(first, "PING")
    with pytest.raises(StateUnavailable):
        await call(first, "PING")


async def test_two_concurrent_starts_start_one_server(folder: Path) -> None:
    async with embedded(folder) as server, asyncio.timeout(PATIENCE_S):
        await call(server, "SET", "parley:x", "1")
        others = [embedded(folder) for _ in range(4)]
        urls = await asyncio.gather(*(other.__aenter__() for other in others))
        assert set(urls) == {server}
        for other in others:
            await other.__aexit__(None, None, None)
        assert await call(server, "GET", "parley:x") == b"1"


_USER = """
import asyncio, signal, sys
from pathlib import Path
from bot.storage.embedded.lifecycle import embedded
from tests.support.patience import PATIENCE_S
async def main():
    until = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, until.set)
    async with embedded(Path(sys.argv[1])):
        print("up", flush=True)
        await until.wait()
asyncio.run(main())
"""


async def user(folder: Path) -> asyncio.subprocess.Process:
    """Another process that uses the server of this directory, and is the first to."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _USER, str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), PATIENCE_S) == b"up\n"
    return process


async def test_the_server_of_a_killed_process_is_adopted(folder: Path) -> None:
    killed = await user(folder)
    await call(f"unix://{socket_path(folder)}", "SET", "parley:x", "kept")
    killed.send_signal(signal.SIGKILL)
    await killed.wait()
    async with embedded(folder) as url:
        assert await call(url, "GET", "parley:x") == b"kept"
    with pytest.raises(StateUnavailable):
        await call(url, "PING")


async def test_the_server_outlives_the_process_that_started_it(folder: Path) -> None:
    starter = await user(folder)
    async with embedded(folder) as url:
        before = await call(url, "INFO", "server")
        starter.send_signal(signal.SIGTERM)
        assert await starter.wait() == 0
        after = await call(url, "INFO", "server")
        assert isinstance(before, dict)
        assert isinstance(after, dict)
        assert after["process_id"] == before["process_id"]
    with pytest.raises(StateUnavailable):
        await call(url, "PING")


async def test_it_has_no_risks_and_no_network_port(folder: Path) -> None:
    async with embedded(folder) as url:
        redis = Redis(url)
        assert await redis.risks() == []
        assert await redis.call("CONFIG", "GET", "port") in ([b"port", b"0"], {b"port": b"0"}, {"port": "0"})
        await redis.close()
        assert os.stat(socket_path(folder)).st_mode & 0o077 == 0


async def test_a_long_directory_name_has_another_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    async with embedded(folder) as url:
        assert await call(url, "PING")
    assert len(url) < 110
    assert not str(url).startswith(f"unix://{folder}")


async def test_a_failed_start_names_its_log(folder: Path) -> None:
    socket_path(folder)  # makes the directory
    (folder / "appendonlydir").write_text("in the way")
    with pytest.raises(ConfigError, match=r"See .*redis\.log"):
        async with embedded(folder):
            pass


@asynccontextmanager
async def foreign(folder: Path, *, where: Path) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A server that listens at the socket of `folder`, keeps its data in `where`, and has no lock."""
    socket = socket_path(folder)
    words = ["--port", "0", "--unixsocket", str(socket), "--dir", str(where), "--appendonly", "yes"]
    server = await start([await find_server(), *words], {}, stdout=asyncio.subprocess.DEVNULL)
    try:
        await until_it_answers(f"unix://{socket}")
        yield server
    finally:
        await end(server)


async def answers(url: str) -> bool:
    with suppress(StateUnavailable):
        await call(url, "PING")
        return True
    return False


async def until_it_answers(url: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await answers(url):  # noqa: ASYNC110  it is in another process
            await asyncio.sleep(0.02)


async def test_the_server_of_an_older_version_is_replaced(folder: Path) -> None:
    """Field fault 94b: it is ended in order, its data stay, and the new one has a watchdog."""
    async with foreign(folder, where=folder) as old:
        await call(f"unix://{socket_path(folder)}", "SET", "parley:x", "kept")
        async with embedded(folder) as url:
            assert await old.wait() == 0
            assert await call(url, "GET", "parley:x") == b"kept"
            assert (folder / "redis.pid").read_text().strip() != str(old.pid)


async def test_a_foreign_server_is_left_alone(folder: Path, tmp_path: Path) -> None:
    """Field fault 94b: only a server of this data directory may be ended."""
    async with foreign(folder, where=tmp_path) as other:
        with pytest.raises(ConfigError, match="Another Redis server listens"):
            async with embedded(folder):
                pass
        assert other.returncode is None
        assert await answers(f"unix://{socket_path(folder)}")


async def test_a_hanging_server_is_replaced_at_the_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 94b: an earlier process was killed while its server hung."""
    monkeypatch.setattr("bot.storage.embedded.lifecycle.HANG_S", 0.0)
    killed = await user(folder)
    await call(f"unix://{socket_path(folder)}", "SET", "parley:x", "kept")
    hung = int((folder / "redis.pid").read_text())
    os.kill(hung, signal.SIGSTOP)
    killed.kill()
    await killed.wait()
    async with embedded(folder) as url:
        assert await call(url, "GET", "parley:x") == b"kept"
        assert int((folder / "redis.pid").read_text()) != hung


async def test_all_users_survive_a_killed_server(folder: Path) -> None:
    """Field fault 94b: whichever process notices first restarts it, and there is one."""
    other = await user(folder)
    async with embedded(folder) as url:
        await call(url, "SET", "parley:x", "kept")
        os.kill(int((folder / "redis.pid").read_text()), signal.SIGKILL)
        await until_it_answers(url)
        assert await call(url, "GET", "parley:x") == b"kept"
    assert await answers(url), "the other one still uses it"
    other.terminate()
    assert await other.wait() == 0
    assert not await answers(url)
