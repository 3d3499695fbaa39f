"""A pool of processes that read files: started on demand, ended when idle, killed at their limits."""

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

import msgspec

import bot
from bot.domain.errors import NotAllowed
from bot.domain.words import marked
from bot.files import frames
from bot.files.frames import ExtractedText, ScaledImage

log = logging.getLogger(__name__)

_T = TypeVar("_T")

PROCESSES = 3
"""Files read at the same time; further files wait."""
SECONDS = 14.0
"""Time limit for one file, including the transfer to and from the process."""
MEMORY_MB = 768
IDLE_S = 60.0
_RETIRED_BYTES = 256 * 1024 * 1024
"""Peak memory at which a process is replaced, because C libraries do not return their memory."""
_FILES_EACH = 200
_PICTURE_BYTES = 16 * 1024 * 1024
_WORDS_BYTES = 2000
_MIMES = ("image/png", "image/jpeg", "image/webp")
_LEAVE_S = 2.0
_START = "import sys; sys.path.append(sys.argv[1]); from bot.files.reader import main; main()"

_TOO_SLOW = marked("could not be read within {seconds} seconds. Try a smaller file or another format.")
_TOO_LARGE = marked("could not be read: it needs too much memory. Try a smaller file or another format.")
_DAMAGED = marked("could not be read: it seems to be damaged. Save it again, or send another format.")


class _InvalidAnswer(Exception):
    """A process broke the protocol."""


class _Reader:
    """One process. All methods except `kill` block."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.files = 0
        self.peak_bytes = 0

    @property
    def usable(self) -> bool:
        ended = self.process.poll() is not None
        return not ended and self.files < _FILES_EACH and self.peak_bytes < _RETIRED_BYTES

    def ask(self, data: bytes, mime: str, text_bytes: int) -> ScaledImage | ExtractedText:
        """The contents of a file. Raises NotAllowed; OSError, EOFError, _InvalidAnswer if the process failed."""
        source, sink = self.process.stdin, self.process.stdout
        if source is None or sink is None:
            raise EOFError
        self.files += 1
        source.write(
            frames.frame(frames.ASKED, frames.ASKING.pack(text_bytes), mime.encode("utf-8", "replace")[:200])
        )
        source.write(frames.HEADER.pack(frames.DATA, len(data)))
        source.write(data)
        source.flush()
        kind, size = frames.HEADER.unpack(_exactly(sink, frames.HEADER.size))
        if not frames.MEASURED.size <= size <= frames.MEASURED.size + _most_bytes(kind, text_bytes):
            raise _InvalidAnswer
        answer = _exactly(sink, size)
        self.peak_bytes, characters = frames.MEASURED.unpack_from(answer)
        return _parse_answer(kind, answer[frames.MEASURED.size :], characters, data)

    def kill(self) -> None:
        """Kill the process, which also ends a pending `ask`."""
        self.process.kill()

    def leave(self) -> None:
        """Close its input and wait until it has ended; kill it if it does not."""
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
    """Read exactly `size` bytes. Blocks; raises EOFError."""
    found = sink.read(size)
    if len(found) < size:
        raise EOFError
    return found


class ProcessPool:
    """Reads files in other processes, within limits of memory and time.

    `memory_mb` is the limit of a process, `seconds` that of a file. The processes see only `environment`.
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
        # Starting a process would block the event loop for up to 0.1 s. PR_SET_PDEATHSIG ends a process with
        # the thread that started it, so these threads must not end early.
        self._threads = ThreadPoolExecutor(processes + 2, "files")
        self._starting = asyncio.Lock()
        self._idle: list[_Reader] = []
        self._busy: set[_Reader] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._trim: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def pids(self) -> list[int]:
        return [reader.process.pid for reader in (*self._busy, *self._idle)]

    def warm(self) -> None:
        """Start a process in the background, because a file will arrive soon."""
        if not self._idle and not self._busy and not self._starting.locked():
            self._run(self._add())

    async def read(self, data: bytes, mime: str, text_bytes: int) -> ScaledImage | ExtractedText:
        """The contents of a file: an image that models accept, or the beginning of its text.

        `text_bytes` is the limit for text, in bytes of UTF-8. Raises NotAllowed, with a text to be put after
        the name of the file.
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
                log.warning("A file could not be read within %.0f s; the process was killed", self._seconds)
                raise NotAllowed(_TOO_SLOW, seconds=round(self._seconds)) from None
            except (OSError, EOFError, _InvalidAnswer) as error:
                raise NotAllowed(await self._why(reader, error), seconds=round(self._seconds)) from None
            finally:
                self._busy.discard(reader)
                self._put_back(reader, kept)

    async def close(self) -> None:
        """End all processes, without waiting for files that are being read."""
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
                log.error("A process for reading files could not be started: %s", error)
                raise NotAllowed("could not be read at the moment. Try again in a minute.") from None

    def _start(self) -> _Reader:
        """Blocks; raises OSError."""
        root = str(Path(bot.__file__).parents[1])
        arguments = [root, str(self._memory_mb << 20), str(self._seconds), str(os.getpid())]
        return _Reader(
            subprocess.Popen(  # noqa: S603 - runs this Python with fixed arguments
                [sys.executable, "-P", "-X", "utf8", "-c", _START, *arguments],
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env=self._environment,
                start_new_session=True,  # keep Ctrl-C away from it
            )
        )

    async def _add(self) -> None:
        with suppress(NotAllowed):  # `read` will report it
            self._put_back(await self._take(), True)

    def _take_over(self, starting: "asyncio.Future[_Reader]") -> None:
        """Keep a process whose requester was cancelled."""
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
        """The reason, for the person, why a process failed while it read a file."""
        if isinstance(error, _InvalidAnswer):
            log.warning("A process for reading files sent an invalid answer and was killed")
            return _DAMAGED
        with suppress(subprocess.TimeoutExpired):
            await self._in_thread(partial(reader.process.wait, _LEAVE_S))
        code = reader.process.returncode
        log.warning("A process ended while reading a file (exit code %s)", code)
        if code in (-signal.SIGXCPU, -signal.SIGALRM):
            return _TOO_SLOW
        return _TOO_LARGE if code == -signal.SIGKILL else _DAMAGED


def _most_bytes(kind: bytes, text_bytes: int) -> int:
    """The limit for the payload of an answer of this type, in bytes."""
    return {frames.TEXT: text_bytes, frames.PICTURE: _PICTURE_BYTES}.get(kind, _WORDS_BYTES)


def _parse_answer(kind: bytes, payload: bytes, characters: int, data: bytes) -> ScaledImage | ExtractedText:
    """Parse an answer about the file `data`. Raises NotAllowed and _InvalidAnswer."""
    try:
        if kind == frames.TEXT:
            return ExtractedText(payload.decode(), characters)
        if kind == frames.REFUSED:
            message, values = msgspec.json.decode(payload, type=tuple[str, dict[str, str | int | float]])
            raise NotAllowed(message, **values)
        if kind == frames.BROKEN:
            name = payload.decode()
            log.warning("A file could not be read (%s)", name)
            raise NotAllowed(_TOO_LARGE if name == "MemoryError" else _DAMAGED)
        length = len(payload) if kind == frames.UNCHANGED else 1 + payload[0]
        mime = payload[0 if kind == frames.UNCHANGED else 1 : length].decode()
    except (UnicodeDecodeError, IndexError, msgspec.DecodeError):
        raise _InvalidAnswer from None
    if kind not in (frames.UNCHANGED, frames.PICTURE) or mime not in _MIMES:
        raise _InvalidAnswer
    return ScaledImage(mime, data if kind == frames.UNCHANGED else payload[length:])
