"""What a model sees: messages and their parts, templates, prompts."""

from collections.abc import Awaitable, Sequence
from typing import Any, Literal, Protocol

from bot.domain.events import Frozen

Capability = Literal["chat", "image", "embedding"]
Role = Literal["system", "user", "assistant", "tool"]


class Text(Frozen, tag="text"):
    """A stretch of text."""

    text: str


class Image(Frozen, tag="image"):
    """A picture: its bytes in `data`, or, once stored, the `ref` under which the bytes are kept.

    `mask` is a PNG, transparent where this picture may be changed; empty: everywhere. It is never stored.
    """

    mime: str
    data: bytes = b""
    ref: str = ""
    alt: str = ""
    mask: bytes = b""


class ToolCall(Frozen, tag="call"):
    """The model asks for a tool; `arguments` is JSON as the model wrote it."""

    id: str
    name: str
    arguments: str


class ToolResult(Frozen, tag="result"):
    """What a tool said to the call with this `id`."""

    id: str
    text: str
    failed: bool = False


Part = Text | Image | ToolCall | ToolResult


class Message(Frozen):
    """One message as the model sees it."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


def say(role: Role, text: str) -> Message:
    """A message of text only."""
    return Message(role=role, parts=(Text(text=text),))


class Parameters(Frozen):
    """What a deployment is asked for besides the messages; `None` leaves the choice to the deployment."""

    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    max_output_tokens: int | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    size: str | None = None  # pictures: "1024x1024"
    quality: str | None = None
    style: str | None = None  # DALL-E only
    background: str | None = None  # gpt-image only: transparent, opaque, auto
    images: int | None = None  # how many pictures


class Example(Frozen):
    """A few-shot pair. `images` are the pictures that `user` shows as Markdown, in order."""

    user: str
    assistant: str
    tags: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()


class Match(Frozen):
    """What a template answers. `commands` are words without the slash; `prefixes` end at a word's end."""

    default: bool = False
    commands: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


class Template(Frozen):
    """A prompt as data. `digest` is 12 hex digits over the wording; `system` may hold `{{holes}}`.

    `inputs` are the names of its holes with their default values. `past_messages` is how many messages of
    the conversation are shown at most, `None`: what fits. `rewrite` is the chat deployment, by name or tag,
    that first puts a wish for a picture into other words by the template's text ("": any), `None`: nobody
    does. `extra` are fields of an imported set-up that nothing here uses, kept for its export.
    """

    name: str
    digest: str
    description: str = ""
    capability: Capability = "chat"
    system: str = ""
    examples: tuple[Example, ...] = ()
    pool: str | None = None
    shots: int = 0
    tools: tuple[str, ...] = ()
    knowledge: tuple[str, ...] = ()
    deployment: str | None = None
    parameters: Parameters = Parameters()
    inputs: dict[str, str] = {}
    match: Match = Match()
    past_messages: int | None = None
    rewrite: str | None = None
    extra: dict[str, Any] = {}

    @property
    def version(self) -> str:
        """The exact wording that a turn points at: `name@digest`."""
        return f"{self.name}@{self.digest}"


class Omission(Frozen):
    """Something that did not go into a prompt: `what` (turns, examples, passages), how many, and why."""

    what: str
    count: int
    why: str


class ToolSpec(Frozen):
    """A tool as the model is told of it; `schema` is the JSON Schema of its arguments."""

    name: str
    description: str
    schema: dict[str, Any]


class Prompt(Frozen):
    """Exactly what will be sent. `deployment` is a wish (a name or a tag), `sticky` what to stay near.

    `examples` is how many messages after the system message are few-shot examples, not history. `since` is
    the id of the turn that the history begins with; empty when all of it is there. `ahead` is that with which
    it will begin after its next cut, once that is near.
    """

    template: str
    capability: Capability
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    parameters: Parameters = Parameters()
    input_tokens: int = 0
    left_out: tuple[Omission, ...] = ()
    deployment: str | None = None
    sticky: str = ""
    examples: int = 0
    since: str = ""
    ahead: str = ""
    vary: bool = False  # draw another picture like the one in the last message, rather than change that


class Embed(Protocol):
    """Turns texts into vectors of length 1, one for each text, in order. Raises Unavailable and NotAllowed."""

    def __call__(self, texts: Sequence[str], /) -> Awaitable[list[list[float]]]: ...
