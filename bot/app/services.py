"""Builds and opens the services of a process: storage, models, templates, engine."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace
from pydantic import SecretStr

from bot.app import capacity
from bot.app.intake import Intake
from bot.app.limit_names import LimitNames
from bot.app.price_watch import PriceWatch
from bot.app.prompt_files import read_usable
from bot.app.settings import Settings, load, secrets
from bot.conversation.commands.command import CommandServices
from bot.conversation.engine import Engine
from bot.conversation.personal_data import PersonalData
from bot.conversation.preferences import Preferences
from bot.conversation.summarizer import Summarizer
from bot.domain import telemetry
from bot.domain.adapter import Adapter
from bot.domain.errors import ConfigError, StateUnavailable
from bot.domain.limits import Limits
from bot.domain.prompts import Template
from bot.domain.turns import Deployment
from bot.evals.evaluation import EvalContext
from bot.files.attachments import reading
from bot.generation.model_info import ModelInfo
from bot.generation.prompt_sources import PublishedPrompts
from bot.generation.tool_calls import ToolSet
from bot.generation.turn_builder import ToolCallAllowance
from bot.llm.catalog import catalog, deployments
from bot.llm.catalog.deployments import DeploymentConfig
from bot.llm.catalog.prices import PriceBook, prices_in_force, put_in_force
from bot.llm.demo import model
from bot.llm.routing.reload import reload
from bot.llm.routing.router import Gateway, connect
from bot.llm.tokens import tokenizer
from bot.llm.tokens.counter import count_by
from bot.llm.tokens.estimator import Vocabulary
from bot.prompts.library import PromptLibrary, open_library
from bot.storage.conversations.confirmations import Confirmations
from bot.storage.conversations.search import ConversationSearch
from bot.storage.conversations.summaries import SummaryStore
from bot.storage.conversations.turns import Turns
from bot.storage.embedded.compaction import Compaction
from bot.storage.embedded.lifecycle import embedded
from bot.storage.erasure.organisations import Organisations
from bot.storage.erasure.people import Erasure
from bot.storage.erasure.retention import Retention
from bot.storage.erasure.tenants import Tenants
from bot.storage.live.live_view import LiveView
from bot.storage.prompts.embedding_cache import EmbeddingCache
from bot.storage.prompts.preferences import PreferenceStore
from bot.storage.queue.inbox import Inbox
from bot.storage.redis.client import Redis
from bot.storage.redis.secrets import SecretStore
from bot.storage.usage.charges import Charges
from bot.storage.usage.contacts import OperatorContacts
from bot.storage.usage.cooldowns import Cooldowns
from bot.storage.usage.latency import Latency
from bot.storage.usage.limit_names import LimitNameStore
from bot.storage.usage.notices import LimitNotices
from bot.storage.usage.price_tables import PriceTables
from bot.storage.usage.quota import QuotaLedger
from bot.tools.registry import installed
from bot.worker.operator_messages import OperatorMessages
from bot.worker.uninstall import Uninstaller
from bot.worker.worker import Worker, WorkerLimits

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """The stores in Redis."""

    redis: Redis
    inbox: Inbox
    turns: Turns
    search: ConversationSearch
    charges: Charges
    ledger: QuotaLedger
    live_view: LiveView
    compaction: Compaction
    secret_store: SecretStore
    contacts: OperatorContacts
    organisations: Organisations


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services of one running process."""

    settings: Settings
    storage: Storage
    gateway: Gateway
    model_info: ModelInfo
    latency: Latency
    library: PromptLibrary
    sources: PublishedPrompts
    personal_data: PersonalData
    engine: Engine
    limit_names: LimitNames

    @property
    def eval_context(self) -> EvalContext:
        """The context for evaluations of the active templates."""
        return EvalContext(model_info=self.model_info, sources=self.sources, embed=self.gateway.vectors)

    @property
    def intake(self) -> Intake:
        """The intake for the events of all platforms."""
        storage = self.storage
        return Intake(self.settings, storage.inbox, self.engine, storage.contacts, storage.organisations)

    @property
    def deployments(self) -> Sequence[Deployment]:
        """The current deployments; they change with `reload`."""
        return self.gateway.every()

    @property
    def templates(self) -> Sequence[Template]:
        return self.library.registry.templates()

    def worker(self, adapters: Sequence[Adapter]) -> Worker:
        settings, storage = self.settings, self.storage
        return Worker(
            inbox=storage.inbox,
            engine=self.engine,
            charges=storage.charges,
            uninstaller=Uninstaller(
                Tenants(storage.redis, storage.search),
                storage.compaction,
                keep=settings.parley_on_uninstall == "keep",
            ),
            live_view=storage.live_view,
            adapters={adapter.name: adapter for adapter in adapters},
            limits=WorkerLimits(
                concurrency=capacity.fit(settings.parley_concurrency),
                attempts=settings.parley_attempts,
                lease_s=settings.parley_lease_s,
                drain_s=settings.parley_drain_s,
                tenant_concurrency=settings.parley_tenant_concurrency,
            ),
        )

    def operator_messages(self, adapters: Sequence[Adapter]) -> OperatorMessages:
        """What tells operators that limits of tenants are reached."""
        named = {adapter.name: adapter for adapter in adapters}
        return OperatorMessages(self.storage.charges.notices, self.storage.contacts, named)

    def reload(self) -> None:
        """Reload the deployments and the limits; what is invalid stays as it is."""

        def read() -> tuple[DeploymentConfig, Mapping[str, SecretStr]]:
            found = find_deployment_config(self.settings)
            return found, secrets(catalog.key_names(found.deployments))

        reload(self.gateway, read)
        self._reload_limits()

    def _reload_limits(self) -> None:
        """Read PARLEY_LIMITS again, which a file `.env` can change while a process runs."""
        try:
            limits = load().limits
        except ConfigError as error:
            log.error("The limits were not reloaded: %s", error)
            return
        self.limit_names.configure(limits)


@asynccontextmanager
async def open_services(settings: Settings, *, folder: Path | None = None) -> AsyncGenerator[Services]:
    """Open all services; close them in reverse order at the end. Raises ConfigError.

    With `folder`, an embedded Redis there is used instead of REDIS_URL.
    """
    prompts = read_usable(settings.parley_prompts)
    for problem in prompts.problems:
        log.error("Skipped: %s", problem)
    found = find_deployment_config(settings)
    async with AsyncExitStack() as stack:
        storage = await _storage(settings, folder, stack)
        stack.push_async_callback(storage.charges.close)
        latency = await stack.enter_async_context(Latency(storage.redis).keeping())
        gateway = await stack.enter_async_context(_connect(found, storage.redis, latency))
        await _load_tokenizers(settings, gateway)
        await stack.enter_async_context(PriceWatch(PriceTables(storage.redis), gateway).keeping())
        model_info = ModelInfo(gateway, settings.limits)
        embedder = next((each.name for each in found.deployments if each.capability == "embedding"), "")
        vectors = EmbeddingCache(storage.redis, embedder, gateway.vectors)
        library = await stack.enter_async_context(open_library(prompts, storage.redis, vectors.embed))
        sources = PublishedPrompts(library, storage.turns)
        commands = await _command_services(settings, storage, sources, model_info, stack)
        limit_names = await _limit_names(settings, storage, model_info)
        yield Services(
            settings=settings,
            storage=storage,
            gateway=gateway,
            model_info=model_info,
            latency=latency,
            library=library,
            sources=sources,
            personal_data=commands.personal_data,
            engine=await _engine(settings, storage, commands, stack),
            limit_names=limit_names,
        )


@asynccontextmanager
async def open_storage(settings: Settings) -> AsyncGenerator[Storage]:
    """Only what needs Redis. Raises ConfigError."""
    async with AsyncExitStack() as stack:
        yield await _storage(settings, None, stack)


async def _storage(settings: Settings, folder: Path | None, stack: AsyncExitStack) -> Storage:
    redis = await _redis(settings, folder, stack)
    retention_s = _retention_s(settings)
    search = ConversationSearch(redis, retention_s)
    charges = Charges(redis, search, LimitNotices(redis, settings.operators))
    secret_store = SecretStore(redis, settings.parley_secret_keys, settings.parley_data_dir)
    return Storage(
        redis=redis,
        inbox=Inbox(
            redis,
            lease_s=settings.parley_lease_s,
            limit=settings.parley_inbox_limit,
            tenant_limit=settings.parley_tenant_limit,
            retention_s=retention_s,
        ),
        turns=Turns(redis),
        search=search,
        charges=charges,
        ledger=QuotaLedger(redis, charges, settings.limits),
        live_view=LiveView(redis),
        compaction=Compaction(redis, embedded=folder is not None or settings.redis_url is None),
        secret_store=secret_store,
        contacts=OperatorContacts(secret_store, settings.operators),
        organisations=Organisations(redis),
    )


async def _limit_names(settings: Settings, storage: Storage, model_info: ModelInfo) -> LimitNames:
    """The names in limits, with the ids that were found before."""

    def apply(limits: Limits) -> None:
        storage.ledger.limits = limits
        model_info.limit(limits)

    names = LimitNames(LimitNameStore(storage.redis), settings.limits, apply)
    with suppress(StateUnavailable):
        await names.restore()
    return names


async def _load_tokenizers(settings: Settings, gateway: Gateway) -> None:
    """Load the tokenizers of the deployments, if they are installed."""
    known = catalog.families()
    wanted: set[Vocabulary | None] = {
        known[each.family].vocabulary for each in gateway.every() if each.family in known
    }
    found: dict[Vocabulary, tokenizer.Count] = {}
    for vocabulary in filter(None, wanted):
        count = await asyncio.to_thread(tokenizer.load, vocabulary, settings.tiktoken_cache_dir)
        found |= {vocabulary: count} if count is not None else {}
    count_by(found)


async def _command_services(
    settings: Settings,
    storage: Storage,
    sources: PublishedPrompts,
    model_info: ModelInfo,
    stack: AsyncExitStack,
) -> CommandServices:
    erasing = Erasure(storage.redis, storage.secret_store, storage.compaction).keeping()
    await stack.enter_async_context(
        Retention(storage.redis, _retention_s(settings), storage.compaction).keeping()
    )
    preferences = Preferences(
        sources,
        model_info,
        PreferenceStore(storage.redis),
        model_choice=settings.parley_model_choice,
        default_mode=settings.default_mode,
        permissions=settings.permissions,
    )
    personal_data = PersonalData(
        preferences=preferences,
        ledger=storage.ledger,
        turns=storage.turns,
        confirmations=Confirmations(storage.redis),
        erasure=await stack.enter_async_context(erasing),
        organisations=storage.organisations,
        retention_days=settings.parley_retention_days,
    )
    return CommandServices(
        sources=sources, model_info=model_info, preferences=preferences, personal_data=personal_data
    )


async def _engine(
    settings: Settings, storage: Storage, commands: CommandServices, stack: AsyncExitStack
) -> Engine:
    summaries = SummaryStore(storage.redis, _retention_s(settings))
    summarizer = Summarizer(commands.model_info, summaries, storage.ledger)
    stack.push_async_callback(summarizer.close)
    limits = ToolCallAllowance(
        settings.parley_tool_calls_per_round,
        settings.parley_tool_calls_per_answer,
        settings.parley_answer_characters,
    )
    return Engine(
        model_info=commands.model_info,
        sources=commands.sources,
        commands=commands,
        ledger=storage.ledger,
        summarizer=summarizer,
        tools=ToolSet(functions=installed(), limits=limits),
        files=await stack.enter_async_context(reading(settings.readers)),
    )


def _retention_s(settings: Settings) -> int:
    return settings.parley_retention_days * 86_400


async def _redis(settings: Settings, folder: Path | None, stack: AsyncExitStack) -> Redis:
    if settings.redis_url is None or folder is not None:
        redis = Redis(await stack.enter_async_context(embedded(folder or settings.parley_data_dir)))
    else:
        redis = Redis(settings.redis_url.get_secret_value(), replicas=settings.parley_redis_replicas)
    stack.push_async_callback(redis.close)
    return redis


@asynccontextmanager
async def current_prices(settings: Settings) -> AsyncGenerator[str]:
    """Use the operator's price table inside; yields a note for people on whose prices are used, "" for Parley's.

    For commands that need nothing else of Redis: if it can't be read, Parley's table is used, and the note says so.
    """
    if settings.redis_url is None and not settings.parley_data_dir.exists():
        yield ""  # nothing was ever stored
        return
    async with AsyncExitStack() as stack:
        try:
            storage = await stack.enter_async_context(open_storage(settings))
            watch = await stack.enter_async_context(PriceWatch(PriceTables(storage.redis)).keeping())
            await watch.refresh()
            note = f"Your price table is not used: {watch.problem}" if watch.problem else watch.origin
        except (ConfigError, StateUnavailable) as error:
            note = f"Prices of Parley's own table; whether there is one of yours can't be read: {error}"
        yield note


def find_deployment_config(settings: Settings) -> DeploymentConfig:
    """The configured deployments; without any, the built-in demo model. Raises ConfigError."""
    put_in_force(PriceBook(table=prices_in_force().table, ceiling_usd=settings.price_ceiling_usd))
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


def _connect(found: DeploymentConfig, redis: Redis, latency: Latency) -> Gateway:
    """The deployments as one model; cool-downs are shared with other processes through Redis."""
    keys = secrets(catalog.key_names(found.deployments))

    def observe(measure: str, deployment: str, value: float) -> None:
        telemetry.deployment(measure, deployment, value)
        latency.took(measure, deployment, value)

    return connect(found, keys, shared=Cooldowns(redis), observe=observe)
