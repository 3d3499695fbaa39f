"""Candidates for a request, and their ranking."""

import hashlib
import logging
import math
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable
from urllib.parse import urlsplit

from msgspec.structs import replace
from pydantic import SecretStr

from bot.domain.prompts import Prompt
from bot.domain.turns import Deployment, Usage
from bot.llm.catalog.cost import charged, usd
from bot.llm.catalog.deployments import Policy
from bot.llm.protocol import Model
from bot.llm.routing.circuit_breaker import CircuitBreaker
from bot.llm.routing.continuation import CHARACTERS_PER_TOKEN
from bot.llm.routing.turn_queue import ObservedRate, TurnQueue

log = logging.getLogger(__name__)

# Extra running calls that a deployment may have before a conversation leaves it, and its prompt cache.
HOME_CALLS = 2

# The assumed length of an answer without a maximum, in tokens.
USUAL_OUTPUT_TOKENS = 1000


class RequestLoad(NamedTuple):
    """A request: its affinity key, and its input and maximum output tokens."""

    sticky: str = ""
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> int:
        """The tokens that providers count against rate limits."""
        return self.input_tokens + self.output_tokens


def load_of(prompt: Prompt) -> RequestLoad:
    """The load of a prompt."""
    if prompt.capability != "chat":
        return RequestLoad(prompt.sticky)
    output_tokens = prompt.parameters.max_output_tokens or USUAL_OUTPUT_TOKENS
    return RequestLoad(prompt.sticky, prompt.input_tokens, output_tokens)


def most(deployment: Deployment, prompt: Prompt) -> Usage:
    """About the most that a chat prompt can use: nothing cached, everything written to the cache."""
    output_tokens = load_of(prompt).output_tokens
    usage = Usage(deployment=deployment.name, input_tokens=prompt.input_tokens, output_tokens=output_tokens)
    dear = replace(usage, cache_write_tokens=prompt.input_tokens, reasoning_tokens=output_tokens)
    costs = [usd(deployment.prices, each) for each in (usage, dear)]
    return charged(usage, None if None in costs else max(cost or 0.0 for cost in costs), deployment.prices)


class DeploymentState(NamedTuple):
    """The state of a deployment: remaining cool-down, what its operator must fix, calls running in this process."""

    deployment: Deployment
    rest_s: float
    broken: str
    running: int


@runtime_checkable
class LearningModel(Protocol):
    """A model that learns which parameters its deployment refuses, and when its rate limit is reached."""

    @property
    def refused(self) -> set[str]:
        """The refused parameters; callers may add some."""
        ...

    on_spent: Callable[[float], None] | None
    """Called with the seconds until the rate limit resets."""


@runtime_checkable
class PricedModel(Protocol):
    """A model that computes what its calls cost."""

    deployment: Deployment


class Candidate:
    """A deployment with its model and circuit breaker. `running` counts calls of this process.

    `id` is equal in all processes: name and host, because one deployment may have two kinds of endpoints.
    """

    def __init__(
        self,
        deployment: Deployment,
        model: Model,
        clock: Callable[[], float],
        key: SecretStr | None = None,
    ) -> None:
        self.deployment = deployment
        self.model = model
        self.key = key
        self.id = f"{deployment.name}@{urlsplit(deployment.endpoint).hostname or 'here'}"
        self.breaker = CircuitBreaker(clock)
        self.rate = ObservedRate()
        self.queue = TurnQueue()
        self.broken = ""  # what the operator must fix, once it was logged
        self.running = 0
        self.context_tokens = deployment.context_tokens  # less if it reported a smaller limit
        self.usual_output_tokens = 200.0  # of an answer: the mean of the first ones, then a moving average
        self._counted = 1.0  # tokens of prompts, over their estimates: likewise
        self._answers = 0
        # refused parameters that the other processes already know
        self.taught: set[str] = set(model.refused) if isinstance(model, LearningModel) else set()

    def reprice(self, deployment: Deployment) -> None:
        """Use the prices of the same deployment at another time."""
        self.deployment = deployment
        if isinstance(self.model, PricedModel):
            self.model.deployment = deployment

    def draw(self, sticky: str) -> float:
        """A weighted random rank; the lowest is asked first.

        It is stable for the same `sticky` (weighted rendezvous hashing), so that a conversation stays with the
        deployment that has its prompt in the cache, even when others are added or removed.
        """
        seed = f"{sticky}|{self.deployment.name}|{self.deployment.endpoint}".encode()
        drawn = (
            int.from_bytes(hashlib.blake2b(seed, digest_size=6).digest())
            if sticky
            else random.getrandbits(48)
        )
        return self.deployment.weight / math.log((drawn + 1) / (2**48 + 2))

    def has_answered(self, prompt: Prompt, used: Usage) -> None:
        """Learn from an answer how long answers are, and how many tokens prompts have."""
        self._answers += 1
        weight = max(0.1, 1 / self._answers)
        self.usual_output_tokens += weight * (used.output_tokens - self.usual_output_tokens)
        if prompt.input_tokens and used.input_tokens:
            self._counted += weight * (used.input_tokens / prompt.input_tokens - self._counted)

    def spent(self, prompt: Prompt, characters: int = 0) -> Usage:
        """The estimated usage of a call that ended after `characters` of its answer without being counted.

        It assumes no cached tokens, and excludes reasoning tokens. The prompt counts as those of earlier answers did:
        its own estimate is made to fit into a context, and rather too high.
        """
        usage = Usage(
            deployment=self.deployment.name,
            input_tokens=round(prompt.input_tokens * self._counted),
            output_tokens=-(-characters // CHARACTERS_PER_TOKEN),
            estimated=True,
        )
        return charged(usage, usd(self.deployment.prices, usage), self.deployment.prices)

    def expected(self, prompt: Prompt) -> Usage:
        """What a chat call uses if it is interrupted half-way."""
        return self.spent(prompt, round(self.usual_output_tokens / 2 * CHARACTERS_PER_TOKEN))

    def price(self, load: RequestLoad) -> float:
        """The price of a load in US dollars; infinite if unknown."""
        asked = Usage(deployment="", input_tokens=max(load.input_tokens, 1), output_tokens=load.output_tokens)
        price = usd(self.deployment.prices, asked)
        return math.inf if price is None else price

    def fits(self, load: RequestLoad) -> bool:
        """Whether a load fits into the context."""
        return load.tokens <= self.context_tokens

    def takes_only(self, limit_tokens: int) -> None:
        """Record a context that is smaller than configured, and log it once."""
        if limit_tokens < self.context_tokens:
            self.context_tokens = limit_tokens
            words = "Deployment %s only accepts %d tokens. Set its context_tokens (or its model) accordingly"
            log.warning(words, self.deployment.name, limit_tokens)


def rank(candidates: Sequence[Candidate], policy: Policy, load: RequestLoad) -> list[Candidate]:
    """Candidates in the order in which they are asked. Those with too small a context are excluded, unless all are."""
    available = [candidate for candidate in candidates if candidate.fits(load)] or candidates
    drawn = sorted(available, key=lambda candidate: candidate.draw(load.sticky))
    if policy == "ordered":
        return sorted(drawn, key=lambda candidate: candidate.deployment.order)
    if policy == "cheapest":
        return sorted(drawn, key=lambda candidate: (candidate.price(load), candidate.deployment.order))
    if policy == "least_busy":
        home = drawn[0] if drawn and load.sticky else None
        return sorted(
            drawn, key=lambda r: (r.running - (HOME_CALLS if r is home else 0)) / r.deployment.weight
        )
    return drawn
