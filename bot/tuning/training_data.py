"""Exports rated answers as few-shot pools and fine-tuning data, which share the chat format."""

from collections.abc import AsyncIterator

import msgspec

from bot.domain.turns import Turn
from bot.storage.conversations.turns import Turns


async def export(turns: Turns, *, good: bool = True) -> AsyncIterator[str]:
    """A line per answer with only good ratings (or with at least one bad rating, if not `good`).

    A line is the JSON `{"messages": [{"role": "user", ...}, {"role": "assistant", ...}]}`.
    """
    async for conversation in turns.conversations():
        for turn in await turns.turns(conversation):
            if _matches(turn, good=good):
                yield _line(turn)


def _matches(turn: Turn, *, good: bool) -> bool:
    votes = [rating.good for rating in turn.ratings.values()]
    return bool(votes) and turn.outcome == "answered" and bool(turn.messages) and all(votes) == good


def _line(turn: Turn) -> str:
    question, answer = turn.messages[0], turn.messages[-1]
    messages = [{"role": message.role, "content": message.text} for message in (question, answer)]
    return msgspec.json.encode({"messages": messages}).decode()
