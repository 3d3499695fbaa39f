"""A reader process: reads the files that come by its standard input, within limits of its own."""

import os
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from bot.domain.errors import NotAllowed
from bot.files import contents
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
    ScaledImage,
    cut,
    frame,
)

_OPEN_FILES = 64
_FILE_BYTES = 1024 * 1024
"""Reading writes no files; Python keeps compiled modules."""
_TEXT_SHARE = 0.7
"""Of the time that a file has: a text that takes longer ends with what there is, rather than not at all."""
_PR_SET_PDEATHSIG = 1
_XML_NO_MEMORY = 2
"""What libxml2 calls XML_ERR_NO_MEMORY; lxml makes it a syntax error."""

try:
    resource: Any = import_module("resource")
except ImportError:  # Windows
    resource = None


def main() -> None:
    """Serve until the standard input ends. Arguments: bytes of memory, seconds for a file, the bot's pid."""
    memory_bytes, seconds, parent = int(sys.argv[-3]), float(sys.argv[-2]), int(sys.argv[-1])
    die_with(parent)
    restrict(memory_bytes)
    serve(sys.stdin.buffer, sys.stdout.buffer, seconds)


def die_with(parent: int) -> None:
    """End when the bot ends. Elsewhere than on Linux the end of the input and the clock see to that."""
    for name in ("SIGINT", "SIGTERM"):  # sent to a whole group of processes; the bot lets running answers end
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


def restrict(memory_bytes: int) -> None:
    """Take less than the bot: of the processor, and first to go where the machine runs out of memory."""
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
        with suppress(OSError, ValueError, AttributeError):  # macOS knows no limit of memory
            kind = getattr(resource, name)
            _, hard = resource.getrlimit(kind)
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))


def serve(source: BinaryIO, sink: BinaryIO, seconds: float) -> None:
    """Answer each file that comes, until no more do."""
    while (asked := _receive(source, ASKED)) is not None:
        data = _receive(source, DATA)
        if data is None:
            return
        (text_bytes,) = ASKING.unpack_from(asked)
        _set_clock(seconds)
        answer = answer_to(data, asked[ASKING.size :].decode(), text_bytes, seconds * _TEXT_SHARE)
        del data
        sink.write(answer)
        sink.flush()
        _set_clock(0)


def answer_to(data: bytes, mime: str, text_bytes: int, time_s: float) -> bytes:
    """The frame that says what a file holds, or why that can't be said."""
    try:
        found = contents.extract(data, mime, text_bytes, time_s)
        if isinstance(found, ScaledImage):
            kind = found.mime.encode()
            if found.data is data:
                return frame(UNCHANGED, _measured(), kind)
            return frame(PICTURE, _measured(), bytes([len(kind)]), kind, found.data)
        return frame(TEXT, _measured(len(found)), cut(found, text_bytes).encode("utf-8", "replace"))
    except NotAllowed as refusal:
        return frame(REFUSED, _measured(), str(refusal).encode())
    except Exception as error:  # each package has its own way to say that a file is damaged
        name = "MemoryError" if _is_out_of_memory(error) else type(error).__name__
    return frame(BROKEN, _measured(), name.encode())


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory was what failed, though a package may name it otherwise."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        if type(error).__module__ == "lxml.etree" and getattr(error, "code", None) == _XML_NO_MEMORY:
            return True
        error = error.__cause__ or error.__context__
    return False


def _receive(source: BinaryIO, kind: bytes) -> bytes | None:
    header = source.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    found, size = HEADER.unpack(header)
    if found != kind:
        return None
    payload = source.read(size)
    return payload if len(payload) == size else None


def _set_clock(seconds: float) -> None:
    """Have the system end this process after so many seconds, whatever it is doing then; 0 stops the clock.

    The bot does the same from its side; this holds where the bot is gone.
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
    return MEASURED.pack(_peak_bytes(), characters)


def _peak_bytes() -> int:
    """The most memory that this process has had resident; 0 where nobody knows."""
    with suppress(OSError):  # on Linux `getrusage` begins with what the bot itself has had
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if sys.platform == "darwin" else 0
