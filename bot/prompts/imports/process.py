"""Renders the code of templates of other tools in another process, which is killed at its limits.

No count of loops and characters foresees everything that code can do to time and memory. The process starts with
the first file that has code, and ends soon after the last.
"""

import atexit
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from subprocess import DEVNULL, PIPE
from typing import Any

from bot.prompts.imports.rendering import MOST_CHARACTERS, LineError, NamedText, TooMuchWork

CPU_S = 0.5
"""Of CPU time for one file; real ones need some milliseconds."""
WALL_S = 20.0
"""For one file, including the start of the process on a busy machine."""
MEMORY_MB = 192
"""Of address space; Python and Jinja take about 50."""
_MOST_BYTES = 12 * MOST_CHARACTERS
"""Of an answer: JSON writes a character in up to twelve bytes."""
_MOST_WORDS = 300
"""Characters of an error's words."""
_IDLE_S = 2.0
_START = "import sys; sys.path[:] = sys.argv[1:]; from bot.prompts.imports.process import main; main()"
_BUSY = "it could not be run at the moment. Try again in a minute"

try:
    resource: Any = import_module("resource")
except ImportError:  # Windows
    resource = None


class _Renderer:
    """The process, if there is one. Its methods block, and can be called by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._idle: threading.Timer | None = None

    def ask(self, request: bytes) -> bytes:
        """The answer, a line; empty if the process was ended by its limits. Raises OSError without a process."""
        with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            process = self._running()
            late = _timer(WALL_S, process.kill)
            try:
                answer = _exchanged(process, request)
            finally:
                late.cancel()
            if not answer.endswith(b"\n"):
                self._end()
                return b""
            self._idle = _timer(_IDLE_S, self.close)
            return answer

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603 - runs this Python with fixed arguments
                [sys.executable, "-P", "-X", "utf8", "-c", _START, *filter(None, sys.path)],
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env={},  # none of the bot's keys
                start_new_session=True,  # keep Ctrl-C away from it
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with suppress(OSError):
            process.communicate()


_renderer = _Renderer()


def close() -> None:
    """End the process, if there is one; the next file with code starts another."""
    _renderer.close()


atexit.register(close)


def _timer(seconds: float, work: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, work)
    timer.daemon = True
    timer.start()
    return timer


def _exchanged(process: subprocess.Popen[bytes], request: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        return b""
    try:
        process.stdin.write(request)
        process.stdin.flush()
        return process.stdout.readline(_MOST_BYTES)
    except OSError:  # it ended
        return b""


def render(mustache: bool, text: str, values: Mapping[str, object]) -> str:
    """The text of a Mustache or Jinja template. Blocks; raises LineError.

    Texts among the values and unknown variables stay as placeholders. Of other values, what JSON lacks is text.
    """
    try:
        request = json.dumps([mustache, text, values], default=str)
        answer = _renderer.ask(request.encode() + b"\n")
    except (ValueError, RecursionError):
        raise LineError(1, "a value of its inputs is too large") from None
    except OSError:
        raise LineError(1, _BUSY) from None
    try:
        line, words = json.loads(answer or b"null") or (1, str(TooMuchWork()))
    except (ValueError, TypeError, RecursionError):
        raise LineError(1, _BUSY) from None
    if line:
        raise LineError(int(line), str(words))
    return str(words)


# ------------------------------------------------------------------ in the process


def main() -> None:
    """Answer one request after another, each a line of JSON, until the input ends."""
    if resource is not None:
        for kind, most in ((resource.RLIMIT_AS, MEMORY_MB << 20), (resource.RLIMIT_CORE, 0)):
            with suppress(OSError, ValueError):  # macOS has no RLIMIT_AS
                resource.setrlimit(kind, (most, most))
    sys.set_int_max_str_digits(0)  # the limits of time and memory are enough
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(_answer(line)).encode() + b"\n")
        sys.stdout.buffer.flush()


def _answer(request: bytes) -> tuple[int, str]:
    """The line of an error and its words, or 0 and the rendered text."""
    from bot.prompts.imports import jinja, mustache

    is_mustache, text, values = json.loads(request)
    given = {
        name: NamedText.of(name, value) if isinstance(value, str) else value for name, value in values.items()
    }
    try:
        _limit(CPU_S)
        rendered = (mustache if is_mustache else jinja).render(text, given)
        rendered = rendered.encode("utf-16", "surrogatepass").decode("utf-16")
    except LineError as error:
        return error.line, _plain(str(error))
    except UnicodeDecodeError:
        return 1, "it makes half a character (a surrogate)"
    finally:
        _limit(0)
    return 0, rendered


def _plain(words: str) -> str:
    """The words on one line, without halves of characters, which can't be written anywhere."""
    return " ".join(words[:_MOST_WORDS].encode(errors="replace").decode().split())


def _limit(seconds: float) -> None:
    """Let the system interrupt the rendering after `seconds` of CPU time, or kill it within the next second.

    An interruption names the line, but has to wait for what Python does in one step, such as a power.
    """
    if resource is None:  # Windows, where only the time limit of the bot holds
        return
    signal.signal(signal.SIGPROF, _interrupt)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(time.process_time() + seconds) + 1 if seconds else hard
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _interrupt(number: int, frame: object) -> None:
    raise TooMuchWork
