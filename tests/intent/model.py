"""The scripted model: it uses the tools that a request offers as a good model would, and invents nothing."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import fastjsonschema
import msgspec
from aiohttp import web

from tests.intent.sentences import TOOLS
from tests.simulators.azure import Asked, AzureSimulator, Deployed
from tests.simulators.azure_wire import Answer, last_user_text

REFERENCE = re.compile(r"\bQ\d{5}[A-E]\b")
"""What tells the requests of one conversation from those of others."""
BEGINNING = "Good morning! Please note my reference: {}."
"""What every conversation of the measurement begins with."""
CHAT, IMAGE = ("gpt-4.1", "gpt-4.1-mini"), "gpt-image-1"
"""The deployments: the first one answers, unless another is chosen."""
_CAPABILITIES = ("usage", "reset", "forget", "stop", "summar", "template", "model", "image")
_ENOUGH = 4


@dataclass(frozen=True, kw_only=True)
class Label:
    """What a person wrote in a conversation, and the call with which a good model answers it, if there is one.

    `words` are those that are for the model: all, unless a command precedes them.
    """

    text: str
    words: str = ""
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a chat completion: whether the person's words were in it, unchanged, and what it offered.

    `results` are the results of tools in it by name, newest last; `informed`: it says what Parley can do;
    `repeated`: it asks once more what was asked at the beginning of the conversation.
    """

    deployment: str
    unchanged: bool
    repeated: bool
    offered: tuple[str, ...]
    informed: bool
    results: tuple[tuple[str, str], ...] = ()


class LabelledModel(AzureSimulator):
    """Azure OpenAI, whose model knows the labels. `seen` and `drawn` are by the reference of the conversation."""

    def __init__(self, *, tools: bool = True) -> None:
        """Without `tools` every chat deployment refuses them, as those of some models do."""
        chat = Deployed() if tools else Deployed(refuses=("tools",))
        super().__init__(deployments={**dict.fromkeys(CHAT, chat), IMAGE: Deployed()})
        self.labels: dict[str, Label] = {}
        self.seen: defaultdict[str, list[Seen]] = defaultdict(list[Seen])
        self.drawn: list[Asked] = []
        self.invalid: list[str] = []
        self.answer = self._answer

    async def _asked(self, request: web.Request) -> Asked:
        asked = await super()._asked(request)
        if "/images/" in asked.path:
            self.drawn.append(asked)
        return asked

    def _answer(self, messages: list[Any]) -> Answer:
        reference = self._reference(messages)
        received = last_user_text(messages)
        label = self.labels.get(reference)
        if label is None:
            return Answer(text="Noted.")
        offered = {tool["function"]["name"]: tool["function"] for tool in self._body.get("tools", ())}
        seen = Seen(
            deployment=self.journal[-1].deployment,
            unchanged=(label.words or label.text) in received,
            repeated=received.rstrip().endswith(BEGINNING.format(reference)),
            offered=tuple(offered),
            informed=_informed(messages),
            results=_results(messages),
        )
        self.seen[reference].append(seen)
        if seen.results:
            return Answer(text=f"As you asked. {seen.results[-1][1]}")
        if seen.unchanged and label.tool in offered:
            arguments = self._fitting(label, offered[label.tool]["parameters"])
            return Answer(calls=(("call_1", label.tool, json.dumps(arguments, ensure_ascii=False)),))
        return Answer(text=f"You asked: {received}")

    @property
    def _body(self) -> dict[str, Any]:
        """Of the request that is answered now: nothing comes between noting it down and answering it."""
        return self.journal[-1].body

    def _reference(self, messages: list[Any]) -> str:
        """Of the conversation; where no history is sent, of the one in which these words were just said."""
        if found := REFERENCE.findall(json.dumps(messages, ensure_ascii=False)):
            return found[-1]
        received = last_user_text(messages)
        waiting = [name for name in self.labels if name not in self.seen]
        same = [name for name in waiting if self.labels[name].text in received]
        part = [name for name in waiting if received.strip() and received in self.labels[name].text]
        return next(iter([*sorted(same, key=lambda name: -len(self.labels[name].text)), *part]), "")

    def _fitting(self, label: Label, schema: dict[str, Any]) -> dict[str, Any]:
        """The labelled arguments that the schema has; a text that it calls otherwise is the prompt."""
        known = schema.get("properties", {})
        arguments = {name: value for name, value in label.arguments.items() if name in known}
        arguments |= {
            name: label.arguments["prompt"]
            for name in schema.get("required", ())
            if name not in arguments and "prompt" in label.arguments
        }
        try:
            fastjsonschema.compile(schema)(arguments)  # pyright: ignore[reportUnknownMemberType]
        except fastjsonschema.JsonSchemaValueException as error:
            self.invalid.append(f"{label.tool}({json.dumps(arguments)}): {error.message}")
        return arguments


def _results(messages: list[Any]) -> tuple[tuple[str, str], ...]:
    """The results of tools since the person spoke last."""
    spoke = max((n for n, message in enumerate(messages) if message["role"] == "user"), default=0)
    names = {
        call["id"]: call["function"]["name"]
        for message in messages[spoke:]
        for call in message.get("tool_calls") or ()
    }
    return tuple(
        (names.get(message["tool_call_id"], ""), str(message["content"]))
        for message in messages[spoke:]
        if message["role"] == "tool"
    )


def _informed(messages: list[Any]) -> bool:
    """Whether the instructions say what Parley can do here: most of what it has tools for."""
    told = " ".join(str(m["content"]) for m in messages if m["role"] in ("system", "developer")).lower()
    return sum(word in told for word in _CAPABILITIES) >= _ENOUGH


__all__ = ["BEGINNING", "CHAT", "IMAGE", "REFERENCE", "TOOLS", "Label", "LabelledModel", "Seen"]
