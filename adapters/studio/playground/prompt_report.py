"""A turn and the prompts that were sent for it, as the pages show them."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.studio.chat.frames import rendered
from bot.domain.events import QuotedMessage
from bot.domain.prompts import Image, Message, Omission, Prompt, Text
from bot.domain.turns import Turn, Usage
from bot.generation.context_window import count_tokens

_LONG = 600
"""Characters; a longer quote is shown on demand."""


def sent(prompts: Sequence[Prompt]) -> dict[str, Any]:
    """The last prompt, which contains those before it, message by message."""
    prompt = prompts[-1]
    parameters = msgspec.structs.asdict(prompt.parameters)
    return {
        "template": prompt.template,
        "deployment": prompt.deployment or "",
        "tokens": prompt.input_tokens,
        "parameters": {name: value for name, value in parameters.items() if value not in (None, ())},
        "left_out": [left_words(one) for one in prompt.left_out],
        "tools": [tool.name for tool in prompt.tools],
        "messages": [_message(one, n, prompt) for n, one in enumerate(prompt.messages)],
    }


def _message(message: Message, number: int, prompt: Prompt) -> dict[str, Any]:
    first = next((n for n, one in enumerate(prompt.messages) if one.role != "system"), 0)
    return {
        "role": message.role,
        "text": words_of(message),
        "tokens": count_tokens(message),
        "example": first <= number < first + prompt.examples,
    }


def left_words(left: Omission) -> str:
    """What was left out of a prompt, as text."""
    noun = left.what if left.count != 1 else left.what.removesuffix("s")
    return f"{left.count} {noun}: {left.why}"


def words_of(message: Message) -> str:
    """A message as text; images and tool calls are named in brackets."""
    found: list[str] = []
    for part in message.parts:
        match part:
            case Text():
                found.append(part.text)
            case Image():
                found.append(f"[image: {part.alt or part.mime}]")
            case _:
                found.append(f"[{msgspec.json.encode(part).decode()}]")
    return "\n".join(found)


def cost_words(turn: Turn) -> str:
    """Deployments, tokens, seconds and cost in one line."""
    seconds = (turn.ended_at - turn.began_at).total_seconds()
    facts = [", ".join(turn.answered_by)] if turn.answered_by else []
    totals = sum(one.input_tokens for one in turn.usage), sum(one.output_tokens for one in turn.usage)
    if any(totals):
        facts.append(f"{totals[0]:,} + {totals[1]:,} tokens")
    facts.append(f"{seconds:.1f} s")
    if turn.usage:
        facts.append(dollars(turn.usage))
    return " · ".join(facts)


def dollars(calls: Sequence[Usage]) -> str:
    """What calls cost together; an unknown price is never shown as free, and an estimate is marked."""
    prices = [one.usd for one in calls]
    if not prices:
        return "free"
    if any(price is None for price in prices):
        return "price unknown"
    total = sum(price or 0.0 for price in prices)
    about = "about " if any(one.estimated for one in calls) else ""
    return "free" if total == 0 else f"{about}${total:.4f}" if total >= 0.0001 else f"{about}${total:.6f}"


def call_rows(turn: Turn) -> list[dict[str, str]]:
    """The provider calls of a turn in the order in which they began: each as text for a row of a table."""
    return [
        {
            "purpose": (one.purpose or "answer").capitalize(),
            "deployment": one.deployment,
            "tokens": _counts(one),
            "cost": _charge(one),
        }
        for one in turn.usage
    ]


def _counts(call: Usage) -> str:
    tokens, images = f"{call.input_tokens:,} + {call.output_tokens:,}", call.images
    parts = [tokens] if call.input_tokens or call.output_tokens else []
    parts += [f"{images} image{'s' if images > 1 else ''}"] if images else []
    return ", ".join(parts)


_ENDINGS = {"interrupted": "interrupted", "failed": "failed", "empty": "without an answer"}


def _charge(call: Usage) -> str:
    """What a call cost, and why it is an estimate, or gave no answer."""
    if call.outcome == "failed" and not call.estimated:
        return "failed, not charged"
    words = (dollars([call]), "estimated" if call.estimated else "", _ENDINGS.get(call.outcome, ""))
    return ", ".join(filter(None, words))


async def turn_row(turn: Turn) -> dict[str, Any]:
    """A turn with what its template shows."""
    return {
        "turn": turn,
        "quotes": [_quote_row(quote) for quote in turn.received.quotes if not quote.is_earlier],
        "earlier": [_quote_row(quote) for quote in turn.received.quotes if quote.is_earlier],
        "unread": [part.sentence for part in turn.unread],
        "answer": await rendered(turn.reply.text),
        "cost": cost_words(turn),
        "calls": call_rows(turn),
        "given": [
            part
            for one in turn.messages
            for part in one.parts
            if one.role == "user" and isinstance(part, Image) and part.ref
        ],
        "drawn": [image for image in turn.reply.images if image.ref],
        "reason": _reason(turn.reason),
        "left_out": [left_words(one) for one in turn.left_out],
        "comments": [rating.comment for rating in turn.ratings.values() if rating.comment],
    }


def _quote_row(quote: QuotedMessage) -> dict[str, Any]:
    return {"label": quote.label, "at": quote.at, "text": quote.text, "long": len(quote.text) > _LONG}


def _reason(reason: str) -> str:
    """Why something was refused: the name of an error as words, other text as it is."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", reason).lower() if reason.isidentifier() else reason
