"""Builds the rooms of a process and opens them: state, models, templates, the engine over them."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from bot import commands, examples, knowledge, observe, templates
from bot.adapter import Adapter, Receipt
from bot.commands import Commands
from bot.compose import Room
from bot.desk import Desk
from bot.engine import Engine, Parts
from bot.errors import StateUnavailable, TemplateError
from bot.models import Model, catalogue, offline, roster
from bot.models.gateway import Gateway, connect
from bot.models.roster import Roster
from bot.publisher import Publisher
from bot.settings import Settings, secrets
from bot.shelf import Shelf
from bot.state.choices import Choices
from bot.state.embedded import embedded
from bot.state.feed import Feed
from bot.state.inbox import Inbox
from bot.state.ledger import Ledger
from bot.state.limits import Limiter
from bot.state.redis import Redis
from bot.state.turns import Turns
from bot.state.vault import Vault
from bot.state.vectors import Vectors
from bot.state.versions import Versions
from bot.tools import Tool
from bot.types import Deployment, Event, Example, Prompt, Said, Stopped, Template, Turn
from bot.worker import Worker

TOOLS: Mapping[str, Tool] = {}
"""What a template may let its model call. None comes with Parley yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Every room of one process, open."""

    settings: Settings
    redis: Redis
    inbox: Inbox
    turns: Turns
    feed: Feed
    ledger: Ledger
    gateway: Gateway
    deployments: Sequence[Deployment]
    shelf: Shelf
    publisher: Publisher
    desk: Desk
    vault: Vault
    limiter: Limiter
    engine: Engine

    @property
    def templates(self) -> Sequence[Template]:
        """The templates in force."""
        return self.shelf.templates()

    def worker(self, adapters: Sequence[Adapter]) -> Worker:
        """A worker that answers by these adapters."""

        async def settle(turn: Turn) -> None:
            await self.ledger.settle(turn.said.user, turn.id, turn.said.address.conversation, turn.usage)

        return Worker(
            inbox=self.inbox,
            engine=self.engine,
            settle=settle,
            adapters={adapter.name: adapter for adapter in adapters},
            concurrency=self.settings.parley_concurrency,
            attempts=self.settings.parley_attempts,
            lease_s=self.settings.parley_lease_s,
            drain_s=self.settings.parley_drain_s,
        )

    async def accept(self, event: Event) -> Receipt:
        """Write an event down, and count it."""
        if isinstance(event, Said) and commands.is_stop(event):
            event = Stopped(id=event.id, address=event.address, user=event.user, at=event.at)
        adapter = event.address.adapter
        with observe.ACCEPT_SECONDS.labels(adapter).time():
            receipt = await self.inbox.accept(event)
        observe.EVENTS.labels(adapter, receipt).inc()
        return receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What prompts/ holds, checked."""

    templates: Sequence[Template]
    pools: Mapping[str, Sequence[Example]]
    texts: Mapping[str, tuple[str, ...]]


def read_prompts(settings: Settings) -> Prompts:
    """Everything that the person who writes prompts has written. Raises TemplateError."""
    folder = settings.parley_prompts or templates.FOLDER
    found = Prompts(
        templates=templates.load(folder),
        pools=templates.load_pools(folder),
        texts=knowledge.load(folder),
    )
    knowledge.check(found.templates, found.texts)
    for template in found.templates:
        _check(template)
    return found


def _check(template: Template) -> None:
    if word := commands.clash(template):
        raise TemplateError(f"{template.name}.prompty: /{word} is a command of Parley's own")
    for name in template.tools:
        if name not in TOOLS:
            raise TemplateError(f"{template.name}.prompty: there is no tool {name!r}")


@asynccontextmanager
async def _open_shelf(prompts: Prompts, versions: Versions) -> AsyncGenerator[Shelf]:
    """What is published over the files, kept up to date in the background."""

    def check(template: Template) -> None:
        _check(template)
        knowledge.check([template], prompts.texts)

    shelf = Shelf(prompts.templates, prompts.pools, versions, check)
    with suppress(StateUnavailable):  # the files count until it can be read
        await shelf.refresh()
    watching = asyncio.create_task(shelf.watch())
    try:
        yield shelf
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@asynccontextmanager
async def open_house(settings: Settings, *, folder: Path | None = None) -> AsyncGenerator[House]:
    """Build and open every room; close them in reverse. Raises ConfigError.

    With a `folder` the state is an embedded Redis of its own there, whatever REDIS_URL says.
    """
    prompts = read_prompts(settings)
    deployments = find_deployments(settings)
    async with AsyncExitStack() as stack:
        redis = Redis(await _redis_url(settings, folder, stack))
        stack.push_async_callback(redis.close)
        keys = secrets(catalogue.key_names(deployments))
        gateway = await stack.enter_async_context(connect(deployments, keys, observe=observe.deployment))
        retention_s = settings.parley_retention_days * 86_400
        ledger = Ledger(
            redis,
            requests_per_minute=settings.parley_requests_per_minute,
            daily_usd=settings.parley_daily_usd,
            retention_s=retention_s,
        )
        turns = Turns(redis)
        inbox = Inbox(
            redis,
            lease_s=settings.parley_lease_s,
            limit=settings.parley_inbox_limit,
            tenant_limit=settings.parley_tenant_limit,
            retention_s=retention_s,
        )
        versions = Versions(redis)
        shelf = await stack.enter_async_context(_open_shelf(prompts, versions))
        desk = Desk(
            templates=shelf.templates,
            deployments=deployments if settings.parley_model_choice else (),
            ledger=ledger,
            turns=turns,
            choices=Choices(redis),
            operators=settings.operators,
            retention_days=settings.parley_retention_days,
        )
        vectors = Vectors(redis, _embedder(deployments), partial(_embed, gateway))
        yield House(
            settings=settings,
            redis=redis,
            inbox=inbox,
            turns=turns,
            feed=Feed(redis),
            ledger=ledger,
            gateway=gateway,
            deployments=deployments,
            shelf=shelf,
            publisher=Publisher(shelf, versions),
            desk=desk,
            vault=Vault(redis, settings.parley_secret_keys, settings.parley_data_dir),
            limiter=Limiter(redis),
            engine=_engine(shelf, prompts.texts, gateway, ledger, turns, vectors, desk),
        )


def _engine(
    shelf: Shelf,
    texts: Mapping[str, tuple[str, ...]],
    gateway: Gateway,
    ledger: Ledger,
    turns: Turns,
    vectors: Vectors,
    desk: Desk,
) -> Engine:
    async def choose(template: Template, question: str) -> Sequence[Example]:
        pool = shelf.pools().get(template.pool or "", ())
        return await examples.choose(template, pool, question, vectors.embed)

    async def recall(template: Template, question: str) -> Sequence[str]:
        return await knowledge.recall(template, texts, question, vectors.embed)

    rivals = tuple(dict.fromkeys(one.name for one in gateway.deployments("chat")))
    return Engine(
        Parts(
            model=gateway,
            ledger=ledger,
            desk=desk,
            commands=Commands(
                templates=shelf.templates,
                desk=desk,
                rivals=rivals,
                able=lambda template: bool(gateway.deployments(template.capability)),
            ),
            templates=shelf.templates,
            tools=TOOLS,
            choose=choose,
            recall=recall,
            room=partial(_room, gateway),
            estimate_usd=partial(_estimate_usd, gateway),
            picture=turns.image,
            rivals=rivals,
        )
    )


async def _redis_url(settings: Settings, folder: Path | None, stack: AsyncExitStack) -> str:
    if folder is None and settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    return await stack.enter_async_context(embedded(folder or settings.parley_data_dir))


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


def _embedder(deployments: Sequence[Deployment]) -> str:
    return next((one.name for one in deployments if one.capability == "embedding"), "")


async def _embed(model: Model, texts: Sequence[str]) -> list[list[float]]:
    vectors, _ = await model.embed(texts)
    return vectors


def _room(gateway: Gateway, template: Template) -> Room:
    """What the smallest deployment that may answer takes: a fallback must take the same prompt."""
    able = gateway.deployments(template.capability, template.deployment)
    return Room(
        context_tokens=min((one.context_tokens for one in able), default=8192),
        output_tokens=min((one.output_tokens for one in able), default=1024),
    )


def _estimate_usd(gateway: Gateway, prompt: Prompt) -> float | None:
    """What a prompt will cost at most, about; `None` when the price is unknown."""
    able = gateway.deployments(prompt.capability, prompt.deployment)
    if not able:
        return None
    prices = able[0].prices
    if prompt.capability == "image":
        return prices.image_usd
    if prices.input_usd is None or prices.output_usd is None:
        return None
    output = prompt.parameters.max_output_tokens or 1000
    return (prompt.input_tokens * prices.input_usd + output * prices.output_usd) / 1_000_000
