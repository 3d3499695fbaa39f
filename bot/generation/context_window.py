"""Selects the newest whole turns of a conversation that fit into a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from bot.domain.events import MessageReceived
from bot.domain.prompts import Message, Omission
from bot.domain.turns import Turn
from bot.files.fenced_data import is_sent_tag
from bot.llm.tokens.counter import TokenCounter

MOST_TURNS = 40
"""Turns in a prompt; a claim loads slightly more than that."""

_KEPT = 0.4
"""Share of the budget that a truncation leaves: with more, cuts are more frequent, and each costs the prompt cache."""
_PLANNED = 0.75
"""Share of the budget at which the next truncation is planned, early enough to prepare its summary."""


def count_tokens(message: Message) -> int:
    """Tokens of a message for the models in use today, rather too many than too few."""
    return TokenCounter().message(message)


def remembered(turns: Sequence[Turn]) -> list[Turn]:
    """The turns that later prompts may include: those after the last reset that have messages."""
    start = max((n + 1 for n, turn in enumerate(turns) if turn.resets), default=0)
    return [turn for turn in turns[start:] if turn.messages]


def seen_by(received: MessageReceived, turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns without the words that the author of a message could not see: answers that only somebody else saw, and
    what was said before they were added to the conversation.
    """

    def is_hidden(turn: Turn) -> bool:
        private = turn.reply.private and not turn.received.user.is_same(received.user)
        return private or is_before(received, turn.received.at)

    return tuple(replace(turn, messages=()) if is_hidden(turn) else turn for turn in turns)


def is_before(received: MessageReceived, at: datetime | None) -> bool:
    """Whether this was before the author of a message was added to its conversation; an unknown time is, too."""
    return received.seen_since is not None and (at is None or at < received.seen_since)


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncatedHistory:
    """The turns for a prompt, oldest first.

    `since` is the id of the first one, "" if none is left out; `ahead` that of the first one after the next
    truncation, "" if none is planned yet.
    """

    turns: Sequence[Turn]
    since: str = ""
    ahead: str = ""
    dropped: Omission | None = None


def truncate_history(
    turns: Sequence[Turn],
    budget_tokens: int,
    current: str,
    most_messages: int | None = None,
    counter: TokenCounter = TokenCounter(),  # noqa: B008 - it never changes
) -> TruncatedHistory:
    """The newest turns since the last reset that fit into the budget.

    The first turn stays the same from prompt to prompt, so that the provider's prompt cache hits. A history
    that exceeds the budget is truncated to two fifths of it in one step. That step is planned in advance, so that
    a summary is ready by then. `current` is the id of the turn in progress; `most_messages` is the template's
    limit for the history, in messages.
    """
    seen = remembered(turns)
    since, ahead = (seen[-1].since, seen[-1].ahead) if seen else ("", "")
    ids = [turn.id for turn in seen]
    start = ids.index(since) if since in ids else 0
    weights = [counter.messages(turn.messages) for turn in seen]
    lost = bool(since) and since not in ids
    if lost or _fills(weights[start:], budget_tokens) > 1:
        planned = ids.index(ahead) if ahead in ids else start
        fits = planned > start and _fills(weights[planned:], budget_tokens) <= _PLANNED
        start = planned if fits else max(start, _start_of_kept(weights, budget_tokens))
        since, ahead = (ids[start] if start < len(ids) else current), ""
    elif _fills(weights[start:], budget_tokens) > _PLANNED and ahead not in ids[start + 1 :]:
        ahead = _plan(ids, weights, start, budget_tokens)
    why = f"the history exceeds its limit ({budget_tokens} tokens, {MOST_TURNS} turns)"
    if most_messages is not None and (newest := _newest(seen, most_messages)) > start:
        start, why = newest, f"the template limits the history to {most_messages} messages"
    dropped = Omission(what="turns", count=start, why=why) if start else None
    return TruncatedHistory(turns=seen[start:], since=since, ahead=ahead, dropped=dropped)


def _fills(weights: Sequence[int], budget_tokens: int) -> float:
    """The used share of the token budget or of MOST_TURNS, whichever is larger; over 1 is too much."""
    return max(sum(weights) / max(budget_tokens, 1), len(weights) / MOST_TURNS)


def _plan(ids: Sequence[str], weights: Sequence[int], start: int, budget_tokens: int) -> str:
    """The id of the turn at which the next truncation will begin the history; "" if it is too early to say."""
    for end in range(start + 1, len(ids)):
        if _fills(weights[start:end], budget_tokens) >= 1 - _KEPT:
            return ids[end]
    return ""


def _message_count(turn: Turn) -> int:
    """The number of messages of a turn, without the one that says who sent it and when."""
    return sum(not is_sent_tag(message.text) for message in turn.messages)


def _newest(turns: Sequence[Turn], most_messages: int) -> int:
    """Index of the first of the newest whole turns that have at most this many messages together."""
    start = len(turns)
    while start and (most_messages := most_messages - _message_count(turns[start - 1])) >= 0:
        start -= 1
    return start


def _start_of_kept(weights: Sequence[int], budget_tokens: int) -> int:
    """Index of the first turn of a history that takes at most two fifths of the budget and of MOST_TURNS."""
    start, spent = len(weights), 0
    turns, tokens = MOST_TURNS * _KEPT, budget_tokens * _KEPT
    while start and len(weights) - start < turns and spent + weights[start - 1] <= tokens:
        start -= 1
        spent += weights[start]
    if start == len(weights) and weights and weights[-1] <= budget_tokens:
        start -= 1  # keep the last turn, even if it takes more than that
    return start
