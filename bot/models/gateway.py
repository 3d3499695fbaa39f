"""Which deployment serves: by capability, wish, order and weight, and who steps in when one can't."""

import asyncio
import hashlib
import logging
import math
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, cast, runtime_checkable

from pydantic import SecretStr

from bot.errors import BotError, ConfigError, ModelUnavailable, NotAllowed
from bot.models import Model
from bot.models.breaker import Breaker, DeploymentBroken
from bot.models.catalogue import DEFAULT_KEY_ENV
from bot.models.offline import OfflineModel
from bot.types import Capability, Delta, Deployment, Finding, Image, Prompt, Usage

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

    from bot.models.azure import Limits
    from bot.models.clients import Clients

log = logging.getLogger(__name__)

# How often one prompt is tried, or once with each deployment if they are more, before the event waits.
ATTEMPTS = 3

# Between two attempts at the same deployments, in seconds: for a load balancer to look elsewhere.
PAUSE_S = 0.3

# A deployment that only its operator can mend is tried again after so many seconds.
BROKEN_REST_S = 300.0

Observe = Callable[[str, str, float], None]
"""Takes a measure, a deployment's name and a value. The measures: `first_delta_seconds`, `call_seconds`,
`failures` (1 for each) and `rest_seconds` (how long the deployment is left alone)."""

NOT_SET_UP: Mapping[Capability, tuple[str, str]] = {
    "chat": ("No chat model is set up here.", "AZURE_OPENAI_CHAT_DEPLOYMENT"),
    "image": ("Pictures are not set up here.", "AZURE_OPENAI_IMAGE_DEPLOYMENT"),
    "embedding": ("Searching by meaning is not set up here.", "AZURE_OPENAI_EMBEDDING_DEPLOYMENT"),
}
"""What a person reads where nothing serves a capability, and the setting that mends it."""

T = TypeVar("T")


@runtime_checkable
class Checked(Protocol):
    """A model that can say how it is."""

    async def check(self) -> Finding:
        """Whether it answers; never raises."""
        ...


class Route:
    """A deployment, its model, and whether it may be asked now."""

    def __init__(self, deployment: Deployment, model: Model, clock: Callable[[], float]) -> None:
        self.deployment = deployment
        self.model = model
        self.breaker = Breaker(clock)
        self.broken = ""  # what only the operator can mend, once it was said

    def rank(self, sticky: str) -> tuple[int, float]:
        """Lower is asked first: by order, then by a draw in which weight counts.

        The draw is the same for the same `sticky` (weighted rendezvous hashing), so that a conversation
        stays with the deployment that holds its prompt in the cache, also when others come and go.
        """
        seed = f"{sticky}|{self.deployment.name}|{self.deployment.endpoint}".encode()
        drawn = (
            int.from_bytes(hashlib.blake2b(seed, digest_size=6).digest())
            if sticky
            else random.getrandbits(48)
        )
        return self.deployment.order, self.deployment.weight / math.log((drawn + 1) / (2**48 + 2))


class Tries:
    """The deployments that one prompt is tried with, one after another."""

    def __init__(self, routes: list[Route], pause_s: float) -> None:
        self._routes = routes
        self._pause_s = pause_s
        self._left = max(ATTEMPTS, len(routes))
        self._tried: list[Route] = []

    async def next(self) -> Route:
        """The next one that may be asked; raises when there is none, or when it was tried enough."""
        free = [route for route in self._routes if not route.breaker.wait_s()]
        if not free or not self._left:
            raise self._nobody()
        fresh = [route for route in free if route not in self._tried]
        if not fresh:
            await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.5))
            self._tried.clear()
            return await self.next()
        self._left -= 1
        self._tried.append(fresh[0])
        fresh[0].breaker.asked()
        return fresh[0]

    def _nobody(self) -> BotError:
        working = [route for route in self._routes if not route.broken]
        if not working:
            return ConfigError(self._routes[0].broken)
        wait_s = min(route.breaker.wait_s() for route in working)
        if not wait_s:
            return ModelUnavailable("The model does not answer at the moment.")
        return ModelUnavailable(f"The model is busy; it is free again in {math.ceil(wait_s)} s.", wait_s)


class Gateway:
    """Many deployments as one model; an async context manager that closes `clients`.

    Retries and fallback happen before the first delta only: what a person has begun to read is never begun
    again. `clock` is in seconds and never goes back.
    """

    def __init__(
        self,
        models: Iterable[tuple[Deployment, Model]],
        *,
        clients: "Clients | None" = None,
        observe: Observe | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._routes = [Route(deployment, model, clock) for deployment, model in models]
        self._clients = clients
        self._observe = observe or _unobserved
        self._clock = clock
        self._pause_s = pause_s
        self._unknown_wishes: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._clients:
            await self._clients.aclose()

    def deployments(self, capability: Capability, wish: str | None = None) -> tuple[Deployment, ...]:
        """Which deployments may serve: what a prompt must fit into. Empty where none is set up."""
        return tuple(route.deployment for route in self._candidates(capability, wish))

    # -------------------------------------------------------------- the model

    async def chat(self, prompt: Prompt) -> AsyncIterator[Delta]:
        """Stream an answer from the first deployment that begins one."""
        tries = self._tries("chat", prompt.deployment, prompt.sticky)
        while True:
            route = await tries.next()
            began = self._clock()
            stream = cast("AsyncGenerator[Delta]", route.model.chat(prompt))
            async with aclosing(stream):
                try:
                    first = await anext(stream, None)
                    if first is None:
                        raise ModelUnavailable("The model said nothing at all")
                except (ModelUnavailable, DeploymentBroken) as error:
                    self._failed(route, error)
                    continue
                except BotError:
                    self._answered(route, "call_seconds", began)
                    raise
                self._answered(route, "first_delta_seconds", began)
                try:
                    yield first
                    async for delta in stream:
                        yield delta
                except ModelUnavailable as error:
                    self._failed(route, error)
                    raise
                self._observe("call_seconds", route.deployment.name, self._clock() - began)
                return

    async def draw(self, prompt: Prompt) -> tuple[tuple[Image, ...], Usage]:
        """Pictures from the first deployment that makes them."""
        tries = self._tries("image", prompt.deployment, prompt.sticky)
        return await self._call(tries, lambda model: model.draw(prompt))

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """Vectors from the first deployment that makes them; all of one call are from one model."""
        return await self._call(self._tries("embedding", None, ""), lambda model: model.embed(texts))

    async def _call(self, tries: Tries, call: Callable[[Model], Awaitable[T]]) -> T:
        while True:
            route = await tries.next()
            began = self._clock()
            try:
                result = await call(route.model)
            except (ModelUnavailable, DeploymentBroken) as error:
                self._failed(route, error)
                continue
            except BotError:
                self._answered(route, "call_seconds", began)
                raise
            self._answered(route, "call_seconds", began)
            return result

    # -------------------------------------------------------------- choosing

    def _tries(self, capability: Capability, wish: str | None, sticky: str) -> Tries:
        routes = sorted(self._candidates(capability, wish), key=lambda route: route.rank(sticky))
        if not routes:
            words, setting = NOT_SET_UP[capability]
            raise NotAllowed(f"{words} Please ask the person who runs this bot to set {setting}.")
        return Tries(routes, self._pause_s)

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

    # -------------------------------------------------------------- what came of it

    def _answered(self, route: Route, measure: str, began: float) -> None:
        route.breaker.succeeded()
        route.broken = ""
        self._observe(measure, route.deployment.name, self._clock() - began)

    def _failed(self, route: Route, error: ModelUnavailable | DeploymentBroken) -> None:
        name = route.deployment.name
        self._observe("failures", name, 1.0)
        if isinstance(error, DeploymentBroken):
            route.breaker.rest(BROKEN_REST_S)
            if not route.broken:
                log.error("%s", error)
            route.broken = str(error)
        else:
            route.breaker.failed(error.retry_after_s)
            log.warning("deployment %s did not answer: %s", name, error)
        if rest_s := route.breaker.wait_s():
            self._observe("rest_seconds", name, rest_s)

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


def connect(
    deployments: Iterable[Deployment],
    keys: Mapping[str, SecretStr],
    *,
    limits: "Limits | None" = None,
    observe: Observe | None = None,
    credential: "AsyncTokenCredential | None" = None,
) -> Gateway:
    """A gateway over these deployments; `keys` are by the name of their environment variable.

    A deployment whose key is not among them is signed in to with Entra.
    """
    deployments = list(deployments)
    models: list[tuple[Deployment, Model]] = [
        (deployment, OfflineModel(deployment)) for deployment in deployments if deployment.wire == "offline"
    ]
    if len(models) == len(deployments):
        return Gateway(models, observe=observe)
    from bot.models.clients import Clients  # 45 MB: only for those who have a deployment

    clients = Clients(limits, credential)
    for deployment in deployments:
        if deployment.wire != "offline":
            key = keys.get(deployment.key_env or DEFAULT_KEY_ENV)
            models.append((deployment, clients.connect(deployment, key)))
    return Gateway(models, clients=clients, observe=observe)


def _unobserved(measure: str, deployment: str, value: float) -> None:
    """Nobody counts."""
