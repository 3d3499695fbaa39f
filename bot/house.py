"""Builds the rooms of a process and opens them: state, models, templates, the engine over them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgspec.structs import replace
from pydantic import SecretStr

from bot import commands, observe
from bot.adapter import Adapter, Receipt
from bot.commands import Commands
from bot.compose import Room
from bot.desk import Desk
from bot.engine import Engine, Parts
from bot.library import Library, open_library, read_prompts
from bot.models import Model, catalogue, offline, roster
from bot.models.gateway import Gateway, connect
from bot.models.reload import reload
from bot.models.roster import Roster
from bot.recollection import Recollection
from bot.settings import Settings, secrets
from bot.state.archive import Archive
from bot.state.books import Books
from bot.state.choices import Choices
from bot.state.cooldowns import Cooldowns
from bot.state.embedded import embedded
from bot.state.feed import Feed
from bot.state.inbox import Inbox
from bot.state.ledger import Ledger
from bot.state.limits import Limiter
from bot.state.memory import Memory
from bot.state.redis import Redis
from bot.state.turns import Turns
from bot.state.vault import Vault
from bot.state.vectors import Vectors
from bot.tools import installed
from bot.types import Deployment, Event, Prompt, Said, Stopped, Template, Turn
from bot.window import Calibration
from bot.worker import Worker


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
    library: Library
    archive: Archive
    books: Books
    desk: Desk
    vault: Vault
    limiter: Limiter
    engine: Engine

    @property
    def templates(self) -> Sequence[Template]:
        """The templates in force."""
        return self.library.shelf.templates()

    def worker(self, adapters: Sequence[Adapter]) -> Worker:
        """A worker that answers by these adapters."""

        async def settle(turn: Turn) -> None:
            await self.ledger.settle(turn.said.user, turn.id, turn.said.address.conversation, turn.usage)
            await self.archive.note(turn)
            await self.books.note(turn)

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

    def reload(self) -> None:
        """Read the deployments anew; a file that can't be used leaves them as they are."""

        def read() -> tuple[Roster, Mapping[str, SecretStr]]:
            found = find_roster(self.settings)
            return found, secrets(catalogue.key_names(found.deployments))

        reload(self.gateway, read)

    def _supersedes(self, said: Said) -> bool:
        wanted = self.settings.parley_while_answering == "supersede"
        return wanted and self.engine.command(said) is None

    async def accept(self, event: Event) -> Receipt:
        """Write an event down, and count it."""
        if isinstance(event, Said) and commands.is_stop(event):
            event = Stopped(id=event.id, address=event.address, user=event.user, at=event.at)
        adapter = event.address.adapter
        with observe.ACCEPT_SECONDS.labels(adapter).time():
            receipt = await self.inbox.accept(event)
            if receipt == "accepted" and isinstance(event, Said) and self._supersedes(event):
                await self.inbox.supersede(event)
        observe.EVENTS.labels(adapter, receipt).inc()
        return receipt


@asynccontextmanager
async def open_house(settings: Settings, *, folder: Path | None = None) -> AsyncGenerator[House]:
    """Build and open every room; close them in reverse. Raises ConfigError.

    With a `folder` the state is an embedded Redis of its own there, whatever REDIS_URL says.
    """
    prompts = read_prompts(settings.parley_prompts)
    found = find_roster(settings)
    deployments = found.deployments
    async with AsyncExitStack() as stack:
        redis = Redis(await _redis_url(settings, folder, stack))
        stack.push_async_callback(redis.close)
        gateway = await stack.enter_async_context(_connect(found, redis))
        retention_s = settings.parley_retention_days * 86_400
        ledger = Ledger(
            redis,
            requests_per_minute=settings.parley_requests_per_minute,
            daily_usd=settings.parley_daily_usd,
            retention_s=retention_s,
        )
        turns = Turns(redis)
        memory = Memory(redis, retention_s)
        recollection = Recollection(
            gateway, memory, ledger, partial(_estimate_usd, gateway), _tagged(deployments, "cheap")
        )
        stack.push_async_callback(recollection.close)
        inbox = Inbox(
            redis,
            lease_s=settings.parley_lease_s,
            limit=settings.parley_inbox_limit,
            tenant_limit=settings.parley_tenant_limit,
            retention_s=retention_s,
        )
        vectors = Vectors(redis, _embedder(deployments), partial(_embed, gateway))
        library = await stack.enter_async_context(open_library(prompts, redis, vectors.embed))
        desk = Desk(
            templates=library.shelf.templates,
            deployments=deployments if settings.parley_model_choice else (),
            ledger=ledger,
            turns=turns,
            memory=memory,
            choices=Choices(redis),
            proposals=library.proposals,
            operators=settings.operators,
            retention_days=settings.parley_retention_days,
        )
        yield House(
            settings=settings,
            redis=redis,
            inbox=inbox,
            turns=turns,
            feed=Feed(redis),
            ledger=ledger,
            gateway=gateway,
            deployments=deployments,
            library=library,
            archive=Archive(redis, retention_s),
            books=Books(redis),
            desk=desk,
            vault=Vault(redis, settings.parley_secret_keys, settings.parley_data_dir),
            limiter=Limiter(redis),
            engine=_engine(library, gateway, ledger, turns, desk, recollection),
        )


def _tagged(deployments: Sequence[Deployment], tag: str) -> str | None:
    """The tag, where a chat deployment has it: a wish that nothing answers to is warned of."""
    return tag if any(tag in one.tags for one in deployments if one.capability == "chat") else None


def _engine(
    library: Library,
    gateway: Gateway,
    ledger: Ledger,
    turns: Turns,
    desk: Desk,
    recollection: Recollection,
) -> Engine:
    calibration = Calibration()
    rivals = tuple(dict.fromkeys(one.name for one in gateway.deployments("chat")))
    return Engine(
        Parts(
            model=gateway,
            ledger=ledger,
            desk=desk,
            commands=Commands(
                templates=library.shelf.templates,
                desk=desk,
                rivals=rivals,
                able=lambda template: bool(gateway.deployments(template.capability)),
            ),
            templates=library.shelf.templates,
            tools=installed(),
            choose=library.choose,
            recall=library.recall,
            room=partial(_room, gateway, calibration),
            estimate_usd=partial(_estimate_usd, gateway),
            picture=turns.image,
            recollection=recollection,
            learn=calibration.learn,
            rivals=rivals,
            family=partial(_family, gateway),
            sees=partial(_sees, gateway),
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


def _connect(found: Roster, redis: Redis) -> Gateway:
    """The deployments as one model, in step with every other process on this Redis."""
    keys = secrets(catalogue.key_names(found.deployments))
    return connect(found, keys, shared=Cooldowns(redis), observe=observe.deployment)


def _embedder(deployments: Sequence[Deployment]) -> str:
    return next((one.name for one in deployments if one.capability == "embedding"), "")


async def _embed(model: Model, texts: Sequence[str]) -> list[list[float]]:
    vectors, _ = await model.embed(texts)
    return vectors


def _room(gateway: Gateway, calibration: Calibration, template: Template) -> Room:
    """What the smallest deployment that may answer takes: a fallback must take the same prompt.

    Where the cheapest that fits is chosen, the largest may be needed.
    """
    able = gateway.deployments(template.capability, template.deployment)
    widest = max if gateway.policy == "cheapest" else min
    return Room(
        context_tokens=widest((calibration.room(one.name, one.context_tokens) for one in able), default=8192),
        output_tokens=min((one.output_tokens for one in able), default=1024),
    )


def _family(gateway: Gateway, template: Template) -> str | None:
    """The family of the first deployment that may serve a template."""
    able = gateway.deployments(template.capability, template.deployment)
    return able[0].family if able else None


def _sees(gateway: Gateway, template: Template) -> bool:
    """Whether every deployment that may answer is of a known family: those of today all see pictures."""
    able = gateway.deployments("chat", template.deployment)
    return bool(able) and all(one.family not in ("unknown-chat", "demo") for one in able)


def _estimate_usd(gateway: Gateway, prompt: Prompt) -> float | None:
    """What a prompt will cost at most, about; `None` when the price is unknown."""
    able = gateway.deployments(prompt.capability, prompt.deployment)
    if not able:
        return None
    prices = able[0].prices
    if prompt.capability == "image":
        return prices.image_usd and prices.image_usd * (prompt.parameters.images or 1)
    if prices.input_usd is None or prices.output_usd is None:
        return None
    output = prompt.parameters.max_output_tokens or 1000
    return (prompt.input_tokens * prices.input_usd + output * prices.output_usd) / 1_000_000
