"""What files that people send cost: seconds, memory of the process that reads them, memory of the bot.

    python -m tests.benchmarks.documents [hostile] [ordinary] [--only TEXT]

`hostile` reads every file of `tests/support/hostile_documents.py`; `ordinary` small ones, by a process that was just
started (cold) and by one that has read such a file before (warm).
"""

import argparse
import asyncio
import importlib
import multiprocessing
import re
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from bot.cli.console import run
from bot.domain.errors import NotAllowed
from bot.files.frames import ScaledImage
from bot.files.process_pool import ProcessPool

TEXT_BYTES = 60_000
_EVERY_S = 0.002


@dataclass
class Measured:
    """What was seen while a file was read."""

    seconds: float = 0.0
    lag_s: float = 0.0
    reader_mb: float = 0.0
    bot_mb: float = 0.0
    outcome: str = ""


def _memory_mb(pid: int | str, what: str) -> float:
    with suppress(OSError):
        found = re.search(rf"{what}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
        if found is not None:
            return int(found[1]) / 1024
    return 0.0


def idle(late_s: "Synchronized[float]") -> None:
    """What the machine itself makes a process wait that does nothing else."""
    while True:
        before = time.perf_counter()
        time.sleep(_EVERY_S)
        late_s.value = max(late_s.value, time.perf_counter() - before - _EVERY_S)


@asynccontextmanager
async def watching(pool: ProcessPool) -> AsyncGenerator[Measured]:
    """Measure how late the event loop is, and the memory of both sides, until the end of the block."""
    seen = Measured()

    async def watch() -> None:
        looked_at = 0.0
        while True:
            before = time.perf_counter()
            await asyncio.sleep(_EVERY_S)
            seen.lag_s = max(seen.lag_s, time.perf_counter() - before - _EVERY_S)
            if before - looked_at > 0.02:
                looked_at = before
                seen.bot_mb = max(seen.bot_mb, _memory_mb("self", "VmRSS"))
                for pid in pool.pids:
                    seen.reader_mb = max(seen.reader_mb, _memory_mb(pid, "VmHWM"))

    task = asyncio.create_task(watch())
    began = time.perf_counter()
    try:
        yield seen
    finally:
        seen.seconds = time.perf_counter() - began
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def measured(pool: ProcessPool, data: bytes) -> Measured:
    """Read one file."""
    async with watching(pool) as seen:
        try:
            found = await pool.read(data, "", TEXT_BYTES)
        except NotAllowed as refusal:
            seen.outcome = str(refusal)
        else:
            kind = found.mime if isinstance(found, ScaledImage) else f"{found.characters:,} characters"
            seen.outcome = f"read: {kind}"
    return seen


def names() -> list[tuple[str, str]]:
    """Every hostile file."""
    return [(kind, name) for kind, files in _hostile().items() for name in files]


def build(kind: str, name: str, path: Path) -> None:
    """Write one of them."""
    path.write_bytes(_hostile()[kind][name]())


def _hostile() -> Mapping[str, Mapping[str, Callable[[], bytes]]]:
    # Not imported above: the packages that build the files must not count as memory of the bot.
    return importlib.import_module("tests.support.hostile_documents").HOSTILE


def _files(folder: Path, only: str) -> Iterator[tuple[str, str, bytes]]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, max_tasks_per_child=20) as builders:
        for kind, name in builders.submit(names).result():
            if only in f"{kind}: {name}":
                path = folder / "file"
                builders.submit(build, kind, name, path).result()
                yield kind, name, path.read_bytes()


async def hostile(only: str) -> None:
    """A row for each hostile file, and the worst of all."""
    print(
        "| format | file | KB | s | process, MB | bot, MB | loop late, ms | idle process late, ms | outcome |"
    )
    print("|---|---|--:|--:|--:|--:|--:|--:|---|")
    spawn = multiprocessing.get_context("spawn")
    late_s: Synchronized[float] = spawn.Value("d", 0.0)
    control = spawn.Process(target=idle, args=(late_s,), daemon=True)
    control.start()
    worst = Measured()
    pool = ProcessPool()
    with tempfile.TemporaryDirectory() as folder:
        for kind, name, data in _files(Path(folder), only):
            late_s.value = 0.0
            seen = await measured(pool, data)
            machine_ms = late_s.value * 1000
            print(
                f"| {kind} | {name} | {len(data) // 1024} | {seen.seconds:.1f} | {seen.reader_mb:.0f} "
                f"| {seen.bot_mb:.0f} | {seen.lag_s * 1000:.0f} | {machine_ms:.0f} | {seen.outcome} |",
                flush=True,
            )
            worst.seconds = max(worst.seconds, seen.seconds)
            worst.reader_mb = max(worst.reader_mb, seen.reader_mb)
            worst.bot_mb = max(worst.bot_mb, seen.bot_mb)
            worst.lag_s = max(worst.lag_s, seen.lag_s)
    control.terminate()
    await pool.close()
    print(
        f"| | the worst | | {worst.seconds:.1f} | {worst.reader_mb:.0f} | {worst.bot_mb:.0f} "
        f"| {worst.lag_s * 1000:.0f} | | |"
    )


async def ordinary() -> None:
    """Small files: cold, and the median of warm ones."""
    made = importlib.import_module("tests.support.documents")
    files = {"docx": made.word(), "xlsx": made.sheet(), "pdf": made.pdf("Hello."), "png": made.picture()}
    print("| file | cold, ms | warm, ms |")
    print("|---|--:|--:|")
    for name, data in files.items():
        cold: list[float] = []
        warm: list[float] = []
        for _ in range(5):
            pool = ProcessPool()
            cold.append((await measured(pool, data)).seconds)
            warm += [(await measured(pool, data)).seconds for _ in range(20)]
            await pool.close()
        print(f"| {name} | {sorted(cold)[2] * 1000:.0f} | {sorted(warm)[50] * 1000:.1f} |", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", default=["ordinary", "hostile"])
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    if "ordinary" in asked.what:
        run(ordinary())
    if "hostile" in asked.what:
        run(hostile(asked.only))


if __name__ == "__main__":
    main()
