"""The processes that read files: limits, fairness, and that none of them outlives the bot."""

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from bot.app.settings import Settings
from bot.domain.errors import NotAllowed
from bot.domain.events import Attachment
from bot.files import process_pool
from bot.files.attachments import AttachmentReader
from bot.files.frames import ExtractedText, ScaledImage
from bot.files.process_pool import ProcessPool
from tests.support import processes
from tests.support.acts import ADA, BOB
from tests.support.documents import pdf, picture, word
from tests.support.harness import Harness
from tests.support.hostile_documents import HOSTILE

LONG_S = 60
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


def endless() -> bytes:
    """A small file that takes more than a minute to read."""
    return HOSTILE["html"]["3 MB of <"]()


async def until(test: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_S):
        while not test():  # noqa: ASYNC110 - what other processes do sets no event
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[2] == "Z"
    except OSError:
        return Path("/proc/self").exists()


def attached(name: str) -> Attachment:
    return Attachment(id=name, name=name, mime="application/octet-stream")


def fetching(data: bytes) -> Callable[[Attachment], Awaitable[bytes]]:
    async def fetch(attachment: Attachment) -> bytes:
        return data

    return fetch


async def test_files_of_one_person_do_not_delay_another() -> None:
    """Field fault 90: seven copies of one file filled the pool, and nobody else's document was read."""
    pool = ProcessPool(seconds=120)
    files = AttachmentReader(pool)
    data = endless()

    async def send() -> None:
        async with files.read([attached("bomb")], fetching(data), user=ADA, ref=str, text_bytes=1000):
            pass

    bombs = [asyncio.create_task(send()) for _ in range(7)]
    await until(lambda: bool(pool.pids))
    async with files.read(
        [attached("notes.pdf")], fetching(pdf("Hello")), user=BOB, ref=str, text_bytes=1000
    ) as found:
        assert found.documents[0].text == "[page 1]\nHello"
    assert not any(bomb.done() for bomb in bombs)
    for bomb in bombs:
        bomb.cancel()
    await asyncio.gather(*bombs, return_exceptions=True)
    await pool.close()


async def test_a_full_budget_does_not_delay_others(pool: ProcessPool) -> None:
    """Field fault 90: memory for waiting files is reserved for one message per person at a time."""
    files = AttachmentReader(pool, in_flight_bytes=100, held_bytes=100)
    never = asyncio.Event()

    async def stuck(attachment: Attachment) -> bytes:
        await never.wait()
        return b""

    async def send() -> None:
        small = replace(attached("x"), size_bytes=20)
        async with files.read([small], stuck, user=ADA, ref=str, text_bytes=1000):
            pass

    sent = [asyncio.create_task(send()) for _ in range(5)]
    await asyncio.sleep(0)
    small = replace(attached("y"), size_bytes=20)
    files._held = type(files._held)(process_pool._PICTURE_BYTES * 4)  # pyright: ignore[reportPrivateUsage]
    async with asyncio.timeout(LONG_S):
        async with files.read([small], fetching(b"hello"), user=BOB, ref=str, text_bytes=1000) as found:
            assert found.documents[0].text == "hello"
    for one in sent:
        one.cancel()
    await asyncio.gather(*sent, return_exceptions=True)


async def test_a_killed_process_loses_only_its_file() -> None:
    """Field fault 90: other files that are being read are not affected."""
    pool, long = ProcessPool(seconds=LONG_S), pdf(*["A page of a long document."] * 3000)
    victim = asyncio.create_task(pool.read(endless(), "", 1000))
    await until(lambda: len(pool.pids) == 1)
    first = set(pool.pids)
    other = asyncio.create_task(pool.read(long, "", 1000))
    await until(lambda: len(pool.pids) == 2)
    os.kill(first.pop(), signal.SIGKILL)
    with pytest.raises(NotAllowed, match="too much memory"):
        await victim
    assert isinstance(await other, ExtractedText)
    await pool.close()


@pytest.mark.parametrize(("number", "words"), [("SIGSEGV", "damaged"), ("SIGXCPU", "seconds")])
async def test_the_end_of_a_process_is_explained(number: str, words: str) -> None:
    """Field fault 90: the person sees why a file was not read."""
    pool = ProcessPool(seconds=LONG_S)
    reading = asyncio.create_task(pool.read(endless(), "", 1000))
    await until(lambda: len(pool.pids) == 1)
    os.kill(pool.pids[0], getattr(signal, number))
    with pytest.raises(NotAllowed, match=words):
        await reading
    assert isinstance(await pool.read(b"hello", "", 1000), ExtractedText)
    await pool.close()


async def test_a_cancelled_file_ends_its_process(pool: ProcessPool) -> None:
    """Field fault 90: after a drain or a lost lease no CPU stays busy."""
    reading = asyncio.create_task(pool.read(endless(), "", 1000))
    await until(lambda: len(pool.pids) == 1)
    (pid,) = pool.pids
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await until(lambda: gone(pid))


async def test_idle_processes_end() -> None:
    """Field fault 90: processes live only while files arrive."""
    pool = ProcessPool(idle_s=0.05)
    await pool.read(b"hello", "", 1000)
    (pid,) = pool.pids
    await until(lambda: gone(pid) and pool.pids == [])
    assert isinstance(await pool.read(b"hello", "", 1000), ExtractedText)
    await pool.close()


async def test_a_process_is_started_early_and_reused(pool: ProcessPool) -> None:
    pool.warm()
    await until(lambda: len(pool.pids) == 1)
    (pid,) = pool.pids
    for data in (word(), pdf("Hi"), b"a,b"):
        assert isinstance(await pool.read(data, "", 1000), ExtractedText)
    assert await pool.read(picture(), "", 1000) == ScaledImage("image/png", picture())
    assert pool.pids == [pid]


_STARTED = textwrap.dedent(
    """
    import asyncio, sys
    from bot.files.process_pool import ProcessPool

    async def main():
        pool = ProcessPool(seconds=600)
        reading = asyncio.create_task(pool.read(open(sys.argv[1], "rb").read(), "", 1000))
        while not pool.pids:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        print(pool.pids[0], flush=True)
        await reading

    asyncio.run(main())
    """
)


@linux
async def test_no_process_outlives_a_killed_bot(tmp_path: Path) -> None:
    """Field fault 90: after SIGKILL of the bot, the operating system ends its processes."""
    bomb = tmp_path / "bomb"
    bomb.write_bytes(endless())
    root = str(Path(process_pool.__file__).parents[2])
    bot = await processes.start(
        [sys.executable, "-c", _STARTED, str(bomb)], {"PYTHONPATH": root}, stdout=asyncio.subprocess.PIPE
    )
    assert bot.stdout is not None
    pid = int(await bot.stdout.readline())
    assert not gone(pid)
    bot.kill()
    await bot.wait()
    await until(lambda: gone(pid))


@linux
async def test_a_process_has_limits_and_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 90: memory, files and core dumps are limited; the bot's keys are not passed on."""
    monkeypatch.setenv("PARLEY_STUDIO_TOKEN", "canary-of-a-token")
    memory_mb, environment = Settings(_env_file=None).readers  # pyright: ignore[reportCallIssue]
    pool = ProcessPool(memory_mb=memory_mb, environment=environment)
    await pool.read(b"hello", "", 1000)
    proc = Path(f"/proc/{pool.pids[0]}")
    limits = (proc / "limits").read_text(encoding="ascii")
    assert f"Max address space         {768 << 20}" in limits
    assert "Max core file size        0 " in limits
    assert "Max open files            64 " in limits
    assert b"canary" not in (proc / "environ").read_bytes()
    await pool.close()


@pytest.mark.parametrize(
    "output",
    [
        "b't' + b'\\xff' * 40",
        "b'Z' + b'\\0\\0\\0\\x20' + b'x' * 32",
        "b''",
        "b'u\\0\\0\\0\\x15' + b'\\0' * 16 + b'a/b/c'",
    ],
)
async def test_invalid_output_of_a_process_is_rejected(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 90: a compromised process can't fill the bot's memory or send it invalid data."""
    monkeypatch.setattr(
        process_pool, "_START", f"import sys; sys.stdin.buffer.read(30); sys.stdout.buffer.write({output})"
    )
    pool = ProcessPool(seconds=20)
    with pytest.raises(NotAllowed, match="damaged"):
        await pool.read(b"hello" * 10, "", 1000)
    assert pool.pids == []
    await pool.close()


async def test_a_process_that_cannot_start_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 90: even if the machine can't start another process."""
    pool = ProcessPool()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(NotAllowed, match="in a minute"):
        await pool.read(b"hello", "", 1000)
    await pool.close()


async def test_a_draining_worker_does_not_wait_for_files(harness: Harness) -> None:
    """Field fault 90: SIGTERM did not end the bot while a document was being read."""
    from tests.support.acts import received

    harness.adapter.files["bomb"] = endless()
    pool = harness.files.pool
    pool._seconds = 600  # pyright: ignore[reportPrivateUsage]
    busy = pool._busy  # pyright: ignore[reportPrivateUsage]
    await harness.accept(replace(received("sum up"), attachments=(attached("bomb"),)))
    async with asyncio.timeout(LONG_S):
        async with harness.working(drain_s=0.1):
            await harness.until(lambda: bool(busy))  # one that waits for work may be there before
            pids = [one.process.pid for one in busy]
        await until(lambda: all(map(gone, pids)))
