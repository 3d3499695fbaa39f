"""Describes as Markdown what was sent to the model for an answer: messages, omissions, usage, price."""

from collections.abc import Sequence

from bot.domain import formats
from bot.domain.prompts import Image, Message, Part, Prompt, Text, ToolCall, ToolResult
from bot.domain.turns import Turn, Usage

_PURPOSES = {
    "embedding": "Compared with the question by",
    "rewrite": "Image prompt written by",
    "tool": "Paid:",
}
_LONGEST = 3000
"""Characters shown of one message, because this is read in a chat."""


def describe(turn: Turn, prompts: Sequence[Prompt]) -> str:
    """The report on a turn, for its author or an operator; `prompts` has one entry per model call."""
    asked = _short(turn.received.text)
    head = f"**Sent for “{asked}”**" if asked else "**Sent for a message without text**"
    lines = [head, "", *_facts(turn)]
    if not prompts:
        nothing = "The messages are no longer stored." if turn.usage else "Nothing was sent to a model."
        return "\n".join([*lines, "", nothing])
    for number, prompt in enumerate(prompts, 1):
        head = f"Call {number} of {len(prompts)}" if len(prompts) > 1 else "Messages"
        seen = [prior for prior in prompts[: number - 1] if prior.capability == prompt.capability == "chat"]
        same = seen and seen[-1].deployment == prompt.deployment
        new = prompt.messages[len(seen[-1].messages) :] if same else prompt.messages
        lines += ["", f"**{head}** (about {formats.number(prompt.input_tokens)} tokens)", ""]
        lines += [line for message in new for line in _message(message)]
        if number == 1 and prompt.tools:
            lines += ["", "Tools: " + ", ".join(f"`{tool.name}`" for tool in prompt.tools)]
    return "\n".join(lines)


def _facts(turn: Turn) -> list[str]:
    lines = [f"- Template: `{turn.template}`"]
    lines += [f"- {_usage(call)}" for call in turn.usage]
    quotes = turn.received.quotes
    lines += [f"- Quoted: {one.label}: “{_short(one.text)}”" for one in quotes if not one.is_earlier]
    if earlier := sum(one.is_earlier for one in quotes):
        lines.append(f"- Earlier messages of the conversation: {earlier}")
    lines += [f"- Not read: {part.sentence}" for part in turn.unread]
    if turn.attempts > 1:
        lines.append(f"- Attempts: {turn.attempts}")
    lines += [
        f"- Left out: {omission.count} {omission.what}, because {omission.why}" for omission in turn.left_out
    ]
    requests = tuple(words for message in turn.messages if (words := message.text.strip()))
    lines += [
        f"- Image prompt: {image.alt}"
        for image in turn.reply.images
        if image.alt and not image.alt.endswith(requests)
    ]
    if turn.reason:
        lines.append(f"- {turn.outcome.capitalize()}: {turn.reason}")
    return lines


def _usage(usage: Usage) -> str:
    cached = f" ({formats.number(usage.cached_tokens)} cached)" if usage.cached_tokens else ""
    noun = "image" if usage.images == 1 else "images"
    images = f", {usage.images} {noun}" if usage.images else ""
    price = "price unknown" if usage.usd is None else formats.money(round(usage.usd * 1_000_000))
    sent, received = formats.number(usage.input_tokens), formats.number(usage.output_tokens)
    tokens = f"{sent} input tokens{cached}, {received} output tokens"
    name, counts = f"`{usage.deployment}`", f"{tokens}{images}, {price}"
    if usage.outcome == "failed" and not usage.estimated:
        return f"Also called: {name}: failed, not charged"
    if usage.estimated:
        return f"Also called: {name}: about {counts} (estimated: {usage.outcome})"
    if usage.outcome == "empty":
        return f"Also called: {name}: {counts} (without an answer)"
    return f"{_PURPOSES.get(usage.purpose or '', 'Answered by')} {name}: {counts}"


def _message(message: Message) -> list[str]:
    text = "\n".join(map(_part, message.parts)).strip()
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}\n[{len(text) - _LONGEST} more characters]"
    fence = _fence(text)
    return [f"{message.role}:", fence, text, fence]


def _part(part: Part) -> str:
    match part:
        case Text():
            return part.text
        case Image():
            return f"[image: {part.alt or part.mime}]"
        case ToolCall():
            return f"[calls {part.name} with {part.arguments}]"
        case ToolResult():
            return f"[{'failed: ' if part.failed else ''}{part.text}]"


def _fence(text: str) -> str:
    """A code fence longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return fence


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 60 else words[:59] + "…"
