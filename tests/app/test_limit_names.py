"""Names in limits: looked up in the background, kept for the next start, and never silently without effect."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from bot.app import limit_names, server
from bot.app.limit_names import LimitNames
from bot.app.services import open_services
from bot.app.settings import Settings
from bot.domain import telemetry
from bot.domain.errors import ConfigError, PlatformUnavailable
from bot.domain.limits import Limits, read
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.storage.usage.limit_names import LimitNameStore
from tests.simulators.slack import SlackSimulator
from tests.support.fake_adapter import FakeAdapter
from tests.support.patience import PATIENCE_S

BOTH = "channel: $20/day; channel #general: $1/day; person ann@x.org: $9/day"


class Directory(FakeAdapter):
    """A platform that knows these names."""

    def __init__(self, **known: str) -> None:
        super().__init__()
        self.known = known
        self.failure: Exception | None = None
        self.asked: list[str] = []

    async def find_channels(self, names: Collection[str]) -> Mapping[str, str]:
        self.asked += names
        if self.failure is not None:
            raise self.failure
        return {name: self.known[name] for name in names if name in self.known}

    async def find_person(self, email: str) -> str:
        self.asked.append(email)
        if self.failure is not None:
            raise self.failure
        return self.known.get(email.partition("@")[0], "")


class Process:
    """The names of one process, and the limits that it applies."""

    def __init__(self, redis: Redis, limits: str = BOTH) -> None:
        self.limits = Limits()
        self.changed = asyncio.Event()
        self.names = LimitNames(LimitNameStore(redis), read(limits), self.apply)

    def apply(self, limits: Limits) -> None:
        self.limits = limits
        self.changed.set()

    @property
    def limited(self) -> list[str]:
        return [" ".join(key) for key in self.limits.named]


async def test_names_limit_what_they_stand_for(redis: Redis) -> None:
    """Field fault 117: `channel #general` and an e-mail address limited nobody."""
    process, slack = Process(redis), Directory(general="C1", ann="U1")
    await process.names.refresh(slack)
    assert process.limited == ["channel C1", "person U1"]
    assert [str(limit) for limit in process.limits.of(person="U1", channel="C1", tenant="T")] == [
        "$9.00 a day",
        "$1.00 a day",
    ]
    assert process.limits.problems == ()
    await process.names.refresh(slack)
    assert slack.asked == ["general", "ann@x.org"], "what is known is not asked again"


async def test_an_unresolved_name_is_no_secret(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    process = Process(redis)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            await process.names.refresh(Directory(ann="U1"))
    (problem,) = process.limits.problems
    assert problem.startswith("channel #general: No channel has this name that the bot can see; invite it")
    assert "only the general limits of each channel apply. You can write the ID. In Slack" in problem
    assert [str(limit) for limit in process.limits.of(person="U2", channel="C1", tenant="T")] == [
        "$20.00 a day"
    ]
    assert caplog.messages.count(f"PARLEY_LIMITS: {problem}") == 1
    assert "PARLEY_LIMITS: person ann@x.org is U1 in Slack" in caplog.messages
    assert telemetry.NAMES_UNRESOLVED._value.get() == 1  # pyright: ignore[reportPrivateUsage]


async def test_a_restart_without_slack_keeps_ids(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    await Process(redis).names.refresh(Directory(general="C1", ann="U1"))
    later, slack = Process(redis), Directory()
    await later.names.restore()
    assert later.limited == ["channel C1", "person U1"]
    monkeypatch.setattr(limit_names, "HOLDS_S", -1.0)
    slack.failure = PlatformUnavailable("Slack did not answer")
    await later.names.refresh(slack)
    assert later.limited == ["channel C1", "person U1"]
    assert later.limits.problems[0] == (
        "channel #general: Slack did not answer. Its limits apply to C1, which had this name before."
    )
    slack.failure, slack.known = None, {"general": "C9", "ann": "U1"}
    monkeypatch.setattr(limit_names, "AGAIN_S", -1.0)
    await later.names.refresh(slack)
    assert later.limited == ["channel C9", "person U1"]
    assert later.limits.problems == ()


async def test_a_reload_looks_names_up_again(redis: Redis) -> None:
    process, slack = Process(redis), Directory(general="C1", ann="U1", other="C2")
    async with process.names.resolving([FakeAdapter(), slack]):
        async with asyncio.timeout(PATIENCE_S):
            while process.limited != ["channel C1", "person U1"]:
                process.changed.clear()
                await process.changed.wait()
            slack.known["general"] = "C9"
            process.names.configure(read("channel #general: $1/day; channel #other: $2/day"))
            assert process.limited == ["channel C1", "channel #other"], "meanwhile what was known applies"
            while process.limited != ["channel C9", "channel C2"]:
                process.changed.clear()
                await process.changed.wait()


async def test_one_process_asks_for_all(redis: Redis) -> None:
    one, other, slack = Process(redis), Process(redis), Directory(general="C1", ann="U1")
    assert await LimitNameStore(redis).lock()
    await one.names.refresh(slack)
    assert slack.asked == []
    assert one.limits.problems[0].startswith("channel #general has not been looked up yet.")
    await LimitNameStore(redis).unlock()
    await one.names.refresh(slack)
    await other.names.refresh(slack)
    assert slack.asked == ["general", "ann@x.org"]
    assert other.limited == ["channel C1", "person U1"]
    assert await redis.call("EXISTS", keys.LIMIT_NAMES_LOCK) == 0


async def test_a_missing_permission_is_explained(redis: Redis) -> None:
    process, slack = Process(redis), Directory()
    slack.failure = ConfigError("Add users:read.email to the app's scopes.")
    found = await process.names.check(slack)
    assert [one.level for one in found] == ["error", "error"]
    assert found[1].words.startswith(
        "person ann@x.org: Add users:read.email to the app's scopes. Until it is found"
    )


async def test_the_check_is_bounded_in_time(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Directory):
        async def find_channels(self, names: Collection[str]) -> Mapping[str, str]:
            await asyncio.Event().wait()
            return {}

    monkeypatch.setattr(limit_names, "CHECK_S", 0.01)
    found = await Process(redis).names.check(Slow(), "Teams")
    assert {one.level for one in found} == {"warning"}


async def test_check_says_what_names_are(redis: Redis, tmp_path: Path) -> None:
    async with SlackSimulator() as slack:
        settings = Settings.model_validate(
            {
                "redis_url": redis.url,
                "parley_data_dir": tmp_path,
                "slack_bot_token": slack.bot_token,
                "slack_signing_secret": slack.signing_secret,
                "slack_api_url": slack.api_url,
                "parley_teams_auth": "off",
                "parley_limits": "channel #general: $1/day; person alice@example.com: $2/day; channel #no: $3/day",
            }
        )
        found = [one for one in await server.check(settings) if " #" in one.words or "@" in one.words]
        told = [(one.level, one.words) for one in found if not one.words.startswith("channel #general: $")]
        assert told[:2] == [
            ("ok", "channel #general is C0GENERAL in Slack; not in Teams, where limits need IDs"),
            ("ok", "person alice@example.com is U0ALICE in Slack; not in Teams, where limits need IDs"),
        ]
        assert told[2][0] == "error"
        assert told[2][1].startswith("channel #no: No channel has this name")
        async with open_services(settings) as services:
            assert list(services.storage.ledger.limits.named)[:2] == [
                ("channel", "C0GENERAL"),
                ("person", "U0ALICE"),
            ]
