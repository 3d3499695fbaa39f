"""Activities of Teams, and their events."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.teams.activities.parser import address, installed, parse, read
from bot.domain.errors import Malformed
from bot.domain.events import FeedbackGiven, MessageDeleted, MessageEdited, MessageReceived, QuotedMessage

RECORDED = Path(__file__).parents[3] / "recorded" / "teams"
CLIENT = {"type": "clientInfo", "timezone": "Europe/Berlin", "locale": "de-DE"}
CHANNEL = "19:253b1f341670408fb6fe51050b6e5ceb@thread.tacv2"


def recorded(name: str, **changed: Any) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())["payload"]
    return {**payload, **changed}


def event(name: str, **changed: Any) -> Any:
    return parse(read(recorded(name, **changed)))


def received(name: str, **changed: Any) -> MessageReceived:
    parsed = event(name, **changed)
    assert isinstance(parsed, MessageReceived)
    return parsed


def mention(id: str, name: str) -> dict[str, Any]:
    return {"type": "mention", "mentioned": {"id": id, "name": name}, "text": f"<at>{name}</at>"}


def test_a_personal_message_is_addressed() -> None:
    parsed = received("personal_message")
    assert parsed.text == "Translate good morning to French"
    assert (parsed.direct, parsed.addressed) == (True, True)
    assert parsed.id.startswith("teams:a:17I0kl8EkpE1")
    assert parsed.id.endswith(":1763630142094")
    assert parsed.user.name == "Megan Bowen"
    assert parsed.at.isoformat() == "2026-11-20T09:15:42.123456+00:00"
    assert parsed.attachments == ()


def test_the_address_alone_is_enough_to_answer() -> None:
    data = received("channel_thread_mention").address.data
    assert data["service_url"] == "https://smba.trafficmanager.net/emea/"
    assert data["conversation"] == f"{CHANNEL};messageid=1763629000000"
    assert data["kind"] == "channel"
    assert data["bot"].startswith("28:")
    assert data["user"].startswith("29:")
    assert data["tenant"] == "72f988bf-0000-4000-8000-2d7cd011db47"


def test_a_thread_is_named_by_its_conversation() -> None:
    """Field note 24: never by replyToId."""
    parsed = received("channel_thread_mention")
    assert parsed.address.conversation == (
        f"teams:72f988bf-0000-4000-8000-2d7cd011db47:{CHANNEL};messageid=1763629000000"
    )
    assert parsed.channel == CHANNEL
    assert received("channel_thread_mention", replyToId=None).address == parsed.address


def test_only_the_bots_own_mention_is_removed() -> None:
    """Field note 25: its name elsewhere in the text stays."""
    parsed = received("group_mention")
    assert parsed.text == "please ask Adele Vance about the Parley budget"
    assert (parsed.addressed, parsed.direct) == (True, False)
    assert received("channel_thread_mention").text == "and in German, ?"


def test_a_person_named_like_the_bot_stays() -> None:
    bot = recorded("group_mention")["recipient"]["id"]
    text = "<at>Parley</at> thank <at>Parley</at> and .* [Parley]"
    entities = [mention(bot, "Parley"), mention("29:other", "Parley")]
    assert received("group_mention", text=text, entities=entities).text == "thank Parley and .* [Parley]"


def test_a_mention_missing_in_the_text_still_addresses() -> None:
    bot = recorded("group_mention")["recipient"]["id"]
    parsed = received("group_mention", text="hello", entities=[mention(bot, "Parley")])
    assert (parsed.text, parsed.addressed) == ("hello", True)


def test_a_channel_message_without_mention_is_not_addressed() -> None:
    parsed = received("channel_without_mention")
    assert (parsed.addressed, parsed.text) == (False, "Parley is nice")


def test_group_chats_are_conversations_and_channels_have_threads() -> None:
    assert not received("group_mention").threaded
    assert received("channel_thread_mention").threaded


def test_a_bare_mention_is_an_empty_question() -> None:
    assert received("channel_thread_mention", text="<at>Parley</at>").text == ""


def test_commands_arrive_as_they_were_typed() -> None:
    assert received("personal_message", text="/image a red bicycle").text == "/image a red bicycle"


def test_every_edit_of_a_message_has_its_id() -> None:
    """Field note 11."""
    parsed = event("message_edited")
    assert isinstance(parsed, MessageEdited)
    assert parsed.text == "Translate good evening to French"
    assert parsed.target == "teams:a:17I0kl8:1763630142094"
    assert event("message_edited").id == parsed.id
    assert event("message_edited", timestamp="2026-11-20T09:16:00Z").id != parsed.id


def test_an_undone_deletion_asks_the_question_again() -> None:
    """Field note 11."""
    parsed = event("message_undeleted")
    assert isinstance(parsed, MessageReceived)
    assert parsed.text == "Translate good morning to French"
    assert parsed.restores == parsed.address.event == "teams:a:17I0kl8:1763630142094"
    assert event("message_undeleted").id == parsed.id != parsed.restores
    group = {"conversation": {"id": "19:x@thread.v2", "conversationType": "groupChat"}}
    assert event("message_undeleted", **group) is None, "it was not said to the bot"


def test_a_deletion_names_its_message() -> None:
    """Field note 11."""
    parsed = event("message_deleted")
    assert isinstance(parsed, MessageDeleted)
    assert parsed.target == "teams:a:17I0kl8:1763630142094"
    assert parsed.id != parsed.target
    assert event("message_deleted").id == parsed.id
    assert event("message_deleted", timestamp="2026-11-20T09:16:00Z").id != parsed.id, (
        "it was put back meanwhile"
    )


def test_a_rating_names_the_post_and_the_comment() -> None:
    parsed = event("feedback")
    assert isinstance(parsed, FeedbackGiven)
    assert (parsed.post, parsed.good, parsed.comment) == ("a:17I0kl8|1763630143333", False, "Too long")


@pytest.mark.parametrize("as_text", [False, True])
def test_a_rating_may_be_objects_or_strings(as_text: bool) -> None:
    rating: Any = {"reaction": "like", "feedback": {"feedbackText": "Good"}}
    value: Any = {"actionName": "feedback", "actionValue": json.dumps(rating) if as_text else rating}
    parsed = event("feedback", value=json.dumps(value) if as_text else value)
    assert (parsed.good, parsed.comment) == (True, "Good")


def test_a_file_is_an_attachment_with_its_link() -> None:
    (file,) = received("file_upload").attachments
    assert (file.name, file.mime, file.id) == (
        "plan.pdf",
        "application/pdf",
        "1150D938-8870-4044-9F2C-5BBDEBA70C9D",
    )
    assert file.data["kind"] == "file"
    assert "tempauth" in file.data["url"]


def test_a_pasted_image_is_one_attachment() -> None:
    """The HTML copy of the text is none."""
    (picture,) = received("inline_picture").attachments
    assert picture.mime == "image/png"
    assert picture.data["kind"] == "inline"
    assert picture.data["url"].startswith("https://smba.trafficmanager.net/")


@pytest.mark.parametrize(
    ("name", "text", "direct"),
    [
        ("playground_personal_message", "hello", True),
        ("playground_groupChat_message", "group hi", False),
        ("playground_channel_message", "channel hi", False),
    ],
)
def test_the_playground_sends_the_same_activities(name: str, text: str, direct: bool) -> None:
    parsed = received(name)
    assert (parsed.text, parsed.direct, parsed.addressed) == (text, direct, True)
    assert parsed.address.data["tenant"] == "11111111-2222-4333-8444-555555555555"


def test_the_playground_names_no_rated_answer() -> None:
    parsed = event("playground_feedback")
    assert (parsed.post, parsed.good, parsed.comment) == ("a:personal-1|", True, "x")


@pytest.mark.parametrize("name", ["installed", "members_added", "reaction", "typing", "card_submit"])
def test_what_is_not_for_the_bot_is_ignored(name: str) -> None:
    assert event(name) is None


def test_only_an_installation_is_greeted() -> None:
    assert installed(read(recorded("installed")))
    assert not installed(read(recorded("installed", action="remove")))
    assert not installed(read(recorded("members_added")))


def test_messages_of_bots_are_ignored() -> None:
    assert event("personal_message", **{"from": {"id": "28:another", "role": "bot"}}) is None
    bot = recorded("personal_message")["recipient"]
    assert event("personal_message", **{"from": bot}) is None


def test_equal_ids_of_two_tenants_stay_apart() -> None:
    """Field note 20."""
    there = {**recorded("personal_message")["conversation"], "tenantId": "other"}
    here = received("personal_message").address.conversation
    assert received("personal_message", conversation=there).address.conversation != here


def test_the_tenant_may_be_in_channel_data() -> None:
    nameless = {"id": "a:1", "conversationType": "personal"}
    assert address(read(recorded("personal_message", conversation=nameless))).conversation == (
        "teams:72f988bf-0000-4000-8000-2d7cd011db47:a:1"
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"conversation": None},
        {"conversation": "a:1"},
        {"type": 7},
        {"conversation": {"id": ""}},
        {"conversation": {"id": "a" * 2000}},
        {"serviceUrl": None},
        {"text": {"a": 1}},
    ],
)
def test_another_shape_is_malformed(changed: dict[str, Any]) -> None:
    """Field note 27."""
    with pytest.raises(Malformed):
        read(recorded("personal_message", **changed))


def test_a_message_without_an_id_is_malformed() -> None:
    with pytest.raises(Malformed):
        event("personal_message", id=None)


@pytest.mark.parametrize("value", [None, 7, "text", "{", [], {"actionName": "x"}, {"actionName": "feedback"}])
def test_an_invalid_rating_is_ignored(value: Any) -> None:
    assert event("feedback", value=value) is None


@pytest.mark.parametrize("entity", [{}, {"type": "mention"}, {"type": "mention", "mentioned": 7, "text": 7}])
def test_invalid_mentions_do_no_harm(entity: dict[str, Any]) -> None:
    assert received("group_mention", text="hello", entities=[entity]).text == "hello"


def quoted(**changed: Any) -> dict[str, Any]:
    """As the Teams SDK's own `QuotedReplyEntity` describes it."""
    quote = {"messageId": "1772050244572", "senderId": "29:bob", "senderName": "Bob", "preview": "It is red."}
    return {"type": "quotedReply", "quotedReply": {**quote, **changed}}


def test_a_quote_is_not_the_persons_text() -> None:
    """Field note 31."""
    text = '<quoted messageId="1772050244572"/> Why?'
    parsed = received("personal_message", text=text, entities=[quoted()])
    assert parsed.text == "Why?"
    at = datetime.fromtimestamp(1772050244.572, UTC)
    expected = QuotedMessage(author="Bob", text="It is red.", at=at, by="29:bob", kind="quoted")
    assert parsed.quotes == (expected,)


REPLY = (
    '<blockquote itemscope="" itemtype="http://schema.skype.com/Reply" itemid="1772050244572">\r\n'
    '<strong itemprop="mri" itemid="8:orgid:1">Bob &amp; Co</strong><span itemprop="time" itemid="1"></span>'
    '\r\n<p itemprop="preview">It is <b>red</b>.</p>\r\n</blockquote>\r\n<p>Why?</p>'
)


def test_a_quote_may_be_in_the_html_only() -> None:
    """Field note 31."""
    copy = {"contentType": "text/html", "content": REPLY}
    parsed = received("personal_message", text="Why?", attachments=[copy])
    assert (parsed.text, parsed.attachments) == ("Why?", ())
    at = datetime.fromtimestamp(1772050244.572, UTC)
    assert parsed.quotes == (QuotedMessage(author="Bob & Co", text="It is red.", at=at, kind="quoted"),)
    assert received("personal_message", attachments=[copy], entities=[quoted()]).quotes[0].author == "Bob"
    plain = {"contentType": "text/html", "content": "<blockquote>said by me</blockquote>"}
    assert received("personal_message", attachments=[plain]).quotes == ()


@pytest.mark.parametrize("entity", [quoted(preview=""), quoted(isReplyDeleted=True)])
def test_a_quote_that_cant_be_seen_is_named(entity: dict[str, Any]) -> None:
    """Field fault 76: it was dropped silently."""
    parsed = received("personal_message", text="Why?", entities=[entity])
    assert parsed.quotes == ()
    assert [part.name for part in parsed.unread] == ["The quoted message"]


def test_button_texts_are_commands_only_on_their_own() -> None:
    assert received("personal_message", text="Try again").text == "/again"
    assert received("personal_message", text="What did you send?").text == "/sent"
    assert received("personal_message", text="Try again with blue").text == "Try again with blue"


@pytest.mark.parametrize(
    ("changed", "zone", "locale"),
    [
        ({"localTimezone": "Asia/Tokyo", "locale": "ja-JP"}, "Asia/Tokyo", "ja-JP"),
        ({"localTimestamp": "2026-11-30T09:00:00.000+02:00", "locale": "fi-FI"}, "Etc/GMT-2", "fi-FI"),
        ({"localTimestamp": "2026-11-30T09:00:00+05:30", "locale": None}, "Asia/Kolkata", ""),
        ({"localTimezone": "../../etc/passwd", "localTimestamp": "soon", "locale": 5}, "", ""),
        (
            {"entities": [{"type": "clientInfo", "timezone": "Europe/Berlin", "locale": "de-DE"}]},
            "Europe/Berlin",
            "de-DE",
        ),
    ],
)
def test_time_zone_and_language_of_the_sender(changed: dict[str, Any], zone: str, locale: str) -> None:
    """Field fault 108: "today" was UTC although Teams tells the local time."""
    plain: dict[str, Any] = {"locale": None, "localTimezone": None, "localTimestamp": None, "entities": []}
    user = received("personal_message", **{**plain, **changed}).user
    assert (user.zone, user.locale) == (zone, locale)
    assert user.name


OTHER = "11111111-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("sender", "role", "home"),
    [
        ({}, "", ""),
        ({"userRole": "guest"}, "guest", ""),
        ({"userRole": "anonymous"}, "guest", ""),
        ({"tenantId": OTHER}, "partner", OTHER),
        ({"tenantId": "72F988BF-0000-4000-8000-2D7CD011DB47"}, "", ""),
        ({"id": "28:connector"}, "bot", ""),
    ],
)
def test_the_role_of_a_sender(sender: dict[str, str], role: str, home: str) -> None:
    """Field fault 123: who is not of the organisation; nobody else is anything but a member."""
    payload = recorded("channel_thread_mention")
    user = received("channel_thread_mention", **{"from": payload["from"] | sender}).user
    assert (user.role, user.home) == (role, home)


def test_the_tenant_of_a_sender_elsewhere() -> None:
    """In a channel that two organisations share, the channel data name that of the sender."""
    payload = recorded("channel_thread_mention")
    data = payload["channelData"] | {"tenant": {"id": OTHER}}
    place = payload["conversation"] | {"tenantId": "72f988bf-0000-4000-8000-2d7cd011db47"}
    user = received("channel_thread_mention", channelData=data, conversation=place).user
    assert (user.role, user.home, user.tenant) == ("partner", OTHER, place["tenantId"])
