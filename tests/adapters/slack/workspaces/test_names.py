"""Names of people, channels and user groups in questions: looked up once, without holding an answer up."""

import pytest

from adapters.slack.workspaces import workspace as workspaces
from tests.adapters.slack.conftest import FakeAdapter

LOOKUPS = ("conversations.info", "usergroups.list", "users.info")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no reason to miss a name."""
    monkeypatch.setattr(workspaces.Workspace.names, "__defaults__", (10.0,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<#C0OTHER> is quiet", "#other is quiet"),
        ("<#C0OTHER|> is quiet", "#other is quiet"),
        ("<#C0OTHER|lobby> is quiet", "#lobby is quiet"),
        ("ask <!subteam^S0OPS>", "ask @ops"),
        ("ask <!subteam^S0OPS|@operators>", "ask @operators"),
        ("ask <!subteam^S0GONE>", "ask @unknown-group"),
        ("see <#C0GONE>", "see #unknown-channel"),
        ("see <#C0SECRET|>", "see #private-channel"),
        ("<@U0BOB> in <#C0OTHER>, with <!subteam^S0OPS>", "@bob in #other, with @ops"),
        ("<#C0OTHER> " * 5, "#other " * 4 + "#other"),
    ],
)
async def test_ids_in_a_question_become_names(room: FakeAdapter, text: str, expected: str) -> None:
    """Field fault 49."""
    room.slack.workspace.channels["C0SECRET"] = {"U0BOB", "U0BOT"}
    room.slack.workspace.private.add("C0SECRET")
    room.slack.workspace.channel_names["C0SECRET"] = "layoffs"
    received = await room.asked(f"<@U0BOT> {text}")
    assert received.text == expected


async def test_names_are_looked_up_once(room: FakeAdapter) -> None:
    """Field fault 49."""
    counts: list[list[int]] = []
    for _ in range(3):
        received = await room.asked("<@U0BOT> <#C0OTHER> <!subteam^S0OPS> <!subteam^S0GONE> <#C0GONE>")
        assert received.text == "#other @ops @unknown-group #unknown-channel"
        counts.append([room.slack.calls[method] for method in LOOKUPS[:2]])
    assert counts[0] == counts[1] == counts[2]
    assert counts[0][0] == 2
    assert counts[0][1] in (1, 2), "one list has all groups, unless both were looked up at the same time"


@pytest.mark.parametrize("code", ["missing_scope", "unknown_method", "channel_not_found", "internal_error"])
async def test_without_a_scope_no_id_is_shown(room: FakeAdapter, code: str) -> None:
    """Field fault 49: a fallback when the scope is missing."""
    for method in LOOKUPS[:2]:
        room.slack.fault(method, "error", code=code)
    received = await room.asked("<@U0BOT> <#C0OTHER> and <!subteam^S0OPS>")
    assert received.text == "#unknown-channel and @unknown-group"


async def test_slow_names_do_not_hold_up_a_question(
    room: FakeAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 49: Slack waits for its acknowledgement."""
    monkeypatch.setattr(workspaces.Workspace.names, "__defaults__", (0.01,))
    room.slack.fault("conversations.info", "latency", seconds=0.5)
    first = await room.asked("<@U0BOT> about <#C0OTHER>")
    assert first.text == "about #unknown-channel"
    await room.slack.until(lambda: any(method == "conversations.info" for method, _, _ in room.slack.log))
    monkeypatch.setattr(workspaces.Workspace.names, "__defaults__", (10.0,))
    assert (await room.asked("<@U0BOT> about <#C0OTHER>")).text == "about #other"


async def test_names_in_forwards_and_threads_are_known(room: FakeAdapter) -> None:
    """Field faults 43 and 49."""
    forward = {"is_share": True, "author_name": "Carl", "text": "<@U0BOB> see <#C0OTHER|>, <!subteam^S0OPS>"}
    root = await room.slack.say("C0GENERAL", "U0BOB", "hm", attachments=[forward])
    received = await room.asked("<@U0BOT> why?", thread_ts=root, attachments=[forward])
    assert received.quotes[0].text == "@bob see #other, @ops"
    assert (await room.adapter.context(received.address))[1].text == "@bob see #other, @ops"
