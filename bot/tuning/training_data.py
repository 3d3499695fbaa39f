"""Well-rated answers as few-shot pools and fine-tuning data, in the chat format that both share."""

from collections.abc import AsyncIterator

import msgspec

from bot.domain.turns import Turn
from bot.storage.conversations.turns import Turns


async def export(turns: Turns, *, good: bool = True) -> AsyncIterator[str]:
    """A JSON line for each answer that everybody who rated it found good (or somebody bad, if not `good`).

    A line is `{"messages": [{"role": "user", ...}, {"role": "assistant", ...}]}`.
    """
    async for conversation in turns.conversations():
        for turn in await turns.turns(conversation):
            if _wanted(turn, good=good):
                yield _line(turn)


def _wanted(turn: Turn, *, good: bool) -> bool:
    votes = [rating.good for rating in turn.ratings.values()]
    return bool(votes) and turn.outcome == "answered" and bool(turn.messages) and all(votes) == good


def _line(turn: Turn) -> str:
    received, answered = turn.messages[0], turn.messages[-1]
    messages = [{"role": message.role, "content": message.text} for message in (received, answered)]
    return msgspec.json.encode({"messages": messages}).decode()
