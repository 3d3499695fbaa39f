"""`parley sessions`: who is signed in to the studio, and signing people out."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bot.cli.main import parley as command_line
from bot.domain.events import now
from bot.storage.redis.client import Redis
from bot.storage.studio.sessions import Session, Sessions

Run = Callable[..., "asyncio.Future[Result]"]


@pytest.fixture
def parley(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command, which has its own event loop, in a thread, on the Redis of this test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)

    def run(*arguments: str) -> "asyncio.Future[Result]":
        task = asyncio.to_thread(CliRunner().invoke, command_line, ["sessions", *arguments])
        return asyncio.ensure_future(task)

    return run


async def sign_in(redis: Redis, id: str, person: str) -> None:
    at = now()
    session = Session(
        id=id,
        person=person,
        name=person.title(),
        login=f"{person}@contoso.example",
        role="editor",
        way="entra",
        browser="Firefox on Linux",
        began_at=at,
        ends_at=at,
    )
    await Sessions(redis, idle_s=600, absolute_s=3600).begin(session)


async def test_sessions_are_listed_and_ended(redis: Redis, parley: Run) -> None:
    """Field fault 121: an operator signs people out without the studio."""
    assert (await parley("list")).output == "There are no sessions.\n"
    for id, person in (("1" * 32, "ada"), ("2" * 32, "ada"), ("3" * 32, "bob"), ("4" * 32, "eve")):
        await sign_in(redis, id, person)
    listed = (await parley("list")).output
    assert f"{'3' * 32}  Bob (bob@contoso.example), editor, Firefox on Linux" in listed
    assert "person bob, since" in listed
    assert (await parley("end", "--person", "ada")).output == "Ended 2 sessions.\n"
    assert (await parley("end", "3" * 32)).output == "Ended 1 session.\n"
    assert (await parley("end", "3" * 32)).exit_code == 1
    assert (await parley("end", "--all")).output == "Ended 1 session.\n"
    assert (await parley("list")).output == "There are no sessions.\n"


async def test_nobody_is_signed_out_by_mistake(redis: Redis, parley: Run) -> None:
    await sign_in(redis, "1" * 32, "ada")
    for arguments in ((), ("--person", ""), ("--all", "--person", "ada"), ("1" * 32, "--all")):
        assert "Give ids" in str((await parley("end", *arguments)).exception)
    assert "1" * 32 in (await parley("list")).output
