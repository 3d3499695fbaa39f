"""Records the results of calls: for circuit breakers, other processes, and operators."""

import logging
from collections.abc import Callable

from bot.domain.calls import Call
from bot.domain.errors import BotError, ModelUnavailable, TooLong
from bot.llm.protocol import (
    DeploymentBroken,
    EmptyAnswer,
    ImageNotDownloaded,
    RequestRejected,
    ServiceFault,
)
from bot.llm.routing.candidates import Candidate, LearningModel
from bot.llm.routing.rate_limits import RateLimiter

log = logging.getLogger(__name__)

Observe = Callable[[str, str, float], None]
"""Called with a measure, a deployment's name and a value. The measures are `first_delta_seconds`, `call_seconds`,
`failures` (1 each), `rest_seconds` (cool-downs) and `held_seconds` (waits for rate limits)."""


class CallStats:
    """Records how each call ended."""

    def __init__(self, limiter: RateLimiter, observe: Observe | None, clock: Callable[[], float]) -> None:
        self._limiter = limiter
        self._observe = observe or _unobserved
        self.clock = clock

    def listen(self, candidate: Candidate) -> None:
        """Subscribe to rate limits that a deployment reports in its headers."""
        if isinstance(candidate.model, LearningModel):
            candidate.model.on_spent = lambda seconds: self._limiter.rest(candidate, seconds)

    def answered(self, candidate: Candidate, measure: str, began: float) -> None:
        """Record an answer, or a refusal because of the prompt."""
        candidate.breaker.succeeded()
        candidate.rate.answered(self.clock())
        candidate.broken = ""
        self._limiter.learnt(candidate)
        self.took(candidate, measure, began)

    def failed(
        self, candidate: Candidate, error: ModelUnavailable | DeploymentBroken | RequestRejected
    ) -> None:
        """Record a failure: the deployment cools down, and what the operator must fix is logged once. After a
        request that it rejected it does not.
        """
        name = candidate.deployment.name
        self._observe("failures", name, 1.0)
        if isinstance(error, RequestRejected):
            log.warning("%s", error)
        elif isinstance(error, DeploymentBroken):
            candidate.breaker.rest(error.rest_s, asked_for=False)
            if not candidate.broken:
                log.error("%s", error)
            candidate.broken = str(error)
        else:
            candidate.breaker.failed(error.retry_after_s)
            if error.retry_after_s is not None or isinstance(error, ServiceFault):
                self._limiter.rest(candidate, candidate.breaker.wait_s())
            log.warning("Deployment %s failed: %s", name, error)
        if rest_s := candidate.breaker.wait_s():
            self._observe("rest_seconds", name, rest_s)

    def paid(self, call: Call, error: BaseException) -> None:
        """Note what a call cost that ended with an error. Otherwise the estimate of it stands."""
        if isinstance(error, EmptyAnswer):
            call.end(error.usage if error.usage.input_tokens else call.usage, "empty")
        elif isinstance(error, ImageNotDownloaded):
            call.end(error.usage)
        elif isinstance(error, BotError):
            call.fail(unprocessed=error.unprocessed)

    def too_long(self, candidate: Candidate, error: TooLong) -> None:
        """Learn from a refusal that the context is smaller than assumed."""
        if error.limit_tokens:
            candidate.takes_only(error.limit_tokens)

    def took(self, candidate: Candidate, measure: str, began: float) -> None:
        """Record the time since `began`, on `clock`."""
        self._observe(measure, candidate.deployment.name, self.clock() - began)

    def held(self, candidate: Candidate, seconds: float) -> None:
        """Record the wait of a request for a rate limit."""
        self._observe("held_seconds", candidate.deployment.name, seconds)


def _unobserved(measure: str, deployment: str, value: float) -> None:
    """Ignore a measure."""
