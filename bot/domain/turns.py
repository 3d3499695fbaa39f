"""What a model answers, what that costs, what the person sees, and what is kept of it."""

from datetime import datetime
from typing import Literal

from msgspec import field

from bot.domain.events import Frozen, MessageReceived, PostedMessage
from bot.domain.prompts import Capability, Image, Message, Omission, ToolCall

Outcome = Literal["answered", "refused", "failed"]

MAX_TOOL_CALLS = 64
"""Tool calls that are kept of one stream; more are only counted. An upper bound of what may be run."""


class Prices(Frozen):
    """US dollars per million tokens, or per picture; `None` is unknown."""

    input_usd: float | None = None
    cached_usd: float | None = None
    output_usd: float | None = None
    image_usd: float | None = None


class Deployment(Frozen):
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


class Usage(Frozen):
    """What one call cost, as the deployment counted it; `usd` is `None` where a price is unknown.

    `estimated` says that the call ended before the deployment said what it counted.
    """

    deployment: str
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    usd: float | None = None
    estimated: bool = False


class Delta(Frozen):
    """A fragment of an answer; the last one of a stream carries `usage`.

    `so_far` is what the call has cost by now, about, for whoever leaves it here; the next `usage` counts it.
    `finish` is the model's reason for ending: stop, length, content_filter, tool_calls. `filter` is what
    the content filter noted, where it isn't "safe": {"answer violence": "low"}, or "high, stopped".
    `dropped` counts tool calls beyond MAX_TOOL_CALLS, of which nothing else was kept.
    """

    text: str = ""
    call: ToolCall | None = None
    dropped: int = 0
    usage: Usage | None = None
    so_far: Usage | None = None
    finish: str | None = None
    filter: dict[str, str] = {}


class Source(Frozen):
    """Where something in an answer comes from."""

    title: str
    url: str = ""
    excerpt: str = ""


class Reply(Frozen):
    """What the person sees: Markdown, pictures, sources. `rate` asks for rating buttons.

    `generated` is true where a model wrote or drew some of it: platforms label that, and nothing else.
    `private` is true when only the asker should see it, where the platform can do that. `confirm` is the
    command that confirms what the text asks about: platforms with buttons show one for it. `forgotten` is
    true where everything kept about the asker was just deleted.
    """

    text: str
    images: tuple[Image, ...] = ()
    sources: tuple[Source, ...] = ()
    rate: bool = False
    generated: bool = False
    private: bool = False
    confirm: str = ""
    forgotten: bool = False


class Rating(Frozen):
    """What one person thought of an answer."""

    good: bool
    comment: str = ""


class Turn(Frozen):
    """The record of one answer: what was said, sent and shown, by which wording, at what cost.

    `messages` are what later prompts see of this turn: none for a refused one. `left_out` is what the
    prompt did not hold, and why; `reason` says in words why an outcome is not `answered`. `resets` is
    true where the person asked to start anew: later prompts see nothing before it. `since` and `ahead` are
    those of the prompt. `ratings` are by user id; `filter` is as in Delta.
    """

    id: str
    received: MessageReceived = field(name="said")
    template: str
    messages: tuple[Message, ...]
    reply: Reply
    outcome: Outcome
    began_at: datetime
    ended_at: datetime
    usage: tuple[Usage, ...] = ()
    input_tokens: int = 0
    left_out: tuple[Omission, ...] = ()
    post: PostedMessage | None = None
    attempts: int = 1
    reason: str = ""
    resets: bool = False
    since: str = ""
    ahead: str = ""
    ratings: dict[str, Rating] = {}
    filter: dict[str, str] = {}


class CheckResult(Frozen):
    """One line of `parley check`: what was looked at, how it is, and, if it isn't well, what to do."""

    level: Literal["ok", "warning", "error"]
    subject: str
    words: str


class UserProfile(Frozen):
    """What a person sees of themselves: choices as (name, description), usage as Markdown.

    `template` and `deployment` are empty where nothing is chosen: then the template `usual` answers.
    """

    templates: tuple[tuple[str, str], ...] = ()
    template: str = ""
    usual: str = ""
    deployments: tuple[tuple[str, str], ...] = ()
    deployment: str = ""
    usage: str = ""
    conversations: int = 0
    answers: int = 0
