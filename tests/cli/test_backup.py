"""A backup made while people are answered, and restored elsewhere: nothing is posted twice."""

import asyncio
import sys
import tarfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.simulators.azure import AzureSimulator
from tests.simulators.slack import SlackSimulator
from tests.support.processes import end, free_port, listening, start

PARLEY = str(Path(sys.executable).with_name("parley"))
PATIENCE_S = 120


class Bot:
    """`parley` between simulated Slack and Azure OpenAI, on any data directory."""

    def __init__(self, slack: SlackSimulator, azure: AzureSimulator) -> None:
        self._slack = slack
        self._azure = azure
        self._port = free_port()

    def env(self, folder: Path) -> dict[str, str]:
        return {
            "PORT": str(self._port),
            "PARLEY_DATA_DIR": str(folder),
            "PARLEY_LEASE_S": "30",
            "SLACK_BOT_TOKEN": self._slack.bot_token,
            "SLACK_SIGNING_SECRET": self._slack.signing_secret,
            "SLACK_API_URL": self._slack.api_url,
            "AZURE_OPENAI_ENDPOINT": self._azure.endpoint,
            "AZURE_OPENAI_API_KEY": "simulated-key",
            "AZURE_OPENAI_CHAT_DEPLOYMENT": "chat",
        }

    async def command(self, folder: Path, *words: str) -> tuple[int, str]:
        """The exit code of a command, and what it printed."""
        process = await start(
            [PARLEY, *words],
            self.env(folder),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    @asynccontextmanager
    async def serving(self, folder: Path, *, killed: bool = False) -> AsyncGenerator[None]:
        process = await start([PARLEY, "serve"], self.env(folder))
        try:
            await listening(self._port, PATIENCE_S)
            self._slack.bot_url = f"http://127.0.0.1:{self._port}/slack/events"
            yield
        finally:
            if killed:
                process.kill()
                await process.wait()
            await end(process, PATIENCE_S)


async def test_restoring_posts_nothing_twice(tmp_path: Path) -> None:
    """Messages answered before the backup, or pending in it and answered later, have one answer."""
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "parley.tar.gz"
    both = ["You said: still waiting", "You said: queued behind it"]
    async with SlackSimulator() as slack, AzureSimulator() as azure:
        bot = Bot(slack, azure)
        channel = slack.workspace.direct("U0ADA")
        async with bot.serving(old):
            first = await slack.say(channel, "U0ADA", "remember 42")
            await slack.until(lambda: slack.answers(channel, first) == ["You said: remember 42"], PATIENCE_S)
            stalled = azure.fail("stalled", times=-1)
            waiting = await slack.say(channel, "U0ADA", "still waiting")
            await slack.until(lambda: slack.answers(channel, waiting), PATIENCE_S)  # its placeholder is there
            await slack.say(channel, "U0ADA", "queued behind it", waiting)
            code, received = await bot.command(old, "backup", str(file))
            assert code == 0, received
            stalled.times = 0
        # Draining handed the stalled answer over; whoever comes next answers both, after the backup.
        async with bot.serving(old):
            await slack.until(lambda: slack.answers(channel, waiting) == both, PATIENCE_S)

        code, received = await bot.command(new, "restore", str(file))
        assert code == 0, received
        assert "2 pending messages moved to the dead letters" in received, received
        code, listed = await bot.command(new, "dead-letters", "list")
        assert "still waiting" in listed
        assert "queued behind it" in listed

        async with bot.serving(new):
            await slack.say(channel, "U0ADA", "go on", first)
            answers = ["You said: remember 42", "You said: go on"]
            await slack.until(lambda: slack.answers(channel, first) == answers, PATIENCE_S)
        assert "remember 42" in str(azure.journal[-1].body["messages"]), "the history came along"
        assert slack.answers(channel, waiting) == both, "answered once, before and after"


async def test_a_pending_message_can_be_retried_after_restore(tmp_path: Path) -> None:
    """A message that was pending in the backup is answered by `parley dead-letters retry`."""
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "parley.tar.gz"
    async with SlackSimulator(retry_pauses_s=()) as slack, AzureSimulator() as azure:
        bot = Bot(slack, azure)
        channel = slack.workspace.direct("U0ADA")
        stalled = azure.fail("stalled", times=-1)
        async with bot.serving(old, killed=True):
            ts = await slack.say(channel, "U0ADA", "what about me?")
            await slack.until(lambda: slack.answers(channel, ts), PATIENCE_S)
            assert (await bot.command(old, "backup", str(file)))[0] == 0
        stalled.times = 0
        assert (await bot.command(new, "restore", str(file)))[0] == 0
        assert (await bot.command(new, "dead-letters", "retry", "--all"))[0] == 0
        async with bot.serving(new):
            await slack.until(lambda: "You said: what about me?" in slack.answers(channel, ts), PATIENCE_S)


@pytest.mark.parametrize("name", ["../outside", "/outside"])
async def test_an_archive_with_unsafe_paths_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "odd.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        archive.addfile(member)
    async with SlackSimulator() as slack, AzureSimulator() as azure:
        code, received = await Bot(slack, azure).command(tmp_path / "new", "restore", str(file))
    assert code != 0
    assert "is not a file of `parley backup`" in received
    assert not (tmp_path / "outside").exists()


async def test_backup_and_restore_never_overwrite(tmp_path: Path) -> None:
    file = tmp_path / "parley.tar.gz"
    file.write_bytes(b"mine")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "something").write_text("mine")
    async with SlackSimulator() as slack, AzureSimulator() as azure:
        bot = Bot(slack, azure)
        code, received = await bot.command(folder, "backup", str(file))
        assert (code != 0, "already exists" in received) == (True, True)
        code, received = await bot.command(folder, "restore", str(file))
        assert (code != 0, "is not empty" in received) == (True, True)
    assert file.read_bytes() == b"mine"
