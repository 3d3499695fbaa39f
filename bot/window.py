"""Which turns of a conversation fit into a prompt: whole turns, the newest, never half of one."""

from collections.abc import Sequence

from bot.types import Image, LeftOut, Message, Text, ToolCall, ToolResult, Turn

MESSAGE_TOKENS = 4
"""What a message costs beside its words (role and separators), as OpenAI counts for its chat models."""
IMAGE_TOKENS = 800
"""A picture of 1024x1024 at high detail costs 765 tokens with GPT-4o; others are near."""


def weigh_text(text: str) -> int:
    """Tokens of a text, estimated on the safe side: three UTF-8 bytes each."""
    return -(-len(text.encode()) // 3)


def weigh(message: Message) -> int:
    """Tokens of a message, estimated on the safe side."""
    return MESSAGE_TOKENS + sum(map(_weigh_part, message.parts))


def _weigh_part(part: Text | Image | ToolCall | ToolResult) -> int:
    match part:
        case Text():
            return weigh_text(part.text)
        case Image():
            return IMAGE_TOKENS
        case ToolCall():
            return MESSAGE_TOKENS + weigh_text(part.name + part.arguments)
        case ToolResult():
            return MESSAGE_TOKENS + weigh_text(part.text)


def remembered(turns: Sequence[Turn]) -> list[Turn]:
    """The turns that later prompts may see: after the last new start, without the refused ones."""
    start = max((n + 1 for n, turn in enumerate(turns) if turn.resets), default=0)
    return [turn for turn in turns[start:] if turn.messages]


def fit(
    turns: Sequence[Turn], budget_tokens: int, most_messages: int | None = None
) -> tuple[list[Turn], LeftOut | None]:
    """The newest remembered turns within the budget, oldest first, and what had to be left out."""
    candidates = remembered(turns)
    why = f"the conversation is longer than the {budget_tokens} tokens that are left for it"
    kept, spent, messages = 0, 0, 0
    for turn in reversed(candidates):
        messages += len(turn.messages)
        if most_messages is not None and messages > most_messages:
            why = f"the template shows at most {most_messages} messages of the conversation"
            break
        spent += sum(map(weigh, turn.messages))
        if spent > budget_tokens:
            break
        kept += 1
    dropped = len(candidates) - kept
    if not dropped:
        return candidates, None
    return candidates[dropped:], LeftOut(what="turns", count=dropped, why=why)
