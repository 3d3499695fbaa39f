"""What a message of Slack says, in every form in which people and apps send it."""

import json
import time
from typing import Any

import pytest

from adapters.slack.messages import content as reader
from adapters.slack.messages.content import MessageContent, mentioned_ids, own_mentions

NAMES = {"U1": "Ann", "U2": "Bob", "C1": "general", "S1": "ops"}
Message = dict[str, Any]


def read(**message: Any) -> MessageContent:
    return reader.read_message(message, "U0BOT", NAMES)


def everything(found: MessageContent) -> str:
    """All words that reach the model, and those that reach the person."""
    quotes = [f"{quote.author}|{quote.kind}|{quote.text}" for quote in found.quotes]
    return "\n".join([found.text, *quotes, *(part.sentence for part in found.unread)])


def section(text: str) -> Message:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def rich(*elements: Message) -> list[Message]:
    return [{"type": "rich_text", "elements": list(elements)}]


def line(*pieces: Message) -> Message:
    return {"type": "rich_text_section", "elements": list(pieces)}


def word(text: str, **style: bool) -> Message:
    return {"type": "text", "text": text, **({"style": style} if style else {})}


def cell(text: str) -> Message:
    return {"type": "raw_text", "text": text}


TABLE = {"type": "table", "rows": [[cell("item"), cell("price")], [cell("tea"), cell("3.50")]]}
SHARED = {
    "is_share": True,
    "is_msg_unfurl": True,
    "author_id": "U2",
    "author_name": "Bob",
    "ts": "1700000000.000100",
    "channel_name": "sales",
    "from_url": "https://acme.slack.com/archives/C1/p1700000000000100",
}

RICH_TEXTS: list[tuple[list[Message], str]] = [
    (rich(line(word("hello "), word("there", bold=True))), "hello there"),
    (rich(line({"type": "user", "user_id": "U0BOT"}, word(" why?"))), "why?"),
    (rich(line({"type": "user", "user_id": "U1"}, word(" knows"))), "@Ann knows"),
    (rich(line({"type": "usergroup", "usergroup_id": "S1"})), "@ops"),
    (rich(line({"type": "channel", "channel_id": "C1"})), "#general"),
    (rich(line({"type": "broadcast", "range": "here"})), "@here"),
    (
        rich(line({"type": "link", "url": "https://a.example/x", "text": "the plan"})),
        "[the plan](https://a.example/x)",
    ),
    (rich(line({"type": "link", "url": "https://a.example/x"})), "https://a.example/x"),
    (rich(line({"type": "emoji", "name": "wave", "unicode": "1f44b"})), ":wave:"),
    (rich(line({"type": "date", "timestamp": 1700000000, "format": "{date}"})), "2023-11-14 22:13 UTC"),
    (rich(line({"type": "date", "timestamp": 1700000000, "fallback": "14 November"})), "14 November"),
    (rich(line({"type": "color", "value": "#ff0000"})), "#ff0000"),
    (rich(line(word("rm -rf", code=True))), "`rm -rf`"),
    (rich(line(word("old price", strike=True))), "~~old price~~"),
    (rich({"type": "rich_text_preformatted", "elements": [word("x = 1\ny = 2")]}), "```\nx = 1\ny = 2\n```"),
    (rich({"type": "rich_text_quote", "elements": [word("one\ntwo")]}), "> one\n> two"),
    (
        rich({"type": "rich_text_list", "style": "bullet", "elements": [line(word("a")), line(word("b"))]}),
        "• a\n• b",
    ),
    (
        rich(
            {
                "type": "rich_text_list",
                "style": "ordered",
                "offset": 2,
                "elements": [line(word("c")), line(word("d"))],
            }
        ),
        "3. c\n4. d",
    ),
    (
        rich({"type": "rich_text_list", "style": "bullet", "indent": 1, "elements": [line(word("deep"))]}),
        "• deep",
    ),
    (rich(line(word("Hi:\n")), {"type": "rich_text_list", "elements": [line(word("x"))]}), "Hi:\n• x"),
    ([{"type": "header", "text": {"type": "plain_text", "text": "Outage"}}], "Outage"),
    ([section("CPU of <#C1|ops> is *high* &amp; rising")], "CPU of #ops is *high* & rising"),
    ([{"type": "section", "fields": [{"type": "mrkdwn", "text": "*Host* web-1"}]}], "*Host* web-1"),
    ([{"type": "context", "elements": [{"type": "mrkdwn", "text": "by <@U2>"}]}], "by @Bob"),
    ([{"type": "markdown", "text": "# Title\n\n- point"}], "# Title\n\n- point"),
    (
        [{"type": "image", "alt_text": "a graph of load", "image_url": "https://x.example/i.png"}],
        "[image: a graph of load]",
    ),
    ([{"type": "video", "title": {"type": "plain_text", "text": "Demo"}, "alt_text": "d"}], "Demo"),
    (
        [
            section("x")
            | {"accessory": {"type": "button", "text": {"text": "Open"}, "url": "https://o.example"}}
        ],
        "x\n[Open](https://o.example)",
    ),
    (
        [
            {
                "type": "card",
                "title": {"type": "mrkdwn", "text": "Order 7"},
                "body": {"type": "mrkdwn", "text": "shipped"},
            }
        ],
        "Order 7\nshipped",
    ),
    ([{"type": "call", "call": {"v1": {"name": "Stand-up"}}}], "[call: Stand-up]"),
    ([{"type": "container", "children": [section("inside")]}], "inside"),
    (
        [{"type": "carousel", "elements": [{"type": "card", "title": {"type": "mrkdwn", "text": "One"}}]}],
        "One",
    ),
    ([{"type": "alert", "text": {"type": "mrkdwn", "text": "Fire"}, "level": "error"}], "Fire"),
    (
        [
            {
                "type": "plan",
                "title": "Steps",
                "tasks": [
                    {
                        "type": "task_card",
                        "title": "Build",
                        "output": {"type": "rich_text", "elements": [line(word("ok"))]},
                    }
                ],
            }
        ],
        "Steps\nBuild\nok",
    ),
    ([{"type": "not_invented_yet", "text": {"type": "mrkdwn", "text": "new"}}], "new"),
]


@pytest.mark.parametrize(("blocks", "text"), RICH_TEXTS)
def test_blocks_without_text_are_read(blocks: list[Message], text: str) -> None:
    """Field fault 43: messages that only have blocks."""
    assert read(text="", user="U1", blocks=blocks).text.strip() == text


@pytest.mark.parametrize(("blocks", "text"), RICH_TEXTS)
def test_blocks_of_alerts_are_read(blocks: list[Message], text: str) -> None:
    """Field fault 43: alerts made of blocks, beside a short text for notifications."""
    found = read(text="[FIRING] something", bot_id="B1", username="Grafana", blocks=blocks)
    assert found.text == f"[FIRING] something\n{text}"


def test_text_and_its_blocks_are_read_once() -> None:
    """Field fault 43."""
    blocks = rich(
        line({"type": "user", "user_id": "U0BOT"}, word(" see "), {"type": "channel", "channel_id": "C9"})
    )
    assert read(text="<@U0BOT> see <#C9|plans>", user="U1", blocks=blocks).text == "see #plans"
    shown = [section("*Disk* of web-1 is full")]
    assert read(text="Disk of web-1 is full", bot_id="B1", blocks=shown).text == "Disk of web-1 is full"


def test_a_short_word_is_no_repetition() -> None:
    """Field fault 43."""
    assert read(text="ok", bot_id="B1", blocks=[section("Booking failed")]).text == "ok\nBooking failed"


ATTACHMENTS: list[tuple[str, Message, tuple[str, ...]]] = [
    ("forwarded", SHARED | {"text": "We close on *Friday*"}, ("Bob|forwarded|We close on *Friday*",)),
    ("forwarded", SHARED | {"fallback": "[Nov 14] Bob: hi"}, ("Bob|forwarded|[Nov 14] Bob: hi",)),
    (
        "forwarded",
        SHARED | {"message_blocks": [{"message": {"blocks": rich(line(word("wrapped")))}}]},
        ("|forwarded|wrapped",),
    ),
    ("forwarded", SHARED | {"message_blocks": [section("bare")]}, ("|forwarded|bare",)),
    ("forwarded", SHARED | {"blocks": [section("in blocks")]}, ("|forwarded|in blocks",)),
    ("forwarded", SHARED | {"message": {"user": "U2", "text": "nested"}}, ("|forwarded|nested",)),
    ("forwarded", SHARED | {"text": "", "attachments": [{"title": "Alert", "text": "inner"}]}, ("inner",)),
    ("forwarded", SHARED | {"text": "see", "blocks": [TABLE]}, ("see", "| tea | 3.50 |")),
    ("forwarded", {"is_share": True, "author_subname": "bob", "text": "plain"}, ("bob|forwarded|plain",)),
    (
        "linked",
        {
            "is_msg_unfurl": True,
            "author_id": "U2",
            "text": "seen",
            "from_url": "https://a.slack.com/archives/C1/p1700000000000100",
        },
        ("Bob|linked|seen",),
    ),
    ("forwarded", {"is_reply_unfurl": True, "author_id": "U2", "text": "reply"}, ("Bob|forwarded|reply",)),
    (
        "alert",
        {"color": "danger", "title": "CPU", "title_link": "https://g.example/1", "text": "95 %"},
        ("App|alert|[CPU](https://g.example/1)\n95 %",),
    ),
    (
        "alert",
        {"pretext": "Deploy", "fields": [{"title": "Env", "value": "prod", "short": True}]},
        ("Deploy\nEnv: prod",),
    ),
    ("alert", {"fallback": "Build 12 failed"}, ("Build 12 failed",)),
    ("alert", {"blocks": [section("Pod is *down*")]}, ("Pod is *down*",)),
    ("alert", {"text": "Page <!subteam^S1>", "footer": "PagerDuty"}, ("Page @ops\nPagerDuty",)),
    (
        "alert",
        {"author_name": "Sentry", "title": "TypeError", "fields": [{"title": "count", "value": 7}]},
        ("Sentry|alert|TypeError\ncount: 7",),
    ),
    (
        "alert",
        {"text": "ack?", "actions": [{"type": "button", "text": "Acknowledge", "url": "https://p.example"}]},
        ("[Acknowledge](https://p.example)",),
    ),
    ("alert", {"title": "Graph", "image_url": "https://g.example/render.png"}, ("Graph\n[image]",)),
    (
        "preview",
        {"from_url": "https://blog.example/a", "service_name": "Blog", "title": "A", "text": "Why"},
        ("Blog|preview|A\nWhy",),
    ),
    (
        "preview",
        {"original_url": "https://github.example/1", "title": "Fix #1"},
        ("github.example|preview|Fix #1",),
    ),
    ("table", {"blocks": [TABLE]}, ("App|table|| item | price |\n|---|---|\n| tea | 3.50 |",)),
]


@pytest.mark.parametrize(("kind", "attachment", "expected"), ATTACHMENTS)
def test_attachments_are_quotes_with_author_and_kind(
    kind: str, attachment: Message, expected: tuple[str, ...]
) -> None:
    """Field fault 43: forwards, alerts, previews, tables."""
    found = read(text="", bot_id="B1", username="App", attachments=[attachment])
    assert kind in [quote.kind for quote in found.quotes]
    assert found.text == ""
    for words in expected:
        assert words in everything(found)


def test_a_forward_has_author_time_place_and_files() -> None:
    """Field faults 43 and 44."""
    file = {
        "id": "F1",
        "name": "plan.pdf",
        "mimetype": "application/pdf",
        "url_private": "https://files.slack.com/F1",
    }
    (quote,) = read(
        user="U1", text="why?", attachments=[SHARED | {"text": "Read this", "files": [file]}]
    ).quotes
    assert (quote.by, quote.origin) == ("U2", "#sales")
    assert quote.at is not None
    assert quote.at.year == 2023
    assert [(one.id, one.name) for one in quote.attachments] == [("F1", "plan.pdf")]


FIELDS = [
    *("message_blocks", "files", "fields", "blocks", "attachments", "text", "ts", "author_id", "message"),
    *("title", "fallback", "channel_name", "from_url", "actions", "image_url"),
]


ODD = '[null, 7, -1.5, true, "x", [], [null, 3, "y", [[]]], {}, {"a": {"b": []}}, [{"type": 5}], [{"type": {"a": []}}]]'
VALUES: list[Any] = json.loads(ODD)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", VALUES)
def test_fields_of_any_type_are_survived(name: str, value: Any) -> None:
    """Field fault 43: no type of any field is trusted."""
    found = read(
        user="U1", text="why?", attachments=[SHARED | {"text": "kept"} | {name: value}], blocks=value
    )
    assert found.text.startswith("why?")
    found = read(
        user="U1",
        text="why?",
        attachments=value,
        blocks=[{"type": "table", "rows": value}, {name: value}],
        files=value,
    )
    assert found.text.startswith("why?")


def nested(depth: int, outer: Message, name: str) -> Message:
    value = section("bottom")
    for _ in range(depth):
        value = {**outer, name: [value]}
    return value


@pytest.mark.parametrize(
    "message",
    [
        {"blocks": [nested(5_000, {"type": "container"}, "children")]},
        {"blocks": [nested(5_000, {"type": "rich_text"}, "elements")]},
        {"blocks": [nested(5_000, {"type": "rich_text_list"}, "elements")]},
        {"blocks": [section("word " * 600) for _ in range(400)]},
        {"blocks": [{"type": "context", "elements": [{"type": "mrkdwn", "text": "a"}] * 60_000}]},
        {"blocks": [{"type": "table", "rows": [[cell("x")] * 1_000] * 1_000}]},
        {"attachments": [SHARED | {"text": "word " * 300_000}]},
        {"attachments": [SHARED | {"text": f"number {n}"} for n in range(1_000)]},
        {"attachments": [nested(500, SHARED | {"text": "x"}, "attachments")]},
        {"attachments": [{"fields": [{"title": "t", "value": "v" * 5_000}] * 2_000}]},
        {"text": "<" * 300_000},
        {"text": "<@U1> " * 100_000},
    ],
)
def test_a_huge_message_is_bounded_and_says_so(message: Message) -> None:
    """Field fault 43: what was cut is named."""
    began = time.process_time()
    found = reader.read_message({"user": "U1", "text": "why?"} | message, "U0BOT", NAMES)
    mentioned_ids(message)
    assert time.process_time() - began < 2
    assert len(everything(found)) < 150_000
    assert "The message was only read in part" in everything(found)


# ------------------------------------------------------------------ files

FILES: list[tuple[Message, str]] = [
    ({"id": "F1", "mode": "tombstone"}, "A file was deleted in Slack."),
    ({"id": "F1", "mode": "tombstone", "name": "old.txt"}, "“old.txt” was deleted in Slack."),
    ({"id": "F1", "mode": "hidden_by_limit", "name": "a.pdf"}, "“a.pdf” can't be opened: it is older"),
    (
        {"id": "F1", "name": "plan", "is_external": True, "external_type": "gdrive"},
        "“plan” is stored in Google Drive",
    ),
    ({"id": "F1", "name": "plan", "mode": "external", "external_type": "dropbox"}, "stored in Dropbox"),
    ({"id": "F1", "name": "plan", "mode": "external"}, "stored outside Slack"),
    (
        {"id": "F1", "name": "b.doc", "file_access": "access_denied"},
        "“b.doc” can't be opened: Slack gives me no access",
    ),
    ({"id": "F1", "name": "c.doc", "file_access": "file_not_found"}, "“c.doc” was deleted"),
    ({"id": "F1", "name": "Todo", "mode": "list", "filetype": "list"}, "“Todo” is a Slack list"),
    ({"id": "F1", "title": "Todo", "mimetype": "application/vnd.slack-list"}, "“Todo” is a Slack list"),
    ({"name": "lost.txt"}, "“lost.txt” can't be opened: Slack sent no details"),
    ({}, "A file can't be opened"),
    ({"id": "F1", "mode": "tombstone", "name": 5, "title": ["x"]}, "A file was deleted"),
]


@pytest.mark.parametrize(("file", "sentence"), FILES)
def test_unreadable_files_are_named_with_the_reason(file: Message, sentence: str) -> None:
    """Field fault 45: a name and a clear message, not an error code."""
    found = read(user="U1", text="What is 2+2?", files=[file])
    assert found.text == "What is 2+2?"
    assert found.attachments == ()
    assert sentence in found.unread[0].sentence
    assert "_" not in found.unread[0].sentence


def clip(words: Any, **more: Any) -> Message:
    preview = {"content": words, "has_more": more.pop("has_more", False)}
    clip = {"id": "F1", "name": "audio_message.m4a", "mimetype": "audio/mp4", "subtype": "slack_audio"}
    return clip | {"transcription": {"status": "complete", "preview": preview}} | more


def test_the_transcript_of_a_clip_is_the_question() -> None:
    """Field fault 47."""
    found = read(user="U1", text="", files=[clip("What is two plus two?"), clip("And three?")])
    assert (found.text, found.attachments, found.quotes) == ("What is two plus two?\nAnd three?", (), ())


def test_a_transcript_beside_text_is_a_quote() -> None:
    """Field fault 47."""
    (quote,) = read(user="U1", text="summarise", files=[clip("Long talk")]).quotes
    assert (quote.author, quote.kind, quote.text, quote.by) == ("Ann", "transcript", "Long talk", "U1")


@pytest.mark.parametrize(
    ("file", "text", "attached", "sentence"),
    [
        (clip("Begin", has_more=True, vtt="https://files.slack.com/x.vtt"), "Begin", ["text/vtt"], ""),
        (clip("Begin", has_more=True), "Begin", [], "only read its beginning"),
        (clip("Look", subtype="slack_video", mimetype="video/mp4"), "Look", [], "is a video"),
        (clip(None), "", ["audio/mp4"], ""),
        (clip("   "), "", ["audio/mp4"], ""),
        (clip(["x"]), "", ["audio/mp4"], ""),
        (clip("x", transcription={"status": "processing"}), "", ["audio/mp4"], ""),
        (clip("x", transcription="none"), "", ["audio/mp4"], ""),
        (clip("x", transcription={"preview": "x"}), "", ["audio/mp4"], ""),
        (clip("Hallo <@U1>", mimetype="video/webm"), "Hallo <@U1>", [], ""),
    ],
)
def test_clips_of_every_kind(file: Message, text: str, attached: list[str], sentence: str) -> None:
    """Field fault 47: a clip is read as far as Slack transcribed it, and otherwise looked up when it is answered."""
    found = read(user="U1", text="", files=[file])
    assert found.text == text
    assert [one.mime for one in found.attachments] == attached
    assert sentence in everything(found)


EMAIL = {
    "id": "F1",
    "mode": "email",
    "filetype": "email",
    "mimetype": "text/html",
    "subject": "Offer",
    "title": "Offer",
}


def test_an_email_is_quoted_with_its_sender() -> None:
    """Field fault 48."""
    people = [{"address": "eve@x.example", "name": "Eve", "original": "Eve <eve@x.example>"}]
    attached = [{"filename": "terms.pdf", "mimetype": "application/pdf", "size": 4}]
    file = EMAIL | {"from": people, "to": people, "plain_text": "We offer 5.", "attachments": attached}
    found = read(user="U1", text="is this good?", files=[file])
    (quote,) = found.quotes
    assert (quote.author, quote.kind) == ("Eve <eve@x.example>", "e-mail")
    assert quote.text == "Subject: Offer\nTo: Eve <eve@x.example>\n\nWe offer 5."
    assert [part.sentence[:12] for part in found.unread] == ["“terms.pdf” "]
    assert read(user="U1", files=[EMAIL]).attachments[0].data["kind"] == "email"


@pytest.mark.parametrize(
    "more",
    [
        {"mimetype": "application/vnd.slack-docs"},
        {"mode": "quip", "filetype": "quip"},
        {"mode": "canvas"},
        {"filetype": "canvas"},
        {"mode": "space", "filetype": "space", "mimetype": "text/plain"},
        {"filetype": "post", "mode": "post"},
    ],
)
def test_a_canvas_is_fetched_as_a_page(more: Message) -> None:
    """Field fault 48."""
    (file,) = read(
        files=[{"id": "F1", "name": "Untitled_canvas", "title": "Plan", "size": 9, **more}]
    ).attachments
    assert (file.name, file.data["kind"], file.size_bytes) == ("Plan", "canvas", None)


# ------------------------------------------------------------------ names and links


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<!subteam^S1|@ops>", "@ops"),
        ("<!subteam^S1|ops>", "@ops"),
        ("<!subteam^S1>", "@ops"),
        ("<!subteam^S1|>", "@ops"),
        ("<!subteam^S9>", "@unknown-group"),
        ("<#C1>", "#general"),
        ("<#C1|>", "#general"),
        ("<#C1|lobby>", "#lobby"),
        ("<#C9|>", "#unknown-channel"),
        ("<#G9>", "#unknown-channel"),
        ("<!date^1700000000^{date}|14 Nov>", "14 Nov"),
        ("<!date^1700000000^{date_short}^https://x.example>", "2023-11-14 22:13 UTC"),
        ("<!here>", "@here"),
        ("<@U1|ann.smith>", "@Ann"),
    ],
)
def test_mentions_become_names(text: str, expected: str) -> None:
    """Field fault 49: no id reaches the model."""
    assert read(text=text, user="U1").text == expected


def test_ids_of_everything_without_a_name_are_found() -> None:
    """Field fault 49."""
    message = {
        "text": "<@U1> <#C1|> <#C2|named> <!subteam^S1> <!subteam^S2|@named>",
        "blocks": rich(line({"type": "user", "user_id": "U3"}, {"type": "usergroup", "usergroup_id": "S3"})),
        "attachments": [SHARED | {"text": "<@U4> in <#C4>"}],
    }
    assert mentioned_ids(message) == {"U1", "C1", "S1", "U3", "S3", "U4", "C4"}
    assert own_mentions(message) == {"U1", "U3"}


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("<https://acme.slack.com/archives/C1/p1700000000000100>", 1),
        ("<https://acme.slack.com/archives/C1/p1700000000000100|the thread>", 1),
        ("https://acme.slack.com/archives/C1/p1700000000000100?thread_ts=1700000000.000001&amp;cid=C1", 1),
        ("https://acme.enterprise.slack.com/archives/C1/p1700000000000100.", 1),
        ("https://app.slack.com/client/T1/C1/thread/C1-1700000000.000100", 1),
        ("https://slack-gov.com/archives/G1/p1700000000000100", 1),
        (
            "https://acme.slack.com/archives/D1/p1700000000000100 and again https://acme.slack.com/archives/D1/p1700000000000100",
            1,
        ),
        ("https://acme.slack.com/archives/C1", 0),
        ("https://acme.slack.com.evil.example/archives/C1/p1700000000000100", 0),
        ("https://notslack.com/archives/C1/p1700000000000100", 0),
        ("https://acme.slack.com/files/U1/F1/x.txt", 0),
        ("https://acme.slack.com/archives/C1/p17", 0),
        (" ".join(f"https://a.slack.com/archives/C{n}/p1700000000000100" for n in range(9)), 3),
    ],
)
def test_links_to_messages_are_found(text: str, links: int) -> None:
    """Field fault 46."""
    assert len(read(text=text, user="U1").links) == links


def test_a_forward_without_text_is_looked_up() -> None:
    """Field faults 43 and 46."""
    assert read(user="U1", text="", attachments=[SHARED]).links == (SHARED["from_url"],)
    found = read(user="U1", text="", attachments=[{"is_share": True, "author_name": "Bob"}])
    assert "came without its text" in found.unread[0].sentence
