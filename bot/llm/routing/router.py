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
from bot.domain.turns import Delta, Deployment, Finding, Usage
from bot.llm.catalog.catalog import DEFAULT_KEY_ENV
from bot.llm.catalog.deployments import Policy, Roster
from bot.llm.catalog.probe import Checked, Probe, probe
from bot.llm.openai import images
from bot.llm.protocol import DeploymentBroken, Glimpse, Model, Overlong, Unfinished
from bot.llm.routing.attempts import PAUSE_S, Tries
from bot.llm.routing.calibration import Calibration
from bot.llm.routing.call_stats import Observe, Record
from bot.llm.routing.candidates import Load, Route, State, load_of, ranked
from bot.llm.routing.connections import Connections
from bot.llm.routing.continuation import CHARACTERS_PER_TOKEN, Seam, go_on
from bot.llm.routing.first_token_race import Begun, Opening
from bot.llm.routing.rate_limits import Pace, Shared

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

    from bot.llm.openai.model import Limits

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
        shared: Shared | None = None,
        connections: Connections | None = None,
        observe: Observe | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause_s: float = PAUSE_S,
    ) -> None:
        self.policy: Policy = policy
        self._hedge_s = hedge_s
        self._connections = connections
        self._pace = Pace(shared, clock)
        self._record = Record(self._pace, observe, clock)
        self._pause_s = pause_s
        self._unknown_wishes: set[str] = set()
        self.calibration = Calibration()
        self._routes = [
            Route(deployment, model, clock, calibration=self.calibration) for deployment, model in models
        ]
        for route in self._routes:
            self._record.listen(route)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pace.aclose()
        if self._connections:
            await self._connections.aclose()

    def deployments(self, capability: Capability, wish: str | None = None) -> tuple[Deployment, ...]:
        """Which deployments may serve. Empty where none is set up."""
        return tuple(route.deployment for route in self._candidates(capability, wish))

    def every(self) -> tuple[Deployment, ...]:
        """All that serve now, in the order in which they were stated."""
        return tuple(route.deployment for route in self._routes)

    def next_asked(self, capability: Capability, wish: str | None, sticky: str = "") -> Deployment | None:
        """Who will be asked, as far as is known before there is a prompt: what that must fit into.

        The one with the largest context where the cheapest that fits is chosen. Its `context_tokens` are what
        it said that it takes, where that is less than was stated.
        """
        able = [route for route in self._candidates(capability, wish) if not route.broken]
        able = able or self._candidates(capability, wish)
        if not able:
            return None
        if self.policy == "cheapest":
            first = max(able, key=lambda route: route.context_tokens)
        else:
            first = ranked(able, self.policy, Load(sticky))[0]
        return replace(first.deployment, context_tokens=first.context_tokens)

    def adopt(self, roster: Roster, keys: Mapping[str, SecretStr]) -> None:
        """Serve by this roster from now on. Answers that are being written end where they began.

        A deployment that stays as it was keeps what was learnt of it.
        """
        connections = self._connections = self._connections or Connections()
        kept: list[Route] = []
        for deployment in roster.deployments:
            key = keys.get(deployment.key_env or DEFAULT_KEY_ENV)
            same = [one for one in self._routes if one.deployment == deployment and one.key == key]
            if not same:
                model = connections.open(deployment, key)
                same = [Route(deployment, model, self._record.clock, key, self.calibration)]
            kept.append(same[0])
        for route in kept:
            self._record.listen(route)
        self._routes = kept
        self.policy, self._hedge_s = roster.policy, roster.hedge_ms and roster.hedge_ms / 1000
        self._unknown_wishes.clear()

    # -------------------------------------------------------------- the model

    async def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
        """Stream an answer from the first deployment that begins one; if it breaks off, go on once."""
        asked, shown = prompt, ""
        tried: list[Route] = []
        broke: ModelUnavailable | None = None
        while True:
            opening = self._opening(asked, tried)
            try:
                begun = await opening.first()
            except ModelUnavailable as error:
                raise broke or self._too_long(asked, error) or error from None
            except BotError as error:
                raise broke or error from None
            for route in opening.lost:
                yield Delta(usage=self.calibration.spent(route.deployment, asked))
            part, before = self._part(begun, asked, Seam(shown)), len(shown)
            try:
                async with aclosing(part):
                    async for delta in part:
                        shown += delta.text
                        yield delta
                return
            except ModelUnavailable as error:
                self._record.failed(begun.route, error)
                last, broke = not shown or broke is not None or isinstance(error, Overlong), error
            yield Delta(usage=self.calibration.spent(begun.route.deployment, asked, len(shown) - before))
            if last:
                raise broke
            log.warning("an answer broke off after %d characters; it is gone on with", len(shown))
            asked, tried = go_on(prompt, shown), [begun.route]

    def _too_long(self, prompt: Prompt, error: ModelUnavailable) -> TooLong | None:
        """Where those that take so much are away, and others that take less are not: what fits into these."""
        load = load_of(prompt)
        able = self._candidates("chat", prompt.deployment)
        free = [one for one in able if not (one.fits(load) or one.broken or one.breaker.wait_s())]
        soon = error.retry_after_s is not None and error.retry_after_s <= _SOON_S
        if soon or not free or len(free) == len(able):
            return None
        widest = max(free, key=lambda route: route.context_tokens)
        words = "The model that can read so much is away for the moment. Please ask with less text, or later."
        return TooLong(words, widest.context_tokens, widest.counted(load).tokens)

    def _opening(self, prompt: Prompt, tried: Sequence[Route]) -> Opening:
        load = load_of(prompt)
        return Opening(
            self._tries("chat", prompt.deployment, load, tried), prompt, self._record, self._hedge_s
        )

    async def _part(self, begun: Begun, prompt: Prompt, seam: Seam) -> AsyncGenerator[Delta]:
        """One call's part of an answer, without what it repeats of the part before."""
        deployment, heard, told = begun.route.deployment, 0, -_TOLD_CHARACTERS
        try:
            async with aclosing(begun):
                async for delta in begun.deltas():
                    if delta.usage is not None:
                        self.calibration.learn(prompt.messages, prompt.input_tokens, delta.usage)
                    heard += len(delta.text)
                    text = seam.feed(delta.text) if delta.text else seam.end()
                    if heard - told >= _TOLD_CHARACTERS and delta.usage is None:
                        told = heard
                        spent = self.calibration.spent(deployment, prompt, heard)
                        yield replace(delta, text=text, so_far=spent)
                    elif text or not delta.text:
                        yield delta if text == delta.text else replace(delta, text=text)
        except ModelUnavailable:
            if text := seam.end():
                yield Delta(text=text)
            raise
        if text := seam.end():
            yield Delta(text=text)
        self._record.took(begun.route, "call_seconds", begun.began)

    async def draw(self, prompt: Prompt, glimpse: Glimpse | None = None) -> tuple[tuple[Image, ...], Usage]:
        """Pictures from the first deployment that makes them; what broke off is begun once more, and its
        price, by estimate, is in that of the pictures.
        """
        lost: list[Usage] = []

        async def attempt(route: Route) -> tuple[tuple[Image, ...], Usage]:
            try:
                return await route.model.draw(prompt, glimpse)
            except Unfinished:
                lost.append(images.most(prompt, route.deployment))
                raise

        try:
            pictures, usage = await self._call(
                self._tries("image", prompt.deployment, load_of(prompt)), attempt
            )
        except Unfinished as error:
            error.spent = tuple(lost)
            raise
        return pictures, images.together(usage, lost)

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """Vectors from the first deployment that makes them; all of one call are from one model."""
        load = Load(input_tokens=sum(map(len, texts)) // CHARACTERS_PER_TOKEN)
        return await self._call(self._tries("embedding", None, load), lambda one: one.model.embed(texts))

    async def _call(self, tries: Tries, call: Callable[[Route], Awaitable[T]]) -> T:
        broken_off = 0
        while True:
            route = await tries.next()
            began = self._record.clock()
            route.running += 1
            try:
                result = await call(route)
            except (ModelUnavailable, DeploymentBroken) as error:
                self._record.failed(route, error)
                broken_off += isinstance(error, Unfinished)
                if broken_off > 1:
                    raise
                continue
            except BotError:
                self._record.answered(route, "call_seconds", began)
                raise
            finally:
                route.running -= 1
            self._record.answered(route, "call_seconds", began)
            return result

    # -------------------------------------------------------------- choosing

    def _tries(
        self, capability: Capability, wish: str | None, load: Load, tried: Sequence[Route] = ()
    ) -> Tries:
        candidates = self._candidates(capability, wish)
        if not candidates:
            words, setting = NOT_SET_UP[capability]
            raise NotAllowed(f"{words} Please ask the person who runs this bot to set {setting}.")
        return Tries(
            ranked(candidates, self.policy, load),
            self._pace,
            load,
            held=self._record.held,
            pause_s=self._pause_s,
            tried=tried,
        )

    def _candidates(self, capability: Capability, wish: str | None) -> list[Route]:
        """Who may serve. A wish that something answers to is kept to, for a tag may say where data may go;
        one that nothing answers to is a leftover from elsewhere, and said once.
        """
        able = [route for route in self._routes if route.deployment.capability == capability]
        if able and capability == "embedding":
            # vectors of different models can't be compared: the first one's family serves, or nobody
            family = min(able, key=lambda route: route.deployment.order).deployment.family
            able = [route for route in able if route.deployment.family == family]
        if not wish or not able:
            return able
        wished = [r for r in able if wish == r.deployment.name or wish in r.deployment.tags]
        if not wished and wish not in self._unknown_wishes:
            self._unknown_wishes.add(wish)
            log.warning("no %s deployment is called or tagged %r: any other serves", capability, wish)
        return wished or able

    # -------------------------------------------------------------- being well

    async def check(self) -> list[Finding]:
        """How each deployment is, and which capability nothing serves."""
        probes = [route.model.check() for route in self._routes if isinstance(route.model, Checked)]
        findings = list(await asyncio.gather(*probes))
        served = {route.deployment.capability for route in self._routes}
        for capability, (words, setting) in NOT_SET_UP.items():
            if capability not in served:
                level = "error" if capability == "chat" else "warning"
                subject = f"{capability} deployment"
                findings.append(Finding(level=level, subject=subject, words=f"{words} Set {setting}."))
        return findings

    def states(self) -> list[State]:
        """How each deployment is now, in the order in which they are asked."""
        routes = sorted(self._routes, key=lambda route: (route.deployment.capability, route.deployment.order))
        return [State(one.deployment, one.breaker.wait_s(), one.broken, one.running) for one in routes]

    async def probe(self) -> list[Probe]:
        """A small call to each deployment, all at once, in their order."""
        return await asyncio.gather(*(probe(route.deployment, route.model) for route in self._routes))


def connect(
    deployments: Roster | Iterable[Deployment],
    keys: Mapping[str, SecretStr],
    *,
    limits: "Limits | None" = None,
    shared: Shared | None = None,
    observe: Observe | None = None,
    credential: "AsyncTokenCredential | None" = None,
) -> Gateway:
    """A gateway over these deployments; `keys` are by the name of their environment variable.

    A deployment whose key is not among them is signed in to with Entra.
    """
    roster = deployments if isinstance(deployments, Roster) else Roster(deployments=tuple(deployments))
    gateway = Gateway((), connections=Connections(limits, credential), shared=shared, observe=observe)
    gateway.adopt(roster, keys)
    return gateway
