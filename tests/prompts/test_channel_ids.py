"""Field fault 82: a channel is given by its id or a link; a name is refused with how to find the id."""

import pytest

from bot.domain.errors import NotAllowed
from bot.prompts.assignments import channel_id

TEAMS = "19:f3a9b1c2d4e5@thread.tacv2"
ARCHIVES = "https://contoso.slack.com/archives"


@pytest.mark.parametrize(
    ("given", "id"),
    [
        ("C0123ABCDEF", "C0123ABCDEF"),
        ("  G0123ABCDEF ", "G0123ABCDEF"),
        ("#C0123ABCDEF", "C0123ABCDEF"),
        ("<#C0123ABCDEF|sales>", "C0123ABCDEF"),
        ("<#C0123ABCDEF>", "C0123ABCDEF"),
        (f"{ARCHIVES}/C0123ABCDEF", "C0123ABCDEF"),
        (f"{ARCHIVES}/C0123ABCDEF/p1700000000000100?thread_ts=1.2&cid=C9", "C0123ABCDEF"),
        ("https://app.slack.com/client/T0123ABCDEF/C0123ABCDEF", "C0123ABCDEF"),
        (TEAMS, TEAMS),
        (f"{TEAMS};messageid=1700000000000", TEAMS),
        (f"https://teams.microsoft.com/l/channel/{TEAMS}/General?groupId=1&tenantId=2", TEAMS),
        (
            "https://teams.microsoft.com/l/channel/19%3af3a9b1c2d4e5%40thread.tacv2/General?groupId=1",
            TEAMS,
        ),
        ("https://teams.microsoft.com/l/message/19%3Af3a9b1c2d4e5%40thread.tacv2/1700?x=1", TEAMS),
        ("19:0a1b_2c3d@unq.gbl.spaces", "19:0a1b_2c3d@unq.gbl.spaces"),
        ("19:meeting_abc@thread.v2", "19:meeting_abc@thread.v2"),
    ],
)
def test_ids_and_links_lead_to_the_channel(given: str, id: str) -> None:
    """Field fault 82."""
    assert channel_id(given) == id


@pytest.mark.parametrize(
    "given",
    [
        *("#sales", "sales", "Sales & Marketing", "General", "", "U0123ABCDEF", "T0123ABCDEF", "@bob"),
        *("c0123abcdef", "https://contoso.slack.com/team/U0123ABCDEF", "https://contoso.example/", "19:half"),
    ],
)
def test_what_is_no_channel_is_refused(given: str) -> None:
    """Field fault 82."""
    with pytest.raises(NotAllowed, match=r"not the id of a channel.*Slack.*Teams"):
        channel_id(given)
