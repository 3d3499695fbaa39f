"""What came of a call: for the breaker, for the other processes, for the operator."""

import logging
from collections.abc import Callable

from bot.domain.errors import ModelUnavailable, TooLong
from bot.domain.prompts import Prompt
from bot.domain.turns import Usage
from bot.llm.protocol import DeploymentBroken, ServiceFault
from bot.llm.routing.candidates import Candidate, LearningModel
from bot.llm.routing.rate_limits import RateLimiter

log = logging.getLogger(__name__)

# A deployment that only its operator can mend is tried again after so many seconds.
BROKEN_REST_S = 300.0

Observe = Callable[[str, str, float], None]
"""Takes a measure, a deployment's name and a value. The measures: `first_delta_seconds`, `call_seconds`,
`failures` (1 for each), `rest_seconds` (how long the deployment is left alone) and `held_seconds` (how long a
request was held back from its limits)."""


class CallStats:
    """Takes down how each call ended."""

    def __init__(self, limiter: RateLimiter, observe: Observe | None, clock: Callable[[], float]) -> None:
        self._limiter = limiter
        self._observe = observe or _unobserved
        self.clock = clock

    def listen(self, candidate: Candidate) -> None:
        """Hear from a deployment's own headers that its limits are used up."""
        if isinstance(candidate.model, LearningModel):
            candidate.model.on_spent = lambda seconds: self._limiter.rest(candidate, seconds)

    def answered(self, candidate: Candidate, measure: str, began: float) -> None:
        """It answered, or refused for a reason of the prompt's."""
        candidate.breaker.succeeded()
        candidate.broken = ""
        self._limiter.learnt(candidate)
        self.took(candidate, measure, began)

    def failed(self, candidate: Candidate, error: ModelUnavailable | DeploymentBroken) -> None:
        """It did not answer: it rests, and the operator is told once of what is theirs to mend."""
        name = candidate.deployment.name
        self._observe("failures", name, 1.0)
        if isinstance(error, DeploymentBroken):
            candidate.breaker.rest(BROKEN_REST_S)
            if not candidate.broken:
                log.error("%s", error)
            candidate.broken = str(error)
        else:
            candidate.breaker.failed(error.retry_after_s)
            if error.retry_after_s is not None or isinstance(error, ServiceFault):
                self._limiter.rest(candidate, candidate.breaker.wait_s())
            log.warning("deployment %s did not answer: %s", name, error)
        if rest_s := candidate.breaker.wait_s():
            self._observe("rest_seconds", name, rest_s)

    def too_long(self, candidate: Candidate, prompt: Prompt, error: TooLong) -> None:
        """It takes less than was thought, or counts more: both are learnt."""
        if error.limit_tokens:
            candidate.takes_only(error.limit_tokens)
        counted = Usage(deployment=candidate.deployment.name, input_tokens=error.asked_tokens or 0)
        candidate.calibration.learn(prompt.messages, prompt.input_tokens, counted)

    def took(self, candidate: Candidate, measure: str, began: float) -> None:
        """How long something took since `began`, on `clock`."""
        self._observe(measure, candidate.deployment.name, self.clock() - began)

    def held(self, candidate: Candidate, seconds: float) -> None:
        """A request waits for so long, so that a limit is not hit."""
        self._observe("held_seconds", candidate.deployment.name, seconds)


def _unobserved(measure: str, deployment: str, value: float) -> None:
    """Nobody counts."""
