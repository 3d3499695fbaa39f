"""Deleting a person's data: exact commands, a confirmation with numbers, and only their own data."""

import pytest
from msgspec.structs import replace

from bot.conversation.personal_data import FORGET_NOW
from bot.domain.events import MessageReceived
from bot.storage.erasure.organisations import Organisations
from bot.storage.redis import keys
from tests.support.acts import ADA, BOB, forgets, received
from tests.support.fake_adapter import words
from tests.support.harness import CONVERSATION, Harness

QUESTIONS = [
    "Forget!",
    "forget.",
    "forget?",
    "forget it",
    "forget about it",
    "/forget about it",
    "/forget!",
    "/forget, please",
    "forget me!",
    "forget me.",
    "forget me not is a flower",
    "please forget me",
    "forget me now!",
    "/reset the router, how?",
    "reset!",
    "reset?",
    "/mute this alarm",
    "quiet!",
    "mute.",
    "again?",
    "again!",
    "try again!",
    "model?",
    "prompt?",
    "usage?",
    "Usage.",
    "Usage",
    "Sent.",
    "Sent",
    "/24 subnet - how many hosts?",
    "/login fails for Bob",
    "/sent an hour ago?",
    "/prompt engineering, what is it?",
    "/variations of this theme",
    "Reset",
    "compare?",
    "help!",
    "/help me write a letter",
    "stop!",
    "follow?",
    "mention-only!",
    "unmute?",
    "variations!",
]


@pytest.mark.parametrize("text", QUESTIONS)
async def test_only_exact_commands_are_commands(harness: Harness, text: str) -> None:
    """Field faults 81, 106: "Forget!" deleted everything; "again?", "Usage" and "/login fails" are questions."""
    turns = await harness.answer(received("before", event="a"), received(text, event="b"))
    assert [turn.id for turn in turns] == ["a", "b"]
    assert harness.model.prompts[-1].messages[-1].text == text
    assert not any(turn.resets for turn in turns)


@pytest.mark.parametrize("text", ["forget", "Forget"])
async def test_forget_alone_deletes_nothing(harness: Harness, text: str) -> None:
    """Field fault 81: one word deleted everything."""
    turns = await harness.answer(
        received("mine", event="a"), received(text, event="b"), received(FORGET_NOW, event="c")
    )
    assert turns[0].id == "a"
    assert "send `forget me`" in harness.adapter.texts[1]
    assert "nothing to confirm" in harness.adapter.texts[2]


@pytest.mark.parametrize("text", ["/forget", "forget me", "/forget me", " Forget Me "])
async def test_forget_asks_with_the_number_of_items(harness: Harness, text: str) -> None:
    """Field fault 81: a confirmation with the number of items."""
    mine = (
        received("one", event="a"),
        received("/image x", event="b"),
        received("yours", event="c", user=BOB),
    )
    turns = await harness.answer(*mine, received(text, event="d"))
    assert [turn.id for turn in turns] == ["a", "b", "c"]
    (asks,) = harness.adapter.replies[-1:]
    assert (asks.private, asks.confirm, asks.forgotten) == (True, FORGET_NOW, False)
    assert ": 1 conversation, 2 answers, 1 image, your usage" in asks.text
    turns = await harness.answer(received(FORGET_NOW, event="e"))
    assert [turn.id for turn in turns] == ["c"], "only what is theirs"
    done = harness.adapter.replies[-1]
    assert (done.private, done.forgotten) == (True, True)
    assert "I deleted 2 answers" in done.text
    assert (
        "The database's own files and backups, which I can't change, may contain it for longer." in done.text
    )


async def test_nobody_confirms_for_another_person(harness: Harness) -> None:
    """Field fault 81: a confirmation is bound to the person."""
    first = (
        received("mine", event="a"),
        received("theirs", event="b", user=BOB),
        received("forget me", event="c"),
    )
    turns = await harness.answer(*first, received(FORGET_NOW, event="d", user=BOB))
    assert "nothing to confirm" in harness.adapter.texts[-1]
    assert [turn.id for turn in turns][:2] == ["a", "b"]


async def test_a_confirmation_works_once(harness: Harness) -> None:
    """Field fault 81: a second click does not delete newer messages."""
    await harness.answer(received("old", event="a"), *forgets("b"))
    turns = await harness.answer(received("new", event="c"), received(FORGET_NOW, event="d"))
    assert "c" in [turn.id for turn in turns]
    assert "nothing to confirm" in harness.adapter.texts[-1]


async def test_a_confirmation_expires_after_ten_minutes(harness: Harness) -> None:
    """Field fault 81: an old question must not delete anything."""
    await harness.answer(received("mine", event="a"), received("forget me", event="b"))
    name = keys.of_tenant("confirm", ADA.tenant, "forget", ADA.id)
    assert 590 <= await harness.redis.call("TTL", name) <= 600
    await harness.redis.call("PEXPIRE", name, 0)
    turns = await harness.answer(received(FORGET_NOW, event="c"))
    assert turns[0].id == "a"
    assert "nothing to confirm" in harness.adapter.texts[-1]


async def test_a_confirmation_survives_a_restart(harness: Harness) -> None:
    """Field fault 81: the process that asks need not be the one that deletes."""
    await harness.answer(received("mine", event="a"), received("forget me", event="b"))
    other = Harness(harness.redis)
    assert await other.answer(received(FORGET_NOW, event="c")) == ()
    assert "I deleted 1 answer " in other.adapter.texts[-1]


async def test_a_repeated_attempt_reports_the_first_deletion(harness: Harness) -> None:
    """Field fault 81: if a worker crashes after deleting, the next one gives the same reply."""
    answering = harness.model.script
    harness.model.script = lambda prompt: [RuntimeError("boom")]
    await harness.answer(received("mine", event="a"))
    harness.model.script = answering
    await harness.answer(received("mine", event="a2"), received("forget me", event="b"))
    before = await harness.personal_data.confirm_forget(ADA, "c", CONVERSATION)
    await harness.answer(received("later", event="d"))
    assert await harness.personal_data.confirm_forget(ADA, "c", CONVERSATION) == before
    assert [turn.id for turn in await harness.turns.turns(CONVERSATION)] == ["d"]
    await harness.answer(received(FORGET_NOW, event="e"))
    assert "nothing to confirm" in harness.adapter.texts[-1]


async def test_an_unknown_command_deletes_nothing(harness: Harness) -> None:
    (turn,) = await harness.answer(received("/forgets me"))
    assert turn.outcome == "answered"


async def test_only_the_exact_word_mutes_a_channel(harness: Harness) -> None:
    """Field fault 81: a sentence must not mute a channel."""
    harness.model.script = lambda prompt: words("ok")

    def here(text: str, event: str) -> MessageReceived:
        return received(text, event=event, channel="C1")

    await harness.answer(
        here("mute it, please", "a"), here("mute!", "b"), here("/mute all", "c"), here("hi", "d")
    )
    assert harness.adapter.texts == ["ok"] * 4
    assert not any(reply.private for reply in harness.adapter.replies)
    await harness.answer(here("mute", "e"), here("mute now", "f"), here("hi", "g"))
    assert harness.adapter.replies[-1].private


async def test_forgetting_covers_all_workspaces_of_an_installation(harness: Harness) -> None:
    """Field fault 124: in one workspace of an organisation, a person's words in another one stayed."""
    organisations = Organisations(harness.redis)
    people = [replace(ADA, tenant=tenant, organisation="E1") for tenant in ("T1", "T2")]
    alone = replace(ADA, tenant="T3")
    for user in (*people, alone):
        asked = received("my words", event=user.tenant, user=user, conversation=f"test:{user.tenant}")
        await organisations.note(asked)
        await harness.answer(asked)
    data = harness.personal_data
    assert "2 conversations, 2 answers" in await data.count(people[0])
    assert "2 answers with your questions, in 2 conversations" in await data.forget(people[0])
    left = [await harness.turns.turns(f"test:{tenant}") for tenant in ("T1", "T2", "T3")]
    assert [len(turns) for turns in left] == [0, 0, 1]


async def test_what_was_reset_stays_out_of_prompts(harness: Harness) -> None:
    """Field fault 120: with whoever had started over, that went, and what others had said before came back."""
    await harness.answer(received("hello", event="a"), received("the old plan", event="b", user=BOB))
    await harness.answer(received("reset", event="c"), received("reset now", event="d"))
    await harness.answer(*(received(text, event=text) for text in ("forget me", FORGET_NOW)))
    await harness.answer(received("and now?", event="e", user=BOB))
    first, *_ = await harness.turns.turns(CONVERSATION)
    assert first.received.text == "the old plan"
    assert "the old plan" not in str(harness.model.prompts[-1])
