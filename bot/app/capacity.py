"""Limits the concurrency of a process to its memory and its open files."""

import gc
import logging
from collections.abc import Iterator
from pathlib import Path

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None

log = logging.getLogger(__name__)

_MB = 2**20
_AT_REST_BYTES = 150 * _MB
"""Memory of a process with Slack, Teams and Azure OpenAI before the first answer (128 MB, measured)."""
_ANSWER_BYTES = _MB // 2
"""Memory of one answer: ten times a plain one (50 KB, measured), for files and long histories."""
_SHARE = 0.75
"""Usable share of the memory; Redis, file readers and the allocator need the rest."""
_LEAST = 4
_FILES_AT_REST = 256
_FILES_PER_ANSWER = 3  # connections to the model, to the platform and from the client
_MOST_FILES = 65_536


def concurrency(configured: int, memory_bytes: int | None) -> int:
    """How many answers may run at once with this much memory; None: unknown."""
    if memory_bytes is None:
        return configured
    available = int(memory_bytes * _SHARE) - _AT_REST_BYTES
    return min(configured, max(_LEAST, available // _ANSWER_BYTES))


def fit(configured: int) -> int:
    """`configured`, or less if memory is short. Logs the result, and warns if open files are short."""
    memory, files = memory_bytes(), raise_file_limit()
    chosen = concurrency(configured, memory)
    if memory is not None and chosen < configured:
        log.warning(
            "%d MB of memory are enough for %d answers at once, not for PARLEY_CONCURRENCY=%d",
            memory // _MB,
            chosen,
            configured,
        )
    else:
        log.info("Up to %d answers run at once", chosen)
    needed = _FILES_AT_REST + _FILES_PER_ANSWER * chosen
    if files is not None and files < needed:
        log.warning(
            "This process may open %d files, but %d answers at once may need %d. Raise the limit "
            "(ulimit -n, or LimitNOFILE= of systemd), or lower PARLEY_CONCURRENCY.",
            files,
            chosen,
            needed,
        )
    return chosen


def freeze_startup_objects() -> None:
    """Exclude all current objects from garbage collection, and begin it; call it at the end of the startup.

    A full collection blocks all answers: 100 ms with the 90,000 objects of the imports, 1 ms without (measured).
    """
    gc.collect()
    gc.freeze()
    gc.enable()


def raise_file_limit() -> int | None:
    """Raise the soft limit of open files to the hard one; returns the limit, None if there is none."""
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    limit = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if limit <= soft:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    except (ValueError, OSError):  # some systems allow less than they report
        return soft
    return limit


def memory_bytes(root: Path = Path("/")) -> int | None:
    """The memory that this process may use, by its control groups and the machine; None if unknown.

    `root` is the root of the file system to read.
    """
    return min([*_of_machine(root), *_of_groups(root)], default=None)


def _of_machine(root: Path) -> Iterator[int]:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            yield int(line.split()[1]) * 1024


def _of_groups(root: Path) -> Iterator[int]:
    """The limits of the control groups of this process and of their parents (versions 2 and 1)."""
    mounted = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0" and not controllers:
            top, name = mounted, "memory.max"
        elif "memory" in controllers.split(","):
            top, name = mounted / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = top / path.strip("/")
        for folder in (group, *group.parents):
            if folder == top or top in folder.parents:
                text = _read(folder / name).strip()
                if text.isdecimal():  # else "max"; version 1 has a huge number instead
                    yield int(text)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
