"""What is read from activities of Teams in the shapes that public fixtures show; words and ids are our own."""

from typing import Any, NamedTuple

import pytest

from adapters.teams.activities.parser import parse, read
from bot.domain.events import Event, MessageDeleted, MessageEdited, MessageParts, MessageReceived

CHAT = "vercel/chat packages/integration-tests/fixtures/replay/"
DOCS = "MicrosoftDocs/msteams-docs msteams-platform/bots/how-to/"
CLAW = "openclaw/openclaw extensions/msteams/src/"
SDK = "microsoft/teams.py packages/api/tests/"
TYPES = "microsoft/teams.py packages/api/src/microsoft/teams/api/activities/message/"
PARLEY = {"id": "28:parley", "name": "Parley"}
SERVICE = "https://smba.trafficmanager.net/emea/"
CHANNEL = {
    "id": "19:d441@thread.tacv2;messageid=1763630142094",
    "isGroup": True,
    "conversationType": "channel",
    "tenantId": "t-1",
}
GROUP = {"id": "19:g@thread.v2", "isGroup": True, "conversationType": "groupChat", "tenantId": "t-1"}
QUOTE = {
    "messageId": "1763600000000",
    "senderId": "29:bob",
    "senderName": "Bob",
    "preview": "We ship on Friday.",
}

Fields = dict[str, Any]


class Case(NamedTuple):
    """An activity; where its shape is from; and all that is read from it, in order. Nothing: it is not for the bot."""

    name: str
    source: str
    activity: Fields
    read: tuple[str, ...]


def activity(**fields: Any) -> Fields:
    """A message in a personal chat, unless the fields say otherwise."""
    chat = {"id": "a:17I0kl8", "conversationType": "personal", "tenantId": "t-1"}
    known = {"type": "message", "id": "1763630142094", "channelId": "msteams", "serviceUrl": SERVICE}
    people = {"from": {"id": "29:ann", "name": "Ann"}, "recipient": PARLEY}
    return {**known, "timestamp": "2026-11-20T09:15:42.123Z", "conversation": chat, **people, **fields}


def html(content: str) -> Fields:
    return {"contentType": "text/html", "content": content}


def mention(**fields: Any) -> Fields:
    return {"type": "mention", "mentioned": PARLEY, **fields}


def quoted(**fields: Any) -> list[Fields]:
    return [{"type": "quotedReply", "quotedReply": {**QUOTE, **fields}}]


def reply(sender: str) -> Fields:
    """The HTML of a reply whose quote has no preview but a copy."""
    quote = f'<blockquote itemtype="http://schema.skype.com/Reply" itemscope>{sender}<p itemprop="copy">It is down</p>'
    return html(f"{quote}</blockquote><p>since when?</p>")


DOWNLOAD = {
    "contentType": "application/vnd.microsoft.teams.file.download.info",
    "contentUrl": "https://contoso.sharepoint.com/personal/ann/Documents/notes.txt",
    "name": "notes.txt",
    "content": {"downloadUrl": "https://contoso.sharepoint.com/d", "uniqueId": "1150D938", "fileType": "txt"},
}
OBJECT = f"{SERVICE}v3/attachments/0-weu-d1/views/original"
CASES = [
    Case("a mention in a channel, with its HTML copy", f"{CHAT}channel/teams.json",
         activity(conversation=CHANNEL, text="<at>Parley</at> Hey", entities=[
             mention(text="<at>Parley</at>"), {"type": "clientInfo", "locale": "en-US", "platform": "Web"}],
             attachments=[html('<p><span itemtype="http://schema.skype.com/Mention" itemscope="" itemid="0">Parley'
                               "</span>&nbsp;Hey</p>")]),
         ("asked: Hey",)),
    Case("a mention whose entity has no text", f"{CHAT}teams.json",
         activity(conversation=CHANNEL, text="<at>Parley</at> Hey", entities=[mention()]), ("asked: Hey",)),
    Case("a mention whose tag has attributes", f"{CLAW}inbound.test.ts",
         activity(conversation=CHANNEL, text='hi <at itemid="2">Parley</at>', entities=[mention()]), ("asked: hi",)),
    Case("a mention in a group chat", f"{CHAT}teams.json",
         activity(conversation=GROUP, text="<at>Parley</at> Hello", entities=[mention()]), ("asked: Hello",)),
    Case("a message of other people in a channel", f"{CHAT}teams.json",
         activity(conversation=CHANNEL, text="Hi", entities=[]), ("heard: Hi",)),
    Case("a card's button of another app", f"{CHAT}channel/teams.json",
         activity(conversation=CHANNEL, id="f:56006e85", replyToId="1763630142000",
                  value={"actionId": "channel-post"}), ()),
    Case("formatted text", f"{DOCS}conversations/conversation-messages.md",
         activity(text="Which plan is bold-italic?", textFormat="plain", attachments=[
             html("<div><div>Which plan is <strong>bold</strong>-<em>italic</em>?</div>\n</div>")]),
         ("asked: Which plan is bold-italic?",)),
    Case("a file without words", f"{DOCS}bots-filesv4.md", activity(attachments=[DOWNLOAD]), ("file: notes.txt",)),
    Case("a file with words", f"{DOCS}bots-filesv4.md",
         activity(text="sum up", attachments=[DOWNLOAD, html("<p>sum up</p>")]), ("asked: sum up", "file: notes.txt")),
    Case("a pasted picture", f"{DOCS}bots-filesv4.md",
         activity(text="what is it?", attachments=[{"contentType": "image/*", "contentUrl": OBJECT},
                                                   html(f'<p>what is it?</p><img src="{OBJECT}">')]),
         ("asked: what is it?", "file: image")),
    Case("a file that can't be downloaded", f"{CLAW}attachments.test.ts",
         activity(text="sum up", attachments=[{**DOWNLOAD, "content": {"uniqueId": "1", "fileType": "txt"}}]),
         ("asked: sum up", "unread: notes.txt")),
    Case("a file whose only name is its type", f"{CLAW}attachments.test.ts",
         activity(attachments=[{"contentType": DOWNLOAD["contentType"], "content": {
             "downloadUrl": "https://x.sharepoint.com/d", "fileType": "png"}}]), ("file: file",)),
    Case("a document behind a plain link", f"{CLAW}attachments.test.ts",
         activity(text="sum up", attachments=[
             {"contentType": "application/pdf", "contentUrl": "https://x.example/plan.pdf", "name": "plan.pdf"}]),
         ("asked: sum up", "unread: plan.pdf")),
    Case("a quoted message", f"{SDK}unit/test_quoted_reply_entity.py",
         activity(text='<quoted messageId="1763600000000"/> why?', entities=quoted(
             time="2025-11-20T01:00:00Z", isReplyDeleted=False, validatedMessageReference=True)),
         ("asked: why?", "quote: quoted, Bob: We ship on Friday.")),
    Case("a quoted message of which only the id is told", f"{SDK}unit/test_quoted_reply_entity.py",
         activity(text="why?", entities=[{"type": "quotedReply", "quotedReply": {"messageId": "1763600000000"}}]),
         ("asked: why?", "unread: The quoted message")),
    Case("a quoted message that was deleted", f"{SDK}unit/test_quoted_reply_entity.py",
         activity(text="why?", entities=quoted(isReplyDeleted=True)),
         ("asked: why?", "unread: The quoted message")),
    Case("a reply that has a copy and a sender", f"{CLAW}inbound.test.ts",
         activity(text="since when?", attachments=[reply('<strong itemprop="mri">Alice</strong>')]),
         ("asked: since when?", "quote: quoted, Alice: It is down")),
    Case("a reply that names no sender", f"{CLAW}inbound.test.ts",
         activity(text="since when?", attachments=[reply("")]),
         ("asked: since when?", "quote: quoted, : It is down")),
    Case("a reply whose quote has no words", f"{CLAW}inbound.test.ts",
         activity(text="since when?", attachments=[html(
             '<blockquote itemtype="http://schema.skype.com/Reply" itemscope><strong itemprop="mri">Alice</strong>'
             "</blockquote><p>since when?</p>")]),
         ("asked: since when?", "unread: The quoted message")),
    *(Case(f"an empty {part} in the channel data", f"{SDK}unit/test_empty_inbound_objects.py",
           activity(text="hello", channelData={part: {}}), ("asked: hello",))
      for part in ("app", "channel", "team", "tenant", "settings")),
    Case("an empty attachment", f"{SDK}unit/test_empty_inbound_objects.py",
         activity(text="hello", attachments=[{}]), ("asked: hello",)),
    Case("an entity of a later version", f"{SDK}unit/test_empty_inbound_objects.py",
         activity(text="hello", entities=[{}, {"type": "someFutureEntity"}]), ("asked: hello",)),
    Case("a conversation that tells only its id", f"{SDK}unit/test_empty_inbound_objects.py",
         activity(text="hello", conversation={"id": "conversation-id"}, **{"from": {"id": "user-id"}}),
         ("asked: hello",)),
    Case("an edit that tells only the text", f"{TYPES}message_update.py",
         activity(type="messageUpdate", text="new words", channelData={"eventType": "editMessage"}),
         ("edited: new words",)),
    Case("an edit of a message with a file", f"{TYPES}message_update.py",
         activity(type="messageUpdate", text="new words", channelData={"eventType": "editMessage"},
                  attachments=[html("<p>new words</p>"), DOWNLOAD]), ("edited: new words", "file: notes.txt")),
    Case("a deletion that was undone", f"{TYPES}message_update.py",
         activity(type="messageUpdate", text="once more", channelData={"eventType": "undeleteMessage"}),
         ("asked: once more",)),
    Case("a deletion", f"{TYPES}message_delete.py",
         activity(type="messageDelete", channelData={"eventType": "softDeleteMessage"}), ("deleted",)),
    Case("an update of an unknown kind", f"{TYPES}message_update.py",
         activity(type="messageUpdate", text="words", channelData={"eventType": "unknown"}), ()),
    Case("a reaction", f"{SDK}unit/test_message_reaction_activity.py",
         activity(type="messageReaction", replyToId="1763630142000", reactionsAdded=[{"type": "like"}]), ()),
    Case("a meeting begins", f"{SDK}unit/test_meeting_start_event.py",
         activity(type="event", name="application/vnd.microsoft.meetingStart", value={"Title": "Weekly"}), ()),
]  # fmt: skip


def facts(found: Event | None) -> tuple[str, ...]:
    """All that an event says. What was "heard" is a question only where the bot takes part."""
    match found:
        case None:
            return ()
        case MessageReceived():
            words = [f"{'asked' if found.addressed else 'heard'}: {found.text}"] if found.text else []
            parts: MessageReceived | MessageParts = found
        case MessageEdited():
            words, parts = [f"edited: {found.text}"], found.parts or MessageParts()
        case MessageDeleted():
            return ("deleted",)
        case _:
            return (type(found).__name__,)
    words += [f"file: {one.name}" for one in parts.attachments]
    words += [f"quote: {quote.kind}, {quote.author}: {quote.text}" for quote in parts.quotes]
    return (*words, *(f"unread: {part.name}" for part in parts.unread))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_of_an_activity_is_read(case: Case) -> None:
    """Field fault 76: nothing that a person sends is ignored, and nothing that they did not say is a question."""
    assert facts(parse(read(case.activity))) == case.read


def test_every_shape_has_a_source() -> None:
    """Each is a fact that can be looked up."""
    assert len(CASES) >= 20
    assert all("/" in case.source for case in CASES)
