"""Whom a message in Teams mentions, beside the bot."""

from typing import Any

import pytest

from adapters.teams.activities.activity import read
from adapters.teams.activities.parser import parse
from bot.domain.events import MessageReceived

BOT, BOB = "28:bot", "29:bob"
Entity = dict[str, Any]


def mention(id: str, name: str, **more: str) -> Entity:
    return {"type": "mention", "mentioned": {"id": id, "name": name, **more}, "text": f"<at>{name}</at>"}


def message(text: str, *entities: Entity, html: str = "") -> MessageReceived:
    copy = [{"contentType": "text/html", "content": html}] if html else []
    activity = read(
        {
            "type": "message",
            "id": "17",
            "serviceUrl": "https://smba.trafficmanager.net/emea/",
            "from": {"id": "29:ann", "name": "Ann"},
            "recipient": {"id": BOT, "name": "Parley"},
            "conversation": {"id": "19:x@thread.tacv2;messageid=16", "conversationType": "channel"},
            "text": text,
            "entities": list(entities),
            "attachments": copy,
        }
    )
    parsed = parse(activity)
    assert isinstance(parsed, MessageReceived)
    return parsed


_AT_BOT, _AT_BOB = '<at id="0">Parley</at>', '<at id="1">Bob</at>'
_MENTION = '<span itemscope itemtype="http://schema.skype.com/Mention" itemid="0">Bob</span>'
OTHERS = {
    "a person": message("<at>Bob</at> can you check?", mention(BOB, "Bob")),
    "a person with a copy": message(
        "<at>Bob</at> can you?", mention(BOB, "Bob"), html='<p><at id="0">Bob</at> can you?</p>'
    ),
    "only in the copy": message("Bob can you?", html=f"<p>{_MENTION} can you?</p>"),
    "the bot and a person": message(
        "<at>Parley</at> ask <at>Bob</at>",
        mention(BOT, "Parley"),
        mention(BOB, "Bob"),
        html=f"<p>{_AT_BOT} ask {_AT_BOB}</p>",
    ),
    "a tag": message("<at>On call</at> please", mention("MDg4", "On call", type="tag")),
    "a channel": message("<at>General</at> lunch?", mention("19:x@thread.tacv2", "General", type="channel")),
    "a team": message("<at>Sales</at> lunch?", mention("19:team@thread.tacv2", "Sales", type="team")),
    "everyone": message("<at>Everyone</at> lunch?", mention("19:x@thread.v2", "Everyone")),
    "another bot": message("<at>Jira</at> create", mention("28:jira", "Jira")),
    "a person called as the bot": message("<at>Parley</at> hi", mention(BOB, "Parley")),
}
_QUOTED = f'<blockquote itemtype="http://schema.skype.com/Reply"><p>{_MENTION} wrote</p></blockquote>'
NOT_OTHERS = {
    "no mention": message("can you check?", html="<p>can you check?</p>"),
    "the bot": message("<at>Parley</at> hi", mention(BOT, "Parley"), html=f"<p>{_AT_BOT} hi</p>"),
    "the bot without an entity": message("Parley hi", html=f"<p>{_AT_BOT} hi</p>"),
    "a quote": message("really?", html=f"{_QUOTED}<p>really?</p>"),
    "a quote with an entity": message("really?", mention(BOB, "Bob"), html=f"{_QUOTED}<p>really?</p>"),
    "code": message("what is this?", html=f"<p>what is this?</p><pre>{_MENTION}</pre>"),
    "a typed tag": message("what does <at> mean?", html="<p>what does &lt;at&gt;Bob&lt;/at&gt; mean?</p>"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_somebody_else_is_mentioned(case: str) -> None:
    """Field fault 105: every way to mention others is recognised."""
    assert OTHERS[case].mentions_others


@pytest.mark.parametrize("case", NOT_OTHERS)
def test_nobody_else_is_mentioned(case: str) -> None:
    assert not NOT_OTHERS[case].mentions_others


def test_the_bot_is_addressed_all_the_same() -> None:
    assert OTHERS["the bot and a person"].addressed
    assert not OTHERS["a person called as the bot"].addressed
