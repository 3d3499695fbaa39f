"""What becomes of fifty messages while a token can't be used: `python -m tests.benchmarks.token_faults`.

The adapter and a simulated Slack, which delivers again what was not accepted, once the fault is over. Answers are
closed as a worker does: what the operator has to correct is a dead letter, what the platform may do later is repeated.
"""

import asyncio
import json
import logging
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from pydantic import SecretStr

from adapters.slack import SlackAdapter, SlackCredentials
from bot.domain.errors import ConfigError, PlatformUnavailable
from bot.domain.events import PostedMessage
from bot.domain.turns import Reply
from bot.storage.redis.client import Redis
from bot.storage.redis.secrets import SecretStore
from tests.adapters.slack.conftest import Engine, FakeAdapter, listening
from tests.simulators.slack import SlackSimulator
from tests.support import servers

MESSAGES = 50
TEAM, DIRECT = "T1", "D0ALICE"
KEY, OTHER = (Fernet.generate_key().decode() for _ in range(2))


@dataclass(kw_only=True)
class Outcome:
    """What became of the messages."""

    accepted_at_once: int = 0
    delivered_again: int = 0
    lost: int = 0
    dead_letters: int = 0
    answered: int = 0


class Town:
    """The app in one workspace, whose token expires in `expires_in` seconds."""

    def __init__(self, redis: Redis, folder: Path, fake: FakeAdapter, expires_in: float) -> None:
        self.redis, self.folder, self.fake, self._expires_in = redis, folder, fake, expires_in

    async def install(self, token: str, *, expires: bool = True) -> None:
        """Store an installation, after which Slack accepts this token only."""
        self.fake.slack.teams.clear()
        self.fake.slack.teams[token] = TEAM
        rotation = {"refresh_token": "refused", "expires_at_s": time.time() + self._expires_in}
        record: dict[str, Any] = {"team": TEAM, "bot_token": token, "bot_user": "U0BOT", "bot_id": "B0BOT"}
        record |= rotation if expires else {}
        await self.store(KEY).put(f"slack:installation:{TEAM}", json.dumps(record).encode())

    def store(self, key: str) -> SecretStore:
        """The secret store of a process with this key."""
        return SecretStore(self.redis, SecretStr(key), self.folder)

    def begin_anew(self, key: str) -> None:
        """As after a restart with this key."""
        workspaces = self.fake.adapter._workspaces  # pyright: ignore[reportPrivateUsage]
        assert workspaces.installations is not None
        workspaces.installations._secrets = self.store(key)  # pyright: ignore[reportPrivateUsage]
        workspaces._known.clear()  # pyright: ignore[reportPrivateUsage]

    async def deliver(self, ts: str) -> bool:
        """Send a message; whether Slack need not send it again."""
        event = {"type": "message", "user": "U0ALICE", "text": "hello", "ts": ts, "event_ts": ts}
        envelope = self.fake.slack.envelope(event | {"channel": DIRECT, "channel_type": "im"})
        granted = {"team_id": TEAM, "enterprise_id": None, "is_enterprise_install": False}
        envelope |= {"team_id": TEAM, "authorizations": [granted]}
        body = json.dumps(envelope).encode()
        return (await self.fake.slack.post(body, self.fake.slack.signed(body)))[0] == 200


Fault = Callable[[Town], Awaitable[None]]


async def nothing(town: Town) -> None:
    """No step."""


async def key_dropped(town: Town) -> None:
    town.begin_anew(OTHER)


async def key_back(town: Town) -> None:
    town.begin_anew(KEY)


async def expired(town: Town) -> None:
    town.fake.slack.teams.clear()


async def reinstalled(town: Town) -> None:
    await town.install("new", expires=False)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A fault before the messages come, one before they are answered, and what ends both."""

    name: str
    expires_in: float = 43_200
    begins: Fault = nothing
    answering: Fault = nothing
    ends: Fault = nothing


SCENARIOS = (
    Scenario(name="the old key was dropped too early, then put back", begins=key_dropped, ends=key_back),
    Scenario(name="Slack refuses to renew a token that is valid for 90 minutes", expires_in=5400),
    Scenario(
        name="the token has expired, the app is installed anew",
        expires_in=-1,
        begins=expired,
        ends=reinstalled,
    ),
    Scenario(name="the app is installed anew while answers are written", answering=reinstalled),
)


@asynccontextmanager
async def town(redis: Redis, folder: Path, expires_in: float) -> AsyncGenerator[Town]:
    """The app, installed."""
    engine = Engine()
    async with SlackSimulator(retry_pauses_s=()) as slack:
        credentials = SlackCredentials(
            signing_secret=SecretStr(slack.signing_secret),
            client_id="client",
            client_secret=SecretStr("secret"),
        )
        store = SecretStore(redis, SecretStr(KEY), folder)
        async with SlackAdapter(credentials, slack.api_url, secrets=store) as adapter:
            runner, slack.bot_url = await listening(adapter, engine)
            slack.workspace.direct("U0ALICE")
            made = Town(redis, folder, FakeAdapter(slack, adapter, engine), expires_in)
            await made.install("old")
            yield made
            await runner.cleanup()


async def run(scenario: Scenario, redis: Redis, folder: Path) -> Outcome:
    """Deliver, end the fault, deliver again, answer."""
    outcome = Outcome()
    async with town(redis, folder, scenario.expires_in) as one:
        await scenario.begins(one)
        messages = [f"17000000{number:02}.000100" for number in range(MESSAGES)]
        again = [ts for ts in messages if not await one.deliver(ts)]
        received = one.fake.engine.received
        outcome.accepted_at_once = len(received)
        posts = [await _try(one.fake.open(event)) for event in received]
        await scenario.answering(one)
        closed = [
            post if isinstance(post, str) else await _try(one.fake.adapter.close(post, Reply(text="Hi.")))
            for post in posts
        ]
        await scenario.ends(one)
        before = len(received)
        for ts in again:
            await one.deliver(ts)
        outcome.delivered_again = len(one.fake.engine.received) - before
        outcome.lost = MESSAGES - len(one.fake.engine.received)
        for event, result in zip(
            one.fake.engine.received, closed + ["later"] * outcome.delivered_again, strict=True
        ):
            if result == "later":
                result = await _try(one.fake.answer(event, "Hi."))
            outcome.dead_letters += result == "dead letter"
            outcome.answered += isinstance(result, PostedMessage)
    return outcome


async def _try(doing: Awaitable[PostedMessage]) -> PostedMessage | str:
    """The post; `later` or `dead letter`, as a worker decides."""
    try:
        return await doing
    except PlatformUnavailable as error:
        return "dead letter" if error.permanent else "later"
    except ConfigError:
        return "dead letter"


async def main() -> None:
    """Print a row for each scenario."""
    logging.disable(logging.CRITICAL)
    print(
        f"| {MESSAGES} messages while | accepted at once | delivered again | lost | dead letters | answered |"
    )
    print("|---|--:|--:|--:|--:|--:|")
    for scenario in SCENARIOS:
        with tempfile.TemporaryDirectory() as folder:
            server = servers.Server(Path(folder))
            with servers.running(server):
                redis = Redis(server.url)
                found = await run(scenario, redis, Path(folder))
                await redis.close()
        numbers = (
            found.accepted_at_once,
            found.delivered_again,
            found.lost,
            found.dead_letters,
            found.answered,
        )
        print(f"| {scenario.name} | {' | '.join(map(str, numbers))} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
