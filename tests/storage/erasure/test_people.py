"""Forgetting a person: nothing that they wrote stays in Redis, whoever quoted it, whatever was pending."""

import asyncio
import io
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence

import msgspec
import pytest
from msgspec.structs import replace
from PIL import Image as Pictures

from bot.domain.errors import LeaseLost
from bot.domain.events import Attachment, MessageReceived, QuotedMessage, User, now
from bot.domain.prompts import Example, Prompt, ToolCall, say
from bot.domain.publications import PoolChange, Proposal, SavedConfig
from bot.domain.turns import Delta
from bot.storage.conversations.summaries import Summary
from bot.storage.conversations.turns import pack_prompts, refs
from bot.storage.erasure.text_matching import REMOVED, Passages
from bot.storage.live.event_stream import EventStream
from bot.storage.prompts.proposals import Proposals
from bot.storage.prompts.saved_configs import SavedConfigs
from bot.storage.prompts.versions import Versions
from bot.storage.queue.inbox import Claim, CommitRequest
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.support.acts import ADA, BOB, edited, rated, received
from tests.support.dumps import traces
from tests.support.fake_adapter import echo, spoken, words
from tests.support.harness import CONVERSATION, Harness

OTHER = "test:other"
Then = Callable[[], Awaitable[object]] | None
Situation = Callable[[Harness, str], Awaitable[Then]]
TEXTS = {
    "code": "zebra-canary-4711",
    "not ASCII": "Kanarienvögel-Ünïon-77",
    "without spaces": "カナリア七一号が歌う",
    "a passage": "seventeen elephants are dancing\ntonight behind the old observatory",
    "Markdown": "**zebra** _canary_4711_ and `kanarienvogel_9`",
}
SITUATIONS: dict[str, Situation] = {}


def situation(set_up: Situation) -> Situation:
    SITUATIONS[set_up.__name__] = set_up
    return set_up


def asked(text: str, event: str = "a", **more: object) -> MessageReceived:
    return replace(received(f"Please note: {text} is mine.", event=event), **more)


def named(name: str) -> User:
    return replace(ADA, name=name)


# ------------------------------------------------------------------ what was said and sent


@situation
async def in_another_conversation(harness: Harness, text: str) -> Then:
    await harness.answer(received("mine", event="b", user=BOB, conversation=OTHER))
    await harness.answer(replace(asked(text), address=received(conversation=OTHER, event="a").address))
    await harness.answer(received("And what else?", event="c", user=BOB, conversation=OTHER))
    return None


@situation
async def sent_for_another_person(harness: Harness, text: str) -> Then:
    harness.model.script = lambda prompt: words("Fine.")
    await harness.answer(asked(text))
    await harness.answer(received("And what else?", event="b", user=BOB))
    return None


@situation
async def repeated_by_an_answer_to_another_person(harness: Harness, text: str) -> Then:
    await harness.answer(asked(text))
    harness.model.script = lambda prompt: words(f"Ada said: “{text}”, I think.")
    await harness.answer(received("What did she say?", event="b", user=BOB))
    return None


@situation
async def an_earlier_wording_of_an_edited_question(harness: Harness, text: str) -> Then:
    harness.model.script = lambda prompt: words("Fine.")
    await harness.answer(asked(text))
    await harness.answer(received("And what else?", event="b", user=BOB))
    await harness.answer(edited("a", "Something harmless."))
    return None


@situation
async def an_edit(harness: Harness, text: str) -> Then:
    harness.model.script = lambda prompt: words("Fine.")
    await harness.answer(received("Something harmless.", event="a"))
    await harness.answer(edited("a", f"Better: {text}!"))
    await harness.answer(received("And what else?", event="b", user=BOB))
    return None


@situation
async def quoted_by_its_author_s_id(harness: Harness, text: str) -> Then:
    quotes = (
        QuotedMessage(author="Countess", text=text, by=ADA.id),
        QuotedMessage(author="Carl", text="Hi!", by="carl"),
    )
    await harness.answer(replace(received("Sum that up", event="b", user=BOB), quotes=quotes))
    await harness.answer(received("And what else?", event="c", user=BOB))
    return None


@situation
async def forwarded_with_its_author_and_time(harness: Harness, text: str) -> Then:
    """Everything that a quoted message carries is removed with it."""
    quote = QuotedMessage(
        author="Countess",
        text=text,
        at=now(),
        by=ADA.id,
        kind="forwarded",
        origin="#general",
        attachments=(Attachment(id="f9", name=f"{text}.txt", mime="text/plain"),),
    )
    harness.adapter.files["f9"] = b"Nothing secret."
    await harness.answer(replace(received("Sum that up", event="b", user=BOB), quotes=(quote,)))
    await harness.answer(received("And what else?", event="c", user=BOB))
    return None


@situation
async def in_a_file_that_somebody_asked_about(harness: Harness, text: str) -> Then:
    """Field fault 44: a file of one person is read for the question of another."""
    log = Attachment(id="f9", name="log.txt", mime="text/plain")
    harness.adapter.files["f9"] = f"Log\n{text}\nEnd".encode()
    quote = QuotedMessage(author="Countess", text="Here.", by=ADA.id, attachments=(log,))
    await harness.answer(replace(received("Sum that up", event="b", user=BOB), quotes=(quote,)))
    await harness.answer(received("And what else?", event="c", user=BOB))
    return None


@situation
async def quoted_by_its_author_s_name(harness: Harness, text: str) -> Then:
    await harness.answer(
        replace(
            received("Sum that up", event="b", user=BOB), quotes=(QuotedMessage(author="Ada", text=text),)
        )
    )
    return None


@situation
async def pasted_in_a_conversation_of_others(harness: Harness, text: str) -> Then:
    await harness.answer(asked(text))
    quoted = "\n> ".join(text.splitlines())
    await harness.answer(
        received(f"Ada wrote\n> {quoted}\nWhy?", event="b", user=BOB, conversation=OTHER),
        received("And what else?", event="c", user=BOB, conversation=OTHER),
    )
    return None


@situation
async def escaped_in_the_arguments_of_a_tool(harness: Harness, text: str) -> Then:
    escaped = msgspec.json.encode({"sides": 6, "note": text}).decode()
    ascii_only = "".join(item if item.isascii() else f"\\u{ord(item):04x}" for item in escaped)
    calls = iter([ToolCall(id="1", name="dice", arguments=ascii_only)])
    await harness.answer(asked(text))

    def script(prompt: Prompt) -> list[Delta | Exception]:
        call = next(calls, None)
        return [Delta(call=call), *words("")] if call else words("Six.")

    harness.model.script = script
    await harness.answer(received("Roll it", event="b", user=BOB))
    return None


@situation
async def a_file_and_its_name(harness: Harness, text: str) -> Then:
    line = " ".join(text.split())
    harness.model.script = lambda prompt: words("Fine.")
    harness.adapter.files["f"] = f"First line.\n{text}\nLast line.".encode()
    file = Attachment(id="f", name=f"{line}.txt", mime="text/plain")
    await harness.answer(replace(received("Read it", event="a"), attachments=(file,)))
    await harness.answer(received("And what else?", event="b", user=BOB))
    await harness.answer(
        received(f"The file {line}.txt says:\n{text}", event="c", user=BOB, conversation=OTHER)
    )
    return None


@situation
async def a_wish_for_a_picture(harness: Harness, text: str) -> Then:
    await harness.answer(received(f"/image {text}", event="a"))
    harness.model.script = lambda prompt: words("Fine.")
    await harness.answer(received("What does the picture show?", event="b", user=BOB))
    return None


@situation
async def a_comment_on_an_answer(harness: Harness, text: str) -> Then:
    await harness.answer(received("yours", event="b", user=BOB))
    comment = replace(rated("post of b", good=False), comment=f"Wrong: {text}")
    await harness.answer(comment)
    return None


@situation
async def the_name_of_the_person(harness: Harness, text: str) -> Then:
    name = " ".join(text.split())
    template = replace(harness.templates[0], system="You help {{user_name}}.")
    harness.templates = (template, *harness.templates[1:])
    harness.model.script = lambda prompt: words("Fine.")
    await harness.answer(received("mine", event="a", user=named(name), channel="C1"))
    await harness.answer(received("And what else?", event="b", user=BOB, channel="C1"))
    quotes = (QuotedMessage(author=name, text="well", by=ADA.id),)
    await harness.answer(
        replace(received("Sum that up", event="c", user=BOB, conversation=OTHER), quotes=quotes)
    )
    return None


@situation
async def a_turn_that_is_kept_no_more(harness: Harness, text: str) -> Then:
    await harness.answer(asked(text), received("And what else?", event="b", user=BOB))
    await harness.redis.call("LTRIM", keys.of("turns", CONVERSATION), 1, -1)
    return None


@situation
async def in_a_summary(harness: Harness, text: str) -> Then:
    await harness.answer(asked(text), received("And what else?", event="b", user=BOB))
    await harness.memory.put(CONVERSATION, Summary(since="b", text=f"They spoke of {text}.", oldest=now()))
    return None


# ------------------------------------------------------------------ what is pending


@situation
async def waiting(harness: Harness, text: str) -> Then:
    await harness.accept(asked(text), edited("a", f"Better: {text}!"), replace(rated("p"), comment=text))
    return None


@situation
async def quoted_by_what_waits(harness: Harness, text: str) -> Then:
    quotes = (QuotedMessage(author="Countess", text=text, by=ADA.id),)
    await harness.accept(replace(received("Sum that up", event="b", user=BOB), quotes=quotes))
    return None


@situation
async def given_up(harness: Harness, text: str) -> Then:
    harness.attempts = 1
    harness.model.script = lambda prompt: [ZeroDivisionError("a fault of ours")]
    quotes = (QuotedMessage(author="Countess", text=text, by=ADA.id),)
    await harness.answer(
        asked(text), replace(received("Sum that up", event="b", user=BOB, conversation=OTHER), quotes=quotes)
    )
    return None


async def held(harness: Harness, event: MessageReceived) -> Claim:
    """An event that is being answered."""
    await harness.accept(event)
    claim = await harness.inbox.claim(keys.shard_of(event.address.conversation))
    assert isinstance(claim, Claim)
    return claim


def answer(claim: Claim, text: str) -> CommitRequest:
    """What is written down in the end."""
    from bot.domain.prompts import say
    from bot.domain.turns import Reply, Turn
    from bot.storage.conversations.turns import pack_prompts

    assert isinstance(claim.event, MessageReceived)
    history = [message for turn in claim.turns for message in turn.messages]
    messages = (say("user", claim.event.text), say("assistant", text))
    turn = Turn(
        id=claim.event.id,
        received=claim.event,
        template="t@0",
        messages=messages,
        reply=Reply(text=text),
        outcome="answered",
        began_at=now(),
        ended_at=now(),
    )
    prompt = Prompt(template="t@0", capability="chat", messages=(*history, messages[0]))
    return CommitRequest(turn=turn, sent=pack_prompts([prompt]))


@situation
async def their_question_is_being_answered(harness: Harness, text: str) -> Then:
    claim = await held(harness, replace(asked(text), address=received(conversation=OTHER, event="a").address))

    async def then() -> None:
        await harness.until(lambda: is_withdrawn(harness, OTHER))
        await harness.inbox.commit(claim, answer(claim, f"You said {text}"))

    return then


async def is_withdrawn(harness: Harness, room: str) -> bool:
    return bool(await harness.redis.call("HGET", keys.of("lease", room), "withdrawn"))


@situation
async def an_answer_from_their_words_is_being_written(harness: Harness, text: str) -> Then:
    await harness.answer(asked(text))
    claim = await held(harness, received("What did she say?", event="b", user=BOB))

    async def then() -> None:
        await harness.until(lambda: is_unlearnt(harness, CONVERSATION))
        summary = Summary(since="b", text=f"They spoke of {text}.", oldest=now())
        await harness.memory.put(CONVERSATION, summary, claim.erasures)
        await harness.inbox.commit(claim, answer(claim, f"Ada said: “{text}”."))

    return then


async def is_unlearnt(harness: Harness, room: str) -> bool:
    return bool(await harness.redis.call("HGET", keys.of("lease", room), "erasures"))


@situation
async def a_rating_is_being_written(harness: Harness, text: str) -> Then:
    """It replaces a turn by the copy that its worker read before."""
    await harness.answer(asked(text))
    harness.model.script = lambda prompt: words(f"Ada said: “{text}”.")
    await harness.answer(received("What did she say?", event="b", user=BOB))
    await harness.accept(replace(rated("post of b"), user=BOB))
    claim = await harness.inbox.claim(keys.shard_of(CONVERSATION))
    assert isinstance(claim, Claim)

    async def then() -> None:
        await harness.until(lambda: is_unlearnt(harness, CONVERSATION))
        await harness.inbox.commit(claim, CommitRequest(turn=claim.turns[-1], place=-1))

    return then


# ------------------------------------------------------------------ what the studio keeps


@situation
async def on_the_feed_of_a_page(harness: Harness, text: str) -> Then:
    await harness.answer(asked(text))
    await EventStream(harness.redis).publish(CONVERSATION, msgspec.json.encode({"html": f"<p>{text}</p>"}))
    return None


@situation
async def examples_of_a_pool(harness: Harness, text: str) -> Then:
    (turn,) = await harness.answer(asked(text))
    example = Example(user=turn.received.text, assistant=turn.reply.text)
    proposals = Proposals(harness.redis)
    for state in ("proposed", "accepted"):
        await proposals.put(
            Proposal(
                id=state,
                pool="p",
                example=example,
                conversation=CONVERSATION,
                turn="a",
                asker=ADA,
                author="x",
                at=now(),
                state=state,
            )
        )
    other = Example(user="hello", assistant="hi")
    change = PoolChange(number=1, pool="p", author="x", at=now(), reason="r", added=(other, example))
    assert await Versions(harness.redis).append(change)
    return None


@pytest.mark.parametrize("redis_url", ["server"], indirect=True)
@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
@pytest.mark.parametrize("name", SITUATIONS)
async def test_nothing_that_a_person_wrote_stays(harness: Harness, name: str, text: str) -> None:
    """Field fault 94: A canary string is nowhere in Redis after `forget`, whoever quoted it."""
    await leaves_nothing(harness, name, text)


@pytest.mark.parametrize("redis_url", ["cluster"], indirect=True)
@pytest.mark.parametrize("name", SITUATIONS)
async def test_nothing_stays_in_a_cluster(harness: Harness, name: str) -> None:
    """Field fault 94: nor on any node. One text is enough: how it is written is no matter of where it is."""
    await leaves_nothing(harness, name, TEXTS["a passage"])


async def leaves_nothing(harness: Harness, name: str, text: str) -> None:
    then = await SITUATIONS[name](harness, text)
    assert await traces(harness.redis, text, harness.secret)
    await asyncio.gather(harness.personal_data.forget(ADA, "test:forget"), *([then()] if then else []))
    assert await traces(harness.redis, text, harness.secret) == set()
    harness.model.script = echo
    async with harness.working():  # what waits is answered, without it
        await harness.until(harness.idle)
    assert await traces(harness.redis, text, harness.secret) == set()
    assert not await harness.redis.call("EXISTS", keys.ERASURES)


# ------------------------------------------------------------------ what stays, and what is said


async def test_others_data_stays_with_redactions_marked(harness: Harness) -> None:
    """Field fault 94: where others quoted it, it is replaced by a marker; everything else stays."""
    text = TEXTS["code"]
    quotes = (
        QuotedMessage(author="Countess", text=f"I say {text}", by=ADA.id),
        QuotedMessage(author="Carl", text="Hello there, everybody.", by="carl"),
    )
    harness.model.script = lambda prompt: words("Can you explain that in a few more words?")
    await harness.answer(received("Can you explain that?", event="a0", user=BOB))
    await harness.answer(asked(text), received("Can you explain that, please?", event="a2"))
    await harness.answer(
        replace(received("Please tell me more, and of Carl too.", event="b", user=BOB), quotes=quotes)
    )
    words_of_forgetting = await harness.personal_data.forget(ADA, CONVERSATION)
    first, turn = await harness.turns.turns(CONVERSATION)
    assert (first.received.text, turn.received.text) == (
        "Can you explain that?",
        "Please tell me more, and of Carl too.",
    )
    assert [quote.text for quote in turn.received.quotes] == [REMOVED, "Hello there, everybody."]
    assert [quote.author for quote in turn.received.quotes] == ["somebody", "Carl"]
    assert turn.reply.text == "Can you explain that in a few more words?"
    (prompt,) = await harness.turns.sent(CONVERSATION, "b")
    told = [message.text for message in spoken(prompt) if message.role != "system"]
    assert told[2:5] == ["Can you explain that?", "Can you explain that in a few more words?", REMOVED]
    assert "Hello there, everybody." in told[-1]
    assert REMOVED in told[-1]
    assert "2 answers with your questions, in 1 conversation" in words_of_forgetting
    assert "from 1 message or answer of other people" in words_of_forgetting
    assert "0 answers" in await harness.personal_data.forget(ADA, CONVERSATION)


async def test_other_organisations_are_not_searched(harness: Harness) -> None:
    """Field fault 94: Only the person's own tenant is changed."""
    text, eve = TEXTS["code"], User(id="ada", tenant="globex", name="Ada")
    await harness.answer(asked(text))
    await harness.answer(received(f"My {text} is fine.", event="e", user=eve, conversation=OTHER))
    await harness.personal_data.forget(ADA)
    (turn,) = await harness.turns.turns(OTHER)
    assert turn.received.text == f"My {text} is fine."


async def test_earlier_text_of_others_stays(harness: Harness) -> None:
    """Field fault 94: text of others stays where they wrote it first."""
    text = TEXTS["a passage"]
    await harness.answer(received(text, event="b", user=BOB, conversation=OTHER))
    await harness.answer(asked(text))
    await harness.personal_data.forget(ADA)
    (turn,) = await harness.turns.turns(OTHER)
    assert turn.received.text == text


async def test_passages_of_several_people_are_common(harness: Harness) -> None:
    """Field fault 94: deletion does not remove common words from other people's conversations."""
    await harness.answer(received("Is gpt-4o-mini good? Thank you very much.", event="a"))
    for name in ("bob", "carl", "dora"):
        user = User(id=name, tenant="acme")
        text = "Is gpt-4o-mini cheap? Thank you very much."
        await harness.answer(received(text, event=name, user=user, conversation=f"test:of {name}"))
    await harness.answer(received("Thank you very much.", event="z", user=BOB))
    await harness.personal_data.forget(ADA)
    (turn,) = await harness.turns.turns("test:of bob")
    assert turn.received.text == "Is gpt-4o-mini cheap? Thank you very much."
    (turn,) = await harness.turns.turns(CONVERSATION)
    assert turn.received.text == "Thank you very much."


async def test_people_learn_of_withdrawn_questions(harness: Harness) -> None:
    """Field fault 94: A waiting message is withdrawn, and its author is told."""
    await harness.accept(asked("mine"), received("yours", event="b", user=BOB))
    gone = await harness.personal_data.forget(ADA)
    assert "1 pending message" in gone
    async with harness.working():
        await harness.until(harness.idle)
    assert harness.adapter.texts[0].startswith("_Not answered: the person who asked has deleted")
    assert [turn.id for turn in await harness.turns.turns(CONVERSATION)] == ["b"]


async def test_a_running_answer_is_stopped_and_not_stored(harness: Harness) -> None:
    """Field fault 94: the worker itself detects it."""
    text, begun = TEXTS["code"], asyncio.Event()

    async def slowly(prompt: Prompt) -> AsyncGenerator[Delta]:
        yield Delta(text=f"You said {text}. ")
        begun.set()
        await asyncio.Event().wait()

    harness.model.script = slowly
    await harness.accept(asked(text))
    async with harness.working():
        await asyncio.wait_for(begun.wait(), 60)
        await harness.personal_data.forget(ADA)
        await harness.until(harness.idle)
    assert await traces(harness.redis, text, harness.secret) == set()
    assert "you deleted your data" in harness.adapter.texts[0]


async def test_another_process_finishes_an_erasure(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 94: after a crash, the data of others is still redacted."""
    text = TEXTS["a passage"]
    await harness.answer(asked(text))
    harness.model.script = lambda prompt: words(f"She says: {text}")
    claim = await held(harness, received("What does she say?", event="b", user=BOB))

    async def crash(*_: object) -> None:
        raise LeaseLost("the process ended")

    with monkeypatch.context() as patched:
        patched.setattr(harness.erasure, "_wait", crash)
        with pytest.raises(LeaseLost):
            await harness.erasure.forget(ADA)
    assert [turn.id for turn in await harness.turns.turns(CONVERSATION)] == []
    await harness.inbox.commit(claim, answer(claim, f"She says: {text}"))
    harness.model.script = lambda prompt: words("Fine.")
    await harness.answer(asked("Something new", event="new"))
    assert await harness.erasure.resume() == 0  # not at once: it may be at work still
    await harness.redis.call("ZADD", keys.ERASURES, 0, "acme\x1fada")
    assert await harness.erasure.resume() == 1
    assert await traces(harness.redis, text, harness.secret) == set()
    assert [turn.id for turn in await harness.turns.turns(CONVERSATION)] == ["b", "new"]
    assert await harness.erasure.resume() == 0


async def test_the_search_data_is_encrypted(harness: Harness) -> None:
    """Field fault 94: while an answer to others is awaited, nothing can be read in Redis."""
    text = TEXTS["code"]
    await harness.answer(asked(text))
    claim = await held(harness, received("Go on", event="b", user=BOB))
    erased = await harness.erasure.forget(ADA, patience_s=0)
    assert erased.running == 1
    assert await traces(harness.redis, text) == set()
    assert len(await traces(harness.redis, text, harness.secret)) == 1  # in the vault
    await harness.inbox.commit(claim, answer(claim, f"She said {text}"))
    await harness.redis.call("ZADD", keys.ERASURES, 0, "acme\x1fada")
    assert await harness.erasure.resume() == 1
    assert await traces(harness.redis, text, harness.secret) == set()


async def test_a_replaced_turn_is_found_by_its_id(harness: Harness) -> None:
    """Field fault 94: A commit that replaces a turn finds it by its id, or writes nothing."""
    await harness.answer(
        received("yours", event="b", user=BOB), asked("mine"), received("last", event="c", user=BOB)
    )
    await harness.accept(replace(rated("post of b"), user=BOB))
    claim = await harness.inbox.claim(keys.shard_of(CONVERSATION))
    assert isinstance(claim, Claim)
    await harness.erasure.forget(ADA, patience_s=0)
    rated_turn = replace(claim.turns[0], reason="rated")
    await harness.inbox.commit(claim, CommitRequest(turn=rated_turn, place=-3))
    assert [(turn.id, turn.reason) for turn in await harness.turns.turns(CONVERSATION)] == [
        ("b", "rated"),
        ("c", ""),
    ]


async def test_a_deleted_turn_is_not_written_again(harness: Harness) -> None:
    """Field fault 94: an operator regenerates an answer while its asker's data is deleted."""
    await harness.answer(asked("mine"), received("last", event="c", user=BOB))
    await harness.accept(received("again", event="again", user=BOB))
    claim = await harness.inbox.claim(keys.shard_of(CONVERSATION))
    assert isinstance(claim, Claim)
    await harness.erasure.forget(ADA, patience_s=0)
    await harness.inbox.commit(claim, CommitRequest(turn=claim.turns[0], place=-2, sent=b"x"))
    assert [turn.id for turn in await harness.turns.turns(CONVERSATION)] == ["c"]
    assert not await harness.redis.call("EXISTS", keys.of("sent", CONVERSATION, "a"))


async def test_studio_data_is_deleted_with_its_author(redis: Redis) -> None:
    """Field fault 94: saved prompts are personal data; those of others stay, without the person's text."""
    from bot.storage.prompts.versions import Versions as Log

    harness, text = Harness(redis), TEXTS["code"]
    me = User(id="oid-1", tenant="studio", name="Ann Lee")
    saved_configs = SavedConfigs(redis)
    await saved_configs.save(
        "mine", f'[{{"system": "{text}"}}]', author="Ann Lee (ann@x)", replace=False, owner=me.id
    )
    await saved_configs.save(
        "yours", f'[{{"system": "As Ann says {text}"}}]', author="Bob", replace=False, owner="b"
    )
    change = PoolChange(number=1, pool="p", author="Ann Lee (ann@x)", at=now(), reason=f"for {text}")
    await Log(redis).append(change)
    gone = await harness.personal_data.forget(me)
    assert "1 saved setup or vote in the studio" in gone
    (left,) = await saved_configs.all()
    assert isinstance(left, SavedConfig)
    assert (left.name, REMOVED in left.setups) == ("yours", True)
    assert await traces(redis, text, harness.secret) == set()
    assert await traces(redis, "Ann Lee", harness.secret) == set()


async def test_examples_leave_prompts_of_other_conversations(harness: Harness) -> None:
    """Field fault 120: what was sent for somebody else shows examples of a pool, also those of a forgotten person."""
    text = TEXTS["a passage"]
    await examples_of_a_pool(harness, text)
    (turn,) = await harness.turns.turns(CONVERSATION)
    shown = f"Examples follow.\n\nUser: {turn.received.text}\n\nAssistant: {turn.reply.text}\n\nUser: hello"
    prompt = Prompt(
        template="a", capability="chat", messages=(say("system", shown), say("user", "and mine?"))
    )
    name = keys.of("sent", OTHER, "b")
    await harness.redis.call("SET", name, pack_prompts([prompt]), "EX", 60)
    await harness.erasure.forget(ADA)
    assert await traces(harness.redis, text, harness.secret) == set()
    (left,) = await harness.turns.sent(OTHER, "b")
    assert (
        left.messages[0].text == f"Examples follow.\n\nUser: {REMOVED}\n\nAssistant: {REMOVED}\n\nUser: hello"
    )


async def test_pools_are_reloaded_after_an_erasure(harness: Harness) -> None:
    """Field fault 94: no process shows a deleted example in a later prompt."""
    from bot.prompts.registry import TemplateRegistry

    await examples_of_a_pool(harness, TEXTS["code"])
    registry = TemplateRegistry((), {"p": ()}, Versions(harness.redis))
    await registry.refresh()
    assert len(registry.pools()["p"]) == 2
    await harness.erasure.forget(ADA)
    await registry.refresh()
    assert [item.user for item in registry.pools()["p"]] == ["hello"]


def test_matching_is_linear_in_the_text() -> None:
    """Field fault 94: A long text of few words is searched in one pass."""

    class Counted(Passages):
        steps = 0

        def _matching(
            self, words: Sequence[str], place: int, first: str, *, everything: bool
        ) -> Iterator[tuple[str, ...]]:
            for item in super()._matching(words, place, first, everything=everything):
                Counted.steps += 1
                yield item

    passages = Counted()
    text = "alpha information beta gamma " * 5000
    passages.add(text, now())
    assert passages.redact(text, everything=True) == f"{REMOVED} "
    assert Counted.steps <= 16 * 20_000


async def test_images_read_for_others_are_deleted(harness: Harness) -> None:
    """Field fault 44: a photo of one person that was read for the question of another."""
    harness.accepts_images = True
    harness.model.script = lambda prompt: words("Fine.")
    out = io.BytesIO()
    Pictures.new("RGB", (2, 2), "red").save(out, "PNG")
    harness.adapter.files["f9"] = out.getvalue()
    photo = Attachment(id="f9", name="photo.png", mime="image/png")
    quote = QuotedMessage(author="Countess", text="Here.", by=ADA.id, attachments=(photo,))
    (turn,) = await harness.answer(replace(received("What is it?", event="b", user=BOB), quotes=(quote,)))
    (ref,) = refs(turn)
    assert await harness.turns.image(CONVERSATION, ref) is not None
    await harness.erasure.forget(ADA)
    assert await harness.turns.image(CONVERSATION, ref) is None
    (turn,) = [turn for turn in await harness.turns.turns(CONVERSATION) if turn.id == "b"]
    assert refs(turn) == []
    assert turn.reply.text == "Fine."
