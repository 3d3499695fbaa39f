"""A deployment as somebody to ask, and in which order they are asked."""

import hashlib
import logging
import math
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable
from urllib.parse import urlsplit

from pydantic import SecretStr

from bot.domain.prompts import Prompt
from bot.domain.turns import Deployment, Usage
from bot.llm.catalog.catalog import usd
from bot.llm.catalog.deployments import Policy
from bot.llm.protocol import Model
from bot.llm.routing.calibration import Calibration
from bot.llm.routing.circuit_breaker import CircuitBreaker

log = logging.getLogger(__name__)

# How many more calls than the least busy one a deployment may have running before a conversation that has its
# prompt in the cache there goes elsewhere.
HOME_CALLS = 2

# What an answer is taken to be long when nobody limits it, in tokens.
USUAL_OUTPUT_TOKENS = 1000


class RequestLoad(NamedTuple):
    """What is about to be asked: what to stay near, and the tokens that go in and may come out."""

    sticky: str = ""
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> int:
        """What providers count against a limit when a request comes in."""
        return self.input_tokens + self.output_tokens


def load_of(prompt: Prompt) -> RequestLoad:
    """What a prompt asks of whoever serves it."""
    if prompt.capability != "chat":
        return RequestLoad(prompt.sticky)
    output_tokens = prompt.parameters.max_output_tokens or USUAL_OUTPUT_TOKENS
    return RequestLoad(prompt.sticky, prompt.input_tokens, output_tokens)


class DeploymentState(NamedTuple):
    """How a deployment is: for how long it rests yet, what only its operator can mend, what runs here."""

    deployment: Deployment
    rest_s: float
    broken: str
    running: int


@runtime_checkable
class LearningModel(Protocol):
    """A model that learns which parameters it must not send, and hears when its limits are used up."""

    @property
    def refused(self) -> set[str]:
        """The parameters; whoever knows of more adds them."""
        ...

    on_spent: Callable[[float], None] | None
    """Called with the seconds until the limits are renewed."""


class Candidate:
    """A deployment, its model, and whether it may be asked now. `running` are the calls of this process.

    `id` is the same in every process: name and host, for one deployment may be reached by two wires.
    """

    def __init__(
        self,
        deployment: Deployment,
        model: Model,
        clock: Callable[[], float],
        key: SecretStr | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.deployment = deployment
        self.model = model
        self.key = key
        self.calibration = calibration or Calibration()
        self.id = f"{deployment.name}@{urlsplit(deployment.endpoint).hostname or 'here'}"
        self.breaker = CircuitBreaker(clock)
        self.broken = ""  # what only the operator can mend, once it was said
        self.running = 0
        self.context_tokens = deployment.context_tokens  # less, where it said so
        # what of its lessons the other processes need not be told
        self.taught: set[str] = set(model.refused) if isinstance(model, LearningModel) else set()

    def draw(self, sticky: str) -> float:
        """Lower is asked first: a draw in which weight counts.

        It is the same for the same `sticky` (weighted rendezvous hashing), so that a conversation stays
        with the deployment that holds its prompt in the cache, also when others come and go.
        """
        seed = f"{sticky}|{self.deployment.name}|{self.deployment.endpoint}".encode()
        drawn = (
            int.from_bytes(hashlib.blake2b(seed, digest_size=6).digest())
            if sticky
            else random.getrandbits(48)
        )
        return self.deployment.weight / math.log((drawn + 1) / (2**48 + 2))

    def price(self, load: RequestLoad) -> float:
        """What this deployment would take for it, in US dollars; unknown prices come last."""
        input_tokens = max(self.counted(load).input_tokens, 1)
        asked = Usage(deployment="", input_tokens=input_tokens, output_tokens=load.output_tokens)
        price = usd(self.deployment.prices, asked)
        return math.inf if price is None else price

    def fits(self, load: RequestLoad) -> bool:
        """Whether the model can read and write so much."""
        return self.counted(load).tokens <= self.context_tokens

    def counted(self, load: RequestLoad) -> RequestLoad:
        """A load as this deployment counts it."""
        return load._replace(input_tokens=self.calibration.tokens(self.deployment.name, load.input_tokens))

    def takes_only(self, limit_tokens: int) -> None:
        """It said that it takes less than was stated; said once to the operator, who can state it."""
        if limit_tokens < self.context_tokens:
            self.context_tokens = limit_tokens
            words = "deployment %s takes %d tokens only: state that as its context_tokens (or its model)"
            log.warning(words, self.deployment.name, limit_tokens)


def rank(candidates: Sequence[Candidate], policy: Policy, load: RequestLoad) -> list[Candidate]:
    """Who is asked, the first first. Those that can't read so much are left out, unless nobody can."""
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
