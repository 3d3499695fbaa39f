"""Deployments, deltas, usage, replies, and turns."""

from datetime import datetime
from typing import Literal

from msgspec import field

from bot.domain.events import Frozen, MessageReceived, PostedMessage, UnreadPart
from bot.domain.prompts import Capability, Image, Message, Omission, ToolCall, say

Outcome = Literal["answered", "refused", "failed"]

MAX_TOOL_CALLS = 64
"""Tool calls that are kept of one stream; more are only counted. Also the maximum that may be run."""


class Prices(Frozen):
    """US dollars per million tokens, or per image; `None` is unknown."""

    input_usd: float | None = None
    cached_usd: float | None = None
    output_usd: float | None = None
    image_usd: float | None = None


class Deployment(Frozen):
    """One deployment of a model. `wire` is the form of its requests: azure (classic paths) or v1.

    `model` is empty if not configured; `key_env` names the environment variable with its key.
    The rate limits are the provider's; `None` is unlimited or unknown.
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


Purpose = Literal[
    "answer", "image", "edit", "rewrite", "embedding", "summary", "evaluation", "playground", "probe", "tool"
]
"""What a provider call is made for. `tool` is a tool that costs money."""

CallOutcome = Literal["completed", "empty", "failed", "interrupted"]
"""How a call ended. `interrupted`: before it was complete, by us, by the connection, or with its process."""


class Usage(Frozen):
    """The usage of one provider call, as the deployment counted it; `usd` is `None` if a price is unknown.

    `estimated` is true if the deployment did not report its usage. `at` is when the call began; empty in
    records of earlier versions, as is `purpose`.
    """

    deployment: str
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    usd: float | None = None
    estimated: bool = False
    purpose: Purpose | None = None
    outcome: CallOutcome = "completed"
    at: datetime | None = None

    @property
    def answers(self) -> bool:
        """Whether the call gave an answer, or a part of one."""
        return self.outcome == "completed" and self.purpose not in ("embedding", "rewrite", "summary", "tool")


class Delta(Frozen):
    """A fragment of an answer; the last one of a stream has `usage`.

    `finish` is the finish reason: stop, length, content_filter, tool_calls. `filter` holds annotations of
    the content filter that aren't "safe": {"answer violence": "low"}, or "high, stopped".
    `dropped` counts tool calls beyond MAX_TOOL_CALLS. `retracts`: the text of all earlier deltas was not part of
    the answer; this one's is.
    """

    text: str = ""
    call: ToolCall | None = None
    dropped: int = 0
    usage: Usage | None = None
    finish: str | None = None
    filter: dict[str, str] = {}
    retracts: bool = False

    def onto(self, text: str) -> str:
        """The answer so far, after this fragment."""
        return self.text if self.retracts else text + self.text


class Source(Frozen):
    """A source of an answer."""

    title: str
    url: str = ""
    excerpt: str = ""


class Reply(Frozen):
    """What the person sees: Markdown, images, sources. `rate` asks for feedback buttons.

    `generated` is true if a model created some of it, which platforms label. `private` is true if only the
    asker should see it, where the platform supports that. `confirm` is the command that confirms the question
    in the text; platforms with buttons show one for it, with `confirm_label`. `prompt` is the name of the template that
    answered, if people should see it. `forgotten` is true if the asker's data was just deleted,
    `failed` if no answer came and the text says so.
    """

    text: str
    images: tuple[Image, ...] = ()
    sources: tuple[Source, ...] = ()
    rate: bool = False
    generated: bool = False
    private: bool = False
    confirm: str = ""
    confirm_label: str = "Delete"
    prompt: str = ""
    forgotten: bool = False
    failed: bool = False


class Rating(Frozen):
    """One person's rating of an answer."""

    good: bool
    comment: str = ""


class Undelivered(Frozen):
    """A finished reply that its platform has not shown yet, or could not show.

    `event` is the id of the event that it answers, `attempts` how many attempts failed to generate it.
    `dead_letter` is the reason for which the event is moved to the dead letters once the reply is delivered;
    empty for an answer.
    """

    event: str
    attempts: int = 0
    dead_letter: str = ""


class Turn(Frozen):
    """The record of one answer: question, messages, reply, template version, usage.

    `messages` are what later prompts include of this turn: none for a refused one. `left_out` lists what the
    prompt omitted, and why; `reason` explains an outcome other than `answered`. `resets` is true if the
    person started over: later prompts include nothing before it. `since` and `ahead` are those of the prompt.
    `ratings` are by user id; `filter` is as in Delta. `unread` is what could not be read for this answer.
    `undelivered` is set until the reply is shown. `addressing` is why the message was answered at all, one of the
    reasons of `bot.conversation.addressing`. `kept` is the name of the template that stays for the conversation,
    because somebody chose it by its command, in this turn or an earlier one. `token_factors` correct the estimates of
    the next prompt's tokens, by kind of text.
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
    unread: tuple[UnreadPart, ...] = ()
    undelivered: Undelivered | None = None
    addressing: str = ""
    kept: str = ""
    token_factors: dict[str, float] = {}

    @property
    def answered_by(self) -> tuple[str, ...]:
        """The deployments that gave the answer, each once."""
        return tuple(dict.fromkeys(one.deployment for one in self.usage if one.answers))


def past_turn(received: MessageReceived, question: str, answer: str, id: str = "") -> Turn:
    """An earlier question with its answer, for the history of `received`."""
    return Turn(
        id=id,
        received=received,
        template="",
        messages=(say("user", question), say("assistant", answer)),
        reply=Reply(text=answer),
        outcome="answered",
        began_at=received.at,
        ended_at=received.at,
    )


class CheckResult(Frozen):
    """One result of `parley check`: subject, level, and a text that says what to do about a problem."""

    level: Literal["ok", "warning", "error"]
    subject: str
    words: str


class UserProfile(Frozen):
    """A person's settings and data: options as (name, description), usage as Markdown.

    `template` and `deployment` are empty if nothing is chosen; then the template `usual` answers. In a channel, `modes`
    are the participation modes as (name, description), `mode` the chosen one, `usual_mode` the one without a choice.
    """

    templates: tuple[tuple[str, str], ...] = ()
    template: str = ""
    usual: str = ""
    deployments: tuple[tuple[str, str], ...] = ()
    deployment: str = ""
    modes: tuple[tuple[str, str], ...] = ()
    mode: str = ""
    usual_mode: str = ""
    usage: str = ""
    conversations: int = 0
    answers: int = 0
