"""Operators are told once that a limit of a tenant is nearly, or fully, used up."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from bot.domain import telemetry
from bot.domain.adapter import contact_key
from bot.domain.errors import ConfigError, PlatformUnavailable
from bot.domain.events import Address, User
from bot.storage.embedded.compaction import Compaction
from bot.storage.erasure.people import Erasure
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.storage.redis.secrets import SecretStore
from bot.storage.usage import notices
from bot.storage.usage.contacts import OperatorContacts
from bot.worker import operator_messages
from bot.worker.operator_messages import OperatorMessages
from tests.storage.usage.test_notices import Books
from tests.support.acts import ADA, received
from tests.support.fake_adapter import FakeAdapter
from tests.support.patience import PATIENCE_S

GRETA = User(id="U1", tenant="acme", name="Greta", locale="de-DE", zone="Europe/Berlin")


class Messenger(FakeAdapter):
    """A platform with these people, which notes what each was told."""

    def __init__(self, name: str, *people: str) -> None:
        super().__init__()
        self.name = name
        self.people = set(people)
        self.failures: list[Exception] = []
        self.told: list[tuple[str, str, Address | None]] = []
        self.changed = asyncio.Event()

    async def tell(self, user: User, address: Address | None, notice: str, write: Callable[[], str]) -> bool:
        if self.failures:
            raise self.failures.pop(0)
        if user.id not in self.people:
            return False
        self.told.append((user.id, write(), address))
        self.changed.set()
        return True


@dataclass
class Office:
    """The operators' side of a process: books, contacts, platforms."""

    books: Books
    contacts: OperatorContacts
    adapters: Mapping[str, Messenger] = field(default_factory=dict[str, Messenger])

    @property
    def messages(self) -> OperatorMessages:
        return OperatorMessages(self.books.charges.notices, self.contacts, self.adapters)


def office(redis: Redis, folder: Path, *adapters: Messenger, limits: str = "tenant: $10/day") -> Office:
    books = Books(redis, limits)
    contacts = OperatorContacts(SecretStore(redis, None, folder), ["U1", "U2"])
    return Office(books, contacts, {one.name: one for one in adapters})


async def test_each_operator_is_told_once(
    redis: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slack = Messenger("slack", "U1", "U2")
    desk = office(redis, tmp_path, slack)
    before = telemetry.LIMITS_REACHED.labels("dollars", "day", "80")._value.get()  # pyright: ignore
    await desk.books.spend("a", 8.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            await desk.messages.send_all()
    assert [who for who, _, _ in slack.told] == ["U1", "U2"]
    text = slack.told[0][1]
    assert text.startswith(
        "**A limit of the organisation acme is nearly used up:** $8.00 of $10.00 per day (80%)."
    )
    assert "at 00:00 UTC" in text
    assert "change `PARLEY_LIMITS`" in text
    (line,) = [one for one in caplog.messages if "has reached" in one]
    assert line.startswith(
        "The limit of tenant acme, $10.00 a day, has reached 80 %: $8.00 are used. It resets at 20"
    )
    assert telemetry.LIMITS_REACHED.labels("dollars", "day", "80")._value.get() == before + 1  # pyright: ignore
    assert await desk.books.noted() == []


async def test_an_operator_reads_their_language_and_time(redis: Redis, tmp_path: Path) -> None:
    teams = Messenger("teams", "U1")
    desk = office(redis, tmp_path, teams)
    asked = received(user=GRETA, conversation="teams:acme:chat")
    await desk.contacts.remember(replace(asked, direct=True))
    await desk.books.spend("a", 10.0)
    await desk.messages.send_all()
    ((_, text, address),) = teams.told
    assert text.startswith(
        "**Die Organisation acme hat ein Limit erreicht:** 10,00\xa0$ von 10,00\xa0$ pro Tag"
    )
    assert "um 01:00" in text or "um 02:00" in text
    assert address == asked.address


async def test_only_chats_of_operators_are_remembered(redis: Redis, tmp_path: Path) -> None:
    contacts = OperatorContacts(SecretStore(redis, None, tmp_path), ["U1"])
    alone = replace(received(user=GRETA), direct=True)
    await contacts.remember(replace(alone, direct=False))
    await contacts.remember(replace(alone, user=ADA))
    assert await contacts.of("U1") == []
    assert await contacts.of(ADA.id) == []
    await contacts.remember(alone)
    await redis.call("DEL", keys.secret(contact_key(GRETA)))
    await contacts.remember(alone)  # it is known that it was stored a moment ago
    assert await contacts.of("U1") == []


async def test_forget_deletes_where_an_operator_is(redis: Redis, tmp_path: Path) -> None:
    secrets = SecretStore(redis, None, tmp_path)
    contacts = OperatorContacts(secrets, ["U1"])
    await contacts.remember(replace(received(user=GRETA), direct=True))
    assert [one.user for one in await contacts.of("U1")] == [GRETA]
    await Erasure(redis, secrets, Compaction(redis, embedded=False)).forget(GRETA)
    assert await contacts.of("U1") == []


async def test_an_absent_platform_is_asked_again(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_messages, "RETRY_S", -1.0)
    slack = Messenger("slack", "U1", "U2")
    slack.failures = [PlatformUnavailable("away"), PlatformUnavailable("away")]
    desk = office(redis, tmp_path, slack)
    await desk.books.spend("a", 10.0)
    await desk.messages.send_all()
    assert sorted(who for who, _, _ in slack.told) == ["U1", "U2"]


@pytest.mark.parametrize("failure", [ConfigError("a revoked token"), None])
async def test_an_unreachable_operator_is_logged(
    redis: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture, failure: Exception | None
) -> None:
    slack = Messenger("slack", "U2")
    slack.failures = [failure] if failure is not None else []
    desk = office(redis, tmp_path, slack)
    await desk.books.spend("a", 10.0)
    with caplog.at_level(logging.WARNING):
        await desk.messages.send_all()
    assert [who for who, _, _ in slack.told] == ["U2"]
    assert [one for one in caplog.messages if one.startswith("The operator U1 can't be told of a limit")]
    assert await desk.books.noted() == []


async def test_another_platform_is_tried(redis: Redis, tmp_path: Path) -> None:
    slack, teams = Messenger("slack"), Messenger("teams", "U1", "U2")
    desk = office(redis, tmp_path, slack, teams)
    slack.failures = [PlatformUnavailable("away")]
    await desk.books.spend("a", 10.0)
    await desk.messages.send_all()
    assert [who for who, _, _ in teams.told] == ["U1", "U2"]


async def test_what_was_reset_is_not_told(redis: Redis, tmp_path: Path) -> None:
    slack = Messenger("slack", "U1", "U2")
    desk = office(redis, tmp_path, slack)
    old = notices.LimitNotice(
        recipient="U1", measure="dollars", period="day", window="2020-01-01", most=5, used=5, percent=100
    )
    await redis.call("ZADD", keys.of_tenant("notices", "acme"), 0, msgspec.json.encode(old))
    await redis.call("ZADD", keys.of_tenant("notices", "acme"), 0, b"of another version")
    desk.books.charges.notices.added("acme", 2)
    await desk.messages.send_all()
    assert slack.told == []
    assert await redis.call("ZCARD", keys.of_tenant("notices", "acme")) == 0


async def test_two_processes_tell_an_operator_once(redis: Redis, tmp_path: Path) -> None:
    slack = Messenger("slack", "U1", "U2")
    one, other = office(redis, tmp_path, slack), office(redis, tmp_path, slack)
    await asyncio.gather(one.books.spend("a", 5.0), other.books.spend("b", 5.0))
    await asyncio.gather(*(each.messages.send_all() for each in (one, other, one, other)))
    assert sorted(who for who, _, _ in slack.told) == ["U1", "U2"]


async def test_a_notice_of_a_killed_process_is_sent(redis: Redis, tmp_path: Path) -> None:
    """It was noted, and the process died before anything else."""
    killed = office(redis, tmp_path, Messenger("slack"))
    await killed.books.spend("a", 10.0)
    await killed.books.charges.tidy()
    slack = Messenger("slack", "U1", "U2")
    await office(redis, tmp_path, slack).messages.send_all()
    assert [who for who, _, _ in slack.told] == ["U1", "U2"]


async def test_a_running_process_sends_at_once(redis: Redis, tmp_path: Path) -> None:
    slack = Messenger("slack", "U1", "U2")
    desk = office(redis, tmp_path, slack)
    async with desk.messages.sending():
        await desk.books.spend("a", 10.0)
        async with asyncio.timeout(PATIENCE_S):
            await slack.changed.wait()
    assert slack.told
