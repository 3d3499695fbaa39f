"""Starts, checks and ends the embedded Redis server of a data directory."""

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
"""`silent`: the process runs but does not answer; `gone`: there is no process."""

_START_S = 60.0
"""How long a new server may take to answer; loading data takes longer, but it answers meanwhile."""
_POLL_S = 0.02
_FREE_BYTES = 256 * 1024
"""The disk space that a start requires."""
_SAYS_FULL = re.compile("|".join(re.escape(os.strerror(number)) for number in FULL))
_SAYS_DAMAGED = re.compile(
    r"Bad file format|Unrecoverable error reading|Wrong signature|Invalid AOF|AOF manifest|RDB (?:CRC|file)"
    r"|(?:AOF|append only) file .*(?:doesn't exist|is missing|truncated)|Internal error in RDB"
    r"|Fatal error loading"
)


class Server:
    """The server of a data directory, shared by several processes.

    At most one server runs there, which holds a lock on `redis.pid`.
    """

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError if the directory can't be created."""
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
        """Close the connection; a server that others use keeps running."""
        await self._redis.close()
        if self._child is not None and self._child.poll() is None:
            _left.append(self._child)

    @asynccontextmanager
    async def starting(self) -> AsyncGenerator[None]:
        """Hold the lock for starting and ending the server."""
        with open_file(self.folder / "redis.starting") as file:
            await acquire(file, fcntl.LOCK_EX)
            yield

    async def condition(self) -> Condition:
        """The state of the server. Takes up to 5 s if it does not answer."""
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
        """Ensure that a server accepts writes: the running one, or a new one. Call it within `starting`.

        A running one that does not answer within `patience_s` is ended first. Raises ConfigError.
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
        probe = self.folder / "redis.room"
        try:
            with probe.open("wb", buffering=0) as file:
                if file.write(bytes(_FREE_BYTES)) < _FREE_BYTES:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
        (self.folder / "redis.pid").write_bytes(b"")  # never the id of an earlier process
        self.socket.unlink(missing_ok=True)
        with (self.folder / LOG).open("ab") as log:
            self._log_from = log.tell()
            # In its own session, because Ctrl-C in the terminal must not end it before the bot has drained.
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
            "--appendfsync": "always",  # with everysec, a crash can lose acknowledged writes
            "--aof-load-truncated": "yes",  # a write truncated by a crash was not acknowledged
            "--save": "",
            "--maxmemory-policy": "noeviction",
            "--logfile": str(self.folder / LOG),
        }
        files = (str(self.folder / "redis.users"), str(self.folder / "redis.pid"))
        return [*files, program, *(word for pair in settings.items() for word in pair)]

    async def _ready(self, patience_s: float) -> bool:
        """Wait until the server accepts a write; False if it ended or was silent for `patience_s`."""
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

    # -------------------------------------------------------------- ending

    async def end(self, grace_s: float = watchdog.END_S) -> None:
        """End the server, by force after `grace_s`. Raises ConfigError if it keeps running."""
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, watchdog.END_S)):
            if await self._ended_by(number, wait_s):
                return await self.reap()
        raise ConfigError(
            f"The embedded Redis of {self.folder} does not end. End the process whose id is in redis.pid "
            "there, or restart the machine, then start Parley again."
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
        """Wait for the watchdog of an ended server, if this process started it."""
        if self._child is not None:
            await asyncio.to_thread(self._child.wait)
            self._child = None

    def _signal(self, number: signal.Signals) -> bool:
        """Signal the holder of the lock; False while its process id is unknown. Raises ConfigError."""
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
        """End a server of an older version of Parley. Raises ConfigError if it is another one."""
        where = await self._redis.call("CONFIG GET", "dir")
        if where.get("dir") != str(self.folder):
            raise ConfigError(
                f"Another Redis server listens on {self.socket}. "
                "Stop it, or set PARLEY_DATA_DIR to another directory."
            )
        with suppress(StateUnavailable):  # the server closes the connection without a response
            await self._redis.call("SHUTDOWN")
        while await self.condition() != "gone":  # noqa: ASYNC110  it is another process
            await asyncio.sleep(_POLL_S)

    # -------------------------------------------------------------- errors

    def how_it_ended(self) -> str:
        """A text about how the server of this process ended, if known."""
        code = self._child.poll() if self._child is not None else None
        if code is None:
            return "has ended"
        if code <= 128:
            return f"has ended with exit code {code}{self._last_words()}"
        name = signal.Signals(code - 128).name
        hint = " (out of memory?)" if name == "SIGKILL" else self._last_words()
        return f"was ended by {name}{hint}"

    def _last_words(self) -> str:
        output = self._last_output()
        return f": {output[-1]}" if output else ""

    def _last_output(self) -> list[str]:
        """The log since the last start, without process ids and times."""
        try:
            with (self.folder / LOG).open("rb") as log:
                log.seek(self._log_from)
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return []
        return [line.split(" # ")[-1].split(" * ")[-1].strip() for line in lines if line.strip()]

    def _failure(self, program: str) -> ConfigError:
        output = self._last_output()
        if full := next((line for line in output if _SAYS_FULL.search(line)), None):
            return DiskFull(f"There is no disk space for Redis in {self.folder}: {full}")
        if damage := next((line for line in output if _SAYS_DAMAGED.search(line)), None):
            return DataLost(_damaged(self.folder, program, damage))
        last = f"Its last line: {output[-1]}" if output else ""
        return ConfigError(f"The embedded Redis did not start. See {self.folder / LOG}. {last}".rstrip())


def _damaged(folder: Path, program: str, line: str) -> str:
    manifest = folder / "appendonlydir" / "appendonly.aof.manifest"
    tool = shutil.which("redis-check-aof") or shutil.which("valkey-check-aof")
    # The server's program acts as this tool when it is called by the tool's name.
    words = [tool] if tool else ["bash", "-c", 'exec -a valkey-check-aof "$0" "$@"', program]
    return (
        f"The data of the embedded Redis in {folder} is damaged: {line}\n"
        "Parley has stopped to prevent further loss. First copy the directory. Then restore a backup, or "
        "truncate the data at the damage, which loses everything after it:\n"
        f"  {shlex.join([*words, '--fix', str(manifest)])}\n"
        "Then start Parley again."
    )


_left: list[subprocess.Popen[bytes]] = []
"""Watchdogs of servers that other processes still use after this one closed its `Server`."""
