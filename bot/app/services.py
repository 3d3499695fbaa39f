"""Builds the services of a process and opens them: state, models, templates, the engine over them."""

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
from bot.conversation.engine import Engine, EngineDependencies
from bot.conversation.model_info import ModelInfo
from bot.conversation.preferences import Preferences
from bot.conversation.summarizer import Summarizer
from bot.domain import telemetry
from bot.domain.adapter import Adapter, Receipt
from bot.domain.events import (
    AppUninstalled,
    Event,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    StopRequested,
)
from bot.domain.prompts import Template
from bot.domain.turns import Deployment
from bot.evals.evaluation import EvalContext
from bot.files.attachments import AttachmentReader, reading
from bot.generation import context_window, tokenizer
from bot.generation.turn_builder import ToolCallAllowance
from bot.knowledge.retrieval import Retriever
from bot.llm.catalog import catalog, deployments
from bot.llm.catalog.deployments import DeploymentConfig
from bot.llm.demo import model
from bot.llm.protocol import Model
from bot.llm.routing.reload import reload
from bot.llm.routing.router import Gateway, connect
from bot.prompts.library import LoadedPrompts, PromptLibrary, open_library
from bot.storage.conversations.confirmations import Confirmations
from bot.storage.conversations.search import ConversationSearch
from bot.storage.conversations.summaries import SummaryStore
from bot.storage.conversations.turns import Turns
from bot.storage.conversations.votes import Votes
from bot.storage.embedded.compaction import Compaction
from bot.storage.embedded.lifecycle import embedded
from bot.storage.erasure.people import Erasure
from bot.storage.erasure.tenants import Tenants
from bot.storage.live.event_stream import EventStream
from bot.storage.live.live_view import LiveView
from bot.storage.prompts.embedding_cache import EmbeddingCache
from bot.storage.prompts.preferences import PreferenceStore
from bot.storage.queue.inbox import Inbox
from bot.storage.redis.client import Redis
from bot.storage.redis.secrets import SecretStore
from bot.storage.usage.charges import Charges
from bot.storage.usage.cooldowns import Cooldowns
from bot.storage.usage.latency import Latency
from bot.storage.usage.limits import WindowLimiter
from bot.storage.usage.quota import QuotaLedger
from bot.storage.usage.reports import UsageReports
from bot.tools.registry import installed
from bot.worker.worker import Worker

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services of one running process."""

    settings: Settings
    redis: Redis
    inbox: Inbox
    turns: Turns
    ledger: QuotaLedger
    gateway: Gateway
    library: PromptLibrary
    search: ConversationSearch
    charges: Charges
    live_view: LiveView
    latency: Latency
    preferences: Preferences
    compaction: Compaction
    secret_store: SecretStore
    engine: Engine
    eval_context: Callable[[], EvalContext]

    @property
    def event_stream(self) -> EventStream:
        """What open pages of the studio show."""
        return EventStream(self.redis)

    @property
    def usage_reports(self) -> UsageReports:
        """What was used, for reports."""
        return UsageReports(self.redis)

    @property
    def votes(self) -> Votes:
        """Which of two answers somebody found better."""
        return Votes(self.redis)

    @property
    def limiter(self) -> WindowLimiter:
        """Limits that all processes keep together."""
        return WindowLimiter(self.redis)

    @property
    def deployments(self) -> Sequence[Deployment]:
        """The deployments that serve now: they may be read anew while the process runs."""
        return self.gateway.every()

    @property
    def templates(self) -> Sequence[Template]:
        """The templates in force."""
        return self.library.registry.templates()

    def worker(self, adapters: Sequence[Adapter]) -> Worker:
        """A worker that answers by these adapters."""
        return Worker(
            inbox=self.inbox,
            engine=self.engine,
            charges=self.charges,
            depart=self.forget_place,
            live_view=self.live_view,
            adapters={adapter.name: adapter for adapter in adapters},
            concurrency=capacity.fit(self.settings.parley_concurrency),
            attempts=self.settings.parley_attempts,
            lease_s=self.settings.parley_lease_s,
            drain_s=self.settings.parley_drain_s,
        )

    async def forget_place(self, uninstalled: AppUninstalled) -> None:
        """Forget what was said in a place that the bot was taken away from, where the operator wants that."""
        where = uninstalled.user.tenant or uninstalled.address.conversation
        if self.settings.parley_on_uninstall == "keep":
            log.info("The bot was taken away from %s; what was said there is kept for its time", where)
            return
        erased = await Tenants(self.redis, self.search).forget(uninstalled)
        log.info("The bot was taken away from %s. Deleted: %s", where, erased)
        if erased:
            await self.compaction.request()

    def reload(self) -> None:
        """Read the deployments anew; a file that can't be used leaves them as they are."""

        def read() -> tuple[DeploymentConfig, Mapping[str, SecretStr]]:
            found = find_deployment_config(self.settings)
            return found, secrets(catalog.key_names(found.deployments))

        reload(self.gateway, read)

    async def _supersede(self, event: Event) -> None:
        """Stop what is answered in vain: a question that was changed; where wanted, any before this one.

        What is not answered itself, such as a command or a word to somebody else, stops nothing.
        """
        match event:
            case MessageEdited() | MessageDeleted():
                await self.inbox.supersede(event)
            case MessageReceived() if self.settings.parley_while_answering == "supersede":
                if self.engine.command(event) is None and await self.engine.should_answer(event):
                    await self.inbox.supersede(event)
            case _:
                pass

    async def accept(self, event: Event) -> Receipt:
        """Write an event down, and count it."""
        if isinstance(event, MessageReceived) and commands.is_stop(event):
            event = StopRequested(id=event.id, address=event.address, user=event.user, at=event.at)
        adapter = event.address.adapter
        with telemetry.ACCEPT_SECONDS.labels(adapter).time():
            if isinstance(event, StopRequested):
                receipt = await self.inbox.stop(event, leave=event.user.id in self.settings.operators)
            else:
                receipt = await self.inbox.accept(event)
            if receipt == "accepted":
                await self._supersede(event)
        telemetry.EVENTS.labels(adapter, receipt).inc()
        return receipt


@asynccontextmanager
async def open_services(settings: Settings, *, folder: Path | None = None) -> AsyncGenerator[Services]:
    """Build and open every service; close them in reverse. Raises ConfigError.

    With a `folder` the state is an embedded Redis of its own there, whatever REDIS_URL says.
    """
    prompts = read_prompts(settings.parley_prompts)
    found = find_deployment_config(settings)
    async with AsyncExitStack() as stack:
        redis = await _redis(settings, folder, stack)
        latency = await stack.enter_async_context(Latency(redis).keeping())
        gateway = await stack.enter_async_context(_connect(found, redis, latency))
        model_info = ModelInfo(gateway, settings.limits, counts=await _counts(settings))
        search = ConversationSearch(redis, _retention_s(settings))
        charges = Charges(redis, search)
        ledger, turns = QuotaLedger(redis, charges, settings.limits), Turns(redis)
        summarizer = _summarizer(settings, redis, gateway, model_info, ledger)
        stack.push_async_callback(summarizer.close)
        library = await stack.enter_async_context(_library(prompts, redis, found.deployments, gateway))
        files = await stack.enter_async_context(reading(settings.readers))
        secret_store = SecretStore(redis, settings.parley_secret_keys, settings.parley_data_dir)
        compaction = Compaction(redis, embedded=_is_embedded(settings, folder))
        erasure = await stack.enter_async_context(Erasure(redis, secret_store, compaction).keeping())
        preferences = _preferences(settings, redis, library, model_info, ledger, turns, erasure)
        yield Services(
            settings=settings,
            redis=redis,
            inbox=_inbox(settings, redis),
            turns=turns,
            ledger=ledger,
            gateway=gateway,
            library=library,
            search=search,
            charges=charges,
            live_view=LiveView(redis),
            latency=latency,
            eval_context=partial(_eval_context, library, gateway, model_info),
            preferences=preferences,
            compaction=compaction,
            secret_store=secret_store,
            engine=_engine(
                settings, library, gateway, model_info, ledger, turns, preferences, summarizer, files
            ),
        )


def _library(
    prompts: LoadedPrompts, redis: Redis, deployments: Sequence[Deployment], gateway: Gateway
) -> AbstractAsyncContextManager[PromptLibrary]:
    """The templates; examples are chosen by the embedding deployment, where there is one."""
    vectors = EmbeddingCache(redis, _embedder(deployments), partial(_embed, gateway))
    return open_library(prompts, redis, vectors.embed)


async def _counts(settings: Settings) -> bool:
    """Whether texts are counted from now on, by a vocabulary that is at hand."""
    tell_packages(settings)
    count = await asyncio.to_thread(tokenizer.load, settings.tiktoken_cache_dir)
    context_window.count_by(count)
    return count is not None


def _engine(
    settings: Settings,
    library: PromptLibrary,
    gateway: Gateway,
    model_info: ModelInfo,
    ledger: QuotaLedger,
    turns: Turns,
    preferences: Preferences,
    summarizer: Summarizer,
    files: AttachmentReader,
) -> Engine:
    templates = library.registry.templates
    return Engine(
        EngineDependencies(
            model=gateway,
            ledger=ledger,
            preferences=preferences,
            commands=Commands(
                templates=templates,
                preferences=preferences,
                comparable_deployments=model_info.comparable_deployments,
                is_served=model_info.is_served,
            ),
            templates=templates,
            tools=installed(),
            choose=library.choose,
            retrieve=Retriever(library.texts, library.embed).retrieve,
            token_budget=model_info.token_budget,
            estimate_usd=model_info.estimate_usd,
            picture=turns.image,
            summarizer=summarizer,
            recall_counts=model_info.recall_counts,
            comparable_deployments=model_info.comparable_deployments,
            family=model_info.family,
            accepts_images=model_info.accepts_images,
            picture_tokens=model_info.image_tokens,
            allowance=_allowance(settings),
        ),
        files,
    )


def _allowance(settings: Settings) -> Callable[[], ToolCallAllowance]:
    """What one answer may use, anew for each."""
    return partial(
        ToolCallAllowance,
        settings.parley_tool_calls_per_round,
        settings.parley_tool_calls_per_answer,
        settings.parley_answer_characters,
    )


def _summarizer(
    settings: Settings, redis: Redis, gateway: Gateway, model_info: ModelInfo, ledger: QuotaLedger
) -> Summarizer:
    memory = SummaryStore(redis, _retention_s(settings))
    return Summarizer(gateway, memory, ledger, model_info.estimate_usd, model_info.cheap_deployment)


def _eval_context(library: PromptLibrary, gateway: Gateway, model_info: ModelInfo) -> EvalContext:
    """What an evaluation asks: the templates in use, as people get them."""

    async def embed(texts: Sequence[str]) -> list[list[float]]:
        return await _embed(gateway, texts)

    return EvalContext(
        model=gateway,
        templates={one.name: one for one in library.registry.templates()},
        choose=library.choose,
        retrieve=Retriever(library.texts, library.embed).retrieve,
        token_budget=model_info.token_budget,
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


def _preferences(
    settings: Settings,
    redis: Redis,
    library: PromptLibrary,
    model_info: ModelInfo,
    ledger: QuotaLedger,
    turns: Turns,
    erasure: Erasure,
) -> Preferences:
    return Preferences(
        templates=library.registry.templates,
        deployments=model_info.chat_deployments if settings.parley_model_choice else tuple,
        ledger=ledger,
        turns=turns,
        choices=PreferenceStore(redis),
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


def find_deployment_config(settings: Settings) -> DeploymentConfig:
    """The deployments that the settings name; the built-in demo model without any. Raises ConfigError."""
    endpoint, version = settings.azure_openai_endpoint, settings.openai_api_version
    found = DeploymentConfig(deployments=())
    if settings.parley_deployments is not None:
        found = deployments.load(settings.parley_deployments, endpoint, version)
    if endpoint is not None:
        named = deployments.simple(
            endpoint,
            version,
            settings.azure_openai_chat_deployment,
            settings.azure_openai_image_deployment,
            settings.azure_openai_embedding_deployment,
        )
        found = replace(found, deployments=found.deployments + named)
    return found if found.deployments else DeploymentConfig(deployments=model.deployments())


def find_deployments(settings: Settings) -> tuple[Deployment, ...]:
    """The deployments of `find_deployment_config`. Raises ConfigError."""
    return find_deployment_config(settings).deployments


def _connect(found: DeploymentConfig, redis: Redis, latency: Latency) -> Gateway:
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
