"""Which turns of a conversation fit into a prompt: whole turns, the newest, never half of one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bot.domain.prompts import Image, Message, Omission, Text, ToolCall, ToolResult
from bot.domain.turns import Turn

Count = Callable[[str], int]
"""Tokens of a text."""

MESSAGE_TOKENS = 4
"""What a message costs beside its words (role and separators), as OpenAI counts for its chat models."""
IMAGE_TOKENS = 800
"""A picture of 1024x1024 at high detail costs 765 tokens with GPT-4o; others are near."""

MOST_TURNS = 40
"""Exchanges that a prompt shows; a claim brings a few more than that along."""

_HALF = 0.5
_PLANNED = 0.75
"""How full the token budget is when the next cut is planned: some turns before it, so that its summary is ready."""


_SHORT = 2000
"""Characters of a text that are counted within half a millisecond; longer ones are estimated."""


class _TokenCounter:
    """How texts are weighed in this process: set once, before the first."""

    count: Count | None = None


def count_by(count: Count | None) -> None:
    """Weigh short texts by this count from now on; None: by their bytes."""
    _TokenCounter.count = count


def count_text_tokens(text: str) -> int:
    """Tokens of a text: counted where a vocabulary is at hand, else estimated on the safe side, three UTF-8
    bytes each.
    """
    if _TokenCounter.count is not None and len(text) <= _SHORT:
        return _TokenCounter.count(text)
    return -(-len(text.encode()) // 3)


def count_tokens(message: Message) -> int:
    """Tokens of a message, estimated on the safe side."""
    return MESSAGE_TOKENS + sum(map(_count_part_tokens, message.parts))


def _count_part_tokens(part: Text | Image | ToolCall | ToolResult) -> int:
    match part:
        case Text():
            return count_text_tokens(part.text)
        case Image():
            return IMAGE_TOKENS
        case ToolCall():
            return MESSAGE_TOKENS + count_text_tokens(part.name + part.arguments)
        case ToolResult():
            return MESSAGE_TOKENS + count_text_tokens(part.text)


def remembered(turns: Sequence[Turn]) -> list[Turn]:
    """The turns that later prompts may see: after the last new start, without the refused ones."""
    start = max((n + 1 for n, turn in enumerate(turns) if turn.resets), default=0)
    return [turn for turn in turns[start:] if turn.messages]


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncatedHistory:
    """The turns that a prompt shows, oldest first; `since` is where they begin, "" when none is missing.

    `ahead` is where they will begin after the next cut, "" while that is far.
    """

    turns: Sequence[Turn]
    since: str = ""
    ahead: str = ""
    dropped: Omission | None = None


def truncate_history(
    turns: Sequence[Turn], budget_tokens: int, current: str, most_messages: int | None = None
) -> TruncatedHistory:
    """The newest remembered turns within the budget.

    Where the history begins stays the same from turn to turn, so that the provider finds the same prefix in
    its cache. When it outgrows the budget, it is cut in one large step, to half. Where that cut will be is
    settled while there is still budget, so that a summary is ready when it comes, and a cut changes the prompt
    once, not twice. `current` is the id of the turn that is being made; `most_messages` is what a template
    wants to be shown at most, turn by turn.
    """
    seen = remembered(turns)
    since, ahead = (seen[-1].since, seen[-1].ahead) if seen else ("", "")
    ids = [turn.id for turn in seen]
    start = ids.index(since) if since in ids else 0
    weights = [sum(map(count_tokens, turn.messages)) for turn in seen]
    lost = bool(since) and since not in ids
    if lost or _fills(weights[start:], budget_tokens) > 1:
        planned = ids.index(ahead) if ahead in ids else start
        fits = planned > start and _fills(weights[planned:], budget_tokens) <= _PLANNED
        start = planned if fits else max(start, _half(weights, budget_tokens))
        since, ahead = (ids[start] if start < len(ids) else current), ""
    elif _fills(weights[start:], budget_tokens) > _PLANNED and ahead not in ids[start + 1 :]:
        ahead = _plan(ids, weights, start, budget_tokens)
    why = f"the conversation has outgrown its room ({budget_tokens} tokens, {MOST_TURNS} exchanges)"
    if most_messages is not None and (wanted := _newest(seen, most_messages)) > start:
        start, why = wanted, f"the template shows at most {most_messages} messages of the conversation"
    dropped = Omission(what="turns", count=start, why=why) if start else None
    return TruncatedHistory(turns=seen[start:], since=since, ahead=ahead, dropped=dropped)


def _fills(weights: Sequence[int], budget_tokens: int) -> float:
    """The part of the budget, or of the number of turns, that is taken; above 1 it is outgrown."""
    return max(sum(weights) / max(budget_tokens, 1), len(weights) / MOST_TURNS)


def _plan(ids: Sequence[str], weights: Sequence[int], start: int, budget_tokens: int) -> str:
    """The turn before which half of the budget, or of the turns, will have been shown."""
    for end in range(start + 1, len(ids)):
        if _fills(weights[start:end], budget_tokens) >= _HALF:
            return ids[end]
    return ""


def _newest(turns: Sequence[Turn], most_messages: int) -> int:
    """Where the newest whole turns begin that have no more messages than this."""
    start = len(turns)
    while start and (most_messages := most_messages - len(turns[start - 1].messages)) >= 0:
        start -= 1
    return start


def _half(weights: Sequence[int], budget_tokens: int) -> int:
    """Where a history begins that takes at most half of the budget and of the turns."""
    start, spent = len(weights), 0
    while (
        start and len(weights) - start < MOST_TURNS // 2 and spent + weights[start - 1] <= budget_tokens // 2
    ):
        start -= 1
        spent += weights[start]
    if start == len(weights) and weights and weights[-1] <= budget_tokens:
        start -= 1  # the last exchange is worth more than the step
    return start
