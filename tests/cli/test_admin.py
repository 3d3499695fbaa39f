"""`parley dead-letters`: list, retry and drop."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bot.cli.main import parley as command_line
from bot.domain.events import MessageReceived
from bot.storage.queue.inbox import Claim, CommitRequest, Inbox
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.support.acts import received

Parley = Callable[..., Result]


@pytest.fixture
def parley(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Parley:
    """Runs a command on the Redis of this test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(command_line, ["dead-letters", *arguments])

    return run


async def on(parley: Parley, *arguments: str) -> Result:
    """Run a command, which has its own event loop, in a thread."""
    result = await asyncio.to_thread(parley, *arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
async def inbox(redis: Redis) -> Inbox:
    return Inbox(redis, lease_s=30, limit=20, retention_s=3600)


async def dead_letter(inbox: Inbox, conversation: str, text: str, reason: str) -> None:
    await inbox.accept(received(text, event=f"of {conversation}", conversation=conversation))
    claim = await inbox.claim(keys.shard_of(conversation))
    assert isinstance(claim, Claim)
    await inbox.commit(claim, CommitRequest(dead_letter_reason=reason))


async def waiting(inbox: Inbox, conversation: str) -> str:
    claim = await inbox.claim(keys.shard_of(conversation))
    return claim.event.text if isinstance(claim, Claim) and isinstance(claim.event, MessageReceived) else ""


async def test_an_empty_list_says_so(redis: Redis, parley: Parley) -> None:
    assert (await on(parley, "list")).output == "There are no dead letters.\n"


async def test_the_list_shows_reason_attempts_and_text(inbox: Inbox, parley: Parley) -> None:
    await dead_letter(inbox, "slack:T1:C1:1.2", "Please sum up\nthis: " + "word " * 99, "ValueError: boom")
    first, said_, why = (await on(parley, "list")).output.splitlines()
    shape = r"[0-9a-f]{10}  \d{4}-\d\d-\d\d \d\d:\d\d UTC  1 attempt  slack:T1:C1:1\.2"
    assert re.fullmatch(shape, first)
    assert said_.strip().startswith("message  Please sum up this: word word")
    assert len(said_) < 110
    assert why.strip() == "reason   ValueError: boom"


async def test_one_is_retried_another_is_dropped(inbox: Inbox, parley: Parley) -> None:
    await dead_letter(inbox, "test:one", "once more", "it fails")
    await dead_letter(inbox, "test:two", "never mind", "it fails")
    one, two = re.findall(r"^([0-9a-f]{10}) ", (await on(parley, "list")).output, re.MULTILINE)
    assert (await on(parley, "retry", one)).output == f"{one} is queued again.\n"
    assert (await on(parley, "drop", two)).output == f"{two} is deleted.\n"
    assert await waiting(inbox, "test:one") == "once more"
    assert await waiting(inbox, "test:two") == ""
    again = await on(parley, "retry", one, two)
    assert again.exit_code == 1
    assert f"{two} is not a dead letter." in again.output


async def test_all_are_retried_at_once(inbox: Inbox, parley: Parley) -> None:
    for number in range(3):
        await dead_letter(inbox, f"test:{number}", f"m{number}", "the key is wrong")
    assert (await on(parley, "retry", "--all")).output.count("is queued again.") == 3
    assert [await waiting(inbox, f"test:{number}") for number in range(3)] == ["m0", "m1", "m2"]


async def test_an_id_is_required(redis: Redis, parley: Parley) -> None:
    result = await asyncio.to_thread(parley, "drop")
    assert "Give ids" in str(result.exception)


async def test_the_old_name_of_the_command_still_works(redis: Redis, parley: Parley) -> None:
    result = await asyncio.to_thread(CliRunner().invoke, command_line, ["buried", "list"])
    assert result.output == "There are no dead letters.\n"
    assert "buried" not in (await asyncio.to_thread(CliRunner().invoke, command_line, ["--help"])).output
