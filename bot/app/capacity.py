"""How many answers this process may write at once: by its memory, and by the files that it may open."""

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
"""What a process with Slack, Teams and Azure OpenAI takes before the first answer (128 MB, measured)."""
_ANSWER_BYTES = _MB // 2
"""What one answer may take: ten times a plain one (50 KB, measured), for files and long histories."""
_SHARE = 0.75
"""The part of the memory that is counted on: Redis, the documents' processes and the allocator need some."""
_LEAST = 4
_FILES_AT_REST = 256
_FILES_PER_ANSWER = 3  # the connection to the model, that to the platform, and that of whoever asked
_MOST_FILES = 65_536


def concurrency(wanted: int, memory_bytes: int | None) -> int:
    """How many answers may be written at once where so much memory is there; None: it is not known."""
    if memory_bytes is None:
        return wanted
    room = int(memory_bytes * _SHARE) - _AT_REST_BYTES
    return min(wanted, max(_LEAST, room // _ANSWER_BYTES))


def fit(wanted: int) -> int:
    """`wanted`, or what this machine has memory for; what was chosen is logged, and whether files suffice."""
    memory, files = memory_bytes(), raise_file_limit()
    chosen = concurrency(wanted, memory)
    of = f" of {memory // _MB} MB of memory" if memory is not None else ""
    if chosen < wanted:
        log.warning(
            "Because%s there is room for %d answers at once, not PARLEY_CONCURRENCY=%d", of, chosen, wanted
        )
    else:
        log.info("Up to %d answers are written at once", chosen)
    if files is not None and files < (needed := files_for(chosen)):
        log.warning(
            "This process may open %d files, but %d answers at once may need %d. Raise the limit "
            "(ulimit -n, LimitNOFILE= of systemd), or lower PARLEY_CONCURRENCY.",
            files,
            chosen,
            needed,
        )
    return chosen


def leave_garbage_collector_little() -> None:
    """Take everything that exists now out of the garbage collector's sight; call it when all is started.

    A full collection walks every object and holds up every answer meanwhile: 100 ms for the 90,000 objects that the
    imports alone leave behind, 1 ms without them (measured).
    """
    gc.collect()
    gc.freeze()


def files_for(answers: int) -> int:
    """How many files and connections so many answers at once may need."""
    return _FILES_AT_REST + _FILES_PER_ANSWER * answers


def raise_file_limit() -> int | None:
    """Raise the soft limit of open files to the hard one; what it is then, None where nothing is limited."""
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if wanted <= soft:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):  # some systems allow less than they say
        return soft
    return wanted


def memory_bytes(root: Path = Path("/")) -> int | None:
    """The memory that this process may use: of its control groups, of the machine; None where none says so.

    `root` is the file system that is looked at.
    """
    return min([*_of_machine(root), *_of_groups(root)], default=None)


def _of_machine(root: Path) -> Iterator[int]:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            yield int(line.split()[1]) * 1024


def _of_groups(root: Path) -> Iterator[int]:
    """The limits of the groups that the process is in, and of those above them (version 2, then 1)."""
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
                if text.isdecimal():  # else "max"; version 1 says a number beyond any machine
                    yield int(text)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
