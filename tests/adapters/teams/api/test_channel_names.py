"""Field fault 108: channels appeared as ids, because messages of Teams do not carry their names."""

import pytest

from tests.adapters.teams.conftest import Rig

CHANNEL = "19:plan@thread.tacv2"


@pytest.mark.parametrize(("listed", "name"), [("Launch plan", "Launch plan"), (None, "General")])
async def test_a_channel_has_its_name(rig: Rig, listed: str | None, name: str) -> None:
    rig.teams.channels[CHANNEL] = listed
    for _ in range(3):
        received = await rig.asked(f"{CHANNEL};messageid=1", mention=True)
        known = await rig.adapter.with_sender(received)
        assert (known.channel_name, known.channel) == (name, CHANNEL)
        assert (known.user.zone, known.user.locale) == ("Europe/London", "en-GB")
    assert rig.teams.channel_lists == 1, "it is asked for once a day"


async def test_an_unknown_channel_has_no_name(rig: Rig) -> None:
    for _ in range(2):
        received = await rig.asked(f"{CHANNEL};messageid=1", mention=True)
        assert (await rig.adapter.with_sender(received)).channel_name == ""
    assert rig.teams.channel_lists == 1
    direct = await rig.asked("a:alice")
    assert await rig.adapter.with_sender(direct) == direct
