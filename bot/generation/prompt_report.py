"""What was sent to the model for an answer, as Markdown: the messages, what was left out, the price."""

from collections.abc import Sequence

from bot.domain.prompts import Image, Message, Part, Prompt, Text, ToolCall, ToolResult
from bot.domain.turns import Turn, Usage

_LONGEST = 3000
"""Characters of one message that are shown; a person reads this in a chat."""
_KINDS = {"turns": "exchanges", "examples": "examples", "passages": "passages", "files": "files"}


def describe(turn: Turn, prompts: Sequence[Prompt]) -> str:
    """The whole of it, for the asker or an operator; `prompts` are one for each round of tools."""
    lines = [f"**What I sent for “{_short(turn.received.text)}”**", "", *_facts(turn)]
    if not prompts:
        lines += ["", _nothing(turn)]
        return "\n".join(lines)
    for number, prompt in enumerate(prompts, 1):
        head = f"Round {number} of {len(prompts)}" if len(prompts) > 1 else "The messages"
        seen = [one for one in prompts[: number - 1] if one.capability == prompt.capability == "chat"]
        same = seen and seen[-1].deployment == prompt.deployment
        new = prompt.messages[len(seen[-1].messages) :] if same else prompt.messages
        lines += ["", f"**{head}** (about {prompt.input_tokens} tokens)", ""]
        lines += [line for message in new for line in _message(message)]
        if number == 1 and prompt.tools:
            lines += ["", "Tools it may call: " + ", ".join(f"`{tool.name}`" for tool in prompt.tools)]
    return "\n".join(lines)


def _facts(turn: Turn) -> list[str]:
    lines = [f"- Template: `{turn.template}`"]
    lines += [f"- {_usage(one)}" for one in turn.usage]
    if turn.attempts > 1:
        lines.append(f"- Attempts: {turn.attempts}")
    lines += [
        f"- Left out: {one.count} {_KINDS.get(one.what, one.what)}, because {one.why}"
        for one in turn.left_out
    ]
    requests = tuple(words for message in turn.messages if (words := message.text.strip()))
    lines += [
        f"- Drawn as: {one.alt}" for one in turn.reply.images if one.alt and not one.alt.endswith(requests)
    ]
    if turn.reason:
        lines.append(f"- {turn.outcome.capitalize()}: {turn.reason}")
    return lines


def _usage(usage: Usage) -> str:
    cached = f" ({usage.cached_tokens} of them cached)" if usage.cached_tokens else ""
    noun = "picture" if usage.images == 1 else "pictures"
    pictures = f", {usage.images} {noun}" if usage.images else ""
    price = "price unknown" if usage.usd is None else f"${usage.usd:.4f}"
    counts = f"{usage.input_tokens} tokens in{cached}, {usage.output_tokens} out{pictures}, {price}"
    if usage.estimated and usage.images:
        return f"Answered by `{usage.deployment}`: about {counts} (estimated: an attempt before it broke off)"
    if usage.estimated:
        return f"Asked too: `{usage.deployment}`: about {counts} (estimated: it ended before it was counted)"
    return f"Answered by `{usage.deployment}`: {counts}"


def _nothing(turn: Turn) -> str:
    if turn.usage:
        return "The messages themselves are no longer kept."
    return "Nothing was sent to a model."


def _message(message: Message) -> list[str]:
    text = "\n".join(map(_part, message.parts)).strip()
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}\n[{len(text) - _LONGEST} more characters were sent]"
    fence = _fence(text)
    return [f"{message.role}:", fence, text, fence]


def _part(part: Part) -> str:
    match part:
        case Text():
            return part.text
        case Image():
            return f"[picture: {part.alt or part.mime}]"
        case ToolCall():
            return f"[calls {part.name} with {part.arguments}]"
        case ToolResult():
            return f"[{'failed: ' if part.failed else ''}{part.text}]"


def _fence(text: str) -> str:
    """A fence that nothing in the text closes."""
    fence = "```"
    while fence in text:
        fence += "`"
    return fence


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 60 else words[:59] + "…"
