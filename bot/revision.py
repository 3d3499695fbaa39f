"""Changes of turns that are written already: a rating, a deletion, a question asked anew."""

import logging
import re
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from bot.state.inbox import Written
from bot.types import Deleted, Rated, Rating, Turn

log = logging.getLogger(__name__)

_SAME = re.compile(r"\n\n_Asked anew at [\d:]+ UTC: the answer is the same\._\Z")


def rate(turns: Sequence[Turn], rated: Rated) -> Written:
    """The rated turn with its rating."""
    place = _place(turns, lambda turn: turn.post is not None and turn.post.id == rated.post)
    if place is None:
        log.info("A rating came for an answer that is no longer kept")
        return Written()
    turn = turns[place]
    ratings = {**turn.ratings, rated.user.id: Rating(good=rated.good, comment=rated.comment)}
    return Written(turn=replace(turn, ratings=ratings), place=place)


def delete(turns: Sequence[Turn], deleted: Deleted) -> Written:
    """The deleted question's turn, gone."""
    return Written(place=place_of(turns, deleted.target))


def anew(turn: Turn, before: Turn) -> Turn:
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
