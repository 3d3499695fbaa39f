"""The main program of a reader process: reads files from standard input within its own limits."""

import json
import os
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from bot.domain.errors import NotAllowed
from bot.files import contents, frames
from bot.files.frames import ScaledImage, cut

_OPEN_FILES = 64
_FILE_BYTES = 1024 * 1024
"""For compiled Python modules; nothing else is written."""
_TEXT_SHARE = 0.7
"""Share of the time limit after which text is cut off, so that the person gets at least that."""
_PR_SET_PDEATHSIG = 1
_XML_NO_MEMORY = 2
"""XML_ERR_NO_MEMORY of libxml2, which lxml raises as a syntax error."""

try:
    resource: Any = import_module("resource")
except ImportError:  # Windows
    resource = None


def main() -> None:
    """Serve until standard input ends. Arguments: memory limit in bytes, seconds per file, pid of the bot."""
    memory_bytes, seconds, parent = int(sys.argv[-3]), float(sys.argv[-2]), int(sys.argv[-1])
    die_with(parent)
    restrict(memory_bytes)
    serve(sys.stdin.buffer, sys.stdout.buffer, seconds)


def die_with(parent: int) -> None:
    """End together with the bot. Where this is not supported, the end of input and the timer do that."""
    for name in ("SIGINT", "SIGTERM"):  # may be sent to the whole group; the bot decides when readers end
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


def restrict(memory_bytes: int) -> None:
    """Set resource limits, lower the CPU priority, and be the first to be killed if memory runs out."""
    with suppress(OSError, AttributeError):
        os.nice(10)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    if resource is None:
        return
    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": _OPEN_FILES,
        "RLIMIT_FSIZE": _FILE_BYTES,
        "RLIMIT_AS": memory_bytes,
    }
    for name, most in limits.items():
        with suppress(OSError, ValueError, AttributeError):  # macOS has no RLIMIT_AS
            kind = getattr(resource, name)
            _, hard = resource.getrlimit(kind)
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))


def serve(source: BinaryIO, sink: BinaryIO, seconds: float) -> None:
    """Answer one file after another until the input ends."""
    while (request := _receive(source, frames.ASKED)) is not None:
        data = _receive(source, frames.DATA)
        if data is None:
            return
        (text_bytes,) = frames.ASKING.unpack_from(request)
        _set_timer(seconds)
        answer = answer_to(data, request[frames.ASKING.size :].decode(), text_bytes, seconds * _TEXT_SHARE)
        del data
        sink.write(answer)
        sink.flush()
        _set_timer(0)


def answer_to(data: bytes, mime: str, text_bytes: int, time_s: float) -> bytes:
    """The answer frame: the contents of a file, or why it could not be read."""
    try:
        found = contents.extract(data, mime, text_bytes, time_s)
        if isinstance(found, ScaledImage):
            kind = found.mime.encode()
            if found.data is data:
                return frames.frame(frames.UNCHANGED, _measured(), kind)
            return frames.frame(frames.PICTURE, _measured(), bytes([len(kind)]), kind, found.data)
        return frames.frame(
            frames.TEXT, _measured(len(found)), cut(found, text_bytes).encode("utf-8", "replace")
        )
    except NotAllowed as refusal:
        why = json.dumps((refusal.message, dict(refusal.values))).encode()
        return frames.frame(frames.REFUSED, _measured(), why)
    except Exception as error:  # each library has its own errors for damaged files
        name = "MemoryError" if _is_out_of_memory(error) else type(error).__name__
    return frames.frame(frames.BROKEN, _measured(), name.encode())


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, even if a library reports it as another error."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        if type(error).__module__ == "lxml.etree" and getattr(error, "code", None) == _XML_NO_MEMORY:
            return True
        error = error.__cause__ or error.__context__
    return False


def _receive(source: BinaryIO, kind: bytes) -> bytes | None:
    header = source.read(frames.HEADER.size)
    if len(header) < frames.HEADER.size:
        return None
    found, size = frames.HEADER.unpack(header)
    if found != kind:
        return None
    payload = source.read(size)
    return payload if len(payload) == size else None


def _set_timer(seconds: float) -> None:
    """Let the system end this process after `seconds`, of time or of CPU; 0 stops the timer.

    The bot does the same; this one is for when the bot is gone.
    """
    if resource is None:
        return
    signal.setitimer(signal.ITIMER_REAL, seconds + 1 if seconds else 0)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    used = time.process_time()
    with suppress(OSError, ValueError):
        soft = int(used + seconds + 1) if seconds else hard
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _measured(characters: int = 0) -> bytes:
    return frames.MEASURED.pack(_peak_bytes(), characters)


def _peak_bytes() -> int:
    """Peak resident memory of this process; 0 if unknown."""
    with suppress(OSError):  # on Linux, `getrusage` would include the peak of the bot
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if sys.platform == "darwin" else 0
