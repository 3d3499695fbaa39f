"""The values that travel through the house: frozen, keyword-only, serialised as JSON by msgspec.

Times are aware and in UTC, names carry their units, and an unknown amount is `None`, never 0.
"""

from datetime import UTC, datetime
from typing import Any, Literal, dataclass_transform

import msgspec

Capability = Literal["chat", "image", "embedding"]
Role = Literal["system", "user", "assistant", "tool"]
Outcome = Literal["answered", "refused", "failed"]


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The common shape of every value below."""


def now() -> datetime:
    """The present, aware and in UTC."""
    return datetime.now(UTC)


# ------------------------------------------------------------------ who and where


class User(Value):
    """A person, as the platform knows them; `id` is unique within `tenant`."""

    id: str
    tenant: str
    name: str = ""


class Address(Value):
    """Where an answer goes. Only the adapter that made it reads `data`.

    `conversation` starts with the adapter's name and a colon: `slack:T1:C1:1700000000.000100`.
    `event` is the id of the act that is answered; an adapter that can mark its messages marks them
    with it, and finds its own half-written message again after a crash.
    """

    conversation: str
    event: str
    data: dict[str, str] = {}

    @property
    def adapter(self) -> str:
        """The name of the adapter that opens this address."""
        return self.conversation.partition(":")[0]


class Post(Value):
    """A message that an adapter has begun; `id` is unique within the adapter, `data` is the adapter's."""

    id: str
    data: dict[str, str] = {}


# ------------------------------------------------------------------ what a person did


class Attachment(Value):
    """A file that came with a message; its bytes are fetched by the adapter, on demand."""

    id: str
    name: str
    mime: str
    size_bytes: int | None = None
    data: dict[str, str] = {}


class Quote(Value):
    """What somebody said before the bot was called; data for the model, never instructions."""

    author: str
    text: str


class Act(Value):
    """What every event carries. `id` is equal for every delivery of the same act."""

    id: str
    address: Address
    user: User
    at: datetime


class Said(Act, tag="said"):
    """A person said something.

    `text` is plain or Markdown text, without the bot's mention, with other mentions as names; a command
    is its words (`/image a red bicycle`). `addressed` is false for a message in a thread that does not
    name the bot: it counts only where the bot already takes part. `channel` is the platform's id of the
    room, for templates and limits. `direct` is true in one-to-one chats.
    """

    text: str
    attachments: tuple[Attachment, ...] = ()
    quotes: tuple[Quote, ...] = ()
    addressed: bool = True
    channel: str = ""
    direct: bool = False

    @property
    def command(self) -> tuple[str, str] | None:
        """`/word rest` as (word in lower case, rest); None when the text is no command.

        A path (`/etc/hosts`) or a lone slash is no command.
        """
        text = self.text.strip()
        if not text.startswith("/"):
            return None
        head, *rest = text[1:].split(maxsplit=1)[:2] if len(text) > 1 else [""]
        if not head.replace("-", "").isalnum():
            return None
        return head.lower(), rest[0] if rest else ""


class Edited(Act, tag="edited"):
    """A person changed the text of an earlier message; `target` is that message's event id."""

    target: str
    text: str


class Deleted(Act, tag="deleted"):
    """A person deleted an earlier message; `target` is that message's event id."""

    target: str


class Rated(Act, tag="rated"):
    """A person rated an answer; `post` is the id of the `Post` that showed it."""

    post: str
    good: bool
    comment: str = ""


class Stopped(Act, tag="stopped"):
    """A person asked the bot to stop writing in this conversation."""


Event = Said | Edited | Deleted | Rated | Stopped


# ------------------------------------------------------------------ what a model sees


class Text(Value, tag="text"):
    """A stretch of text."""

    text: str


class Image(Value, tag="image"):
    """A picture: its bytes in `data`, or, once stored, the `ref` under which the bytes are kept."""

    mime: str
    data: bytes = b""
    ref: str = ""
    alt: str = ""


class ToolCall(Value, tag="call"):
    """The model asks for a tool; `arguments` is JSON as the model wrote it."""

    id: str
    name: str
    arguments: str


class ToolResult(Value, tag="result"):
    """What a tool said to the call with this `id`."""

    id: str
    text: str
    failed: bool = False


Part = Text | Image | ToolCall | ToolResult


class Message(Value):
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


class Parameters(Value):
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


class Example(Value):
    """A few-shot pair."""

    user: str
    assistant: str
    tags: tuple[str, ...] = ()


class Match(Value):
    """What a template answers. `commands` are words without the slash; `prefixes` end at a word's end."""

    default: bool = False
    commands: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


class Template(Value):
    """A prompt as data. `digest` is 12 hex digits over the wording; `system` may hold `{{holes}}`.

    `inputs` are the names of its holes with their default values. `past_messages` is how many messages of
    the conversation are shown at most, `None`: what fits. `extra` are fields of an imported set-up that
    nothing here uses, kept for its export.
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
    extra: dict[str, Any] = {}

    @property
    def version(self) -> str:
        """The exact wording that a turn points at: `name@digest`."""
        return f"{self.name}@{self.digest}"


class LeftOut(Value):
    """Something that did not go into a prompt: `what` (turns, examples, passages), how many, and why."""

    what: str
    count: int
    why: str


class ToolSpec(Value):
    """A tool as the model is told of it; `schema` is the JSON Schema of its arguments."""

    name: str
    description: str
    schema: dict[str, Any]


class Prompt(Value):
    """Exactly what will be sent. `deployment` is a wish (a name or a tag), `sticky` what to stay near.

    `examples` is how many messages after the system message are few-shot examples, not history. `since` is
    the id of the turn that the history begins with; empty when all of it is there.
    """

    template: str
    capability: Capability
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    parameters: Parameters = Parameters()
    input_tokens: int = 0
    left_out: tuple[LeftOut, ...] = ()
    deployment: str | None = None
    sticky: str = ""
    examples: int = 0
    since: str = ""


# ------------------------------------------------------------------ what a model answers


class Prices(Value):
    """US dollars per million tokens, or per picture; `None` is unknown."""

    input_usd: float | None = None
    cached_usd: float | None = None
    output_usd: float | None = None
    image_usd: float | None = None


class Deployment(Value):
    """One deployment of a model. `wire` names the shape of its requests: azure (classic paths) or v1.

    `model` is empty when nobody stated it; `key_env` names the environment variable that holds its key.
    The rate limits are the provider's; `None` is unlimited, or unknown.
    """

    name: str
    capability: Capability
    model: str
    family: str
    endpoint: str
    wire: Literal["azure", "v1", "offline"]
    context_tokens: int
    output_tokens: int
    api_version: str | None = None
    order: int = 0
    weight: int = 1
    tags: tuple[str, ...] = ()
    prices: Prices = Prices()
    key_env: str = ""
    region: str = ""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class Usage(Value):
    """What one call cost, as the deployment counted it; `usd` is `None` where a price is unknown."""

    deployment: str
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    usd: float | None = None


class Delta(Value):
    """A fragment of an answer; the last one of a stream carries `usage`.

    `finish` is the model's reason for ending: stop, length, content_filter, tool_calls. `filter` is what
    the content filter noted, where it isn't "safe": {"answer violence": "low"}, or "high, stopped".
    """

    text: str = ""
    call: ToolCall | None = None
    usage: Usage | None = None
    finish: str | None = None
    filter: dict[str, str] = {}


class Source(Value):
    """Where something in an answer comes from."""

    title: str
    url: str = ""
    excerpt: str = ""


class Reply(Value):
    """What the person sees: Markdown, pictures, sources. `rate` asks for rating buttons.

    `private` is true when only the asker should see it, where the platform can do that.
    """

    text: str
    images: tuple[Image, ...] = ()
    sources: tuple[Source, ...] = ()
    rate: bool = False
    private: bool = False


class Rating(Value):
    """What one person thought of an answer."""

    good: bool
    comment: str = ""


class Turn(Value):
    """The record of one answer: what was said, sent and shown, by which wording, at what cost.

    `messages` are what later prompts see of this turn: none for a refused one. `left_out` is what the
    prompt did not hold, and why; `reason` says in words why an outcome is not `answered`. `resets` is
    true where the person asked to start anew: later prompts see nothing before it. `since` is that of the prompt. `ratings` are by
    user id; `filter` is as in Delta.
    """

    id: str
    said: Said
    template: str
    messages: tuple[Message, ...]
    reply: Reply
    outcome: Outcome
    began_at: datetime
    ended_at: datetime
    usage: tuple[Usage, ...] = ()
    input_tokens: int = 0
    left_out: tuple[LeftOut, ...] = ()
    post: Post | None = None
    attempts: int = 1
    reason: str = ""
    resets: bool = False
    since: str = ""
    ratings: dict[str, Rating] = {}
    filter: dict[str, str] = {}


class Finding(Value):
    """One line of `parley check`: what was looked at, how it is, and, if it isn't well, what to do."""

    level: Literal["ok", "warning", "error"]
    subject: str
    words: str


class About(Value):
    """What a person sees of themselves: choices as (name, description), usage as Markdown."""

    templates: tuple[tuple[str, str], ...] = ()
    template: str = ""
    deployments: tuple[tuple[str, str], ...] = ()
    deployment: str = ""
    usage: str = ""
    conversations: int = 0
    answers: int = 0
