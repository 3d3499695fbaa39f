"""`parley serve` with its embedded Redis, which is killed, stopped, or has no disk space or data any more."""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.patience import PATIENCE_S
from tests.support.processes import Process, end, free_port, start

PARLEY = str(Path(sys.executable).with_name("parley"))


async def until(test: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a condition."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await test():  # noqa: ASYNC110  it is in other processes
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"not within {PATIENCE_S} s: {what}")


@dataclass
class Bot:
    """A `parley serve` with nothing set up: a demo model, a studio and an embedded Redis."""

    folder: Path
    log: Path
    http: aiohttp.ClientSession
    port: int = field(default_factory=free_port)
    process: Process | None = None

    async def begin(self) -> None:
        """Start it, and wait until it is ready."""
        settings = {"PORT": str(self.port), "PARLEY_DATA_DIR": str(self.folder), "PARLEY_LEASE_S": "10"}
        with self.log.open("ab") as log:
            self.process = await start([PARLEY, "serve"], settings, stdout=log.fileno(), stderr=log.fileno())
        await until(self.ready, "the bot is ready")

    async def ready(self) -> bool:
        """Whether it says that it is."""
        return (await self.get("/readyz"))[0] == 200

    async def get(self, path: str) -> tuple[int, Any]:
        """A status and a JSON body; 0 where nothing answers."""
        try:
            async with self.http.get(f"http://127.0.0.1:{self.port}{path}") as response:
                return response.status, await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError):
            return 0, None

    async def say(self, conversation: str, event: str) -> int:
        """Send a message of the studio's page once; the status, 0 where nothing answers."""
        try:
            async with self.http.post(
                f"http://127.0.0.1:{self.port}/studio/conversations/{conversation}/messages",
                json={"id": event, "text": f"how many words: {event} and so on"},
                headers={"X-Parley": "studio"},
            ) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    async def turns(self, conversation: str) -> list[str]:
        """The events that were answered, once for each turn; nothing while Redis is away."""
        status, body = await self.get(f"/studio/conversations/{conversation}")
        return [turn["asked"]["event"] for turn in body["turns"]] if status == 200 else []

    async def measured(self, name: str) -> int:
        """What /metrics says of a number."""
        async with self.http.get(f"http://127.0.0.1:{self.port}/metrics") as response:
            found = re.search(rf"^{name} (\S+)", await response.text(), re.MULTILINE)
        assert found is not None
        return int(float(found[1]))

    async def restarts(self) -> int:
        """How often Redis was started again."""
        return await self.measured("parley_redis_restarts_total")

    def server(self) -> int:
        """The process of the Redis server."""
        return int((self.folder / "redis.pid").read_text())

    async def ended(self) -> int:
        """Wait for the process to end; its exit code."""
        assert self.process is not None
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()

    def output(self) -> str:
        """What it wrote for the operator."""
        return self.log.read_text()


@asynccontextmanager
async def serving(folder: Path, log: Path) -> AsyncGenerator[Bot]:
    """A bot, until the end of the block."""
    jar = aiohttp.CookieJar(
        unsafe=True
    )  # cookies of an address, too: the studio knows a browser by its cookie
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30), cookie_jar=jar) as http:
        bot = Bot(folder, log, http)
        try:
            await bot.begin()
            async with http.get(f"http://127.0.0.1:{bot.port}/") as page:
                assert page.status == 200
            yield bot
        finally:
            if bot.process is not None:
                await end(bot.process, PATIENCE_S)


@pytest.fixture
async def bot(folder: Path, tmp_path: Path) -> AsyncGenerator[Bot]:
    async with serving(folder, tmp_path / "log") as bot:
        yield bot


def runs(pid: int) -> bool:
    """Whether this process is there, and more than the entry of one that ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")


class Chatter:
    """Speaks in several conversations at once, and notes what was acknowledged."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self.conversations = [secrets.token_hex(16) for _ in range(6)]
        self.acknowledged: dict[str, str] = {}

    async def speak(self, count: int) -> None:
        """`count` new messages in each conversation, each sent until it is acknowledged."""

        async def one(room: str) -> None:
            for _ in range(count):
                event = secrets.token_hex(16)

                async def taken(event: str = event) -> bool:
                    return await self._bot.say(room, event) == 202

                await until(taken, "a message is taken")
                self.acknowledged[event] = room

        await asyncio.gather(*map(one, self.conversations))

    async def answered(self) -> None:
        """Wait until everything acknowledged is answered, and see that nothing was answered twice."""

        async def all_there() -> bool:
            return self.acknowledged.keys() <= Counter(await self._turns()).keys()

        await until(all_there, "everything that was acknowledged is answered")
        assert max(Counter(await self._turns()).values()) == 1

    async def _turns(self) -> list[str]:
        return [event for room in self.conversations for event in await self._bot.turns(room)]


async def test_a_killed_redis_restarts_without_loss(bot: Bot) -> None:
    """Field fault 94b: the embedded Redis was never restarted."""
    chatter = Chatter(bot)
    for kills in range(1, 5):
        await chatter.speak(1)  # they are being answered now
        os.kill(bot.server(), signal.SIGKILL)
        await chatter.speak(1)

        async def restarted(kills: int = kills) -> bool:
            return await bot.restarts() == kills

        await until(restarted, "Redis is started again")
    await chatter.answered()
    lines = [line for line in bot.output().splitlines() if "[warning" in line]
    assert len([line for line in lines if "is running again" in line]) == 4
    assert len(lines) < 4 * 25, "a line for each change, not for each try"


async def test_a_hanging_redis_is_restarted(bot: Bot) -> None:
    """Field fault 94b: a stopped or stuck server does not answer, and does not end either."""
    chatter = Chatter(bot)
    await chatter.speak(1)
    os.kill(bot.server(), signal.SIGSTOP)

    async def restarted() -> bool:
        return await bot.restarts() == 1

    await until(restarted, "Redis is started again")
    await chatter.speak(1)
    await chatter.answered()
    assert re.search(r"embedded Redis has not answered for \d+ s", bot.output())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, check=False
        )
        if shutil.which("mount")
        else None
    )
    if mounted is None or mounted.returncode != 0:
        pytest.skip("a small file system can be mounted by root alone")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def test_a_full_disk_is_waited_out(small_disk: Path, tmp_path: Path) -> None:
    """Field fault 94b: after a full disk everything stayed 503 until somebody restarted Parley."""
    async with serving(small_disk / "data", tmp_path / "log") as bot:
        chatter = Chatter(bot)
        await chatter.speak(2)
        filler = small_disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(1024)):
                pass

        async def refused() -> bool:
            return await bot.say(chatter.conversations[0], secrets.token_hex(16)) == 503

        async def told() -> bool:
            return "is full" in str((await bot.get("/readyz"))[1])

        await until(refused, "nothing is accepted")
        await until(told, "the bot says that the disk is full")
        assert bot.process is not None
        assert bot.process.returncode is None
        filler.unlink()
        await until(bot.ready, "it recovers by itself")
        await chatter.speak(1)
        await chatter.answered()
        assert bot.output().count("No events are accepted until there is space") <= 4


async def test_a_truncated_last_write_is_tolerated(bot: Bot) -> None:
    """Field fault 94b: the last write before a crash may be incomplete; it was not acknowledged."""
    chatter = Chatter(bot)
    await chatter.speak(1)
    await chatter.answered()
    os.kill(bot.server(), signal.SIGSTOP)
    with append_only_file(bot.folder).open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$12\r\nparl")
    os.kill(bot.server(), signal.SIGKILL)

    async def restarted() -> bool:
        return await bot.restarts() == 1

    await until(restarted, "Redis is started again")
    await chatter.answered()


def append_only_file(folder: Path) -> Path:
    """The part of the append-only file that grows."""
    return max((folder / "appendonlydir").glob("*.incr.aof"))


async def test_damaged_data_ends_the_process_with_instructions(bot: Bot) -> None:
    """Field fault 94b: a restart that can't succeed is not retried for ever."""
    await Chatter(bot).speak(1)
    os.kill(bot.server(), signal.SIGSTOP)
    file = append_only_file(bot.folder)
    content = file.read_bytes()
    damage = content.index(b"*", len(content) // 2)
    file.write_bytes(content[:damage] + b"?" + content[damage + 1 :])
    os.kill(bot.server(), signal.SIGKILL)
    assert await bot.ended() == 2
    last = bot.output().splitlines()[-6:]
    assert "is damaged" in last[-4], last
    assert "check-aof" in last[-2]
    assert "--fix" in last[-2]
    assert not any("Traceback" in line for line in last)


@pytest.mark.parametrize("obstacle", ["socket", "directory"])
async def test_an_impossible_restart_ends_the_process(bot: Bot, obstacle: str) -> None:
    """Field fault 94b: the path of the socket is taken, or the data directory is gone."""
    server = bot.server()
    if obstacle == "directory":
        shutil.rmtree(bot.folder)
    else:
        (bot.folder / "redis.sock").unlink()
        (bot.folder / "redis.sock").mkdir()
        os.kill(server, signal.SIGKILL)
    assert await bot.ended() == 2
    last = bot.output().splitlines()[-1]
    assert str(bot.folder) in last
    assert ("was removed or replaced" if obstacle == "directory" else "redis.sock") in last
    assert "Traceback" not in bot.output()


@needs_proc
async def test_a_killed_parley_leaves_no_redis_running(bot: Bot) -> None:
    """Field fault 94b: a killed Parley left its Redis process running."""
    chatter = Chatter(bot)
    await chatter.speak(2)  # they are being answered now
    server = bot.server()
    assert runs(server)
    assert bot.process is not None
    bot.process.kill()
    await bot.process.wait()

    async def gone() -> bool:
        return not runs(server)

    await until(gone, "the server has ended")
    assert "ready to exit" in (bot.folder / "redis.log").read_text(), "it ended in order"
    await bot.begin()
    await chatter.answered()


@needs_proc
async def test_an_ordinary_end_drains_before_redis_ends(bot: Bot) -> None:
    """Field fault 94b: running answers are committed at SIGTERM, then Redis syncs and ends."""
    chatter = Chatter(bot)
    await chatter.speak(1)
    server = bot.server()
    assert bot.process is not None
    bot.process.terminate()
    assert await bot.ended() == 0
    assert not runs(server)
    assert "Calling fsync() on the AOF file" in (bot.folder / "redis.log").read_text()
    await bot.begin()
    await chatter.answered()


async def test_redis_is_restarted_while_the_bot_drains(bot: Bot) -> None:
    """Field fault 94b: a service manager may signal all processes of a service at once."""
    chatter = Chatter(bot)
    await chatter.speak(2)

    async def answering() -> bool:
        return await bot.measured("parley_turns_running") > 0

    await until(answering, "something is being answered")
    os.kill(bot.server(), signal.SIGTERM)
    assert bot.process is not None
    bot.process.terminate()
    assert await bot.ended() == 0
    assert "is running again" in bot.output()
    await bot.begin()
    await chatter.answered()


async def test_operator_commands_use_the_running_server(bot: Bot) -> None:
    """Field fault 94b: they neither start a second server on the data nor end the one in use."""
    server = bot.server()
    command = await start(
        [PARLEY, "dead-letters", "list"], {"PARLEY_DATA_DIR": str(bot.folder)}, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await command.communicate()
    assert (command.returncode, output) == (0, b"There are no dead letters.\n")
    assert await bot.ready()
    assert bot.server() == server
    assert await bot.restarts() == 0
