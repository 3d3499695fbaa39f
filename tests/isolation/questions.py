"""Operations on questions and answers: ask, edit, delete, answer again, stop, rate."""

import asyncio

from msgspec.structs import replace

from bot.domain.events import (
    FeedbackGiven,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    StopRequested,
    now,
)
from tests.isolation.checks import AFTER_STOP, canaries
from tests.isolation.doubles import MOST_EXAMPLES, SMALL
from tests.isolation.oracle import Expectation, Said
from tests.isolation.run import PATIENCE_S, Kind, Operation, Run, attachment, quote
from tests.isolation.world import Person

FILLER = "It is about the quarterly numbers of the northern region and what they mean for next year. " * 70


def _begin(run: Run, operation: Operation, text: str) -> tuple[Said, MessageReceived]:
    """A question with a canary in place of {}."""
    asked = run.oracle.new(operation.person)
    message = run.message(operation, text.replace("{}", asked))
    said = Said(message.id, operation.place, operation.person, asked, {asked}, post=f"post of {message.id}")
    return said, message


async def _asked(
    run: Run, operation: Operation, said: Said, message: MessageReceived, expected: Expectation
) -> None:
    """Send a question that is answered for certain."""
    said.private = run.oracle.muted(operation.place)
    await run.send(message)
    run.model.check_reply(run.reply_to(message), expected, private=said.private)
    if not expected.prompts:
        run.differ(operation, "the model was not asked.")
    said.words.add(expected.answer)
    run.oracle.history[operation.place.conversation].append(said)


async def ask(run: Run, operation: Operation) -> None:
    """A plain question, often a long one where the context window is small, so that the conversation is summarised."""
    small = run.oracle.template(operation.person, operation.place) == SMALL
    long = small and operation.dice.random() < 0.8
    said, message = _begin(run, operation, f"Could you look at {{}} for me? {FILLER if long else ''}")
    await _asked(run, operation, said, message, run.expects(said))


async def ask_with_file(run: Run, operation: Operation) -> None:
    """A question with a text or a picture, later also about "the picture"."""
    picture, word = operation.dice.random() < 0.5, run.oracle.new(operation.person)
    said, message = _begin(run, operation, "What do you make of {} in this picture?")
    said.words.add(word)
    message = replace(message, attachments=(attachment(word, picture=picture),))
    await _asked(run, operation, said, message, run.expects(said, word))


async def ask_with_quote(run: Run, operation: Operation) -> None:
    """A question that forwards what somebody else has written."""
    other = _another(run, operation)
    word = run.oracle.new(other)
    run.oracle.gone.discard(other.name)
    said, message = _begin(run, operation, "Is {} right about this?")
    said.words |= {word, other.name}
    message = replace(message, quotes=(quote(other, word),))
    await _asked(run, operation, said, message, run.expects(said, word))


async def ask_with_mention(run: Run, operation: Operation) -> None:
    """A question that mentions somebody else."""
    other = _another(run, operation)
    run.oracle.gone.discard(other.name)
    said, message = _begin(run, operation, f"Explain {{}} in words for @{other.name} please")
    said.mentions = other.name
    said.words.add(other.name)
    message = replace(message, mentions_others=True)
    await _asked(run, operation, said, message, run.expects(said, other.name))


def _another(run: Run, operation: Operation) -> Person:
    people = [one for one in run.people[operation.place.tenant] if one.id != operation.person.id]
    return operation.dice.choice(people)


async def summarise(run: Run, operation: Operation) -> None:
    """The model sums the conversation up with its tool, for those who may have that."""
    said, message = _begin(run, operation, "Tell me about {} and all of this")
    expected = run.expects(said, summarises=True)
    said.copies = expected.may - run.oracle.names
    await _asked(run, operation, said, message, expected)
    run.report.refused[operation.kind] += operation.person.role == "bot"


async def draw(run: Run, operation: Operation) -> None:
    """A picture, which apps may not have drawn."""
    said, message = _begin(run, operation, "/image a cat that holds {}")
    said.drawn = True
    expected = run.expects(said)
    expected.must = {said.asked}
    if run.oracle.may("draw", operation.person, shared=True):
        await _asked(run, operation, said, message, expected)
        return
    await run.send(message)
    reply = run.reply_to(message)
    run.expect_refusal(operation, reply.text if reply else "", False, "draw")
    if expected.prompts:
        run.differ(operation, "the image model was asked all the same.")


async def follow_up(run: Run, operation: Operation) -> None:
    """A message without a mention: its own words reach the model if it is answered, and never otherwise."""
    place = operation.place
    if place.direct:
        return await ask(run, operation)
    said, message = _begin(run, operation, "And then there is {} as well, which nobody expected")
    said.addressed = False
    expected = run.expects(said)
    mode = run.oracle.choices[place.tenant, place.channel].get("mode", "dialogue")
    receipt = await run.send(replace(message, addressed=False))
    if mode == "follow" and receipt == "accepted" and not expected.prompts:
        run.differ(operation, "a message was not answered although the mode is follow.")
    if mode in ("mute", "mention-only") and expected.prompts:
        run.differ(operation, f"a message was answered although the mode is {mode}.")
    if expected.prompts:
        run.model.check_reply(run.reply_to(message), expected, private=False)
        said.words.add(expected.answer)
        run.oracle.history[place.conversation].append(said)
    return None


# ------------------------------------------------------------------ what was said before


def _earlier(run: Run, operation: Operation, *, own: bool) -> Said | None:
    """A question of this conversation that this person can see; one of their own, if there is one."""
    found = [said for said in run.oracle.history[operation.place.conversation] if not said.drawn]
    found = [said for said in found if not said.private or said.person.id == operation.person.id]
    theirs = [said for said in found if said.person.id == operation.person.id]
    found = theirs if own else found
    return operation.dice.choice(found) if found else None


async def edit(run: Run, operation: Operation) -> None:
    """The author changes a question: the old words are not sent any more."""
    said = _earlier(run, operation, own=True)
    if said is None:
        return await ask(run, operation)
    message = run.message(operation, "")
    asked = run.oracle.new(operation.person)
    said.words.discard(said.asked)
    answers = {word for word in said.words if word in _answer_words(run, said)}
    said.words -= answers
    said.asked = asked
    said.words.add(asked)
    expected = run.expects(said)
    said.private = said.addressed and run.oracle.muted(operation.place)
    await run.send(
        MessageEdited(
            id=message.id,
            address=message.address,
            user=message.user,
            at=now(),
            target=said.id,
            text=f"Rather look at {asked} for me",
        )
    )
    reply = run.platform.replied.get((operation.place.conversation, said.post))
    run.model.check_reply(reply, expected, private=said.private)
    said.words.add(expected.answer)
    return None


def _answer_words(run: Run, said: Said) -> set[str]:
    """The canaries of the answer that is shown."""
    reply = run.platform.replied.get((said.place.conversation, said.post))
    return canaries(reply.text) if reply is not None else set()


async def delete(run: Run, operation: Operation) -> None:
    """The author deletes a question: it is not sent any more."""
    said = _earlier(run, operation, own=True)
    if said is None:
        return
    message = run.message(operation, "")
    await run.send(
        MessageDeleted(id=message.id, address=message.address, user=message.user, at=now(), target=said.id)
    )
    run.oracle.history[operation.place.conversation].remove(said)


async def again(run: Run, operation: Operation) -> None:
    """Somebody presses the button for another answer, which only the asker and operators may."""
    said = _earlier(run, operation, own=False)
    if said is None:
        return
    may = run.oracle.may("again", operation.person, shared=True, asker=said.person)
    message = replace(run.message(operation, f"/again {said.post}"), registered=True)
    before = said.words & _answer_words(run, said)
    said.words -= before
    expected = run.expects(said)
    expected.deployment = run.oracle.chosen(said.person, said.place, "model")
    await run.send(message)
    if may:
        reply = run.platform.replied.get((operation.place.conversation, said.post))
        run.model.check_reply(reply, expected, private=said.private)
        said.words.add(expected.answer)
        said.replaced |= before
        return
    said.words |= before
    reply = run.reply_to(message)
    run.expect_refusal(operation, reply.text if reply else "", False, "again")
    if expected.prompts:
        run.differ(operation, "the model was asked again for somebody who may not have that.")


async def sent(run: Run, operation: Operation) -> None:
    """Somebody asks what was sent to the model, which only the asker and operators may see."""
    said = _earlier(run, operation, own=False)
    if said is None:
        return
    may = run.oracle.may("sent", operation.person, shared=True, asker=said.person)
    message = replace(run.message(operation, f"/sent {said.post}"), registered=True)
    await run.send(message)
    reply = run.reply_to(message)
    text = reply.text if reply else ""
    run.expect_refusal(operation, text, may, "sent")
    oracle = run.oracle
    strange = {
        word
        for word in canaries(text)
        if word in oracle.gone or oracle.tenant_of.get(word, said.place.tenant) != said.place.tenant
    }
    if strange or (reply and not reply.private and operation.person.role != "bot"):
        run.differ(operation, f"what was sent holds {', '.join(sorted(strange))} of others, or is public.")


async def stop(run: Run, operation: Operation) -> None:
    """Somebody stops an answer while it is written: the asker, administrators and operators may."""
    said, message = _begin(run, operation, "Write down everything about {} now")
    who = (
        operation.person
        if operation.place.direct or operation.dice.random() < 0.4
        else _another(run, operation)
    )
    may = run.oracle.may("stop", who, shared=True, asker=operation.person)
    expected = run.expects(said, waits=True)
    begun = run.model.begun[said.asked] = asyncio.Event()
    go = run.model.go[said.asked] = asyncio.Event()
    asking = asyncio.create_task(_asked(run, operation, said, message, expected))
    async with asyncio.timeout(PATIENCE_S):
        await begun.wait()
    id = run.next_id(operation.place.tenant)
    address = replace(message.address, event=id)
    receipt = await run.intake.accept(StopRequested(id=id, address=address, user=who.user, at=now()))
    if not may or receipt != "accepted":
        go.set()
    await asking
    reply = run.reply_to(message)
    stopped = reply is not None and AFTER_STOP not in reply.text
    if (receipt == "accepted", stopped) != (may, may):
        run.differ(
            operation,
            f"{who.id} ({who.role}) may {'' if may else 'not '}stop this answer; {receipt}, stopped: {stopped}.",
        )
    run.report.refused[operation.kind] += not may


async def rate(run: Run, operation: Operation) -> None:
    """Somebody rates an answer; good ones become examples of the tenant's pool, once somebody has reviewed them."""
    said = _earlier(run, operation, own=False)
    if said is None:
        return
    good, comment = operation.dice.random() < 0.7, run.oracle.new(operation.person)
    message = run.message(operation, "")
    await run.send(
        FeedbackGiven(
            id=message.id,
            address=message.address,
            user=message.user,
            at=now(),
            post=said.post,
            good=good,
            comment=f"I say {comment} to that",
        )
    )
    oracle, tenant = run.oracle, operation.place.tenant
    full = len(oracle.pools[tenant]) >= MOST_EXAMPLES
    if good and not said.private and tenant in oracle.bound and not full and len(said.words) == 2:
        await _propose(run, said, tenant)


async def _propose(run: Run, said: Said, tenant: str) -> None:
    """What an editor and a reviewer do in the studio."""
    turns = await run.harness.turns.turns(said.place.conversation)
    turn = next((turn for turn in turns if turn.id == said.id), None)
    whole = turn is not None and turn.outcome == "answered" and len(turn.messages) > 1
    if turn is None or not whole or any(each.id == said.id for each in run.oracle.pools[tenant]):
        return
    review = run.sources.library.review
    proposal = await review.propose(turn, run.houses[tenant].pool, author="an editor")
    if proposal.state == "proposed":
        await review.accept(proposal.id, reviewer="a reviewer", example=proposal.example)
        await run.sources.library.registry.refresh()
        words = canaries(proposal.example.user, proposal.example.assistant)
        run.oracle.pools[tenant].append(
            Said(said.id, said.place, said.person, said.asked, words, post=said.post)
        )


KINDS = (
    Kind("ask", ask, 30),
    Kind("file or picture", ask_with_file, 7),
    Kind("quote", ask_with_quote, 5),
    Kind("mention", ask_with_mention, 4),
    Kind("summarise", summarise, 4),
    Kind("draw", draw, 4),
    Kind("follow up", follow_up, 9),
    Kind("edit", edit, 6),
    Kind("delete", delete, 4),
    Kind("again", again, 4),
    Kind("sent", sent, 2),
    Kind("stop", stop, 3),
    Kind("rate", rate, 8),
)
