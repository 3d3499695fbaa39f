"""Many deployments as one model: who serves, who steps in, and how an answer that broke off goes on."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from msgspec.structs import replace
from pydantic import SecretStr

from bot.domain.errors import BotError, ModelUnavailable, NotAllowed, TooLong
from bot.domain.prompts import Capability, Image, Prompt
from bot.domain.turns import CheckResult, Delta, Deployment, Usage
from bot.llm.catalog.catalog import DEFAULT_KEY_ENV
from bot.llm.catalog.deployments import DeploymentConfig, Policy
from bot.llm.catalog.probe import Checkable, ProbeResult, probe
from bot.llm.openai import images
from bot.llm.protocol import AnswerTimeout, DeploymentBroken, ImageInterrupted, Model, OnPartialImage
from bot.llm.routing.attempts import PAUSE_S, Attempts
from bot.llm.routing.calibration import Calibration
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
    "chat": ("No chat model is set up here.", "AZURE_OPENAI_CHAT_DEPLOYMENT"),
    "image": ("Pictures are not set up here.", "AZURE_OPENAI_IMAGE_DEPLOYMENT"),
    "embedding": ("Searching by meaning is not set up here.", "AZURE_OPENAI_EMBEDDING_DEPLOYMENT"),
}
"""What a person reads where nothing serves a capability, and the setting that mends it."""

# After so many characters more of an answer it is told what it has cost so far.
_TOLD_CHARACTERS = 400

# A deployment that is free again within this is waited for, rather than show less to a smaller one.
_SOON_S = 4.0

T = TypeVar("T")


class Gateway:
    """Many deployments as one model; an async context manager that closes `connections`.

    Retries and fallback happen before the first delta only: what a person has begun to read is never begun
    again, but once gone on with. `clock` is in seconds and never goes back; `shared` is what the other
    processes know.
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
        pause_s: float = PAUSE_S,
    ) -> None:
        self.policy: Policy = policy
        self._hedge_s = hedge_s
        self._connections = connections
        self._limiter = RateLimiter(shared, clock)
        self._stats = CallStats(self._limiter, observe, clock)
        self._pause_s = pause_s
        self._unknown_preferences: set[str] = set()
        self.calibration = Calibration()
        self._pool = [
            Candidate(deployment, model, clock, calibration=self.calibration) for deployment, model in models
        ]
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
        """Which deployments may serve. Empty where none is set up."""
        return tuple(candidate.deployment for candidate in self._candidates(capability, preferred))

    def every(self) -> tuple[Deployment, ...]:
        """All that serve now, in the order in which they were stated."""
        return tuple(candidate.deployment for candidate in self._pool)

    def next_asked(
        self, capability: Capability, preferred: str | None, sticky: str = ""
    ) -> Deployment | None:
        """Who will be asked, as far as is known before there is a prompt: what that must fit into.

        The one with the largest context where the cheapest that fits is chosen. Its `context_tokens` are what
        it said that it takes, where that is less than was stated.
        """
        available = [
            candidate for candidate in self._candidates(capability, preferred) if not candidate.broken
        ]
        available = available or self._candidates(capability, preferred)
        if not available:
            return None
        if self.policy == "cheapest":
            first = max(available, key=lambda candidate: candidate.context_tokens)
        else:
            first = rank(available, self.policy, RequestLoad(sticky))[0]
        return replace(first.deployment, context_tokens=first.context_tokens)

    def adopt(self, config: DeploymentConfig, keys: Mapping[str, SecretStr]) -> None:
        """Serve by this roster from now on. Answers that are being written end where they began.

        A deployment that stays as it was keeps what was learnt of it.
        """
        connections = self._connections = self._connections or Connections()
        kept: list[Candidate] = []
        for deployment in config.deployments:
            key = keys.get(deployment.key_env or DEFAULT_KEY_ENV)
            same = [
                candidate
                for candidate in self._pool
                if candidate.deployment == deployment and candidate.key == key
            ]
            if not same:
                model = connections.open(deployment, key)
                same = [Candidate(deployment, model, self._stats.clock, key, self.calibration)]
            kept.append(same[0])
        for candidate in kept:
            self._stats.listen(candidate)
        self._pool = kept
        self.policy, self._hedge_s = config.policy, config.hedge_ms and config.hedge_ms / 1000
        self._unknown_preferences.clear()

    # -------------------------------------------------------------- the model

    async def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
        """Stream an answer from the first deployment that begins one; if it breaks off, go on once."""
        asked, shown = prompt, ""
        tried: list[Candidate] = []
        broke: ModelUnavailable | None = None
        while True:
            race = self._race(asked, tried)
            try:
                started = await race.first()
            except ModelUnavailable as error:
                raise broke or self._too_long(asked, error) or error from None
            except BotError as error:
                raise broke or error from None
            for candidate in race.lost:
                yield Delta(usage=self.calibration.spent(candidate.deployment, asked))
            part, before = self._part(started, asked, ContinuationDeduper(shown)), len(shown)
            try:
                async with aclosing(part):
                    async for delta in part:
                        shown += delta.text
                        yield delta
                return
            except ModelUnavailable as error:
                self._stats.failed(started.candidate, error)
                last, broke = not shown or broke is not None or isinstance(error, AnswerTimeout), error
            yield Delta(
                usage=self.calibration.spent(started.candidate.deployment, asked, len(shown) - before)
            )
            if last:
                raise broke
            log.warning("an answer broke off after %d characters; it is gone on with", len(shown))
            asked, tried = go_on(prompt, shown), [started.candidate]

    def _too_long(self, prompt: Prompt, error: ModelUnavailable) -> TooLong | None:
        """Where those that take so much are away, and others that take less are not: what fits into these."""
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
        words = "The model that can read so much is away for the moment. Please ask with less text, or later."
        return TooLong(words, widest.context_tokens, widest.counted(load).tokens)

    def _race(self, prompt: Prompt, tried: Sequence[Candidate]) -> FirstTokenRace:
        load = load_of(prompt)
        return FirstTokenRace(
            self._attempts("chat", prompt.deployment, load, tried), prompt, self._stats, self._hedge_s
        )

    async def _part(
        self, started: StartedAnswer, prompt: Prompt, deduper: ContinuationDeduper
    ) -> AsyncGenerator[Delta]:
        """One call's part of an answer, without what it repeats of the part before."""
        deployment, heard, told = started.candidate.deployment, 0, -_TOLD_CHARACTERS
        try:
            async with aclosing(started):
                async for delta in started.deltas():
                    if delta.usage is not None:
                        self.calibration.learn(prompt.messages, prompt.input_tokens, delta.usage)
                    heard += len(delta.text)
                    text = deduper.feed(delta.text) if delta.text else deduper.end()
                    if heard - told >= _TOLD_CHARACTERS and delta.usage is None:
                        told = heard
                        spent = self.calibration.spent(deployment, prompt, heard)
                        yield replace(delta, text=text, so_far=spent)
                    elif text or not delta.text:
                        yield delta if text == delta.text else replace(delta, text=text)
        except ModelUnavailable:
            if text := deduper.end():
                yield Delta(text=text)
            raise
        if text := deduper.end():
            yield Delta(text=text)
        self._stats.took(started.candidate, "call_seconds", started.began)

    async def draw(
        self, prompt: Prompt, on_partial_image: OnPartialImage | None = None
    ) -> tuple[tuple[Image, ...], Usage]:
        """Pictures from the first deployment that makes them; what broke off is begun once more, and its
        price, by estimate, is in that of the pictures.
        """
        lost: list[Usage] = []

        async def attempt(candidate: Candidate) -> tuple[tuple[Image, ...], Usage]:
            try:
                return await candidate.model.draw(prompt, on_partial_image)
            except ImageInterrupted:
                lost.append(images.most(prompt, candidate.deployment))
                raise

        try:
            pictures, usage = await self._call(
                self._attempts("image", prompt.deployment, load_of(prompt)), attempt
            )
        except ImageInterrupted as error:
            error.spent = tuple(lost)
            raise
        return pictures, images.together(usage, lost)

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """Vectors from the first deployment that makes them; all of one call are from one model."""
        load = RequestLoad(input_tokens=sum(map(len, texts)) // CHARACTERS_PER_TOKEN)
        return await self._call(
            self._attempts("embedding", None, load), lambda candidate: candidate.model.embed(texts)
        )

    async def vectors(self, texts: Sequence[str], /) -> list[list[float]]:
        """What `embed` makes of texts, without its usage. Implements `Embed`."""
        found, _ = await self.embed(texts)
        return found

    async def _call(self, attempts: Attempts, call: Callable[[Candidate], Awaitable[T]]) -> T:
        broken_off = 0
        while True:
            candidate = await attempts.next()
            began = self._stats.clock()
            candidate.running += 1
            try:
                result = await call(candidate)
            except (ModelUnavailable, DeploymentBroken) as error:
                self._stats.failed(candidate, error)
                broken_off += isinstance(error, ImageInterrupted)
                if broken_off > 1:
                    raise
                continue
            except BotError:
                self._stats.answered(candidate, "call_seconds", began)
                raise
            finally:
                candidate.running -= 1
            self._stats.answered(candidate, "call_seconds", began)
            return result

    # -------------------------------------------------------------- choosing

    def _attempts(
        self,
        capability: Capability,
        preferred: str | None,
        load: RequestLoad,
        tried: Sequence[Candidate] = (),
    ) -> Attempts:
        candidates = self._candidates(capability, preferred)
        if not candidates:
            words, setting = NOT_SET_UP[capability]
            raise NotAllowed(f"{words} Please ask the person who runs this bot to set {setting}.")
        return Attempts(
            rank(candidates, self.policy, load),
            self._limiter,
            load,
            held=self._stats.held,
            pause_s=self._pause_s,
            tried=tried,
        )

    def _candidates(self, capability: Capability, preferred: str | None) -> list[Candidate]:
        """Who may serve. A wish that something answers to is kept to, for a tag may say where data may go;
        one that nothing answers to is a leftover from elsewhere, and said once.
        """
        available = [candidate for candidate in self._pool if candidate.deployment.capability == capability]
        if available and capability == "embedding":
            # vectors of different models can't be compared: the first one's family serves, or nobody
            family = min(available, key=lambda candidate: candidate.deployment.order).deployment.family
            available = [candidate for candidate in available if candidate.deployment.family == family]
        if not preferred or not available:
            return available
        matching = [r for r in available if preferred == r.deployment.name or preferred in r.deployment.tags]
        if not matching and preferred not in self._unknown_preferences:
            self._unknown_preferences.add(preferred)
            log.warning("no %s deployment is called or tagged %r: any other serves", capability, preferred)
        return matching or available

    # -------------------------------------------------------------- being well

    async def check(self) -> list[CheckResult]:
        """How each deployment is, and which capability nothing serves."""
        probes = [
            candidate.model.check() for candidate in self._pool if isinstance(candidate.model, Checkable)
        ]
        findings = list(await asyncio.gather(*probes))
        served = {candidate.deployment.capability for candidate in self._pool}
        for capability, (words, setting) in NOT_SET_UP.items():
            if capability not in served:
                level = "error" if capability == "chat" else "warning"
                subject = f"{capability} deployment"
                findings.append(CheckResult(level=level, subject=subject, words=f"{words} Set {setting}."))
        return findings

    def states(self) -> list[DeploymentState]:
        """How each deployment is now, in the order in which they are asked."""
        candidates = sorted(
            self._pool, key=lambda candidate: (candidate.deployment.capability, candidate.deployment.order)
        )
        return [
            DeploymentState(
                candidate.deployment, candidate.breaker.wait_s(), candidate.broken, candidate.running
            )
            for candidate in candidates
        ]

    async def probe(self) -> list[ProbeResult]:
        """A small call to each deployment, all at once, in their order."""
        return await asyncio.gather(
            *(probe(candidate.deployment, candidate.model) for candidate in self._pool)
        )


def connect(
    deployments: DeploymentConfig | Iterable[Deployment],
    keys: Mapping[str, SecretStr],
    *,
    limits: "Timeouts | None" = None,
    shared: SharedLimiter | None = None,
    observe: Observe | None = None,
    credential: "AsyncTokenCredential | None" = None,
) -> Gateway:
    """A gateway over these deployments; `keys` are by the name of their environment variable.

    A deployment whose key is not among them is signed in to with Entra.
    """
    config = (
        deployments
        if isinstance(deployments, DeploymentConfig)
        else DeploymentConfig(deployments=tuple(deployments))
    )
    gateway = Gateway((), connections=Connections(limits, credential), shared=shared, observe=observe)
    gateway.adopt(config, keys)
    return gateway
