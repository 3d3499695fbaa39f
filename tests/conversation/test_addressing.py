"""Whether a message is addressed to the bot, as a table of cases."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from bot.conversation.addressing import SENTENCES, Decision, Reason, decide
from bot.domain.events import MessageReceived, QuotedMessage, User, now
from bot.domain.participation import MODES, ParticipationMode
from bot.domain.turns import Reply, Turn, past_turn
from tests.support.acts import ADA, BOB, received

LENA = User(id="lena", tenant="acme", name="Lena Müller")
KEN = User(id="ken", tenant="acme", name="田中 健")


def turn(answer: str = "Done.", *, user: User = ADA, addressed: bool = True, who: str = "") -> Turn:
    """An answered message; `who` is quoted with it, as somebody who spoke before."""
    quotes = (QuotedMessage(author=who, text="The build is red.", by=who),) if who else ()
    asked = replace(received("hi", user=user, channel="C1", addressed=addressed), quotes=quotes)
    return past_turn(asked, "hi", answer)


def says(text: str = "and in French?", *, user: User = ADA, **more: bool) -> MessageReceived:
    """A message in the channel that does not mention the bot."""
    return replace(received(text, user=user, channel="C1", addressed=False), **more)


def outcome(message: MessageReceived, *turns: Turn, mode: ParticipationMode = "dialogue") -> Decision:
    return decide(message, mode, turns)


# ------------------------------------------------------------------ the rules


@pytest.mark.parametrize("mode", MODES)
def test_direct_messages_and_mentions_are_answered(mode: ParticipationMode) -> None:
    """Field fault 104: a mention gets at least a private reply, also where the channel is muted."""
    direct = replace(says(), direct=True)
    assert outcome(direct, mode=mode) == Decision(answer=True, reason="direct")
    assert outcome(replace(says(), channel=""), mode=mode).reason == "direct"
    mention = replace(says(mentions_others=True), addressed=True)
    assert outcome(mention, mode=mode) == Decision(answer=True, reason="mention", private=mode == "mute")


@pytest.mark.parametrize(
    ("message", "turns", "reason"),
    [
        (says(), [turn()], "follow-up"),
        (says("the second one"), [turn("Which one do you mean?")], "reply"),
        (says("der zweite"), [turn("Welchen meinst du?\n\n_Not all files could be read._")], "reply"),
        (says(), [turn(), turn(addressed=False), turn(addressed=False)], "follow-up"),
        (says(), [turn(user=BOB), turn()], "follow-up"),  # Ada mentioned it last
        (says(), [turn(who="Bob")], "follow-up"),  # Bob spoke before the mention
        (says(), [turn(addressed=False)], "follow-up"),  # the mention is older than the turns that are read
    ],
)
def test_a_dialogue_continues_without_a_mention(
    message: MessageReceived, turns: list[Turn], reason: Reason
) -> None:
    assert outcome(message, *turns) == Decision(answer=True, reason=reason)


@pytest.mark.parametrize(
    ("message", "turns", "reason"),
    [
        (says(user=BOB), [turn()], "several-people"),
        (says(user=BOB), [turn("Which one do you mean?")], "several-people"),
        (says(), [turn(), turn(user=BOB)], "several-people"),  # Bob mentioned it last
        (says(), [turn(), turn(user=BOB, addressed=False)], "several-people"),  # Bob was answered in `follow`
        (says(mentions_others=True), [turn()], "tags-others"),
        (says("<the second one>", mentions_others=True), [turn("Which one?")], "tags-others"),
        (says(), [], "not-asked"),
    ],
)
def test_others_end_the_dialogue(message: MessageReceived, turns: list[Turn], reason: Reason) -> None:
    """Field fault 105: silence when somebody else is addressed, or several people talk."""
    decision = outcome(message, *turns)
    assert (decision.answer, decision.reason) == (False, reason)
    assert decision.opens == (reason != "not-asked")


def test_only_a_mention_ends_the_silence() -> None:
    assert decide(says(), "dialogue", [turn()], others_spoke=True).reason == "several-people"
    assert decide(says(), "dialogue", [turn("Which one?")], others_spoke=True).reason == "several-people"
    assert decide(replace(says(), addressed=True), "dialogue", [turn()], others_spoke=True).answer


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("follow", "follow"), ("dialogue", "several-people"), ("mention", "mention-only"), ("mute", "quiet")],
)
def test_modes_decide_about_everybody_else(mode: ParticipationMode, expected: Reason) -> None:
    decision = outcome(says(user=BOB), turn(), mode=mode)
    assert (decision.answer, decision.reason) == (mode == "follow", expected)
    assert decision.opens == (mode != "follow")
    assert outcome(says(mentions_others=True), turn(), mode=mode).reason == "tags-others"


def test_a_private_command_begins_no_dialogue() -> None:
    """What only its author has seen is no part of what people say in a thread."""
    told = replace(turn(), template="/usage", reply=Reply(text="You used little.", private=True))
    assert outcome(says(), told).reason == "not-asked"
    assert outcome(says(), turn(), told) == Decision(answer=True, reason="follow-up")


@pytest.mark.parametrize(
    "text", ["translate it", "explain it!", "only the code", "Code, please", "and the review?"]
)
def test_apps_are_not_called_by_name(text: str) -> None:
    """In a thread that an app called IT Alerts or Code Review began, ordinary words are no names."""
    posts = [
        QuotedMessage(author=name, text="!", by=f"B0{at}APP6789")
        for at, name in enumerate(("IT Alerts", "Code Review"))
    ]
    begun = turn()
    begun = replace(begun, received=replace(begun.received, quotes=tuple(posts)))
    assert outcome(says(text), begun) == Decision(answer=True, reason="follow-up")


@pytest.mark.parametrize("text", ["now in German", "as a table", "So, can you explain that again?"])
def test_words_that_people_have_as_names(text: str) -> None:
    """A word before a thing, and a word that begins sentences, are not calls of Laura German and So Park."""
    others = [turn(who=name) for name in ("Laura German", "So Park", "Team Table")]
    assert outcome(says(text), *others, turn()).reason != "names-others"


@pytest.mark.parametrize("text", ["Will, can you look?", "An, please do", "that's for Will", "over to May"])
def test_names_that_are_words_are_called(text: str) -> None:
    """Such a word with a comma, or behind “for” and “to”, is a person."""
    others = [turn(who=name) for name in ("Will Hunt", "An Nguyen", "May Li")]
    assert outcome(says(text), *others, turn()).reason == "names-others"


def test_many_empty_lines_cost_nothing() -> None:
    """An answer of 40,000 empty lines is looked at from its end."""
    notes = "\n\n_A note._" * 3
    assert (
        outcome(says("yes", threaded=False), turn("Which one?" + "\n" * 40_000 + "x" + notes)).answer is False
    )
    assert outcome(says("yes", threaded=False), turn("\n" * 40_000 + "Which one?" + notes)).answer is True


@pytest.mark.parametrize(("answer", "asks"), [("See https://wiki/x?id=3", False), ("Which _one?_", True)])
def test_a_link_is_no_question(answer: str, asks: bool) -> None:
    assert outcome(says("the second", threaded=False), turn(answer)).answer == asks


def test_chats_without_threads_take_replies_only() -> None:
    """Everybody's talk is one conversation there, so a follow-up needs a mention."""
    chat = says("the second one", threaded=False)
    assert outcome(chat, turn()) == Decision(answer=False, reason="no-thread")
    asked = turn("Which one do you mean?")
    assert outcome(chat, asked) == Decision(answer=True, reason="reply")
    assert outcome(replace(chat, at=now() + timedelta(hours=1)), asked).reason == "no-thread"
    assert outcome(chat, asked, mode="follow").reason == "follow"


def test_every_reason_is_a_sentence() -> None:
    assert all(sentence.endswith((".", ").")) and sentence[0].isupper() for sentence in SENTENCES.values())


# ------------------------------------------------------------------ names without a tag

KNOWN = [turn(who="Bob Stone"), turn(who="José García"), turn(user=LENA), turn(user=KEN), turn()]


@pytest.mark.parametrize(
    "text",
    [
        "Bob, can you look?",
        "bob: see above",
        "Bob?",
        "hey Bob, lunch?",
        "Hi Lena!",
        "Lena, kannst du das prüfen?",
        "Kannst du mal schauen, Lena?",
        "danke, Lena",
        "Müller, Ihre Meinung?",
        "José, ¿lo ves?",
        "gracias José",
        "Merci Lena !",
        "田中さん、これを見てください",
        "could you ask @bob about it",
        "Bob - any news?",
        "Bob can you check this",
        "hey bob could you take over?",
        "Lena kannst du das übernehmen?",
        "José tu peux regarder ?",
        "José por favor",
    ],
)
def test_a_call_by_name_is_for_that_person(text: str) -> None:
    """Field fault 105: a name without a tag, of somebody known in the thread."""
    decision = outcome(says(text), *KNOWN)
    assert (decision.answer, decision.reason) == (False, "names-others")


def test_words_that_may_be_names_end_no_dialogue() -> None:
    """One message without an answer is all that "now in German" costs after a Laura German has spoken."""
    german = turn(who="Laura German")
    assert outcome(says("now in German"), german, turn()).opens is False
    assert outcome(says("German, can you look?"), german, turn()).opens is True


@pytest.mark.parametrize(
    "text",
    [
        "what did Bob say?",
        "is that what Bob, Lena and José decided?",
        "Bob says it is red. Is that so?",
        "Lena hasta la vista, what does that mean?",
        "Bob can fix it, but how?",
        "and Bob?",
        "what about Bob?",
        "write a mail to Lena Müller about the bobsled",
        "Ada, and in French?",
        "Max, can you look?",
        "Bob's build is red, why?",
        "bob.example.com is down",
    ],
)
def test_a_message_about_somebody_is_a_follow_up(text: str) -> None:
    assert outcome(says(text), *KNOWN).reason == "follow-up"
