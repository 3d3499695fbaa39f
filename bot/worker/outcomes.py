"""Turns that no answer makes: changed by a rating, a deletion, the same question; overtaken, or given up."""

import logging
import re
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from bot.domain.events import FeedbackGiven, MessageDeleted, MessageReceived, PostedMessage, now
from bot.domain.prompts import say
from bot.domain.turns import Outcome, Rating, Reply, Turn
from bot.generation.turn_builder import TurnBuilder
from bot.storage.conversations.turns import pack_image, pack_prompts
from bot.storage.queue.inbox import CommitRequest
from bot.storage.usage.charges import charge

log = logging.getLogger(__name__)

GAVE_UP_TEXT = (
    "Sorry, I could not answer this: something went wrong each time I tried. It is noted for the person who "
    "runs this bot. Asking in other words may help."
)
GIVEN_UP = (
    "Sorry, I can't answer this now: something that I depend on does not work. The person who runs "
    "this bot can see why in its log. Please try again later."
)
OVERTAKEN = "_Not answered by itself: you wrote again._"

_SAME = re.compile(r"\n\n_Asked anew at [\d:]+ UTC: the answer is the same\._\Z")


def shown(turn: Turn, post: PostedMessage, attempts: int) -> Turn:
    """An answer that a post shows: the bytes of its pictures go aside."""
    images = tuple(replace(image, data=b"") for image in turn.reply.images)
    reply = replace(turn.reply, images=images)
    return replace(turn, post=post, attempts=attempts, reply=reply, ended_at=now())


def commit_request(builder: TurnBuilder, turn: Turn, place: int | None) -> CommitRequest:
    """What is written down of an answer that was shown."""
    return CommitRequest(
        turn=turn if builder.keep else None,
        place=place,
        sent=pack_prompts(builder.sent) if builder.sent else b"",
        pictures={ref: pack_image(image) for ref, image in builder.pictures.items()},
        charge=charge(turn, builder.event) if builder.reserved else None,
    )


def rate(turns: Sequence[Turn], rated: FeedbackGiven) -> CommitRequest:
    """The rated turn with its rating."""
    place = _place(turns, lambda turn: turn.post is not None and turn.post.id == rated.post)
    if place is None:
        log.info("A rating came for an answer that is no longer kept")
        return CommitRequest()
    turn = turns[place]
    ratings = {**turn.ratings, rated.user.id: Rating(good=rated.good, comment=rated.comment)}
    return CommitRequest(turn=replace(turn, ratings=ratings), place=place)


def delete(turns: Sequence[Turn], deleted: MessageDeleted) -> CommitRequest:
    """The deleted question's turn, gone."""
    return CommitRequest(place=place_of(turns, deleted.target))


def restored(turns: Sequence[Turn], received: MessageReceived) -> MessageReceived | None:
    """A deleted question that was put back, to be answered anew; None where its answer is still known."""
    if not received.restores:
        return received
    if place_of(turns, received.restores) is not None:
        return None
    return replace(received, id=received.restores, restores="")


def overtaken(received: MessageReceived) -> Turn:
    """A question without an answer of its own: the next prompts see it, and so does who reads the history."""
    sent = ", ".join(attachment.name for attachment in received.attachments)
    text = "\n".join(
        part for part in (received.text.strip(), f"[sent, and not looked at: {sent}]" if sent else "") if part
    )
    return _without(received, Reply(text=OVERTAKEN), "refused", "the same person wrote again", text)


def given_up(received: MessageReceived, reply: Reply, reason: str) -> Turn:
    """A question that can't be answered."""
    return _without(received, reply, "failed", reason)


def _without(received: MessageReceived, reply: Reply, outcome: Outcome, reason: str, seen: str = "") -> Turn:
    builder = TurnBuilder(received, now())
    builder.end(reply, outcome, messages=(say("user", seen),) if seen else (), reason=reason)
    return builder.done()


def retried(turn: Turn, before: Turn) -> Turn:
    """A turn in the place of another; where both say the same, that is said: nobody would see it."""
    text = turn.reply.text
    if turn.outcome != "answered" or turn.reply.images or _SAME.sub("", before.reply.text) != text:
        return turn
    words = f"{text}\n\n_Asked anew at {turn.ended_at:%H:%M:%S} UTC: the answer is the same._"
    return replace(turn, reply=replace(turn.reply, text=words))


def place_of(turns: Sequence[Turn], event: str) -> int | None:
    """The index, from the end, of the turn that answers an event."""
    return _place(turns, lambda turn: turn.id == event)


def _place(turns: Sequence[Turn], test: Callable[[Turn], bool]) -> int | None:
    for place, turn in enumerate(reversed(turns), 1):
        if test(turn):
            return -place
    return None
