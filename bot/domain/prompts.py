"""Messages and their parts, templates, prompts."""

from collections.abc import Awaitable, Sequence
from typing import Any, Literal, Protocol

from bot.domain.events import Frozen

Capability = Literal["chat", "image", "embedding"]
Role = Literal["system", "user", "assistant", "tool"]


class Text(Frozen, tag="text"):
    """Text."""

    text: str


class Image(Frozen, tag="image"):
    """An image: its bytes in `data` or, once stored, the `ref` of the bytes.

    `mask` is a PNG that is transparent where the image may be changed; empty means everywhere. It is never stored.
    """

    mime: str
    data: bytes = b""
    ref: str = ""
    alt: str = ""
    mask: bytes = b""


class ToolCall(Frozen, tag="call"):
    """A call of a tool by the model; `arguments` is the model's JSON."""

    id: str
    name: str
    arguments: str


class ToolResult(Frozen, tag="result"):
    """The result of the tool call with this `id`."""

    id: str
    text: str
    failed: bool = False


Part = Text | Image | ToolCall | ToolResult


class Message(Frozen):
    """One message of a prompt."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def characters(self) -> int:
        """The length of its texts, those of tool calls and results included."""
        return sum(
            len(part.arguments) if isinstance(part, ToolCall) else len(part.text)
            for part in self.parts
            if not isinstance(part, Image)
        )


def say(role: Role, text: str) -> Message:
    """A message of text only."""
    return Message(role=role, parts=(Text(text=text),))


class Parameters(Frozen):
    """The parameters of a request; `None` means the default of the deployment."""

    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    max_output_tokens: int | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    size: str | None = None  # of images: "1024x1024"
    quality: str | None = None
    style: str | None = None  # DALL-E only
    background: str | None = None  # gpt-image only: transparent, opaque, auto
    images: int | None = None  # number of images


class Example(Frozen):
    """A few-shot example. `images` are those that `user` shows as Markdown, in order."""

    user: str
    assistant: str
    tags: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()


class Match(Frozen):
    """What a template answers. `commands` have no slash; `prefixes` match whole words."""

    default: bool = False
    commands: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


class Template(Frozen):
    """A prompt as data. `digest` is 12 hex digits over the content; `system` may hold `{{placeholders}}`.

    `inputs` are its placeholders with their defaults. `past_messages` is the maximum number of history messages;
    `None` means as many as fit. `rewrite` is the chat deployment, by name or tag, that first rewrites an image
    prompt by the template's text ("" means any, `None` no rewriting). `extra` are fields of an imported
    configuration that are kept for its export. `question` is the text around the question, whose placeholder is
    the one without a value; empty means the question alone.
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
    question: str = ""

    @property
    def version(self) -> str:
        """The exact version, as turns record it: `name@digest`."""
        return f"{self.name}@{self.digest}"


class Omission(Frozen):
    """Something left out of a prompt: `what` (turns, examples, passages), how many, and why."""

    what: str
    count: int
    why: str


class ToolSpec(Frozen):
    """The description of a tool for the model; `schema` is the JSON Schema of its arguments."""

    name: str
    description: str
    schema: dict[str, Any]


class Prompt(Frozen):
    """Exactly what will be sent. `deployment` is a preference (a name or a tag), `sticky` a key for affinity.

    `examples` is the number of messages after the system message that are few-shot examples, not history.
    `since` is the id of the first turn of the history; empty if it is complete. `ahead` is the first turn
    after the next truncation, once that is near.
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
    vary: bool = False  # create a variation of the image in the last message, instead of editing it

    @property
    def edits(self) -> bool:
        """Whether an image in the last message is to be edited."""
        return not self.vary and any(isinstance(part, Image) for part in self.messages[-1].parts)


_IMAGE_TYPES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


def image_type(data: bytes) -> str:
    """The MIME type by the first bytes: PNG, JPEG, GIF or WebP; empty for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((mime for magic, mime in _IMAGE_TYPES if data.startswith(magic)), "")


class Embed(Protocol):
    """Turns texts into vectors of length 1, one for each text, in order. Raises Unavailable and NotAllowed."""

    def __call__(self, texts: Sequence[str], /) -> Awaitable[list[list[float]]]: ...
