"""Formats templates and prompts for the terminal."""

from collections.abc import Iterator, Sequence

import msgspec

from bot.domain.events import Address, MessageReceived, User, now
from bot.domain.prompts import Image, Parameters, Prompt, Template, Text
from bot.prompts import example_images

_ADDRESS = Address(conversation="terminal:preview", event="terminal:preview")


def question_event(question: str) -> MessageReceived:
    user = User(id="you", tenant="local", name="you")
    return MessageReceived(
        id=_ADDRESS.event, address=_ADDRESS, user=user, at=now(), text=question, direct=True
    )


def table(templates: Sequence[Template]) -> str:
    """Two lines for each template: name and description, and what it matches."""
    width = max(len(template.name) for template in templates)
    lines: list[str] = []
    for template in templates:
        lines += [f"{template.name:{width}}  {template.description}", f"{'':{width}}  {_used_for(template)}"]
    return "\n".join(line.rstrip() for line in lines)


def _used_for(template: Template) -> str:
    match = template.match
    uses = [f"/{command}" for command in match.commands]
    uses += [f'"{prefix.removesuffix(":")}: ..."' for prefix in match.prefixes]
    uses += [f"channel {channel}" for channel in match.channels]
    uses += ["everything else"] if match.default else []
    return ", ".join(uses) or "nothing"


def describe(template: Template) -> str:
    """A template as Parley reads it."""
    facts = {
        "name": template.name,
        "digest": template.digest,
        "description": template.description,
        "output": "images" if template.capability == "image" else "text",
        "used for": _used_for(template),
        "deployment": template.deployment,
        "parameters": _set(template.parameters),
        "inputs": ", ".join(f"{name}={value}" for name, value in template.inputs.items()),
        "pool": f"the {template.shots} nearest of pools/{template.pool}.jsonl" if template.pool else "",
        "tools": ", ".join(template.tools),
        "knowledge": ", ".join(template.knowledge),
    }
    blocks = ["\n".join(f"{name:<11} {value}" for name, value in facts.items() if value)]
    blocks += [_block("system", template.system)] if template.system else []
    for example in template.examples:
        user = "\n".join(_parts(example_images.parts(example)))
        blocks += [_block("user", user), _block("assistant", example.assistant)]
    return "\n\n".join(blocks)


def describe_prompt(prompt: Prompt) -> str:
    blocks = [_block(message.role, "\n".join(_parts(message.parts))) for message in prompt.messages]
    facts = {
        "template": prompt.template,
        "deployment": prompt.deployment,
        "parameters": _set(prompt.parameters),
        "tools": ", ".join(tool.name for tool in prompt.tools),
        "tokens": f"about {prompt.input_tokens}",
        "left out": "; ".join(f"{each.count} {each.what}: {each.why}" for each in prompt.left_out),
    }
    return "\n\n".join((*blocks, "\n".join(f"{name:<11} {value}" for name, value in facts.items() if value)))


def _parts(parts: Sequence[object]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Text):
            yield part.text
        elif isinstance(part, Image):
            yield f"[image: {part.alt or part.mime}]"


def _block(role: str, text: str) -> str:
    return f"--- {role}\n{text}"


def _set(parameters: Parameters) -> str:
    given = msgspec.structs.asdict(parameters)
    return ", ".join(f"{name}={value}" for name, value in given.items() if value not in (None, ()))
