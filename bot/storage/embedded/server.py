"""The embedded Redis server of one data directory: its program, its start, its condition and its end."""

import asyncio
import errno
import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

from bot.domain.errors import ConfigError, StateUnavailable
from bot.storage.embedded import watchdog
from bot.storage.embedded.data_directory import (
    FULL,
    DataLost,
    DiskFull,
    acquire,
    find_server,
    lock,
    open_file,
    socket_path,
    unusable,
)
from bot.storage.redis import keys
from bot.storage.redis.client import Redis

LOG = "redis.log"
Condition = Literal["up", "loading", "silent", "gone"]
"""`silent`: the process is there and does not answer; `gone`: there is no process."""

_START_S = 60.0
"""How long a new server may take to answer at all; reading its data is not limited, it answers meanwhile."""
_POLL_S = 0.02
_ROOM_BYTES = 256 * 1024
"""The free space without which a start is not tried."""
_SAYS_FULL = re.compile("|".join(re.escape(os.strerror(number)) for number in FULL))
_SAYS_DAMAGED = re.compile(
    r"Bad file format|Unrecoverable error reading|Wrong signature|Invalid AOF|AOF manifest|RDB (?:CRC|file)"
    r"|(?:AOF|append only) file .*(?:doesn't exist|is missing|truncated)|Internal error in RDB"
    r"|Fatal error loading"
)


class Server:
    """Finds, starts and ends the server of a data directory; several processes may do so, in turns.

    At most one server runs there: it holds a lock on `redis.pid` for as long as it lives.
    """

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError when the directory can't be made."""
        try:
            self.socket = socket_path(folder)
        except OSError as error:
            raise unusable(folder, error) from None
        self.folder = folder.resolve()
        self.url = f"unix://{self.socket}"
        self._redis = Redis(self.url, connections=2)
        self._child: subprocess.Popen[bytes] | None = None
        self._log_from = 0

    async def close(self) -> None:
        """Close the connection, and let go of a server that others still use."""
        await self._redis.close()
        if self._child is not None and self._child.poll() is None:
            _left.append(self._child)

    @asynccontextmanager
    async def starting(self) -> AsyncGenerator[None]:
        """Within the block no other process starts or ends the server."""
        with open_file(self.folder / "redis.starting") as file:
            await acquire(file, fcntl.LOCK_EX)
            yield

    async def condition(self) -> Condition:
        """How the server is. Takes up to 5 s when it does not answer."""
        try:
            output = await self._redis.call("INFO", "persistence")
        except StateUnavailable:
            return "silent" if await asyncio.to_thread(self.runs) else "gone"
        return "loading" if output.get("loading") else "up"

    def runs(self) -> bool:
        """Whether a server holds the lock of this directory."""
        with open_file(self.folder / "redis.pid") as file:
            return not lock(file, fcntl.LOCK_SH)

    async def ensure(self, patience_s: float) -> None:
        """Have a server that takes writes: the one that runs, or a new one. To be called within `starting`.

        One that runs and does not answer within `patience_s` is ended first. Raises ConfigError.
        """
        runs = await asyncio.to_thread(self.runs)
        if not runs:
            await self.reap()
        if runs and await self._ready(patience_s):
            return
        if runs:
            await self.end(0)
        elif await self.condition() != "gone":
            await self._end_unlocked()
        await self._start()

    async def _start(self) -> None:
        program = await find_server()
        try:
            await asyncio.to_thread(self._spawn, program)
        except OSError as error:
            raise unusable(self.folder, error) from None
        if not await self._ready(_START_S):
            if self._child is not None and self._child.poll() is None:
                await self.end(0)
            raise await asyncio.to_thread(self._failure, program)

    def _spawn(self, program: str) -> None:
        """Raises OSError."""
        room = self.folder / "redis.room"
        try:
            with room.open("wb", buffering=0) as file:
                if file.write(bytes(_ROOM_BYTES)) < _ROOM_BYTES:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
        finally:
            room.unlink(missing_ok=True)
        (self.folder / "redis.pid").write_bytes(b"")  # never the id of a process that ended long ago
        self.socket.unlink(missing_ok=True)
        with (self.folder / LOG).open("ab") as log:
            self._log_from = log.tell()
            # A session of its own: Ctrl-C in the terminal must not reach it before the bot has drained.
            self._child = subprocess.Popen[bytes](
                [sys.executable, "-I", "-S", watchdog.__file__, *self._arguments(program)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _arguments(self, program: str) -> list[str]:
        settings = {
            "--port": "0",
            "--unixsocket": str(self.socket),
            "--unixsocketperm": "700",
            "--dir": str(self.folder),
            "--appendonly": "yes",
            "--appendfsync": "always",  # with everysec a kill of the server can lose what was acknowledged
            "--aof-load-truncated": "yes",  # what a crash cut off at the end was not acknowledged
            "--save": "",
            "--maxmemory-policy": "noeviction",
            "--logfile": str(self.folder / LOG),
        }
        files = (str(self.folder / "redis.users"), str(self.folder / "redis.pid"))
        return [*files, program, *(word for pair in settings.items() for word in pair)]

    async def _ready(self, patience_s: float) -> bool:
        """Ask it at least once, until it takes a write: false when it ended, or was silent for so long."""
        give_up_at = time.monotonic() + patience_s
        while True:
            condition = await self.condition()
            if condition == "up":
                with suppress(StateUnavailable):
                    await self._redis.call("SET", keys.PROBE, "", "PX", 1000)
                    return True
            if condition == "loading":
                give_up_at = time.monotonic() + patience_s
            ended = self._child is not None and self._child.poll() is not None
            if ended or time.monotonic() >= give_up_at:
                return False
            await asyncio.sleep(_POLL_S)

    # -------------------------------------------------------------- the end

    async def end(self, grace_s: float = watchdog.END_S) -> None:
        """End the server that holds the lock, by force after `grace_s`. Raises ConfigError when it stays."""
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, watchdog.END_S)):
            if await self._ended_by(number, wait_s):
                return await self.reap()
        raise ConfigError(
            f"The embedded Redis of {self.folder} does not end. Its process id stands in redis.pid there: "
            "end it, or restart the machine, then start Parley again."
        )

    async def _ended_by(self, number: signal.Signals, wait_s: float) -> bool:
        give_up_at = time.monotonic() + wait_s
        signalled = False
        while await asyncio.to_thread(self.runs):
            if not signalled:
                signalled = self._signal(number)
            if time.monotonic() > give_up_at:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    async def reap(self) -> None:
        """Wait for the watchdog of a server that has ended, where this process started it."""
        if self._child is not None:
            await asyncio.to_thread(self._child.wait)
            self._child = None

    def _signal(self, number: signal.Signals) -> bool:
        """Signal the holder of the lock; false while its process id is not written. Raises ConfigError."""
        text = (self.folder / "redis.pid").read_text().strip()
        if not text:
            return False
        try:
            os.kill(int(text), number)
        except ProcessLookupError:
            pass
        except PermissionError:
            raise ConfigError(
                f"The Redis server of {self.folder} (process {text}) belongs to another user. "
                "Run Parley as that user, or set PARLEY_DATA_DIR to another directory."
            ) from None
        return True

    async def _end_unlocked(self) -> None:
        """End a server that an older version of Parley left behind. Raises ConfigError when it is not one."""
        where = await self._redis.call("CONFIG GET", "dir")
        if where.get("dir") != str(self.folder):
            raise ConfigError(
                f"Another Redis server listens on {self.socket}. "
                "Stop it, or set PARLEY_DATA_DIR to another directory."
            )
        with suppress(StateUnavailable):  # the answer is a closed connection
            await self._redis.call("SHUTDOWN")
        while await self.condition() != "gone":  # noqa: ASYNC110  it is another process
            await asyncio.sleep(_POLL_S)

    # -------------------------------------------------------------- what went wrong

    def how_it_ended(self) -> str:
        """How the server of this process ended, in words, where that is known."""
        code = self._child.poll() if self._child is not None else None
        if code is None:
            return "has ended"
        if code <= 128:
            return f"has ended with exit code {code}{self._last_words()}"
        name = signal.Signals(code - 128).name
        hint = " (out of memory?)" if name == "SIGKILL" else self._last_words()
        return f"was ended by {name}{hint}"

    def _last_words(self) -> str:
        output = self._said()
        return f": {output[-1]}" if output else ""

    def _said(self) -> list[str]:
        """What the log holds since the last start, without process ids and times."""
        try:
            with (self.folder / LOG).open("rb") as log:
                log.seek(self._log_from)
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return []
        return [line.split(" # ")[-1].split(" * ")[-1].strip() for line in lines if line.strip()]

    def _failure(self, program: str) -> ConfigError:
        """Why the last start failed."""
        output = self._said()
        if full := next((line for line in output if _SAYS_FULL.search(line)), None):
            return DiskFull(f"{self.folder} has no room for what Redis has to write: {full}")
        if damage := next((line for line in output if _SAYS_DAMAGED.search(line)), None):
            return DataLost(_damaged(self.folder, program, damage))
        last = f"The last line there: {output[-1]}" if output else ""
        return ConfigError(f"The embedded Redis did not start; {self.folder / LOG} says why. {last}".rstrip())


def _damaged(folder: Path, program: str, line: str) -> str:
    manifest = folder / "appendonlydir" / "appendonly.aof.manifest"
    tool = shutil.which("redis-check-aof") or shutil.which("valkey-check-aof")
    # The server's program is this tool too, when it is called by the tool's name.
    words = [tool] if tool else ["bash", "-c", 'exec -a valkey-check-aof "$0" "$@"', program]
    return (
        f"The data of the embedded Redis in {folder} is damaged: {line}\n"
        "Parley has stopped, so that nothing more is lost. Copy that directory first. Then restore a backup, "
        "or cut the data off at the damage; everything written after it is lost:\n"
        f"  {shlex.join([*words, '--fix', str(manifest)])}\n"
        "Then start Parley again."
    )


_left: list[subprocess.Popen[bytes]] = []
"""Watchdogs of servers that other processes went on using when this one had closed its `Server`."""
