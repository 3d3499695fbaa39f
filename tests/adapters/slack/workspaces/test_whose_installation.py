"""Field faults 123 and 124: which installation a payload, a form, a mention and a removal belong to."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.slack.payloads import Origin, origin
from adapters.slack.workspaces.installations import PREFIX
from bot.domain.adapter import StillServed
from bot.domain.events import AppUninstalled, now
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.adapters.slack.conftest import FakeAdapter
from tests.adapters.slack.workspaces import test_installations
from tests.adapters.slack.workspaces.test_installations import DIRECT, grant, hear, install, uninstalls

town = test_installations.town
VALUE = json.dumps({"conversation": "slack:T1:C1:1700000000.000100", "post": "p"})
PARTNER = {"team": {"id": "T9"}, "user": {"id": "U9", "team_id": "T9"}}
ORGANISATION = {"id": "E1", "name": "Everybody"}


@pytest.mark.parametrize(
    ("payload", "place"),
    [
        ({"type": "view_submission", "view": {"app_installed_team_id": "T1"}}, ("T1", "")),
        ({"type": "view_submission", "view": {"private_metadata": '{"team": "T1"}'}}, ("T1", "")),
        (
            {"view": {"private_metadata": '{"team": "T1"}', "app_installed_team_id": "E1"}},
            ("T1", "E1"),
        ),
        ({"view": {"private_metadata": '{"team": "T1", "enterprise": "E1"}'}}, ("T1", "E1")),
        ({"type": "block_actions", "actions": [{"value": VALUE}]}, ("T1", "")),
        ({"type": "block_actions", "actions": [{"value": "yes"}]}, ("T9", "")),
        ({"type": "shortcut"}, ("T9", "")),
    ],
)
def test_forms_of_partners_find_their_installation(payload: dict[str, Any], place: tuple[str, str]) -> None:
    """Field fault 123: "Ask about this" from a partner workspace got 200, and was lost."""
    assert origin(payload | PARTNER) == Origin(*place)


async def test_a_partners_question_is_answered(town: FakeAdapter) -> None:
    grant(town, "a code", "T1", "xoxb-T1")
    await install(town, "a code")
    known = {"team": "T1", "channel": DIRECT, "thread": "1.1", "question": "1.1", "author": "Ann"}
    state = {"values": {"words": {"words": {"type": "plain_text_input", "value": "what is this?"}}}}
    view: dict[str, Any] = {
        "id": "V1",
        "callback_id": "ask_about",
        "private_metadata": json.dumps(known),
        "blocks": [],
    }
    view |= {"state": state, "app_installed_team_id": "T1"}
    delivery = await town.slack.act({"type": "view_submission", "view": view} | PARTNER)
    assert delivery.status == 200
    (received,) = town.engine.received
    assert (received.text, received.user.tenant) == ("what is this?", "T1")
    assert (received.user.role, received.user.home) == ("partner", "T9")


async def mention_in(town: FakeAdapter, ours: str, ts: str) -> None:
    """Slack delivers a mention of the bot of T2 by the installation `ours`."""
    event = {"type": "app_mention", "user": "U0ALICE", "channel": "C0GENERAL"}
    envelope = town.slack.envelope(event | {"text": "<@U0BOTT2> hello", "ts": ts})
    envelope |= {"authorizations": [{"team_id": ours, "is_enterprise_install": False}]}
    body = json.dumps(envelope).encode()
    await town.slack.post(body, town.slack.signed(body))


async def in_two_companies(town: FakeAdapter) -> None:
    for team in ("T1", "T2"):
        grant(town, f"code of {team}", team, f"xoxb-{team}", bot_user_id=f"U0BOT{team}")
        await install(town, f"code of {team}")


async def test_each_answers_its_own_mention(town: FakeAdapter) -> None:
    """Field fault 123: in a channel of two companies that both have the app, the wrong bot could answer."""
    await in_two_companies(town)
    for count, ours in enumerate(("T1", "T2", "T1")):
        await mention_in(town, ours, f"170000000{count}.000100")
    assert [(each.user.tenant, each.text) for each in town.engine.received] == [("T2", "hello")] * 3


async def test_an_unreadable_token_hides_no_other_bot(town: FakeAdapter, redis: Redis) -> None:
    """Field faults 119 and 123: a workspace whose key was lost must not stop the mentions of others."""
    await in_two_companies(town)
    await redis.call("SET", keys.secret(f"{PREFIX}T0"), b"sealed with a key that was lost")
    await mention_in(town, "T1", "1700000000.000100")
    assert [(each.user.tenant, each.text) for each in town.engine.received] == [("T2", "hello")]


async def removed(town: FakeAdapter, kind: str = "app_uninstalled", *, late_s: int = 0, **more: Any) -> None:
    """The app is removed in the organisation E1, or a workspace of it."""
    event = {"type": kind} | ({"team_ids": ["T5"]} if kind == "team_access_revoked" else {})
    granted = {"team_id": "T5", "enterprise_id": "E1", "is_enterprise_install": True} | more
    envelope = town.slack.envelope(event) | {
        "authorizations": [granted],
        "event_time": int(time.time()) - late_s,
    }
    body = json.dumps(envelope).encode()
    await town.slack.post(body, town.slack.signed(body))


async def still(town: FakeAdapter) -> StillServed:
    """What is left when the last removal is processed."""
    event: AppUninstalled = uninstalls(town)[-1]
    return await town.adapter.still_served(event)


@pytest.fixture
async def grid(town: FakeAdapter) -> FakeAdapter:
    """An organisation with an installation, and a workspace of it with one of its own."""
    grant(town, "whole", "", "xoxb-E1", enterprise=ORGANISATION)
    grant(town, "own", "T5", "xoxb-T5", enterprise=ORGANISATION)
    await install(town, "whole")
    await install(town, "own")
    return town


async def test_an_organisations_removal_spares_own_installations(grid: FakeAdapter) -> None:
    """Field fault 124: it wiped the settings of a workspace that had its own."""
    await removed(grid)
    assert await still(grid) == StillServed(frozenset(("T5",)))
    await hear(grid, "T5", "still here", enterprise_id="E1")
    assert grid.engine.received[-1].user.organisation == ""


async def test_revoked_access_leaves_a_workspaces_own(grid: FakeAdapter) -> None:
    await removed(grid, "team_access_revoked")
    assert await still(grid) == StillServed(frozenset(("T5",)))
    await hear(grid, "T5", "still here", enterprise_id="E1")
    assert grid.engine.received, "its own token is still stored"


async def test_an_organisation_goes_on_serving(grid: FakeAdapter) -> None:
    await removed(grid, is_enterprise_install=False)
    assert await still(grid) == StillServed(frozenset(("T5",)))
    await hear(grid, "T5", "still here", enterprise_id="E1", is_enterprise_install=True)
    assert grid.engine.received[-1].user.organisation == "E1"


async def test_a_late_removal_finds_the_app_renewed(town: FakeAdapter) -> None:
    """Field fault 124: an `app_uninstalled` that came after a reinstallation wiped its settings."""
    grant(town, "a code", "T5", "xoxb-T5", enterprise=ORGANISATION)
    await install(town, "a code")
    await removed(town, late_s=60, is_enterprise_install=False)
    assert await still(town) == StillServed(renewed=True)


async def test_a_removal_processed_late_finds_it_renewed(town: FakeAdapter) -> None:
    """The event waits in the inbox while the app is installed again."""
    grant(town, "a code", "T5", "xoxb-T5")
    await install(town, "a code")
    await removed(town, late_s=-1, is_enterprise_install=False, enterprise_id=None)
    assert await still(town) == StillServed()
    grant(town, "again", "T5", "xoxb-T5b")
    await install(town, "again")
    a_minute_ago = replace(uninstalls(town)[-1], at=now() - timedelta(minutes=1))
    assert await town.adapter.still_served(a_minute_ago) == StillServed(renewed=True)
