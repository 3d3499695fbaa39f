"""Many deployments as one model: routing, fallback, and continuation of interrupted answers."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from msgspec.structs import replace
from pydantic import SecretStr

from bot.domain import calls
from bot.domain.calls import Call
from bot.domain.errors import (
    BotError,
    BudgetSpent,
    ModelUnavailable,
    NotAllowed,
    RateLimited,
    TooLong,
    UnknownPrice,
)
from bot.domain.prompts import Capability, Image, Prompt
from bot.domain.turns import CheckResult, Delta, Deployment, Purpose, Usage
from bot.domain.words import marked
from bot.llm.catalog.catalog import DEFAULT_KEY_ENV
from bot.llm.catalog.cost import charged, usd
from bot.llm.catalog.deployments import DeploymentConfig, Policy
from bot.llm.catalog.prices import priced
from bot.llm.catalog.probe import Checkable, ProbeResult, probe
from bot.llm.openai import images
from bot.llm.protocol import (
    NOT_EMBEDDED,
    AnswerTimeout,
    DeploymentBroken,
    EmptyAnswer,
    ImageInterrupted,
    Model,
    OnPartialImage,
    RequestRejected,
)
from bot.llm.routing.attempts import Attempts
from bot.llm.routing.call_stats import CallStats, Observe
from bot.llm.routing.candidates import Candidate, DeploymentState, RequestLoad, load_of, rank
from bot.llm.routing.connections import Connections
from bot.llm.routing.continuation import CHARACTERS_PER_TOKEN, ContinuationDeduper, go_on
from bot.llm.routing.first_token_race import FirstTokenRace, StartedAnswer
from bot.llm.routing.rate_limits import RateLimiter, SharedLimiter

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

    from bot.llm.openai.model import Timeouts

log = logging.getLogger(__name__)

NOT_SET_UP: Mapping[Capability, tuple[str, str]] = {
    "chat": (
        marked("No chat model is set up. Ask the administrator of this bot to set {setting}."),
        "AZURE_OPENAI_CHAT_DEPLOYMENT",
    ),
    "image": (
        marked("Image generation isn't set up. Ask the administrator of this bot to set {setting}."),
        "AZURE_OPENAI_IMAGE_DEPLOYMENT",
    ),
    "embedding": (
        marked("Semantic search isn't set up. Ask the administrator of this bot to set {setting}."),
        "AZURE_OPENAI_EMBEDDING_DEPLOYMENT",
    ),
}
"""The message if no deployment serves a capability, and the setting to add."""

# Characters of an answer between two estimates of its cost so far.
_ESTIMATE_CHARACTERS = 400

# Deployments that are free again within this many seconds are awaited instead of truncating for a smaller one.
_SOON_S = 4.0

T = TypeVar("T")


class Gateway:
    """Many deployments as one model; an async context manager that closes `connections`.

    Retries and fallback only happen before the first delta; a visible answer is never restarted, but continued
    once. `clock` is monotonic, in seconds; `shared` is state shared by all processes.
    """

    def __init__(
        self,
        models: Iterable[tuple[Deployment, Model]],
        *,
        policy: Policy = "ordered",
        hedge_s: float | None = None,
        shared: SharedLimiter | None = None,
        connections: Connections | None = None,
        observe: Observe | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy: Policy = policy
        self._hedge_s = hedge_s
        self._connections = connections
        self._limiter = RateLimiter(shared, clock)
        self._stats = CallStats(self._limiter, observe, clock)
        self._unknown_preferences: set[str] = set()
        self._pool = [Candidate(deployment, model, clock) for deployment, model in models]
        for candidate in self._pool:
            self._stats.listen(candidate)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._limiter.aclose()
        if self._connections:
            await self._connections.aclose()

    def deployments(self, capability: Capability, preferred: str | None = None) -> tuple[Deployment, ...]:
        """The deployments for a capability; empty if none is set up."""
        return tuple(candidate.deployment for candidate in self._candidates(capability, preferred))

    def every(self) -> tuple[Deployment, ...]:
        """All deployments, in configured order."""
        return tuple(candidate.deployment for candidate in self._pool)

    def next_asked(
        self, capability: Capability, preferred: str | None, sticky: str = ""
    ) -> Deployment | None:
        """The deployment that will probably be asked, whose context the prompt must fit into.

        With the policy `cheapest`, it is the one with the largest context. `context_tokens` is the limit that it
        reported, if less than configured.
        """
        first = self._next(capability, preferred, sticky)
        return None if first is None else replace(first.deployment, context_tokens=first.context_tokens)

    def _next(self, capability: Capability, preferred: str | None, sticky: str) -> Candidate | None:
        available = [
            candidate for candidate in self._candidates(capability, preferred) if not candidate.broken
        ]
        available = available or self._candidates(capability, preferred)
        if not available:
            return None
        if self.policy == "cheapest":
            return max(available, key=lambda candidate: candidate.context_tokens)
        return rank(available, self.policy, RequestLoad(sticky))[0]

    def expected(self, prompt: Prompt) -> Usage:
        """What a call with a prompt uses if it is interrupted half-way; of an image, what it may use in all."""
        first = self._next(prompt.capability, prompt.deployment, prompt.sticky)
        if first is None:
            return Usage(deployment=prompt.deployment or "unknown", input_tokens=prompt.input_tokens)
        if prompt.capability == "image":
            return images.most(prompt, first.deployment)
        return first.expected(prompt)

    def adopt(self, config: DeploymentConfig, keys: Mapping[str, SecretStr]) -> None:
        """Use these deployments from now on. Running answers end with the deployment that started them.

        Unchanged deployments keep what was learnt about them, also where the price table changed.
        """
        connections = self._connections = self._connections or Connections()
        kept: list[Candidate] = []
        for deployment in config.deployments:
            key = keys.get(deployment.key_env or DEFAULT_KEY_ENV)
            same = [
                candidate
                for candidate in self._pool
                if candidate.key == key
                and replace(candidate.deployment, prices=deployment.prices) == deployment
            ]
            if not same:
                model = connections.open(deployment, key)
                same = [Candidate(deployment, model, self._stats.clock, key)]
            same[0].reprice(deployment)
            kept.append(same[0])
        for candidate in kept:
            self._stats.listen(candidate)
        self._pool = kept
        self.policy, self._hedge_s = config.policy, config.hedge_ms and config.hedge_ms / 1000
        self._unknown_preferences.clear()

    def reprice(self) -> None:
        """Use the prices that are in force now for new calls."""
        for candidate in self._pool:
            candidate.reprice(priced(candidate.deployment))

    # -------------------------------------------------------------- the model

    async def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
        """Stream an answer from the first deployment that starts one; if it breaks off, continue it once."""
        asked, shown, called = prompt, "", False
        tried: list[Candidate] = []
        broke: ModelUnavailable | None = None
        while True:
            race = self._race(asked, tried)
            try:
                started = await race.first()
            except BotError as error:
                raise broke or self._too_long(asked, error) or error from None
            part = self._part(started, asked, shown)
            try:
                async with aclosing(part):
                    async for delta in part:
                        shown = delta.onto(shown)
                        called = called or delta.call is not None
                        yield delta
                return
            except EmptyAnswer as error:  # all that was shown was reasoning
                self._stats.paid(started.call, error)
                raise
            except ModelUnavailable as error:
                self._stats.failed(started.candidate, error)
                self._stats.paid(started.call, error)
                last, broke = called or broke is not None or isinstance(error, AnswerTimeout), error
            if last:
                raise broke
            log.warning("An answer broke off after %d characters; continuing it", len(shown))
            asked, tried = go_on(prompt, shown) if shown else prompt, [started.candidate]

    def _too_long(self, prompt: Prompt, error: BotError) -> TooLong | None:
        """The limits of available smaller deployments, if those with a sufficient context are unavailable."""
        if not isinstance(error, ModelUnavailable):
            return None
        load = load_of(prompt)
        available = self._candidates("chat", prompt.deployment)
        free = [
            candidate
            for candidate in available
            if not (candidate.fits(load) or candidate.broken or candidate.breaker.wait_s())
        ]
        soon = error.retry_after_s is not None and error.retry_after_s <= _SOON_S
        if soon or not free or len(free) == len(available):
            return None
        widest = max(free, key=lambda candidate: candidate.context_tokens)
        return TooLong(
            "The model for long texts is temporarily unavailable. Please send less text, or try again later.",
            widest.context_tokens,
            load.tokens,
        )

    def _race(self, prompt: Prompt, tried: Sequence[Candidate]) -> FirstTokenRace:
        load = load_of(prompt)
        attempts = self._attempts("chat", prompt.deployment, load, "answer", tried)
        return FirstTokenRace(attempts, prompt, self._stats, self._hedge_s)

    async def _part(self, started: StartedAnswer, prompt: Prompt, before: str) -> AsyncGenerator[Delta]:
        """One call's part of an answer, without repetitions of the part before."""
        deduper = ContinuationDeduper(before)
        candidate, received, estimated = started.candidate, 0, -_ESTIMATE_CHARACTERS
        try:
            async with aclosing(started):
                async for delta in started.deltas():
                    received += len(delta.text)
                    if delta.usage is not None:
                        uncounted = not (delta.usage.input_tokens or delta.usage.output_tokens)
                        used = candidate.spent(prompt, received) if uncounted else delta.usage
                        started.call.end(used)
                        if not uncounted:
                            candidate.has_answered(prompt, used)
                    elif received - estimated >= _ESTIMATE_CHARACTERS:
                        estimated = received
                        started.call.so_far(candidate.spent(prompt, received))
                    if delta.retracts:
                        deduper = ContinuationDeduper(before)
                        yield Delta(text=before, retracts=True)
                        delta = replace(delta, retracts=False)
                    text = deduper.feed(delta.text) if delta.text else deduper.end()
                    if text or not delta.text:
                        yield delta if text == delta.text else replace(delta, text=text)
        except ModelUnavailable:
            if text := deduper.end():
                yield Delta(text=text)
            raise
        finally:
            if not started.call.ended:
                started.call.so_far(candidate.spent(prompt, received))
        if text := deduper.end():
            yield Delta(text=text)
        self._stats.took(started.candidate, "call_seconds", started.began)

    async def draw(
        self, prompt: Prompt, on_partial_image: OnPartialImage | None = None
    ) -> tuple[tuple[Image, ...], Usage]:
        """Images from the first deployment that creates them. An interrupted stream is retried once."""
        purpose: Purpose = "edit" if prompt.edits else "image"

        def begin(deployment: Deployment) -> Awaitable[Call]:
            most = images.most(prompt, deployment)
            return calls.current().begins(most, purpose, expected=most, most=most)

        return await self._call(
            self._attempts("image", prompt.deployment, load_of(prompt), purpose),
            lambda candidate: candidate.model.draw(prompt, on_partial_image),
            begin,
        )

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """Vectors from the first deployment that answers; all of one call are of one model."""
        load = RequestLoad(input_tokens=sum(map(len, texts)) // CHARACTERS_PER_TOKEN)

        def begin(deployment: Deployment) -> Awaitable[Call]:
            used = _embedded(deployment, load.input_tokens)
            most = _embedded(
                deployment, sum(len(text.encode()) for text in texts)
            )  # a token has a byte or more
            return calls.current().begins(used, "embedding", expected=used, most=most)

        attempts = self._attempts("embedding", None, load, "embedding")
        return await self._call(attempts, lambda candidate: candidate.model.embed(texts), begin)

    async def vectors(self, texts: Sequence[str], /) -> list[list[float]]:
        """What `embed` makes of texts, without its usage. Implements `Embed`.

        An answer does without vectors: it raises ModelUnavailable also if the deployments are broken or a limit leaves
        no room, and NotAllowed if the price is unknown that a limit needs.
        """
        try:
            found, _ = await self.embed(texts)
        except UnknownPrice as error:
            raise NotAllowed(error.message) from error
        except (RateLimited, BudgetSpent, *NOT_EMBEDDED) as error:
            raise ModelUnavailable(f"There are no embeddings: {error}") from error
        return found

    async def _call(
        self,
        attempts: Attempts,
        ask: Callable[[Candidate], Awaitable[tuple[T, Usage]]],
        begin: Callable[[Deployment], Awaitable[Call]],
    ) -> tuple[T, Usage]:
        """What the first candidate that can returns, with its usage; each call is noted."""
        broken_off = 0
        while True:
            candidate = await attempts.next()
            call = await begin(candidate.deployment)
            began = self._stats.clock()
            candidate.running += 1
            try:
                result, usage = await ask(candidate)
            except (ModelUnavailable, DeploymentBroken) as error:
                self._stats.failed(candidate, error)
                self._stats.paid(call, error)
                broken_off += isinstance(error, ImageInterrupted)
                if broken_off > 1:
                    raise
                continue
            except RequestRejected as error:
                self._stats.failed(candidate, error)
                self._stats.paid(call, error)
                if not attempts.without(candidate):
                    raise error.last() from None
                continue
            except BotError as error:
                self._stats.answered(candidate, "call_seconds", began)
                self._stats.paid(call, error)
                raise
            finally:
                candidate.running -= 1
            call.end(usage)
            self._stats.answered(candidate, "call_seconds", began)
            return result, usage

    # -------------------------------------------------------------- choosing

    def _attempts(
        self,
        capability: Capability,
        preferred: str | None,
        load: RequestLoad,
        purpose: Purpose,
        tried: Sequence[Candidate] = (),
    ) -> Attempts:
        candidates = self._candidates(capability, preferred)
        if not candidates:
            message, setting = NOT_SET_UP[capability]
            raise NotAllowed(message, setting=setting)
        return Attempts(
            rank(candidates, self.policy, load),
            self._limiter,
            load,
            held=self._stats.held,
            tried=tried,
            waiting=lambda: calls.current().waits(purpose),
        )

    def _candidates(self, capability: Capability, preferred: str | None) -> list[Candidate]:
        """The candidates for a capability. A preference that matches is binding, because a tag may restrict where data
        may go; one that matches nothing is ignored and logged once.
        """
        available = [candidate for candidate in self._pool if candidate.deployment.capability == capability]
        if available and capability == "embedding":
            # vectors of different models can't be compared, so only the first one's family serves
            family = min(available, key=lambda candidate: candidate.deployment.order).deployment.family
            available = [candidate for candidate in available if candidate.deployment.family == family]
        if not preferred or not available:
            return available
        matching = [r for r in available if preferred == r.deployment.name or preferred in r.deployment.tags]
        if not matching and preferred not in self._unknown_preferences:
            self._unknown_preferences.add(preferred)
            log.warning("No %s deployment has the name or tag %r; using any other", capability, preferred)
        return matching or available

    # -------------------------------------------------------------- health

    async def check(self) -> list[CheckResult]:
        """Check each deployment, and report capabilities without one."""
        probes = [
            candidate.model.check() for candidate in self._pool if isinstance(candidate.model, Checkable)
        ]
        findings = list(await asyncio.gather(*probes))
        served = {candidate.deployment.capability for candidate in self._pool}
        for capability, (_, setting) in NOT_SET_UP.items():
            if capability not in served:
                level = "error" if capability == "chat" else "warning"
                words = f"No {capability} deployment is set up. Set {setting}."
                findings.append(CheckResult(level=level, subject=f"{capability} deployment", words=words))
        return findings

    def states(self) -> list[DeploymentState]:
        """The state of each deployment, by capability and order."""
        candidates = sorted(
            self._pool, key=lambda candidate: (candidate.deployment.capability, candidate.deployment.order)
        )
        return [
            DeploymentState(
                candidate.deployment, candidate.breaker.wait_s(), candidate.broken, candidate.running
            )
            for candidate in candidates
        ]

    async def wake(self, name: str) -> bool:
        """End the cool-downs of the deployments with this name, in all processes. Returns whether there is one.

        Raises StateUnavailable.
        """
        named = [candidate for candidate in self._pool if candidate.deployment.name == name]
        for candidate in named:
            await self._limiter.wake(candidate)
        return bool(named)

    async def probe(self) -> list[ProbeResult]:
        """Probe all deployments concurrently; results are in their order."""
        return await asyncio.gather(
            *(probe(candidate.deployment, candidate.model) for candidate in self._pool)
        )


def _embedded(deployment: Deployment, tokens: int) -> Usage:
    usage = Usage(deployment=deployment.name, input_tokens=tokens)
    return charged(usage, usd(deployment.prices, usage), deployment.prices)


def connect(
    deployments: DeploymentConfig | Iterable[Deployment],
    keys: Mapping[str, SecretStr],
    *,
    limits: "Timeouts | None" = None,
    shared: SharedLimiter | None = None,
    observe: Observe | None = None,
    credential: "AsyncTokenCredential | None" = None,
) -> Gateway:
    """A gateway over these deployments; `keys` are by name of their environment variable.

    Deployments without a key use Entra.
    """
    config = (
        deployments
        if isinstance(deployments, DeploymentConfig)
        else DeploymentConfig(deployments=tuple(deployments))
    )
    gateway = Gateway((), connections=Connections(limits, credential), shared=shared, observe=observe)
    gateway.adopt(config, keys)
    return gateway
