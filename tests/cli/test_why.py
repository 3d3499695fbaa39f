"""`parley why`: why a message was answered, or was not."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from bot.cli.main import parley
from bot.cli.why import MessageReference, reference
from bot.domain.events import MessageReceived, User
from bot.storage.redis.client import Redis
from tests.support.acts import ADA, BOB, received
from tests.support.harness import Harness

ROOT = "1700000000.000100"
PLACE = "test:slack:T1:C1"
TEAMS = "19:abc@thread.tacv2"


def said(text: str, ts: str, user: User = ADA, *, mention: bool = False) -> MessageReceived:
    """Somebody writes in a thread; the adapter of the harness is called `test`."""
    event = f"{PLACE}:{ts}"
    return received(
        text, event=event, conversation=f"{PLACE}:{ROOT}", user=user, channel="C1", addressed=mention
    )


@pytest.fixture
async def command(
    redis: Redis, harness: Harness, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> "type[Command]":
    """A thread with three messages, and the command in another process."""
    await harness.accept(said("lunch?", "1600000000.000000", BOB))
    await harness.answer(said("hello", ROOT, mention=True), said("lol", "1700000009.000200", BOB))
    monkeypatch.setenv("REDIS_URL", redis.url)
    monkeypatch.setenv("PARLEY_DATA_DIR", str(folder))
    return Command


class Command:
    """Runs `parley why`."""

    @staticmethod
    async def of(message: str) -> tuple[int, str]:
        """The exit code, and what was printed."""
        import asyncio

        result = await asyncio.to_thread(CliRunner().invoke, parley, ["why", message])
        return result.exit_code, result.output


async def test_an_answered_message_is_explained(command: type[Command]) -> None:
    code, text = await command.of(f"{PLACE}:{ROOT}")
    assert code == 0
    assert "Answered (" in text
    assert "mention): It mentions Parley." in text
    assert "template assistant@" in text


async def test_a_message_between_people_is_explained(command: type[Command]) -> None:
    """Field fault 105: why it was silent is recorded for a day."""
    code, text = await command.of("1700000009.000200")
    assert (code, text.count("\n")) == (0, 1)
    assert "several-people): Several people talk here, and Parley has not been mentioned since." in text


async def test_a_thread_without_the_bot_is_explained(command: type[Command]) -> None:
    code, text = await command.of(f"{PLACE}:1600000000.000000")
    assert code == 1
    assert "only reads threads in which it was mentioned before" in text


async def test_an_unknown_message_says_what_may_be_why(command: type[Command]) -> None:
    code, text = await command.of("https://acme.slack.com/archives/C1/p1700000077000200")
    assert code == 1
    assert "remembered for a day" in text


@pytest.mark.parametrize(
    ("text", "event"),
    [
        (
            f"https://acme.slack.com/archives/C1/p1700000009000200?thread_ts={ROOT}&cid=C1",
            "slack:T1:C1:1700000009.000200",
        ),
        (
            "<https://acme.slack.com/archives/C1/p1700000009000200>",
            "slack:T1:C1:1700000009.000200:edit:1700000010.1",
        ),
        ("slack:T1:C1:1700000009.000200", "slack:T1:C1:1700000009.000200"),
        (
            f"https://teams.microsoft.com/l/message/{TEAMS}/1700000009000?parentMessageId=1700000000000",
            f"teams:{TEAMS};messageid=1700000000000:1700000009000",
        ),
        (
            "https://teams.microsoft.com/l/message/19:x@thread.v2/1700000009000",
            "teams:19:x@thread.v2:1700000009000",
        ),
    ],
)
def test_links_and_ids_refer_to_events(text: str, event: str) -> None:
    assert reference(text).means(event)
    assert not reference(text).means(event.replace("1700000009", "1700000008"))


def test_an_id_is_not_a_part_of_another() -> None:
    assert not MessageReference("", "1700000009000").means("teams:19:x@thread.v2:21700000009000")


async def test_the_reason_is_kept_with_the_turn(harness: Harness) -> None:
    first, second = await harness.answer(
        received("hello", event="a", channel="C1"),
        replace(received("and now?", event="b", channel="C1"), addressed=False),
    )
    assert (first.addressing, second.addressing) == (
        "mention",
        "reply" if "?" in first.reply.text else "follow-up",
    )
