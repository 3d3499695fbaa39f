"""Builds the rooms of a process and opens them: state, models, templates, the engine over them."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgspec.structs import replace
from pydantic import SecretStr

from bot.app import capacity
from bot.app.prompt_files import read_prompts
from bot.app.settings import Settings, secrets, tell_packages
from bot.conversation import commands
from bot.conversation.commands import Commands
from bot.conversation.engine import Engine, Parts
from bot.conversation.model_info import Serving
from bot.conversation.preferences import Desk
from bot.conversation.summarizer import Recollection
from bot.domain import telemetry
from bot.domain.adapter import Adapter, Receipt
from bot.domain.events import Deleted, Departed, Edited, Event, Said, Stopped
from bot.domain.prompts import Template
from bot.domain.turns import Deployment
from bot.evals.evaluation import Bench
from bot.files.attachments import Files, reading
from bot.generation import context_window, tokenizer
from bot.generation.turn_builder import Allowance
from bot.knowledge.retrieval import Retriever
from bot.llm.catalog import catalog
from bot.llm.catalog import deployments as roster
from bot.llm.catalog.deployments import Roster
from bot.llm.demo import model as offline
from bot.llm.protocol import Model
from bot.llm.routing.reload import reload
from bot.llm.routing.router import Gateway, connect
from bot.prompts.library import Library, Prompts, open_library
from bot.storage.conversations.confirmations import Confirmations
from bot.storage.conversations.search import Archive
from bot.storage.conversations.summaries import Memory
from bot.storage.conversations.turns import Turns
from bot.storage.conversations.votes import Votes
from bot.storage.embedded.compaction import Compaction
from bot.storage.embedded.lifecycle import embedded
from bot.storage.erasure.people import Erasure
from bot.storage.erasure.tenants import Tenants
from bot.storage.live.event_stream import Feed
from bot.storage.live.live_view import Stage
from bot.storage.prompts.embedding_cache import Vectors
from bot.storage.prompts.preferences import Choices
from bot.storage.queue.inbox import Inbox
from bot.storage.redis.client import Redis
from bot.storage.redis.secrets import Vault
from bot.storage.usage.charges import Bills
from bot.storage.usage.cooldowns import Cooldowns
from bot.storage.usage.latency import Latency
from bot.storage.usage.limits import Limiter
from bot.storage.usage.quota import Ledger
from bot.storage.usage.reports import Books
from bot.tools.registry import installed
from bot.worker.worker import Worker

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Every room of one process, open."""

    settings: Settings
    redis: Redis
    inbox: Inbox
    turns: Turns
    ledger: Ledger
    gateway: Gateway
    library: Library
    archive: Archive
    bills: Bills
    stage: Stage
    latency: Latency
    desk: Desk
    compaction: Compaction
    vault: Vault
    engine: Engine
    bench: Callable[[], Bench]

    @property
    def feed(self) -> Feed:
        """What open pages of the studio show."""
        return Feed(self.redis)

    @property
    def books(self) -> Books:
        """What was used, for reports."""
        return Books(self.redis)

    @property
    def votes(self) -> Votes:
        """Which of two answers somebody found better."""
        return Votes(self.redis)

    @property
    def limiter(self) -> Limiter:
        """Limits that all processes keep together."""
        return Limiter(self.redis)

    @property
    def deployments(self) -> Sequence[Deployment]:
        """The deployments that serve now: they may be read anew while the house is open."""
        return self.gateway.every()

    @property
    def templates(self) -> Sequence[Template]:
        """The templates in force."""
        return self.library.shelf.templates()

    def worker(self, adapters: Sequence[Adapter]) -> Worker:
        """A worker that answers by these adapters."""
        return Worker(
            inbox=self.inbox,
            engine=self.engine,
            bills=self.bills,
            depart=self.depart,
            stage=self.stage,
            adapters={adapter.name: adapter for adapter in adapters},
            concurrency=capacity.fit(self.settings.parley_concurrency),
            attempts=self.settings.parley_attempts,
            lease_s=self.settings.parley_lease_s,
            drain_s=self.settings.parley_drain_s,
        )

    async def depart(self, departed: Departed) -> None:
        """Forget what was said in a place that the bot was taken away from, where the operator wants that."""
        where = departed.user.tenant or departed.address.conversation
        if self.settings.parley_on_uninstall == "keep":
            log.info("The bot was taken away from %s; what was said there is kept for its time", where)
            return
        erased = await Tenants(self.redis, self.archive).forget(departed)
        log.info("The bot was taken away from %s. Deleted: %s", where, erased)
        if erased:
            await self.compaction.request()

    def reload(self) -> None:
        """Read the deployments anew; a file that can't be used leaves them as they are."""

        def read() -> tuple[Roster, Mapping[str, SecretStr]]:
            found = find_roster(self.settings)
            return found, secrets(catalog.key_names(found.deployments))

        reload(self.gateway, read)

    async def _supersede(self, event: Event) -> None:
        """Stop what is answered in vain: a question that was changed; where wanted, any before this one.

        What is not answered itself, such as a command or a word to somebody else, stops nothing.
        """
        match event:
            case Edited() | Deleted():
                await self.inbox.supersede(event)
            case Said() if self.settings.parley_while_answering == "supersede":
                if self.engine.command(event) is None and await self.engine.heeds(event):
                    await self.inbox.supersede(event)
            case _:
                pass

    async def accept(self, event: Event) -> Receipt:
        """Write an event down, and count it."""
        if isinstance(event, Said) and commands.is_stop(event):
            event = Stopped(id=event.id, address=event.address, user=event.user, at=event.at)
        adapter = event.address.adapter
        with telemetry.ACCEPT_SECONDS.labels(adapter).time():
            if isinstance(event, Stopped):
                receipt = await self.inbox.stop(event, leave=event.user.id in self.settings.operators)
            else:
                receipt = await self.inbox.accept(event)
            if receipt == "accepted":
                await self._supersede(event)
        telemetry.EVENTS.labels(adapter, receipt).inc()
        return receipt


@asynccontextmanager
async def open_house(settings: Settings, *, folder: Path | None = None) -> AsyncGenerator[House]:
    """Build and open every room; close them in reverse. Raises ConfigError.

    With a `folder` the state is an embedded Redis of its own there, whatever REDIS_URL says.
    """
    prompts = read_prompts(settings.parley_prompts)
    found = find_roster(settings)
    async with AsyncExitStack() as stack:
        redis = await _redis(settings, folder, stack)
        latency = await stack.enter_async_context(Latency(redis).keeping())
        gateway = await stack.enter_async_context(_connect(found, redis, latency))
        serving = Serving(gateway, settings.limits, counts=await _counts(settings))
        archive = Archive(redis, _retention_s(settings))
        bills = Bills(redis, archive)
        ledger, turns = Ledger(redis, bills, settings.limits), Turns(redis)
        recollection = _recollection(settings, redis, gateway, serving, ledger)
        stack.push_async_callback(recollection.close)
        library = await stack.enter_async_context(_library(prompts, redis, found.deployments, gateway))
        files = await stack.enter_async_context(reading(settings.readers))
        vault = Vault(redis, settings.parley_secret_keys, settings.parley_data_dir)
        compaction = Compaction(redis, embedded=_is_embedded(settings, folder))
        erasure = await stack.enter_async_context(Erasure(redis, vault, compaction).keeping())
        desk = _desk(settings, redis, library, serving, ledger, turns, erasure)
        yield House(
            settings=settings,
            redis=redis,
            inbox=_inbox(settings, redis),
            turns=turns,
            ledger=ledger,
            gateway=gateway,
            library=library,
            archive=archive,
            bills=bills,
            stage=Stage(redis),
            latency=latency,
            bench=partial(_bench, library, gateway, serving),
            desk=desk,
            compaction=compaction,
            vault=vault,
            engine=_engine(settings, library, gateway, serving, ledger, turns, desk, recollection, files),
        )


def _library(
    prompts: Prompts, redis: Redis, deployments: Sequence[Deployment], gateway: Gateway
) -> AbstractAsyncContextManager[Library]:
    """The templates; examples are chosen by the embedding deployment, where there is one."""
    vectors = Vectors(redis, _embedder(deployments), partial(_embed, gateway))
    return open_library(prompts, redis, vectors.embed)


async def _counts(settings: Settings) -> bool:
    """Whether texts are counted from now on, by a vocabulary that is at hand."""
    tell_packages(settings)
    count = await asyncio.to_thread(tokenizer.load, settings.tiktoken_cache_dir)
    context_window.count_by(count)
    return count is not None


def _engine(
    settings: Settings,
    library: Library,
    gateway: Gateway,
    serving: Serving,
    ledger: Ledger,
    turns: Turns,
    desk: Desk,
    recollection: Recollection,
    files: Files,
) -> Engine:
    templates = library.shelf.templates
    return Engine(
        Parts(
            model=gateway,
            ledger=ledger,
            desk=desk,
            commands=Commands(templates=templates, desk=desk, rivals=serving.rivals, able=serving.able),
            templates=templates,
            tools=installed(),
            choose=library.choose,
            recall=Retriever(library.texts, library.embed).recall,
            room=serving.room,
            estimate_usd=serving.estimate_usd,
            picture=turns.image,
            recollection=recollection,
            recall_counts=serving.recall_counts,
            rivals=serving.rivals,
            family=serving.family,
            sees=serving.sees,
            picture_tokens=serving.picture_tokens,
            allowance=partial(
                Allowance,
                settings.parley_tool_calls_per_round,
                settings.parley_tool_calls_per_answer,
                settings.parley_answer_characters,
            ),
        ),
        files,
    )


def _recollection(
    settings: Settings, redis: Redis, gateway: Gateway, serving: Serving, ledger: Ledger
) -> Recollection:
    memory = Memory(redis, _retention_s(settings))
    return Recollection(gateway, memory, ledger, serving.estimate_usd, serving.cheap)


def _bench(library: Library, gateway: Gateway, serving: Serving) -> Bench:
    """What an evaluation asks: the templates in use, as people get them."""

    async def embed(texts: Sequence[str]) -> list[list[float]]:
        return await _embed(gateway, texts)

    return Bench(
        model=gateway,
        templates={one.name: one for one in library.shelf.templates()},
        choose=library.choose,
        recall=Retriever(library.texts, library.embed).recall,
        room=serving.room,
        embed=embed,
    )


def _inbox(settings: Settings, redis: Redis) -> Inbox:
    return Inbox(
        redis,
        lease_s=settings.parley_lease_s,
        limit=settings.parley_inbox_limit,
        tenant_limit=settings.parley_tenant_limit,
        retention_s=_retention_s(settings),
    )


def _desk(
    settings: Settings,
    redis: Redis,
    library: Library,
    serving: Serving,
    ledger: Ledger,
    turns: Turns,
    erasure: Erasure,
) -> Desk:
    return Desk(
        templates=library.shelf.templates,
        deployments=serving.chats if settings.parley_model_choice else tuple,
        ledger=ledger,
        turns=turns,
        choices=Choices(redis),
        confirmations=Confirmations(redis),
        erasure=erasure,
        operators=settings.operators,
        retention_days=settings.parley_retention_days,
    )


def _retention_s(settings: Settings) -> int:
    return settings.parley_retention_days * 86_400


def _is_embedded(settings: Settings, folder: Path | None) -> bool:
    return folder is not None or settings.redis_url is None


async def _redis(settings: Settings, folder: Path | None, stack: AsyncExitStack) -> Redis:
    if settings.redis_url is None or _is_embedded(settings, folder):
        url = await stack.enter_async_context(embedded(folder or settings.parley_data_dir))
    else:
        url = settings.redis_url.get_secret_value()
    redis = Redis(url)
    stack.push_async_callback(redis.close)
    return redis


def find_roster(settings: Settings) -> Roster:
    """The deployments that the settings name; the built-in demo model without any. Raises ConfigError."""
    endpoint, version = settings.azure_openai_endpoint, settings.openai_api_version
    found = Roster(deployments=())
    if settings.parley_deployments is not None:
        found = roster.load(settings.parley_deployments, endpoint, version)
    if endpoint is not None:
        named = roster.simple(
            endpoint,
            version,
            settings.azure_openai_chat_deployment,
            settings.azure_openai_image_deployment,
            settings.azure_openai_embedding_deployment,
        )
        found = replace(found, deployments=found.deployments + named)
    return found if found.deployments else Roster(deployments=offline.deployments())


def find_deployments(settings: Settings) -> tuple[Deployment, ...]:
    """The deployments of `find_roster`. Raises ConfigError."""
    return find_roster(settings).deployments


def _connect(found: Roster, redis: Redis, latency: Latency) -> Gateway:
    """The deployments as one model, in step with every other process on this Redis."""
    keys = secrets(catalog.key_names(found.deployments))

    def took(measure: str, deployment: str, value: float) -> None:
        telemetry.deployment(measure, deployment, value)
        latency.took(measure, deployment, value)

    return connect(found, keys, shared=Cooldowns(redis), observe=took)


def _embedder(deployments: Sequence[Deployment]) -> str:
    return next((one.name for one in deployments if one.capability == "embedding"), "")


async def _embed(model: Model, texts: Sequence[str]) -> list[list[float]]:
    vectors, _ = await model.embed(texts)
    return vectors
