"""The Redis that comes with Parley: one for each data directory, shared, kept, and left by the last."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from bot.errors import ConfigError, StateUnavailable
from bot.state.embedded import embedded, socket_path
from bot.state.redis import Redis


async def call(url: str, *command: str) -> object:
    redis = Redis(url)
    try:
        return await redis.call(*command)
    finally:
        await redis.close()


async def test_what_was_written_survives_a_restart(folder: Path) -> None:
    async with embedded(folder) as url:
        await call(url, "SET", "parley:x", "kept")
    with pytest.raises(StateUnavailable):
        await call(url, "PING")
    async with embedded(folder) as url:
        assert await call(url, "GET", "parley:x") == b"kept"


async def test_processes_of_one_directory_share_a_server_and_the_last_one_stops_it(folder: Path) -> None:
    async with embedded(folder) as first:
        pid = await call(first, "CONFIG", "GET", "dir")
        async with embedded(folder) as second:
            assert second == first
            assert await call(second, "CONFIG", "GET", "dir") == pid
        assert await call(first, "PING")
    with pytest.raises(StateUnavailable):
        await call(first, "PING")


async def test_two_that_start_at_the_same_time_start_one_server(folder: Path) -> None:
    async with embedded(folder) as one, asyncio.timeout(30):
        await call(one, "SET", "parley:x", "1")
        others = [embedded(folder) for _ in range(4)]
        urls = await asyncio.gather(*(other.__aenter__() for other in others))
        assert set(urls) == {one}
        for other in others:
            await other.__aexit__(None, None, None)
        assert await call(one, "GET", "parley:x") == b"1"


_USER = """
import asyncio, signal, sys
from pathlib import Path
from bot.state.embedded import embedded
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
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"up\n"
    return process


async def test_the_server_of_a_process_that_was_killed_is_taken_over(folder: Path) -> None:
    killed = await user(folder)
    await call(f"unix://{socket_path(folder)}", "SET", "parley:x", "kept")
    killed.send_signal(signal.SIGKILL)
    await killed.wait()
    async with embedded(folder) as url:
        assert await call(url, "GET", "parley:x") == b"kept"
    with pytest.raises(StateUnavailable):
        await call(url, "PING")


async def test_the_server_outlives_the_process_that_started_it_while_another_uses_it(folder: Path) -> None:
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


async def test_it_has_no_risks_and_listens_to_nobody_else(folder: Path) -> None:
    async with embedded(folder) as url:
        redis = Redis(url)
        assert await redis.risks() == []
        assert await redis.call("CONFIG", "GET", "port") in ([b"port", b"0"], {b"port": b"0"}, {"port": "0"})
        await redis.close()
        assert os.stat(socket_path(folder)).st_mode & 0o077 == 0


async def test_a_directory_whose_name_is_too_long_for_a_socket_has_it_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    async with embedded(folder) as url:
        assert await call(url, "PING")
    assert len(url) < 110
    assert not str(url).startswith(f"unix://{folder}")


async def test_a_server_that_can_not_start_says_where_it_is_written_why(folder: Path) -> None:
    socket_path(folder)  # makes the directory
    (folder / "appendonlydir").write_text("in the way")
    with pytest.raises(ConfigError, match=r"redis\.log says why"):
        async with embedded(folder):
            pass
