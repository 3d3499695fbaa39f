"""A few processes that read files: started on demand, ended when idle, and killed when a file is too much."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import IO, TypeVar

import bot
from bot.domain.errors import NotAllowed
from bot.files.frames import (
    ASKED,
    ASKING,
    BROKEN,
    DATA,
    HEADER,
    MEASURED,
    PICTURE,
    REFUSED,
    TEXT,
    UNCHANGED,
    ExtractedText,
    ScaledImage,
    frame,
)

log = logging.getLogger(__name__)

_T = TypeVar("_T")

PROCESSES = 3
"""Files that are read at the same time; more wait."""
SECONDS = 14.0
"""That a file has, from the first byte that a process is sent to its whole answer."""
MEMORY_MB = 768
IDLE_S = 60.0
_RETIRED_BYTES = 256 * 1024 * 1024
"""Memory that a process has had: C libraries keep much of it, so another one takes over."""
_FILES_EACH = 200
_PICTURE_BYTES = 16 * 1024 * 1024
_WORDS_BYTES = 2000
_MIMES = ("image/png", "image/jpeg", "image/webp")
_LEAVE_S = 2.0
_START = "import sys; sys.path.append(sys.argv[1]); from bot.files.reader import main; main()"

_ANOTHER = "Try a smaller file or another format."
_TOO_SLOW = "could not be read: it takes longer than {:.0f} seconds to open. " + _ANOTHER
_TOO_LARGE = "could not be read: it takes too much memory to open. " + _ANOTHER
_DAMAGED = "could not be read: it seems to be damaged. Try saving it again, or send another format."
_NO_PROCESS = "could not be read just now. Send it again in a minute, please."


class _Garbled(Exception):
    """A process said something that no reader says."""


class _Reader:
    """One process and what is known of it. All but `kill` block."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.files = 0
        self.peak_bytes = 0

    @property
    def usable(self) -> bool:
        """Whether it may read another file."""
        ended = self.process.poll() is not None
        return not ended and self.files < _FILES_EACH and self.peak_bytes < _RETIRED_BYTES

    def ask(self, data: bytes, mime: str, text_bytes: int) -> ScaledImage | ExtractedText:
        """What a file holds. Raises NotAllowed; OSError, EOFError, _Garbled when the process is done for."""
        source, sink = self.process.stdin, self.process.stdout
        if source is None or sink is None:
            raise EOFError
        self.files += 1
        source.write(frame(ASKED, ASKING.pack(text_bytes), mime.encode("utf-8", "replace")[:200]))
        source.write(HEADER.pack(DATA, len(data)))
        source.write(data)
        source.flush()
        kind, size = HEADER.unpack(_exactly(sink, HEADER.size))
        if not MEASURED.size <= size <= MEASURED.size + _most_bytes(kind, text_bytes):
            raise _Garbled
        answer = _exactly(sink, size)
        self.peak_bytes, characters = MEASURED.unpack_from(answer)
        return _understood(kind, answer[MEASURED.size :], characters, data)

    def kill(self) -> None:
        """End it at once; what waits for it ends too."""
        self.process.kill()

    def leave(self) -> None:
        """Let it end by itself, and see that it does."""
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def _exactly(sink: IO[bytes], size: int) -> bytes:
    """So many bytes. Blocks; raises EOFError."""
    found = sink.read(size)
    if len(found) < size:
        raise EOFError
    return found


class ProcessPool:
    """Reads files in other processes, each file within limits of memory and time.

    `memory_mb` is what one process may take, `seconds` what one file may; `environment` is all that a process
    sees of the environment.
    """

    def __init__(
        self,
        *,
        processes: int = PROCESSES,
        memory_mb: int = MEMORY_MB,
        seconds: float = SECONDS,
        idle_s: float = IDLE_S,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._memory_mb, self._seconds, self._idle_s = memory_mb, seconds, idle_s
        self._environment = {"MALLOC_ARENA_MAX": "1", **(environment or {})}
        self._free = asyncio.Semaphore(processes)
        # Starting a process from the loop takes a tenth of a second where the machine is busy. The system
        # ends a process with the thread that started it, so these threads stay.
        self._threads = ThreadPoolExecutor(processes + 2, "files")
        self._starting = asyncio.Lock()
        self._idle: list[_Reader] = []
        self._busy: set[_Reader] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._trim: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The processes that there are now."""
        return [one.process.pid for one in (*self._busy, *self._idle)]

    def warm(self) -> None:
        """Have a process ready: a file is about to come."""
        if not self._idle and not self._busy and not self._starting.locked():
            self._run(self._add())

    async def read(self, data: bytes, mime: str, text_bytes: int) -> ScaledImage | ExtractedText:
        """What a file holds: a picture that models take, or the beginning of its text.

        `text_bytes` is how much UTF-8 a text may have. Raises NotAllowed; its words follow the file's name.
        """
        async with self._free:
            reader = await self._take()
            self._busy.add(reader)
            kept = False
            try:
                async with asyncio.timeout(self._seconds):
                    found = await self._in_thread(partial(reader.ask, data, mime, text_bytes))
                kept = True
                return found
            except NotAllowed:
                kept = True
                raise
            except TimeoutError:
                log.warning("A file took longer than %.0f s to read; its process was killed", self._seconds)
                raise NotAllowed(_TOO_SLOW.format(self._seconds)) from None
            except (OSError, EOFError, _Garbled) as error:
                raise NotAllowed(await self._why(reader, error)) from None
            finally:
                self._busy.discard(reader)
                self._put_back(reader, kept)

    async def close(self) -> None:
        """End every process; a file that is being read is not waited for."""
        self._closed = True
        if self._trim is not None:
            self._trim.cancel()
        for reader in self._busy:
            reader.kill()
        self._release()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=False)

    async def _take(self) -> _Reader:
        async with self._starting:
            while self._idle:
                reader = self._idle.pop()
                if reader.usable:
                    return reader
                self._run(self._in_thread(reader.leave))
            starting = asyncio.ensure_future(self._in_thread(self._start))
            try:
                return await asyncio.shield(starting)
            except asyncio.CancelledError:
                starting.add_done_callback(self._take_over)
                raise
            except OSError as error:
                log.error("A process that reads files could not be started: %s", error)
                raise NotAllowed(_NO_PROCESS) from None

    def _start(self) -> _Reader:
        """Blocks; raises OSError."""
        root = str(Path(bot.__file__).parents[1])
        arguments = [root, str(self._memory_mb << 20), str(self._seconds), str(os.getpid())]
        return _Reader(
            subprocess.Popen(  # noqa: S603 - what is run is this Python, with these arguments
                [sys.executable, "-P", "-X", "utf8", "-c", _START, *arguments],
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env=self._environment,
                start_new_session=True,  # Ctrl-C in the terminal is for the bot alone
            )
        )

    async def _add(self) -> None:
        with suppress(NotAllowed):  # who needs it is told so
            self._put_back(await self._take(), True)

    def _take_over(self, starting: "asyncio.Future[_Reader]") -> None:
        """Keep a process that nobody waits for any more."""
        if not starting.cancelled() and starting.exception() is None:
            self._put_back(starting.result(), True)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _put_back(self, reader: _Reader, kept: bool) -> None:
        """Keep a process for the next file, or end it."""
        if not kept:
            reader.kill()
        if kept and reader.usable and not self._closed:
            self._idle.append(reader)
        else:
            self._run(self._in_thread(reader.leave))
        if self._trim is not None:
            self._trim.cancel()
        if not self._closed:
            self._trim = asyncio.get_running_loop().call_later(self._idle_s, self._release)

    def _release(self) -> None:
        for reader in self._idle:
            self._run(self._in_thread(reader.leave))
        self._idle.clear()

    def _run(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _why(self, reader: _Reader, error: Exception) -> str:
        """Words about a process that ended in the middle of a file."""
        if isinstance(error, _Garbled):
            log.warning("A process that reads files said something unknown; it was killed")
            return _DAMAGED
        with suppress(subprocess.TimeoutExpired):
            await self._in_thread(partial(reader.process.wait, _LEAVE_S))
        code = reader.process.returncode
        log.warning("A process ended while it read a file (%s)", code)
        if code in (-signal.SIGXCPU, -signal.SIGALRM):
            return _TOO_SLOW.format(self._seconds)
        return _TOO_LARGE if code == -signal.SIGKILL else _DAMAGED


def _most_bytes(kind: bytes, text_bytes: int) -> int:
    """How long an answer of a kind may be."""
    return {TEXT: text_bytes, PICTURE: _PICTURE_BYTES}.get(kind, _WORDS_BYTES)


def _understood(kind: bytes, payload: bytes, characters: int, data: bytes) -> ScaledImage | ExtractedText:
    """What an answer says of the file `data`. Raises NotAllowed and _Garbled."""
    try:
        if kind == TEXT:
            return ExtractedText(payload.decode(), characters)
        if kind == REFUSED:
            raise NotAllowed(payload.decode())
        if kind == BROKEN:
            name = payload.decode()
            log.warning("A file could not be read: %s", name)
            raise NotAllowed(_TOO_LARGE if name == "MemoryError" else _DAMAGED)
        length = len(payload) if kind == UNCHANGED else 1 + payload[0]
        mime = payload[0 if kind == UNCHANGED else 1 : length].decode()
    except (UnicodeDecodeError, IndexError):
        raise _Garbled from None
    if kind not in (UNCHANGED, PICTURE) or mime not in _MIMES:
        raise _Garbled
    return ScaledImage(mime, data if kind == UNCHANGED else payload[length:])
