"""What is committed for each outcome: an answer, a rating, a deletion, a superseded or failed question."""

import logging
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from bot.domain import formats
from bot.domain.adapter import STREAMED
from bot.domain.events import (
    FeedbackGiven,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    PostedMessage,
    now,
)
from bot.domain.prompts import say
from bot.domain.turns import Outcome, Rating, Reply, Turn, Undelivered
from bot.domain.words import in_every_language, marked, tr
from bot.files.fenced_data import harmless, quoted
from bot.generation.completion import stopped
from bot.generation.turn_builder import Stop, TurnBuilder
from bot.storage.conversations.turns import pack_image, pack_prompts
from bot.storage.queue.inbox import Claim, CommitRequest
from bot.storage.usage.charges import Charge, charge_of

log = logging.getLogger(__name__)

FAILED_TEXT = marked(
    "Sorry, I couldn't answer this after several attempts. Your administrator can see the reason under Dead "
    "letters. Try to rephrase your question."
)
UNDELIVERED_TEXT = marked(
    "Sorry, I have an answer, but it can't be shown here. Your administrator can see the reason under Dead "
    "letters, and deliver it again."
)
UNAVAILABLE_TEXT = marked(
    "Sorry, I can't answer this at the moment: a service that I need isn't working. Your administrator can "
    "see the reason in the log. Try again later."
)
SUPERSEDED_TEXT = marked("_Not answered separately: you sent another message._")

_UNEDITED = marked("This is the answer to your question before you edited it.")
_SAME = marked("_Regenerated at {time}: the answer is the same._")


def shown(turn: Turn, post: PostedMessage, attempts: int) -> Turn:
    """An answered turn with its post, and without the bytes of its images."""
    return replace(
        without_bytes(turn),
        post=without_streamed(post),
        attempts=attempts,
        ended_at=now(),
        undelivered=None,
    )


def without_bytes(turn: Turn) -> Turn:
    """A turn as it is stored: its images are stored beside it."""
    images = tuple(replace(image, data=b"") for image in turn.reply.images)
    return replace(turn, reply=replace(turn.reply, images=images))


def pending(turn: Turn, post: PostedMessage | None, claim: Claim, dead_letter: str = "") -> Turn:
    """A turn whose reply is finished and not delivered yet."""
    event = claim.event.id if claim.event is not None else ""
    undelivered = Undelivered(event=event, attempts=claim.attempt - 1, dead_letter=dead_letter)
    post = post and without_streamed(post)
    return replace(without_bytes(turn), post=post, attempts=claim.attempt, undelivered=undelivered)


def without_streamed(post: PostedMessage) -> PostedMessage:
    """A post as it is stored in a turn: what was streamed stays with the lease."""
    return replace(post, data={name: value for name, value in post.data.items() if name != STREAMED})


def dropped(turn: Turn, stop: Stop) -> Turn:
    """An undelivered turn whose reply the person no longer wants, with the note that they see instead of it.

    A reply to a person who has only sent another message is delivered: it is complete, and paid for.
    """
    if not stop.requested or stop.why == "said" or (turn.undelivered and turn.undelivered.dead_letter):
        return turn
    return replace(
        turn, reply=Reply(text=stopped(stop), private=turn.reply.private), messages=turn.messages[:1]
    )


def commit_request(builder: TurnBuilder, turn: Turn, place: int | None) -> CommitRequest:
    """The commit of an answer."""
    return CommitRequest(
        turn=turn if builder.keep else None,
        place=place,
        sent=pack_prompts(builder.sent) if builder.sent else b"",
        pictures={ref: pack_image(image) for ref, image in builder.pictures.items()},
        charge=_charge(builder, turn),
    )


def _charge(builder: TurnBuilder, turn: Turn) -> Charge | None:
    """What an answer cost: of one that was refused before the model was asked, its calls, and no request.

    None for commands that ask no model. Other questions may have been reserved for by an attempt whose process died.
    """
    if builder.template.startswith("/") and not (builder.held or builder.calls):
        return None
    turns = int(builder.reserved and (bool(builder.calls) or turn.outcome == "answered"))
    return charge_of(
        turn.received,
        builder.event or turn.id,
        turn.template,
        builder.calls,
        turns=turns,
        payer=builder.payer,
    )


def rate(turns: Sequence[Turn], rated: FeedbackGiven) -> CommitRequest:
    """The rated turn with its rating."""
    place = _place(turns, lambda turn: turn.post is not None and turn.post.id == rated.post)
    if place is None:
        log.info("Feedback arrived for an answer that is no longer stored")
        return CommitRequest()
    turn = turns[place]
    ratings = {**turn.ratings, rated.user.id: Rating(good=rated.good, comment=rated.comment)}
    return CommitRequest(turn=replace(turn, ratings=ratings), place=place)


def delete(turns: Sequence[Turn], deleted: MessageDeleted) -> CommitRequest:
    """The commit that removes the turn of a deleted question."""
    return CommitRequest(place=place_of(turns, deleted.target))


def restored(turns: Sequence[Turn], received: MessageReceived) -> MessageReceived | None:
    """A question to answer; None if it was deleted and restored while its turn still exists."""
    if not received.restores:
        return received
    if place_of(turns, received.restores) is not None:
        return None
    return replace(received, id=received.restores, restores="")


def superseded(received: MessageReceived) -> Turn:
    """A question without an answer of its own. It stays in the history, for the answer to the next one."""
    names = ", ".join(" ".join(harmless(attachment.name).split()) for attachment in received.attachments)
    pieces = (
        quoted(received.quotes),
        received.text.strip(),
        f"[attached, not read: {names}]" if names else "",
    )
    text = "\n".join(piece for piece in pieces if piece)
    reason = "the same person sent another message"
    return _unanswered(received, Reply(text=tr(SUPERSEDED_TEXT)), "refused", reason, text)


def failure(claim: Claim, text: str, reason: str) -> CommitRequest:
    """The commit of an event that can't be answered: a dead letter and, of a question, a turn that says so in `text`.

    An edited question keeps its turn and its answer, below which `text` stands.
    """
    event = claim.event
    if isinstance(event, MessageReceived):
        turn = failed(event, Reply(text=tr(text), failed=True), reason)
        return CommitRequest(turn=turn, dead_letter_reason=reason)
    place = place_of(claim.turns, event.target) if isinstance(event, MessageEdited) else None
    if place is None:
        return CommitRequest(dead_letter_reason=reason)
    before = claim.turns[place]
    answer = before.reply.text
    for note in in_every_language(_UNEDITED):
        answer = answer.partition(f"\n\n_{note}")[0]
    reply = replace(before.reply, text=f"{answer}\n\n_{tr(_UNEDITED)} {tr(text)}_")
    return CommitRequest(turn=replace(before, reply=reply), place=place, dead_letter_reason=reason)


def failed(received: MessageReceived, reply: Reply, reason: str) -> Turn:
    """A question that can't be answered."""
    return _unanswered(received, reply, "failed", reason)


def _unanswered(
    received: MessageReceived, reply: Reply, outcome: Outcome, reason: str, question: str = ""
) -> Turn:
    builder = TurnBuilder(received, now())
    builder.end(reply, outcome, messages=(say("user", question),) if question else (), reason=reason)
    return builder.done()


def retried(turn: Turn, before: Turn) -> Turn:
    """A turn that replaces another. If the answer is the same, a note says that it was regenerated."""
    text = turn.reply.text
    if turn.outcome != "answered" or turn.reply.images or _without_note(before.reply.text) != text:
        return turn
    words = f"{text}\n\n{tr(_SAME, time=formats.clock(turn.ended_at, seconds=True))}"
    return replace(turn, reply=replace(turn.reply, text=words))


def _without_note(text: str) -> str:
    """An answer without the note that it was regenerated, in whatever language."""
    answer, _, last = text.rpartition("\n\n")
    noted = any(
        last.startswith(begin) and last.endswith(end)
        for begin, _, end in (note.partition("{time}") for note in in_every_language(_SAME))
    )
    return answer if noted else text


def place_of(turns: Sequence[Turn], event: str) -> int | None:
    """The index, from the end, of the turn that answers an event."""
    return _place(turns, lambda turn: turn.id == event)


def _place(turns: Sequence[Turn], test: Callable[[Turn], bool]) -> int | None:
    for place, turn in enumerate(reversed(turns), 1):
        if test(turn):
            return -place
    return None
