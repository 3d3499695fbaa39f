"""Deployments, deltas, usage, replies, and turns."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, field, structs

from bot.domain.events import Frozen, MessageReceived, PostedMessage, UnreadPart
from bot.domain.prompts import Capability, Image, Message, Omission, ToolCall, say

Outcome = Literal["answered", "refused", "failed"]

MAX_TOOL_CALLS = 64
"""Tool calls that are kept of one stream; more are only counted. Also the maximum that may be run."""


DeploymentType = Literal["GlobalStandard", "DataZoneStandard", "Standard", "GlobalBatch", "DataZoneBatch"]
"""How a deployment is billed, in the words of Azure; `Standard` is regional."""


Usd = Annotated[float, Meta(ge=0, le=1_000_000)]


class TokenPrices(Frozen):
    """US dollars per million tokens. `None` is unknown, unless another price stands in for it.

    Cached input, cache writes and images that are sent cost `input_usd` where they have no price of their own; cached
    images cost what images cost; reasoning and images that are returned cost `output_usd`. Nothing stands in for
    input and output.
    """

    input_usd: Usd | None = None
    cached_usd: Usd | None = None
    cache_write_usd: Usd | None = None
    output_usd: Usd | None = None
    reasoning_usd: Usd | None = None
    image_input_usd: Usd | None = None
    image_cached_usd: Usd | None = None
    image_output_usd: Usd | None = None


class PriceTier(TokenPrices, kw_only=True):
    """The prices of all tokens of a call whose prompt has more than `tokens`; what is missing stays as below it."""

    tokens: Annotated[int, Meta(ge=1)]


class Prices(TokenPrices):
    """The prices of a deployment, in US dollars: per million tokens or, for some image models, per picture.

    `image_usd` is the price of any picture, `pictures` that of pictures by "quality size". `picture_tokens` are the
    tokens that a picture has, in the same form. `above` are tiers by the length of the prompt, ascending. `id` names
    the origin: "gpt-5@2025-08-07", "deployments file", "ceiling". If they were stated in another currency, `currency`
    is its code, and `exchange_rate` what one unit of it was worth in US dollars.
    """

    image_usd: Usd | None = None
    pictures: dict[str, Usd] = {}
    picture_tokens: dict[str, Annotated[int, Meta(ge=1)]] = {}
    above: tuple[PriceTier, ...] = ()
    id: str = ""
    currency: str = ""
    exchange_rate: float | None = None

    def at(self, input_tokens: int) -> TokenPrices:
        """The prices per million tokens of a call with a prompt of this length."""
        found: TokenPrices = self
        for tier in self.above:
            if input_tokens > tier.tokens:
                stated = {
                    name: value for name in PRICES_OF_TOKENS if (value := getattr(tier, name)) is not None
                }
                found = structs.replace(found, **stated)
        return found

    @property
    def has_ceiling(self) -> bool:
        """Whether a ceiling stands in for an unknown price."""
        return self.id.startswith(CEILING)

    def missing(self, capability: Capability) -> tuple[str, ...]:
        """The prices without which calls of a deployment have no known cost: "input", "output" or "picture"."""
        if capability == "image" and (self.image_usd is not None or self.pictures):
            return ()
        output = self.output_usd
        if capability == "image" and self.image_output_usd is not None:
            output = self.image_output_usd
        needed = (
            {"input": self.input_usd}
            if capability == "embedding"
            else {"input": self.input_usd, "output": output}
        )
        return tuple(name for name, price in needed.items() if price is None)


CEILING = "ceiling"
PRICES_OF_TOKENS = TokenPrices.__struct_fields__


class Deployment(Frozen):
    """One deployment of a model. `wire` is the form of its requests: azure (classic paths) or v1.

    `model` is empty if not configured; `key_env` names the environment variable with its key.
    The rate limits are the provider's; `None` is unlimited or unknown.
    `prices` are those of now. `stated_prices` are those of its configuration, which go before the price table;
    `None` if `prices` do not come from the table at all. `price_factor` replaces the factor of its `deployment_type`.
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
    stated_prices: Prices | None = None
    deployment_type: DeploymentType = "GlobalStandard"
    price_factor: float | None = None


Purpose = Literal[
    "answer", "image", "edit", "rewrite", "embedding", "summary", "evaluation", "playground", "probe", "tool"
]
"""What a provider call is made for. `tool` is a tool that costs money."""

CallOutcome = Literal["completed", "empty", "failed", "interrupted"]
"""How a call ended. `interrupted`: before it was complete, by us, by the connection, or with its process."""


class Usage(Frozen):
    """The usage of one provider call, as the deployment counted it; `usd` is `None` if a price is unknown.

    `estimated` is true if the deployment did not report its usage. `model` is the one that answered.
    Cached, cache-write and image input tokens are part of `input_tokens`, reasoning tokens of `output_tokens`.
    `price` is the id of the prices that were used, `currency` and `exchange_rate` are as in `Prices`. `at` is when the
    call began; it and `purpose` are missing in records of earlier versions.
    """

    deployment: str
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    usd: float | None = None
    estimated: bool = False
    model: str = ""
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    image_input_tokens: int = 0
    price: str = ""
    purpose: Purpose | None = None
    outcome: CallOutcome = "completed"
    at: datetime | None = None
    currency: str = ""
    exchange_rate: float | None = None

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
