"""What keeps a token from being used now is no reason to lose a message. Field fault 119."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from adapters.slack.api.web_api import SlackRejected
from adapters.slack.workspaces.installations import TokenUnreadable
from bot.domain.errors import ConfigError, PlatformUnavailable, StateUnavailable
from bot.domain.turns import Reply
from bot.storage.redis.client import Redis
from bot.storage.redis.secrets import SecretStore
from tests.adapters.slack.conftest import Engine, FakeAdapter, listening
from tests.adapters.slack.workspaces.test_installations import (
    DIRECT,
    adapter_for_many,
    expiring,
    grant,
    hear,
    install,
    installations_of,
)
from tests.simulators.slack import SlackSimulator
from tests.support.patience import PATIENCE_S


@pytest.fixture
async def town(redis: Redis, folder: Path) -> AsyncIterator[FakeAdapter]:
    """The app, installed in T1 with the token `old`."""
    engine = Engine()
    async with SlackSimulator(retry_pauses_s=()) as slack, adapter_for_many(slack, redis, folder) as adapter:
        runner, slack.bot_url = await listening(adapter, engine)
        slack.workspace.direct("U0ALICE")
        fake = FakeAdapter(slack, adapter, engine)
        grant(fake, "a code", "T1", "old")
        await install(fake, "a code")
        yield fake
        await runner.cleanup()


def use(town: FakeAdapter, store: SecretStore) -> None:
    """Let the process begin anew with these keys."""
    installations_of(town.adapter)._secrets = store  # pyright: ignore[reportPrivateUsage]
    town.adapter._workspaces._known.clear()  # pyright: ignore[reportPrivateUsage]


async def reinstall(town: FakeAdapter, token: str) -> None:
    """Another installation, after which Slack refuses the token of the first one."""
    town.slack.teams.pop("old", None)
    grant(town, "another code", "T1", token)
    await install(town, "another code")


async def expire(town: FakeAdapter, in_s: float) -> None:
    """Install the app with a token that expires, and that nothing renews."""
    grant(town, "a short code", "T1", "old", **expiring(town, "refresh 1", "old", in_s))
    await install(town, "a short code")
    town.adapter._workspaces._known.clear()  # pyright: ignore[reportPrivateUsage]


async def test_without_the_key_slack_delivers_again(town: FakeAdapter, redis: Redis, folder: Path) -> None:
    """Field fault 119: every message got 200 and was never answered, also after the key was back."""
    use(town, SecretStore(redis, SecretStr(Fernet.generate_key().decode()), folder))
    assert await hear(town, "T1", "hello") == 503
    assert town.engine.received == []
    use(town, SecretStore(redis, None, folder))
    assert (await hear(town, "T1", "hello"), len(town.engine.received)) == (200, 1)


async def test_without_the_key_answers_wait(town: FakeAdapter, redis: Redis, folder: Path) -> None:
    """Field fault 119: the worker tries again for hours, instead of a dead letter."""
    await hear(town, "T1", "hello")
    use(town, SecretStore(redis, SecretStr(Fernet.generate_key().decode()), folder))
    with pytest.raises(PlatformUnavailable) as error:
        await town.open(town.engine.received[-1])
    assert not error.value.permanent


async def test_a_damaged_installation_is_not_another_app(town: FakeAdapter) -> None:
    await installations_of(town.adapter)._secrets.put(  # pyright: ignore[reportPrivateUsage]
        "slack:installation:T1", b"{"
    )
    assert await hear(town, "T1", "hello") == 503


async def test_a_token_lives_although_its_renewal_is_refused(town: FakeAdapter) -> None:
    """Field fault 119: the workspace was silent while its token was valid for another 90 minutes."""
    await expire(town, 90 * 60)
    await hear(town, "T1", "hello")
    assert town.slack.calls["oauth.v2.access"] == 3, "two installations, and a renewal that was refused"
    await town.answer(town.engine.received[-1], "Hello.")
    assert town.shown(town.engine.received[-1]) == ["Hello."]


async def test_an_expired_token_loses_no_message(town: FakeAdapter) -> None:
    """Field fault 119: what arrives is stored, and answered once the token is renewed."""
    await expire(town, -1)
    await hear(town, "T1", "hello")
    (received,) = town.engine.received
    del town.slack.teams["old"]
    with pytest.raises(TokenUnreadable) as error:
        await town.answer(received, "Hello.")
    assert not error.value.permanent
    await reinstall(town, "new")
    await town.answer(received, "Hello.")
    assert town.shown(received) == ["Hello."]


async def test_a_revoked_token_is_read_again(town: FakeAdapter) -> None:
    """Field fault 119: after a reinstall the old token was used for 60 s, and the answer dead-lettered."""
    await hear(town, "T1", "hello")
    (received,) = town.engine.received
    post = await town.open(received)
    await reinstall(town, "new")
    await town.adapter.close(post, Reply(text="Hello."))
    assert town.shown(received) == ["Hello."]


async def test_a_revoked_token_is_given_up_once(town: FakeAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 119: the store is asked once; without another token, an operator has to act."""
    await hear(town, "T1", "hello")
    post = await town.open(town.engine.received[-1])
    town.slack.teams.pop("old")
    store, reads = installations_of(town.adapter), list[tuple[str, ...]]()
    find = store.find

    async def counted(*place: str) -> object:
        reads.append(place)
        return await find(*place)

    monkeypatch.setattr(store, "find", counted)
    workspace = await town.adapter._workspaces.of("T1")  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(SlackRejected, match="invalid_auth"):
        await workspace.api.call("conversations.info", {"channel": DIRECT})
    assert reads == [("T1", "")]
    with pytest.raises(ConfigError, match="/slack/install"):
        await town.adapter.close(post, Reply(text="Hello."))


async def test_an_unreadable_store_is_no_refusal(town: FakeAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 119: whether there is a newer token is not known, so the call is made again later."""
    await hear(town, "T1", "hello")
    post = await town.open(town.engine.received[-1])
    town.slack.teams.pop("old")

    async def away(*place: str) -> object:
        raise StateUnavailable("away")

    monkeypatch.setattr(installations_of(town.adapter), "find", away)
    with pytest.raises(TokenUnreadable):
        await town.adapter.close(post, Reply(text="Hello."))


async def test_a_slow_renewal_delays_no_other_workspace(
    town: FakeAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 122: one lock for all renewals made each workspace wait for the others."""
    store = installations_of(town.adapter)
    for team in ("T1", "T2"):
        grant(town, team, team, f"old {team}", **expiring(town, f"refresh {team}", f"old {team}", 60))
        await install(town, team)
        town.slack.workspace.grants[f"refresh {team}"] = expiring(town, "next", f"new {team}", 43_200)
    began, answered, exchange = asyncio.Event(), asyncio.Event(), store.exchange

    async def slowly(**grant: str) -> dict[str, Any]:
        if grant["refresh_token"] == "refresh T1":
            began.set()
            await answered.wait()
        return await exchange(**grant)

    monkeypatch.setattr(store, "exchange", slowly)
    slow = asyncio.create_task(store.find("T1", ""))
    async with asyncio.timeout(PATIENCE_S):
        await began.wait()
        assert (await store.find("T2", "")).bot_token == "new T2"
        assert not slow.done()
        answered.set()
        assert (await slow).bot_token == "new T1"


async def test_a_refused_method_concerns_one_workspace(town: FakeAdapter) -> None:
    """Field fault 122: `unknown_method` from one workspace turned native streams off for all."""
    grant(town, "a code of T2", "T2", "xoxb-T2")
    await install(town, "a code of T2")
    town.slack.fault("chat.startStream", "error", code="unknown_method")
    for team, streams in (("T1", 1), ("T1", 1), ("T2", 2)):
        await hear(town, team, f"hello from {team}")
        received = town.engine.received[-1]
        post = await town.open(received)
        await town.adapter.update(post, "Because")
        await town.slack.until(lambda: town.shown(received) != [])  # noqa: B023 - awaited at once
        await town.adapter.close(post, Reply(text="Because."))
        assert town.slack.calls["chat.startStream"] == streams, team


async def test_check_goes_on_after_an_unreadable_token(town: FakeAdapter, redis: Redis, folder: Path) -> None:
    """Field fault 119: each workspace is named, and the others are looked at all the same."""
    other = SecretStore(redis, SecretStr(Fernet.generate_key().decode()), folder)
    await other.put("slack:installation:T0", b"x")
    found = await town.adapter.check()
    assert [finding.level for finding in found] == ["error", "ok", "ok"]
    assert "T0" in found[0].words
