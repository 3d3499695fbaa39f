"""Activities as Teams sends them, and the events that they are."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.teams.activities.parser import address, installed, parse, read
from bot.domain.errors import Malformed
from bot.domain.events import FeedbackGiven, MessageDeleted, MessageEdited, MessageReceived, QuotedMessage

RECORDED = Path(__file__).parents[3] / "recorded" / "teams"
CHANNEL = "19:253b1f341670408fb6fe51050b6e5ceb@thread.tacv2"


def recorded(name: str, **changed: Any) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())["payload"]
    return {**payload, **changed}


def event(name: str, **changed: Any) -> Any:
    return parse(read(recorded(name, **changed)))


def received(name: str, **changed: Any) -> MessageReceived:
    one = event(name, **changed)
    assert isinstance(one, MessageReceived)
    return one


def mention(id: str, name: str) -> dict[str, Any]:
    return {"type": "mention", "mentioned": {"id": id, "name": name}, "text": f"<at>{name}</at>"}


def test_a_personal_message_is_said_to_the_bot() -> None:
    one = received("personal_message")
    assert one.text == "Translate good morning to French"
    assert (one.direct, one.addressed) == (True, True)
    assert one.id.startswith("teams:a:17I0kl8EkpE1")
    assert one.id.endswith(":1763630142094")
    assert one.user.name == "Megan Bowen"
    assert one.at.isoformat() == "2026-11-20T09:15:42.123456+00:00"
    assert one.attachments == ()


def test_the_address_alone_is_enough_to_answer() -> None:
    data = received("channel_thread_mention").address.data
    assert data["service_url"] == "https://smba.trafficmanager.net/emea/"
    assert data["conversation"] == f"{CHANNEL};messageid=1763629000000"
    assert data["kind"] == "channel"
    assert data["bot"].startswith("28:")
    assert data["user"].startswith("29:")
    assert data["tenant"] == "72f988bf-0000-4000-8000-2d7cd011db47"


def test_field_note_24_a_thread_is_named_by_its_conversation_and_never_by_reply_to_id() -> None:
    one = received("channel_thread_mention")
    assert one.address.conversation == (
        f"teams:72f988bf-0000-4000-8000-2d7cd011db47:{CHANNEL};messageid=1763629000000"
    )
    assert one.channel == CHANNEL
    assert received("channel_thread_mention", replyToId=None).address == one.address


def test_field_note_25_only_the_bots_own_mention_is_cut_never_its_name_elsewhere() -> None:
    one = received("group_mention")
    assert one.text == "please ask Adele Vance about the Parley budget"
    assert (one.addressed, one.direct) == (True, False)
    assert received("channel_thread_mention").text == "and in German, ?"


def test_a_person_with_the_bots_name_stays_in_the_text() -> None:
    bot = recorded("group_mention")["recipient"]["id"]
    text = "<at>Parley</at> thank <at>Parley</at> and .* [Parley]"
    entities = [mention(bot, "Parley"), mention("29:other", "Parley")]
    assert received("group_mention", text=text, entities=entities).text == "thank Parley and .* [Parley]"


def test_a_mention_that_the_text_does_not_hold_still_addresses_the_bot() -> None:
    bot = recorded("group_mention")["recipient"]["id"]
    one = received("group_mention", text="hello", entities=[mention(bot, "Parley")])
    assert (one.text, one.addressed) == ("hello", True)


def test_a_channel_message_without_a_mention_is_not_addressed() -> None:
    one = received("channel_without_mention")
    assert (one.addressed, one.text) == (False, "Parley is nice")


def test_a_group_chat_is_one_conversation_and_a_channel_has_threads() -> None:
    assert not received("group_mention").threaded
    assert received("channel_thread_mention").threaded


def test_a_bare_mention_is_an_empty_question() -> None:
    assert received("channel_thread_mention", text="<at>Parley</at>").text == ""


def test_commands_arrive_as_they_were_typed() -> None:
    assert received("personal_message", text="/image a red bicycle").text == "/image a red bicycle"


def test_field_note_11_an_edit_names_its_message_and_every_edit_is_another_act() -> None:
    one = event("message_edited")
    assert isinstance(one, MessageEdited)
    assert one.text == "Translate good evening to French"
    assert one.target == "teams:a:17I0kl8:1763630142094"
    assert event("message_edited").id == one.id
    assert event("message_edited", timestamp="2026-11-20T09:16:00Z").id != one.id


def test_field_note_11_a_deletion_that_is_undone_asks_the_same_question_again() -> None:
    one = event("message_undeleted")
    assert isinstance(one, MessageReceived)
    assert one.text == "Translate good morning to French"
    assert one.restores == one.address.event == "teams:a:17I0kl8:1763630142094"
    assert event("message_undeleted").id == one.id != one.restores
    group = {"conversation": {"id": "19:x@thread.v2", "conversationType": "groupChat"}}
    assert event("message_undeleted", **group) is None, "it was not said to the bot"


def test_field_note_11_a_deletion_names_its_message() -> None:
    one = event("message_deleted")
    assert isinstance(one, MessageDeleted)
    assert one.target == "teams:a:17I0kl8:1763630142094"
    assert one.id != one.target
    assert event("message_deleted").id == one.id
    assert event("message_deleted", timestamp="2026-11-20T09:16:00Z").id != one.id, (
        "it was put back meanwhile"
    )


def test_a_rating_names_the_post_and_carries_the_comment() -> None:
    one = event("feedback")
    assert isinstance(one, FeedbackGiven)
    assert (one.post, one.good, one.comment) == ("a:17I0kl8|1763630143333", False, "Too long")


@pytest.mark.parametrize("as_text", [False, True])
def test_a_rating_may_arrive_as_objects_or_as_json_in_strings(as_text: bool) -> None:
    rating: Any = {"reaction": "like", "feedback": {"feedbackText": "Good"}}
    value: Any = {"actionName": "feedback", "actionValue": json.dumps(rating) if as_text else rating}
    one = event("feedback", value=json.dumps(value) if as_text else value)
    assert (one.good, one.comment) == (True, "Good")


def test_a_file_is_an_attachment_with_its_link() -> None:
    (file,) = received("file_upload").attachments
    assert (file.name, file.mime, file.id) == (
        "plan.pdf",
        "application/pdf",
        "1150D938-8870-4044-9F2C-5BBDEBA70C9D",
    )
    assert file.data["kind"] == "file"
    assert "tempauth" in file.data["url"]


def test_a_pasted_picture_is_an_attachment_and_the_html_copy_is_none() -> None:
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
def test_the_playground_speaks_as_teams_does(name: str, text: str, direct: bool) -> None:
    one = received(name)
    assert (one.text, one.direct, one.addressed) == (text, direct, True)
    assert one.address.data["tenant"] == "11111111-2222-4333-8444-555555555555"


def test_the_playground_does_not_tell_which_answer_is_rated() -> None:
    one = event("playground_feedback")
    assert (one.post, one.good, one.comment) == ("a:personal-1|", True, "x")


@pytest.mark.parametrize("name", ["installed", "members_added", "reaction", "typing", "card_submit"])
def test_what_is_not_said_to_the_bot_is_nothing(name: str) -> None:
    assert event(name) is None


def test_only_an_installation_is_greeted() -> None:
    assert installed(read(recorded("installed")))
    assert not installed(read(recorded("installed", action="remove")))
    assert not installed(read(recorded("members_added")))


def test_what_bots_say_is_nothing() -> None:
    assert event("personal_message", **{"from": {"id": "28:another", "role": "bot"}}) is None
    bot = recorded("personal_message")["recipient"]
    assert event("personal_message", **{"from": bot}) is None


def test_field_note_20_two_tenants_with_one_conversation_id_stay_apart() -> None:
    there = {**recorded("personal_message")["conversation"], "tenantId": "other"}
    here = received("personal_message").address.conversation
    assert received("personal_message", conversation=there).address.conversation != here


def test_the_tenant_may_be_named_by_channel_data_only() -> None:
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
def test_field_note_27_another_shape_is_malformed(changed: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        read(recorded("personal_message", **changed))


def test_a_message_without_an_id_is_malformed() -> None:
    with pytest.raises(Malformed):
        event("personal_message", id=None)


@pytest.mark.parametrize("value", [None, 7, "text", "{", [], {"actionName": "x"}, {"actionName": "feedback"}])
def test_a_strange_rating_is_nothing(value: Any) -> None:
    assert event("feedback", value=value) is None


@pytest.mark.parametrize("entity", [{}, {"type": "mention"}, {"type": "mention", "mentioned": 7, "text": 7}])
def test_strange_mentions_do_no_harm(entity: dict[str, Any]) -> None:
    assert received("group_mention", text="hello", entities=[entity]).text == "hello"


def quoted(**changed: Any) -> dict[str, Any]:
    """As the Teams SDK's own `QuotedReplyEntity` describes it."""
    quote = {"messageId": "1772050244572", "senderId": "29:bob", "senderName": "Bob", "preview": "It is red."}
    return {"type": "quotedReply", "quotedReply": {**quote, **changed}}


def test_field_note_31_what_a_person_quotes_is_a_quote_and_not_their_words() -> None:
    text = '<quoted messageId="1772050244572"/> Why?'
    one = received("personal_message", text=text, entities=[quoted()])
    assert one.text == "Why?"
    assert one.quotes == (QuotedMessage(author="Bob", text="It is red."),)


REPLY = (
    '<blockquote itemscope="" itemtype="http://schema.skype.com/Reply" itemid="1772050244572">\r\n'
    '<strong itemprop="mri" itemid="8:orgid:1">Bob &amp; Co</strong><span itemprop="time" itemid="1"></span>'
    '\r\n<p itemprop="preview">It is <b>red</b>.</p>\r\n</blockquote>\r\n<p>Why?</p>'
)


def test_field_note_31_a_quote_in_the_html_copy_alone_is_a_quote_too() -> None:
    copy = {"contentType": "text/html", "content": REPLY}
    one = received("personal_message", text="Why?", attachments=[copy])
    assert (one.text, one.attachments) == ("Why?", ())
    assert one.quotes == (QuotedMessage(author="Bob & Co", text="It is red."),)
    assert received("personal_message", attachments=[copy], entities=[quoted()]).quotes[0].author == "Bob"
    plain = {"contentType": "text/html", "content": "<blockquote>said by me</blockquote>"}
    assert received("personal_message", attachments=[plain]).quotes == ()


@pytest.mark.parametrize("entity", [quoted(preview=""), quoted(isReplyDeleted=True), {"type": "quotedReply"}])
def test_a_quote_that_cant_be_seen_is_none(entity: dict[str, Any]) -> None:
    assert received("personal_message", text="Why?", entities=[entity]).quotes == ()


def test_the_words_of_buttons_are_commands_only_when_they_stand_alone() -> None:
    assert received("personal_message", text="Try again").text == "/again"
    assert received("personal_message", text="What did you send?").text == "/sent"
    assert received("personal_message", text="Try again with blue").text == "Try again with blue"
