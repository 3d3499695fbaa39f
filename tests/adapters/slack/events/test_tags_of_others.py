"""Whom a message in Slack tags, beside the bot."""

import pytest

from adapters.slack.events.parser import Bot, parse
from adapters.slack.payloads import Payload
from bot.domain.events import MessageReceived

BOT = Bot(team="T1", user="U0BOT", bot="B0BOT")


def message(text: str, *elements: Payload, thread: str = "1700000000.000100") -> MessageReceived:
    """A message in a thread; with elements, it has the rich text that Slack's clients send."""
    blocks = [{"type": "rich_text", "elements": list(elements)}] if elements else []
    event = {
        "type": "message",
        "channel": "C1",
        "user": "U0ANN",
        "text": text,
        "ts": "1700000001.000200",
        "thread_ts": thread,
        "blocks": blocks,
    }
    parsed = parse({"type": "event_callback", "team_id": "T1", "event": event}, BOT, {})
    assert isinstance(parsed, MessageReceived)
    return parsed


def section(*elements: Payload, kind: str = "rich_text_section") -> Payload:
    return {"type": kind, "elements": list(elements)}


def user(id: str, **style: bool) -> Payload:
    return {"type": "user", "user_id": id, "style": style}


WORDS: Payload = {"type": "text", "text": "can you check this?"}
OTHERS = {
    "a person": message("<@U0BOB> can you check this?", section(user("U0BOB"), WORDS)),
    "a person of a text": message("<@U0BOB> can you check this?"),
    "a person with a label": message("can you, <@W0BOB|bob>?"),
    "the bot and a person": message(
        "<@U0BOT> ask <@U0BOB>", section(user("U0BOT"), WORDS, user("U0BOB", bold=True))
    ),
    "a user group": message(
        "<!subteam^S1|@oncall>", section({"type": "usergroup", "usergroup_id": "S1"}, WORDS)
    ),
    "a user group of a text": message("<!subteam^S1> please"),
    "here": message("<!here> lunch?", section({"type": "broadcast", "range": "here"}, WORDS)),
    "channel of a text": message("<!channel> lunch?"),
    "everyone of a text": message("<!everyone|@everyone> lunch?"),
    "another bot": message("<@U0JIRA> create", section(user("U0JIRA"), WORDS)),
    "in a list": message(
        "• <@U0BOB>", {"type": "rich_text_list", "elements": [section(WORDS, user("U0BOB"))]}
    ),
    "beside a quote": message(
        "&gt; <@U0BOT>\n<@U0BOB> see above",
        section(user("U0BOT"), kind="rich_text_quote"),
        section(user("U0BOB"), WORDS),
    ),
}
NOT_OTHERS = {
    "no tag": message("can you check this?", section(WORDS)),
    "the bot": message("<@U0BOT> can you check this?", section(user("U0BOT"), WORDS)),
    "the bot of a text": message("<@U0BOT|parley> can you?"),
    "a channel": message("see <#C2|general>", section({"type": "channel", "channel_id": "C2"}, WORDS)),
    "a date and a link": message("<!date^1700000000^{date}|today> <https://example.com|@bob>"),
    "a quote": message(
        "&gt; <@U0BOB> wrote this\nreally?", section(user("U0BOB"), kind="rich_text_quote"), section(WORDS)
    ),
    "a quote of a text": message("&gt; <@U0BOB> wrote this\nreally?"),
    "inline code": message("`<@U0BOB>` ok?", section(user("U0BOB", code=True), WORDS)),
    "inline code of a text": message("`<@U0BOB>` ok?"),
    "a code block": message(
        "```<!here>```", section({"type": "broadcast"}, kind="rich_text_preformatted"), section(WORDS)
    ),
    "a code block of a text": message("what is this?\n```\nnotify <!here>\n<@U0BOB>\n```"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_somebody_else_is_tagged(case: str) -> None:
    """Field fault 105: every way to tag others is recognised."""
    assert OTHERS[case].mentions_others


@pytest.mark.parametrize("case", NOT_OTHERS)
def test_nobody_else_is_tagged(case: str) -> None:
    assert not NOT_OTHERS[case].mentions_others


def test_the_bot_is_addressed_all_the_same() -> None:
    assert OTHERS["the bot and a person"].addressed
    assert not OTHERS["a person"].addressed
