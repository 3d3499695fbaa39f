"""Field fault 123: what somebody is where they write: a member, a guest, a partner, an app, an administrator."""

from typing import Any

import pytest

from tests.adapters.slack.conftest import FakeAdapter, room_with
from tests.adapters.slack.inbound.test_senders import KeptSecrets

GRID = {"enterprise_user": {"enterprise_id": "E1"}, "team_id": "T9"}
SHARED = {"is_ext_shared_channel": True}


@pytest.mark.parametrize(
    ("facts", "role", "home"),
    [
        ({}, "member", ""),
        ({"is_restricted": True}, "guest", ""),
        ({"is_restricted": True, "is_ultra_restricted": True}, "guest", ""),
        ({"is_admin": True}, "admin", ""),
        ({"is_owner": True}, "admin", ""),
        ({"is_bot": True}, "bot", ""),
        ({"team_id": "T9"}, "partner", "T9"),
        ({"team_id": "T9", "is_admin": True, "is_owner": True}, "partner", "T9"),
        ({"is_stranger": True, "team_id": "T9"}, "partner", "T9"),
        (GRID, "partner", "T9"),
    ],
)
async def test_users_info_tells_the_role(facts: dict[str, Any], role: str, home: str) -> None:
    async with room_with(secrets=KeptSecrets()) as room:
        room.slack.workspace.facts["U0ALICE"] = facts
        user = (await room.asked()).user
        assert (user.role, user.home) == (role, home)
        assert user.visits_from == {"guest": "T0SIM", "partner": "T9"}.get(role, "")
        await room.asked()
        assert room.slack.calls["users.info"] == 1


async def test_what_older_versions_stored_is_renewed() -> None:
    """Else a guest would count as a member until the next day."""
    secrets = KeptSecrets()
    secrets.stored["person:T0SIM:U0ALICE"] = b'{"name": "alice"}'
    async with room_with(secrets=secrets) as room:
        room.slack.workspace.guests.add("U0ALICE")
        assert (await room.asked()).user.role == "guest"


async def test_webhooks_and_apps_are_no_people(room: FakeAdapter) -> None:
    hook = {"type": "app_mention", "subtype": "bot_message", "bot_id": "B0HOOK", "text": "<@U0BOT> mute"}
    await room.slack.deliver([hook | {"channel": "C0GENERAL", "ts": "1700000000.000100"}])
    user = room.engine.received[-1].user
    assert (user.id, user.role) == ("B0HOOK", "bot")
    assert (await room.asked("<@U0BOT> mute", bot_id="B0FLOW")).user.role == "bot", "in a person's name"


@pytest.mark.parametrize(("more", "role"), [(SHARED, "partner"), ({}, "partner")])
async def test_a_payload_tells_of_unknown_partners(
    room: FakeAdapter, more: dict[str, Any], role: str
) -> None:
    """Slack may tell nothing of somebody in another organisation, or too late."""
    room.slack.fault("users.info", "error", count=9, code="missing_scope")
    user = (await room.asked(user_team="T9", **more)).user
    assert (user.role, user.home) == (role, "T9")


async def test_who_cannot_be_looked_up_is_a_partner(room: FakeAdapter) -> None:
    room.slack.fault("users.info", "error", count=9, code="user_not_visible")
    assert (await room.asked()).user.role == "partner"


async def test_an_unknown_sender_counts_as_member(room: FakeAdapter) -> None:
    room.slack.fault("users.info", "500", count=9)
    assert (await room.asked()).user.role == ""
