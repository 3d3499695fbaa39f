"""What people send besides text: read, kept apart from their own words, or named as unreadable."""

import json
from typing import Any

import pytest

from adapters.teams.activities.activity import FILE, read
from adapters.teams.activities.message_content import EMPTY
from adapters.teams.activities.parser import parse
from bot.domain.events import MessageReceived
from tests.adapters.teams.activities.test_parser import mention, recorded

SERVICE = "https://smba.trafficmanager.net/emea/"
SKYPE = "http://schema.skype.com"
CARD = "application/vnd.microsoft.card"
TEAMS_CARD = "application/vnd.microsoft.teams.card"
BOT = recorded("group_mention")["recipient"]["id"]


def received(text: str | None, *attachments: Any, html: str = "", **changed: Any) -> MessageReceived:
    """The message with this text, these attachments and this HTML copy."""
    copies = [{"contentType": "text/html", "content": html}] if html else []
    payload = recorded("personal_message", text=text, attachments=[*attachments, *copies], **changed)
    event = parse(read(payload))
    assert isinstance(event, MessageReceived)
    return event


def attached(kind: str, content: Any = None, **fields: Any) -> dict[str, Any]:
    return {"contentType": kind, "content": content, **fields}


# ------------------------------------------------------------------ text that is in the HTML only


@pytest.mark.parametrize(
    ("text", "html", "said"),
    [
        (None, "<p>What does this error mean?</p>", "What does this error mean?"),
        ("", "<div><div>one &amp; two</div>\n<div>three</div></div>", "one & two\nthree"),
        ("\n\n", "<p>one<br>two</p><p>&nbsp;</p>", "one\ntwo"),
        ("Compare", "<p>Compare</p><ul><li>red</li><li>blue<ol><li>navy</li></ol></li></ul>",
         "Compare\n- red\n- blue\n  1. navy"),
        ("Sum name size a 1", "<p>Sum</p><table><tr><th>name<th>size</tr><tr><td>a<td>1</tr></table>",
         "Sum\n| name | size |\n|---|---|\n| a | 1 |"),
        ("why?", '<p>why?</p><p itemtype="http://schema.skype.com/CodeBlockEditor">&nbsp;</p><pre class="language-json'
         ' skipProofing" itemid="codeBlockEditor-1"><code>{<br>&nbsp;&nbsp;<span class="hljs-attr">"a"</span>: 1<br>}'
         "</code></pre>", 'why?\n```json\n{\n  "a": 1\n}\n```'),
        ("", '<codeblock class="Python"><code>x = 1<br>y = 2</code></codeblock>', "```\nx = 1\ny = 2\n```"),
        ("see the plan", '<p>see <a href="https://x.example/p?a=1&amp;b=2">the plan</a></p>',
         "see [the plan](https://x.example/p?a=1&b=2)"),
        ("see https://x.ex", '<p>see <a href="https://x.ex/">https://x.ex</a></p>', "see https://x.ex"),
        ("", f'<p>great <img itemtype="{SKYPE}/Emoji" alt="🙂" src="https://x"> <emoji alt="👍"></emoji></p>',
         "great 🙂 👍"),
        ("", f'<p><img itemtype="{SKYPE}/CustomEmoji" title=":ship_it:"></p>', ":ship_it:"),
        ("hello", "<p>hello</p>", "hello"),
        ("a **b**", "<p>a <strong>b</strong></p>", "a **b**"),
        ("help", "<p>help</p>", "help"),
        ("first second", "<p>first</p>", "first second"),
        ("", "<p>half <b>open", "half open"),
        ("", "1 < 2 and <3", "1 < 2 and <3"),
        ("", "<blockquote>my own quote</blockquote><p>and more</p>", "> my own quote\nand more"),
        ("", "<script>x()</script><style>p{}</style><p>text</p><!-- hidden -->", "text"),
        ("Look", "<p>Look</p><p><code>rm -rf</code> is risky</p>", "Look\n`rm -rf` is risky"),
    ],
)  # fmt: skip
def test_text_of_the_html_copy_is_used(text: str | None, html: str, said: str) -> None:
    """Field fault 76: text that was only in the HTML copy got the greeting."""
    message = received(text, html=html)
    assert message.text == said
    assert message.quotes == message.unread == ()


def test_plain_text_files_are_the_persons_words() -> None:
    """Field fault 76: some clients attach the text as text/plain."""
    assert received("", attached("text/plain", "a long text")).text == "a long text"


def test_html_in_the_text_itself_is_read() -> None:
    """Field fault 76: with textFormat xml the text is HTML."""
    message = received("<p>one &lt; two<br>three</p>", textFormat="xml")
    assert message.text == "one < two\nthree"


@pytest.mark.parametrize(
    "text",
    [
        "What does <blockquote> do in HTML? And <b>?",
        'Is <span itemprop="x"> or <blockquote itemtype="a"> right?',
        '<blockquote cite="x"><p itemprop="y">Why is this not indented?</p></blockquote>',
    ],
)
def test_typed_markup_is_text(text: str) -> None:
    """Field fault 76: a question about HTML lost its tags, because plain text was taken for HTML."""
    message = received(text)
    assert (message.text, message.quotes) == (text, ())


def test_a_mention_in_the_html_is_not_text() -> None:
    """Field note 25: the bot's own mention is cut from the HTML, too; Teams divides long names."""
    html = (
        f'<p><span itemtype="{SKYPE}/Mention" itemid="0">HR</span> <span itemtype="{SKYPE}/Mention" itemid="0">Bot'
        f'</span>&nbsp;ask <span itemtype="{SKYPE}/Mention" itemid="1">Adele</span></p><ul><li>HR Bot</li></ul>'
    )
    entities = [mention(BOT, "HR Bot"), mention("29:adele", "Adele")]
    message = received(
        "<at>HR Bot</at> ask <at>Adele</at> HR Bot", html=html, entities=entities, recipient={"id": BOT}
    )
    assert (message.text, message.addressed) == ("ask Adele\n- HR Bot", True)


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("<at>R&D Bot</at> why?", "R&D Bot", "why?"),
        ("<at>R&amp;D Bot</at>&nbsp;help", "R&D Bot", "help"),
        ('<at id="0">R&D Bot</at> ask <at>Ann (R&D)</at>', "R&D Bot", "ask Ann (R&D)"),
        ("<at>R&D Bot</at> is <at>this</at> a tag?", "R&D Bot", "is <at>this</at> a tag?"),
        ("why, R&D Bot?", "R&D Bot", "why, R&D Bot?"),
    ],
)
def test_a_mention_without_its_text_is_found(text: str, name: str, said: str) -> None:
    """Field fault 76: Teams leaves out the text of a mention whose name has a `&`, and its tag reached the model."""
    entities = [
        {"type": "mention", "mentioned": {"id": BOT, "name": name}},
        {"type": "mention", "mentioned": {"id": "29:ann", "name": "Ann (R&D)"}},
    ]
    group = {"id": "19:x@thread.v2", "conversationType": "groupChat"}
    message = received(text, entities=entities, recipient={"id": BOT, "name": name}, conversation=group)
    assert (message.text, message.addressed) == (said, True)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("is <data> a tag?", ""),
        ("is <data> a tag?", "<div><div>is &lt;data&gt; a tag?</div>\n</div>"),
        ("is  a tag?", "<div>is &lt;data&gt; a tag?</div>"),
    ],
)
def test_words_between_angle_brackets_stay(text: str, html: str) -> None:
    """Field fault 76: Teams leaves them out of the text in some chats, and has them in the HTML."""
    assert received(text, html=html).text == "is <data> a tag?"


# ------------------------------------------------------------------ what can't be read is named


@pytest.mark.parametrize(
    ("attachment", "name", "reason"),
    [
        (attached("reference", name="plan.docx", contentUrl="https://contoso.sharepoint.com/plan.docx"), "plan.docx",
         "is only linked here"),
        (attached(FILE, {"uniqueId": "u", "fileType": "pdf"}, name="a.pdf"), "a.pdf", "without a link"),
        (attached(FILE, {"downloadUrl": None}, name="Budget.xlsx"), "Budget.xlsx", "without a link"),
        (attached(FILE, None), "A file", "without a link"),
        (attached(FILE, {"downloadUrl": "https://x.sharepoint.com/v"}, name="clip.mp4"), "clip.mp4",
         "is a video, which I can't watch."),
        (attached(FILE, {"downloadUrl": "https://x.sharepoint.com/v", "fileType": "m4a"}, name="memo"), "memo",
         "is a recording"),
        (attached("video/mp4", contentUrl="https://x/v", name="demo.mp4"), "demo.mp4", "is a video"),
        (attached("audio/ogg", contentUrl="https://x/v"), "The recording", "can't be heard"),
        (attached(f"{CARD}.audio", '{"duration":"PT13S","media":[{"url":"https://eu-api.asm.skype.com/v1/objects/0"}]}'),
         "The voice message", "Please type it."),
        (attached(f"{CARD}.video", {"title": "Demo", "media": []}), "Demo", "is a video"),
        (attached(f"{CARD}.animation", {"media": []}), "The GIF", "can't be opened"),
        (attached(f"{CARD}.codesnippet", '{"name":"","language":"Python","lines":59,"codeSnippetUrl":"../1/$value"}'),
         "The code snippet", "paste the code"),
        (attached(f"{CARD}.fluidEmbedCard", {"componentUrl": "https://x", "sourceType": "Compose"}),
         "The Loop component", "can't be opened by apps"),
        (attached("meetingReference", '{"eventId":"1"}', name="Weekly sync"), "Weekly sync", "can't be opened"),
        (attached("tabReference", None, id="tab:1"), "The tab", "can't be opened"),
        (attached(f"{TEAMS_CARD}.file.info", {"uniqueId": "1"}, name="q3.pptx"), "q3.pptx", "without a link"),
        (attached(f"{CARD}.adaptive", {"type": "AdaptiveCard", "body": [{"type": "Image", "url": "https://x"}]}),
         "The card", "without content"),
        (attached("image/png", contentUrl=None, name="x.png"), "x.png", "without a link"),
        (attached("application/zip", name="logs.zip"), "logs.zip", "without content"),
        (attached("", name="odd"), "odd", "without content"),
    ],
)  # fmt: skip
def test_an_unreadable_attachment_is_named(attachment: Any, name: str, reason: str) -> None:
    """Field fault 76: each of these was dropped silently, and alone got the greeting."""
    message = received("", attachment)
    ((found, why),) = [(part.name, part.reason) for part in message.unread]
    assert found == name
    assert reason in why
    assert why.endswith(".")
    assert (message.text, message.attachments, message.quotes) == ("", (), ())
    assert received("What is 2+2?", attachment).text == "What is 2+2?"


@pytest.mark.parametrize(
    ("html", "name"),
    [
        (f'<div><span itemid="b" itemscope="" itemtype="{SKYPE}/InputExtension"></span></div>', "The voice message"),
        (f'<p><video src="https://eu-api.asm.skype.com/v1/objects/0/views/video" itemtype="{SKYPE}/AMSVideo" '
         'alt="Media"></video></p>', "The video"),
        ('<p><video src="https://x">launch.mov</video></p>', "launch.mov"),
        ('<audio src="https://x" title="memo.m4a"></audio>', "memo.m4a"),
        ('<attachment id="153fa47d"></attachment>', "An attachment"),
        ('<attachment id="1"></attachment><attachment id="2"></attachment>', "Some attachments (2)"),
        ('<URIObject uri="https://x"><a href="https://x">y</a><OriginalName v="a.zip"/></URIObject>', "a.zip"),
        (f'<a itemtype="{SKYPE}/FluidAutoEmbedLink" href="https://x.sharepoint.com/1"></a>', "The Loop component"),
        (f'<span itemtype="{SKYPE}/FluidEmbedCard"></span>', "The Loop component"),
        ('<p><img alt="Scared SNL GIF by HULU (GIF Image)" src="https://media1.giphy.com/media/1/giphy.gif"></p>',
         "The GIF “Scared SNL GIF by HULU”"),
        (f'<p><img itemtype="{SKYPE}/Sticker" alt="" src="https://statics.example/1.gif"></p>', "The sticker"),
        ('<p><img src="https://x.example/p.png" alt="a red bicycle"></p>', "The image “a red bicycle”"),
        ('<iframe src="https://x"></iframe>', "The embedded page"),
    ],
)  # fmt: skip
def test_an_unreadable_part_of_the_html_is_named(html: str, name: str) -> None:
    """Field fault 76: Teams tells a bot of these in the HTML only."""
    (part,) = received("", html=html).unread
    assert part.sentence.removeprefix("“").startswith(name)
    assert part.reason.endswith(".")
    assert received("What is 2+2?", html=f"<p>What is 2+2?</p>{html}").text.startswith("What is 2+2?")


def test_a_gif_is_described_in_words() -> None:
    """Field fault 76: the description is all that Teams gives."""
    html = '<div><img alt="Happy Dance GIF by A (GIF Image)" src="https://media.tenor.com/1"></div>'
    assert received("", html=html).text == "[GIF: Happy Dance GIF by A]"


def test_a_message_without_anything_is_explained() -> None:
    """Field fault 76: a personal message that reaches the bot empty holds what Teams doesn't pass on."""
    assert received(None).unread == (EMPTY,)
    assert received("", html="<p>&nbsp;</p>").unread == (EMPTY,)
    group = {"id": "19:x@thread.v2", "conversationType": "groupChat"}
    bare = received(
        "<at>Parley</at>", entities=[mention(BOT, "Parley")], conversation=group, recipient={"id": BOT}
    )
    assert (bare.text, bare.addressed, bare.unread) == ("", True, ())


def test_a_voice_activity_is_its_transcript() -> None:
    """Field fault 76: the Activity Protocol's voice messages have a value, like a card's button."""
    kind = "application/vnd.microsoft.activity.voice+json"
    assert received(None, value={"transcription": "call Ann"}, valueType=kind).text == "call Ann"
    assert [part.name for part in received(None, value={"audio": 1}, valueType=kind).unread] == [
        "The voice message"
    ]


def test_a_picture_of_the_html_is_read() -> None:
    """Field fault 76: some clients send a pasted picture in the HTML only."""
    source = "https://us-api.asm.skype.com/v1/objects/0-cus-d17/views/imgo"
    html = f'<p>what is it?<img itemtype="{SKYPE}/AMSImage" src="{source}"></p>'
    (picture,) = received("what is it?", html=html).attachments
    assert picture.data == {"kind": "inline", "url": f"{SERVICE}v3/attachments/0-cus-d17/views/original"}
    known = attached("image/*", contentUrl=f"{SERVICE}v3/attachments/0-cus-d17/views/original")
    (same,) = received("what is it?", known, html=html).attachments
    assert same.data == picture.data
    escaping = html.replace("0-cus-d17", "..")
    assert received("what is it?", html=escaping).attachments == ()


# ------------------------------------------------------------------ what others wrote

REPLY = (
    f'<blockquote itemscope itemtype="{SKYPE}/Reply" itemid="1783419459151"><strong itemprop="mri" itemid="8:orgid:5">'
    'Lubritz, Markus</strong><span itemprop="time" itemid="1783419459151"></span><p itemprop="preview">Pull the plug'
    "</p></blockquote>"
)
FORWARD = (
    f'<blockquote itemtype="{SKYPE}/Forward"><p>Hello Alex, the <b>page</b> is wrong</p>'
    "<p>Delete it</p></blockquote>"
)
SCHEMA = (
    '<blockquote itemscope itemtype="http://schema.org/Message"><div itemprop="sender" itemscope>'
    '<span itemprop="name">Anna</span></div><div itemprop="comment">It prints empty pages</div></blockquote>'
)
SENDER = {"user": {"id": "8ea0e38b", "displayName": "Max"}}


@pytest.mark.parametrize(
    ("text", "html", "attachments", "said", "quote"),
    [
        ("a ticket\n\nHello Alex, the page is wrong\nDelete it", f"<p>a ticket</p>{FORWARD}", [], "a ticket",
         ("forwarded", "", "Hello Alex, the page is wrong\nDelete it")),
        ("Hello Alex, the page is wrong\nDelete it", FORWARD, [], "",
         ("forwarded", "", "Hello Alex, the page is wrong\nDelete it")),
        ("a ticketHello Alex, the page is wrongDelete it", f"{FORWARD}<p>a ticket</p>", [], "a ticket",
         ("forwarded", "", "Hello Alex, the page is wrong\nDelete it")),
        ('<quoted messageId="1783419459151"/> a ticket', f"{REPLY}<p>a ticket</p>", [], "a ticket",
         ("quoted", "Lubritz, Markus", "Pull the plug")),
        ("Pull the plug\na ticket", REPLY, [], "a ticket", ("quoted", "Lubritz, Markus", "Pull the plug")),
        ("", f"{SCHEMA}<p>a ticket</p>", [], "a ticket", ("quoted", "Anna", "It prints empty pages")),
        (f"{SCHEMA}<p>a ticket</p>", "", [], "a ticket", ("quoted", "Anna", "It prints empty pages")),
        ("", '<blockquote><strong>Max</strong><div itemprop="comment">It is down</div></blockquote><p>a ticket</p>', [],
         "a ticket", ("quoted", "Max", "It is down")),
        ("Hello Alex, the page is wrongDelete it", FORWARD, [], "",
         ("forwarded", "", "Hello Alex, the page is wrong\nDelete it")),
        ("a ticket\nHello\nAlex", "", [attached("forwardedMessageReference", {"originalMessageContent": "Hello Alex"})],
         "a ticket", ("forwarded", "", "Hello Alex")),
        ("a ticket", "", [attached("messageReference", json.dumps(
            {"messageId": "1622853091207", "messagePreview": "It is down", "messageSender": SENDER}))],
         "a ticket", ("quoted", "Max", "It is down")),
        ("a ticket", "", [attached("forwardedMessageReference", json.dumps(
            {"originalMessageContent": "<p>Hello <b>Alex</b></p>", "originalMessageSender": SENDER}))],
         "a ticket", ("forwarded", "Max", "Hello Alex")),
        ("a ticket", "", [attached("forwardedMessageReference", {"body": {"content": "<p>forwarded</p>"}})],
         "a ticket", ("forwarded", "", "forwarded")),
        ("a ticket", "", [attached(f"{CARD}.adaptive", {"type": "AdaptiveCard", "body": [
            {"type": "TextBlock", "text": "Build failed"},
            {"type": "FactSet", "facts": [{"title": "Run", "value": "42"}]}]})],
         "a ticket", ("card", "", "Build failed\nRun: 42")),
        ("", "", [attached(f"{CARD}.hero", '{"title":"T","subtitle":"S","text":"B","buttons":[{"title":"Go"}]}')],
         "", ("card", "", "T\nS\nB")),
        ("", "", [attached(f"{CARD}.thumbnail", {"title": "An article", "text": "About it"}, name="News")],
         "", ("card", "News", "An article\nAbout it")),
        ("", "", [attached(f"{TEAMS_CARD}.o365connector", {"summary": "Alert", "sections": [
            {"activityTitle": "CPU", "text": "<b>95 %</b>", "facts": [{"name": "Host", "value": "web-1"}]}]})],
         "", ("card", "", "Alert\nCPU\n95 %\nHost: web-1")),
        ("", "", [attached(f"{CARD}.adaptive", {"body": [{"type": "ColumnSet", "columns": [{"items": [
            {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "a "}, "b"]}]}]},
            {"type": "CodeBlock", "codeSnippet": "x = 1"}, {"type": "Table", "rows": [{"cells": [
                {"items": [{"type": "TextBlock", "text": "cell"}]}]}]}], "actions": [{"title": "Open"}]})],
         "", ("card", "", "a b\nx = 1\ncell")),
    ],
)  # fmt: skip
def test_what_others_wrote_is_quoted(
    text: str, html: str, attachments: list[Any], said: str, quote: tuple[str, str, str]
) -> None:
    """Field fault 77: what was forwarded or shared reached the model as the asker's words, or not at all."""
    message = received(text, *attachments, html=html)
    assert message.text == said
    assert [(found.kind, found.author, found.text) for found in message.quotes] == [quote]
    assert message.unread == ()


@pytest.mark.parametrize(
    ("quoted", "text", "said"),
    [
        ("Should we ship on Friday? Or on Monday?", "Should we ship on Monday?", "Should we ship on Monday?"),
        ("yes", "yes", "yes"),
        ("yes\nno", "no", "no"),
        ("Which one?\nRed", "Red\nbut not blue", "Red\nbut not blue"),
        ("Which one?\nRed", "Which one?\n\nRed\nBlue", "Blue"),
        ("one two three four", "two three\nOne two three four", "two three\nOne two three four"),
        ("one two", "One two\n\nonly\none two", "only\none two"),
    ],
)
def test_own_words_may_be_those_quoted(quoted: str, text: str, said: str) -> None:
    """Field fault 77: only the quote itself is no part of the message; words that are also in it were lost."""
    reference = attached("messageReference", {"messageId": "1622853091207", "messagePreview": quoted})
    message = received(text, reference)
    assert (message.text, [quote.text for quote in message.quotes]) == (said, [quoted])


def test_one_message_is_quoted_once() -> None:
    """Field fault 77: the same quote comes as an entity, as an attachment and as HTML."""
    quoted = {"messageId": "1783419459151", "senderId": "29:m", "senderName": "Lubritz, Markus"}
    entity = {"type": "quotedReply", "quotedReply": {**quoted, "preview": "Pull the plug"}}
    reference = attached("messageReference", {"messageId": "1783419459151", "messagePreview": "Pull the"})
    message = received("why?", reference, html=f"{REPLY}<p>why?</p>", entities=[entity])
    (quote,) = message.quotes
    assert (quote.author, quote.text, quote.by) == ("Lubritz, Markus", "Pull the plug", "29:m")
    assert quote.at is not None
    assert quote.at.timestamp() == 1783419459.151


def test_two_quotes_stay_apart() -> None:
    """Field fault 77: a reply to a reply, and a reply beside a forward."""
    author = '<strong itemprop="mri">Ann</strong>'
    nested = f'<blockquote itemtype="{SKYPE}/Reply" itemid="1">{author}{REPLY}<p>No</p></blockquote>'
    message = received("ok", html=f"{nested}{FORWARD}<p>ok</p>")
    assert [(quote.kind, quote.author) for quote in message.quotes] == [
        ("quoted", "Lubritz, Markus"),
        ("quoted", "Ann"),
        ("forwarded", ""),
    ]
    assert message.text == "ok"


def test_a_forwarded_picture_is_read() -> None:
    """Field fault 77: a forward may hold nothing but a picture."""
    html = (
        f'<blockquote itemtype="{SKYPE}/Forward"><p><img itemtype="{SKYPE}/AMSImage" itemid="0-weu-d1" '
        'src="https://eu-prod.asyncgw.teams.microsoft.com/v1/objects/0-weu-d1/views/imgo"></p></blockquote>'
    )
    message = received("what is this?", html=f"{html}<p>what is this?</p>")
    assert [attachment.data["kind"] for attachment in message.attachments] == ["inline"]
    assert message.unread == ()


def test_a_command_beside_a_quote_is_a_command() -> None:
    """Field fault 77: the quote is not part of the text."""
    assert received("/image it\nPull the plug", html=f"{REPLY}<p>/image it</p>").command == ("image", "it")


# ------------------------------------------------------------------ links, limits, odd values


@pytest.mark.parametrize(
    ("text", "html", "links"),
    [
        ("summarise https://teams.microsoft.com/l/message/19:a@thread.tacv2/1700000000001?groupId=g.", "",
         ["https://teams.microsoft.com/l/message/19:a@thread.tacv2/1700000000001?groupId=g"]),
        ("this", '<p><a href="https://teams.cloud.microsoft/l/message/19%3Aa%40thread.v2/1700000000001">this</a></p>',
         ["https://teams.cloud.microsoft/l/message/19%3Aa%40thread.v2/1700000000001"]),
        ("https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fteams.microsoft.com%2Fl%2Fmessage%2F19%3Aa%40"
         "thread.v2%2F1700000000001&data=05", "", ["https://teams.microsoft.com/l/message/19:a@thread.v2/1700000000001"]),
        ("https://teams.example.com/l/message/19:a@thread.v2/1700000000001 https://x.example", "", []),
        ("https://teams.microsoft.com/l/message/19:a@thread.v2/abc https://teams.microsoft.com/l/chat/0/0", "", []),
    ],
)  # fmt: skip
def test_links_to_messages_are_found(text: str, html: str, links: list[str]) -> None:
    """Field fault 76: a link to a message is read on demand."""
    assert list(received(text, html=html).links) == links


@pytest.mark.parametrize(
    "html",
    ["<b>x" * 40_000, "<p>" * 60_000, "<ul><li>" * 9_000, "<a " + "b " * 60_000 + ">", "<!-- " * 30_000,
     "<table><tr><td>x" * 9_000, "<blockquote>" * 20_000, '<a x="' * 30_000, "</b>" * 40_000,
     "&amp" * 40_000, "<script>x" * 9_000],
    ids=lambda html: html[:12],
)  # fmt: skip
def test_hostile_html_loses_no_message(html: str) -> None:
    """Field fault 76: it is read up to limits, and the text counts; the end that is not read is named."""
    assert received("What is 2+2?", html=html).text.startswith("What is 2+2?")
    assert received("", html=f"<p>begin</p>{html}").text.startswith("begin")


def test_the_end_of_long_html_is_named() -> None:
    """Field fault 76: nothing is dropped silently."""
    message = received("", html="<p>word</p>" * 20_000)
    assert message.text.startswith("word\nword")
    assert [part.name for part in message.unread] == ["The end of your message"]


@pytest.mark.parametrize(
    "attachment",
    [
        attached(FILE, {"downloadUrl": {"a": 1}, "uniqueId": 7, "fileType": []}, name="a.pdf"),
        attached("messageReference", {"messageSender": [], "messagePreview": 7}),
        attached("forwardedMessageReference", "{" * 2000),
        attached(f"{CARD}.adaptive", {"body": [None, 7, "x", {"text": 5, "items": {"a": [[]]}}]}),
        attached(f"{CARD}.hero", {"title": None, "text": {}, "images": 7}),
        attached(f"{CARD}.codesnippet", 7),
        attached("text/html", 7),
        attached("text/html", None),
        attached("Text/HTML; charset=utf-8", "<p>x</p>"),
        attached("image/png", {"a": 1}, contentUrl=7, name=[]),
        None,
    ],
    ids=repr,
)
def test_odd_values_lose_no_message(attachment: Any) -> None:
    """Field fault 80: one null or odd field in an attachment is left out, and the rest is read."""
    assert received("What is 2+2?", attachment).text.startswith("What is 2+2?")


def test_a_headline_is_the_persons_words() -> None:
    """Field fault 76: the banner of an announcement in a channel."""
    banner = attached(
        "application/vnd.microsoft.teams.messaging-announcementBanner", '{"title":"Moving day"}'
    )
    assert received("All of us move.", banner).text == "All of us move.\nMoving day"
