"""What came with a question in Slack beside its words: alerts, forwards, clips, files, links."""

import itertools
from typing import Any

import pytest

from tests.simulators.slack_methods import Message
from tests.story.conftest import Town

pytestmark = pytest.mark.asyncio(loop_scope="module")

GENERAL = "C0GENERAL"
_numbers = itertools.count()


async def answered(town: Town, channel: str, thread: str) -> tuple[Message, str]:
    """The answer in a thread, and the last message that the model was sent for it."""

    def ended() -> list[Message]:
        return [
            one for one in town.slack.thread(channel, thread) if one.get("bot_id") and one.get("metadata")
        ]

    await town.slack.until(ended)
    content: Any = town.azure.journal[-1].body["messages"][-1]["content"]
    return ended()[0], content if isinstance(content, str) else content[0]["text"]


def direct(town: Town) -> str:
    """A new direct conversation."""
    channel = f"D0PARTS{next(_numbers)}"
    town.slack.workspace.channels[channel] = {"U0ALICE", town.slack.workspace.bot_user}
    return channel


async def test_an_alert_is_explained(town: Town) -> None:
    """Field fault 43: "@parley what is wrong here?" under an alert."""
    alert = {"color": "danger", "title": "CPU of web-1", "fields": [{"title": "load", "value": "97 %"}]}
    app = {"bot_id": "B0ALARM", "bot_profile": {"name": "Grafana"}, "subtype": "bot_message"}
    root = town.slack.workspace.add(GENERAL, app, None, text="", attachments=[alert])["ts"]
    await town.slack.say(GENERAL, "U0ALICE", "<@U0BOT> what is wrong here?", root)
    _, sent = await answered(town, GENERAL, root)
    assert 'author="Grafana"' in sent
    assert "CPU of web-1\nload: 97 %" in sent


async def test_a_forward_is_answered(town: Town) -> None:
    """Field fault 43: a DM with a forwarded message and no comment."""
    channel = direct(town)
    forward = {"is_share": True, "author_name": "Bob", "channel_name": "sales", "text": "Is the offer out?"}
    ts = await town.slack.say(channel, "U0ALICE", "", attachments=[forward])
    answer, sent = await answered(town, channel, ts)
    assert "Ask me anything" not in answer["markdown"]
    assert '<message author="Bob" kind="forwarded" from="#sales">\nIs the offer out?\n</message>' in sent


async def test_a_clip_is_a_question(town: Town) -> None:
    """Field fault 47."""
    channel = direct(town)
    clip = {
        "id": "F1",
        "subtype": "slack_audio",
        "transcription": {"preview": {"content": "What is two plus two?"}},
    }
    ts = await town.slack.say(channel, "U0ALICE", "", files=[clip])
    assert (await answered(town, channel, ts))[1] == "What is two plus two?"


async def test_a_zip_does_not_swallow_the_question(town: Town) -> None:
    """Field fault 45."""
    channel = direct(town)
    url = f"{town.slack.workspace.origin}/files/F0ZIP"
    file = {"id": "F0ZIP", "name": "all.zip", "mimetype": "application/zip", "url_private": url}
    town.slack.workspace.files["F0ZIP"] = file | {"content": b"PK\x03\x04 nothing"}
    ts = await town.slack.say(
        channel, "U0ALICE", "What is 2+2?", files=[file, {"id": "F0OLD", "mode": "tombstone"}]
    )
    answer, sent = await answered(town, channel, ts)
    assert sent.endswith("What is 2+2?")
    assert "“all.zip” is damaged" in answer["markdown"]
    assert "A file was deleted in Slack." in answer["markdown"]


async def test_a_linked_thread_is_summarised(town: Town) -> None:
    """Field fault 46: the linked thread, not the present one."""
    town.slack.workspace.channels["C0SALES"] = {"U0BOB", town.slack.workspace.bot_user}
    there = town.slack.workspace.add("C0SALES", {"user": "U0BOB"}, None, text="We sell on Friday")["ts"]
    here = await town.slack.say(GENERAL, "U0BOB", "The present thread")
    link = f"https://acme.slack.com/archives/C0SALES/p{there.replace('.', '')}"
    await town.slack.say(GENERAL, "U0ALICE", f"<@U0BOT> summarise this thread <{link}>", here)
    _, sent = await answered(town, GENERAL, here)
    assert "We sell on Friday" in sent
    assert "The present thread" not in sent


async def test_a_log_of_a_colleague_is_read(town: Town) -> None:
    """Field fault 44."""
    url = f"{town.slack.workspace.origin}/files/F0LOG"
    file = {"id": "F0LOG", "name": "log.txt", "mimetype": "text/plain", "url_private": url}
    town.slack.workspace.files["F0LOG"] = file | {"content": b"Error in line 7"}
    root = await town.slack.say(GENERAL, "U0BOB", "It fails", files=[file])
    await town.slack.say(GENERAL, "U0ALICE", "<@U0BOT> summarise this file", root)
    assert "Error in line 7" in (await answered(town, GENERAL, root))[1]


async def test_an_unreadable_thread_is_announced(town: Town) -> None:
    """Field fault 53."""
    root = await town.slack.say(GENERAL, "U0BOB", "Shall we?")
    town.slack.fault("conversations.replies", "error", code="missing_scope")
    await town.slack.say(GENERAL, "U0ALICE", "<@U0BOT> what do they want?", root)
    answer, sent = await answered(town, GENERAL, root)
    for text in (answer["markdown"], sent):
        assert "The earlier messages of this thread could not be read" in text
    town.slack.faults.clear()
