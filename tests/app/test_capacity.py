"""How many answers run at once: 256, or what memory and open files allow."""

import asyncio
import gc
import logging
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.app import capacity
from bot.app.settings import Settings
from bot.storage.redis.client import Redis

MB = 2**20


@pytest.mark.parametrize(
    ("memory_mb", "expected"), [(None, 256), (64_000, 256), (1024, 256), (512, 256), (256, 84), (128, 4)]
)
def test_a_small_container_answers_fewer_at_once(memory_mb: int | None, expected: int) -> None:
    """Field fault 102: 256 by default, as measured, but no more than the memory allows."""
    default = Settings(_env_file=None).parley_concurrency  # pyright: ignore[reportCallIssue]
    assert default == 256
    assert capacity.concurrency(default, None if memory_mb is None else memory_mb * MB) == expected


def system(root: Path, **files: str) -> Path:
    """A file system with these contents."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


GROUP = "sys__fs__cgroup__memory_dot_max"
MACHINE = "MemTotal:       8000000 kB\nMemFree: 1 kB\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc__meminfo": MACHINE}, 8_000_000 * 1024),
        (
            {
                "proc__meminfo": MACHINE,
                "proc__self__cgroup": "0::/\n",
                GROUP: "max\n",
            },
            8_000_000 * 1024,
        ),
        (
            {
                "proc__meminfo": MACHINE,
                "proc__self__cgroup": "0::/\n",
                GROUP: "256\n",
            },
            256,
        ),
        (
            {
                "proc__meminfo": MACHINE,
                "proc__self__cgroup": "0::/a/b\n",
                "sys__fs__cgroup__a__memory_dot_max": "1000\n",
                "sys__fs__cgroup__a__b__memory_dot_max": "max\n",
            },
            1000,
        ),
        (
            {
                "proc__self__cgroup": "11:cpu,cpuacct:/\n7:memory:/docker/x\n",
                "sys__fs__cgroup__memory__docker__x__memory_dot_limit_in_bytes": "512\n",
            },
            512,
        ),
        ({"proc__self__cgroup": "0::/../..\nnonsense\n", "proc__meminfo": MACHINE}, 8_000_000 * 1024),
    ],
)
def test_a_container_limit_overrides_the_machine(
    files: dict[str, str], expected: int | None, tmp_path: Path
) -> None:
    """Field fault 102: a container sees the memory of its host, but is killed at its own limit."""
    assert capacity.memory_bytes(system(tmp_path, **files)) == expected


@pytest.fixture
def files() -> Iterator[tuple[int, int]]:
    """A soft limit below the hard one, restored afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = 4096 if before[1] == resource.RLIM_INFINITY else before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 100, before[1]))
    yield hard - 100, before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_file_limit_is_raised(files: tuple[int, int]) -> None:
    """Field fault 102: 256 answers at once need more files than the usual soft limit allows."""
    raised = capacity.raise_file_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == raised
    assert soft > files[0]
    assert hard == files[1]


def test_a_reduced_concurrency_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Field fault 102: the log says what was chosen, and why."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(capacity, "memory_bytes", lambda: 256 * MB)
    monkeypatch.setattr(capacity, "raise_file_limit", lambda: 300)
    assert capacity.fit(256) == 84
    assert "256 MB of memory are enough for 84 answers at once, not for PARLEY_CONCURRENCY=256" in caplog.text
    assert "may open 300 files, but 84 answers at once may need 508" in caplog.text


async def test_claims_wait_for_connections(redis: Redis) -> None:
    """Field fault 102: 1,024 concurrent commands over four connections neither fail nor hang."""
    narrow = Redis(redis.url, connections=4)
    try:
        async with asyncio.timeout(60):
            answers = await asyncio.gather(*(narrow.call("ECHO", str(n)) for n in range(1024)))
    finally:
        await narrow.close()
    assert answers == [str(n).encode() for n in range(1024)]


def test_garbage_collection_skips_startup_objects() -> None:
    before = gc.get_freeze_count()
    gc.disable()  # as while a command starts
    try:
        capacity.freeze_startup_objects()
        assert gc.get_freeze_count() > before + 10_000
        assert len(gc.get_objects()) < 1_000
        assert gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
