"""A worker at work for tests: over a real Redis, a room that can be read, a model that obeys."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.fernet import Fernet
from pydantic import SecretStr

from bot.conversation.commands import Commands
from bot.conversation.engine import Engine, EngineDependencies
from bot.conversation.preferences import Preferences
from bot.conversation.summarizer import Summarizer
from bot.domain.adapter import Receipt
from bot.domain.events import AppUninstalled, Event
from bot.domain.limits import read
from bot.domain.prompts import Example, Match, Template
from bot.domain.turns import Deployment, Turn
from bot.files.attachments import AttachmentReader
from bot.generation.prompt_builder import TokenBudget
from bot.generation.turn_builder import ToolCallAllowance
from bot.llm.protocol import Model
from bot.storage.conversations.confirmations import Confirmations
from bot.storage.conversations.search import ConversationSearch
from bot.storage.conversations.summaries import SummaryStore
from bot.storage.conversations.turns import Turns
from bot.storage.embedded.compaction import Compaction
from bot.storage.erasure.people import Erasure
from bot.storage.erasure.tenants import Tenants
from bot.storage.live.live_view import LiveView
from bot.storage.prompts.preferences import PreferenceStore
from bot.storage.queue.inbox import Inbox
from bot.storage.redis.client import Redis
from bot.storage.redis.secrets import SecretStore
from bot.storage.usage.charges import Charges
from bot.storage.usage.quota import QuotaLedger
from bot.tools.registry import Tool
from bot.worker.worker import Worker
from tests.support.patience import PATIENCE_S
from tests.support.room import Puppet, Room

ROOM = "test:room"

ASSISTANT = Template(
    name="assistant",
    digest="0" * 12,
    system="You help {{user_name}}.",
    examples=(Example(user="ping", assistant="pong"),),
    match=Match(default=True),
    tools=("dice",),
)
DRAW = Template(
    name="draw", digest="1" * 12, capability="image", match=Match(commands=("image",), prefixes=("draw",))
)


async def dice(sides: int) -> str:
    """Roll a die."""
    return f"{sides} of {sides}"


class Bench:
    """A worker at work over a real Redis, a room and a puppet."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.room = Room()
        self.files = AttachmentReader()
        self.model = Puppet()
        self.gateway: Model | None = None  # answers in the puppet's place
        self.turns = Turns(redis)
        self.charges = Charges(redis, ConversationSearch(redis, 3600))
        self.ledger = QuotaLedger(redis, self.charges)
        self.context_tokens = 8000
        self.memory = SummaryStore(redis, 3600)
        self.attempts = 3
        self.family: str | None = "gpt-image-1"
        self.picture_tokens = 0
        self.allowance: Callable[[], ToolCallAllowance] = ToolCallAllowance
        self.accepts_images = False
        self.templates: tuple[Template, ...] = (ASSISTANT, DRAW)
        self.tools: Mapping[str, Tool] = {"dice": Tool(dice)}
        self.operators: set[str] = set()
        self.deployments: tuple[Deployment, ...] = ()
        self.lease_s = 30.0
        self.inbox = Inbox(redis, lease_s=self.lease_s, limit=20, retention_s=3600)
        self.secret = Fernet.generate_key()
        self.secret_store = SecretStore(redis, SecretStr(self.secret.decode()), Path())
        self.erasure = Erasure(redis, self.secret_store, Compaction(redis, embedded=False))

    def limited(self, limits: str) -> QuotaLedger:
        """A ledger with these limits."""
        return QuotaLedger(self.redis, self.charges, read(limits))

    def token_budget(self) -> TokenBudget:
        return TokenBudget(context_tokens=self.context_tokens, output_tokens=100)

    def comparable_deployments(self) -> tuple[str, ...]:
        return tuple(deployment.name for deployment in self.deployments)

    @property
    def preferences(self) -> Preferences:
        return Preferences(
            templates=lambda: self.templates,
            deployments=lambda: self.deployments,
            ledger=self.ledger,
            turns=self.turns,
            choices=PreferenceStore(self.redis),
            confirmations=Confirmations(self.redis),
            erasure=self.erasure,
            operators=self.operators,
        )

    def worker(self, drain_s: float) -> Worker:
        async def choose(template: Template, question: str) -> tuple[Example, ...]:
            return template.examples

        async def recall(template: Template, question: str) -> tuple[str, ...]:
            return ()

        templates = self.templates
        self.summarizer = Summarizer(self.gateway or self.model, self.memory, self.ledger, lambda prompt: 0.0)
        parts = EngineDependencies(
            model=self.gateway or self.model,
            ledger=self.ledger,
            preferences=self.preferences,
            commands=Commands(
                templates=lambda: templates,
                preferences=self.preferences,
                comparable_deployments=self.comparable_deployments,
            ),
            templates=lambda _: templates,
            tools=self.tools,
            choose=choose,
            retrieve=recall,
            token_budget=lambda template, conversation: self.token_budget(),
            estimate_usd=lambda prompt: 0.02 if prompt.capability == "image" else 0.01,
            picture=self.turns.image,
            summarizer=self.summarizer,
            comparable_deployments=self.comparable_deployments,
            family=lambda template: self.family,
            accepts_images=lambda template: self.accepts_images,
            picture_tokens=lambda prompt: self.picture_tokens,
            allowance=lambda: self.allowance(),
        )
        return Worker(
            inbox=self.inbox,
            engine=Engine(parts, self.files),
            charges=self.charges,
            depart=self.depart,
            live_view=LiveView(self.redis),
            adapters={"test": self.room},
            concurrency=4,
            attempts=self.attempts,
            lease_s=self.lease_s,
            drain_s=drain_s,
        )

    async def depart(self, departed: AppUninstalled) -> None:
        await Tenants(self.redis, ConversationSearch(self.redis, 3600)).forget(departed)

    @asynccontextmanager
    async def working(self, *, drain_s: float = 5) -> AsyncGenerator[None]:
        until = asyncio.Event()
        task = asyncio.create_task(self.worker(drain_s=drain_s).run(until))
        try:
            yield
        finally:
            until.set()
            await task
            await self.summarizer.settled()

    async def accept(self, *events: Event) -> list[Receipt]:
        return [await self.inbox.accept(event) for event in events]

    async def until(self, test: Callable[[], Awaitable[bool] | bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                answer = test()
                if answer if isinstance(answer, bool) else await answer:
                    return
                await asyncio.sleep(0.005)

    async def idle(self) -> bool:
        due = await self.inbox.due()
        return all(item < 0 for item in due)

    async def answer(self, *events: Event) -> tuple[Turn, ...]:
        """Accept these, let a worker answer all of them, and return the turns."""
        await self.accept(*events)
        async with self.working():
            await self.until(self.idle)
        return await self.turns.turns(ROOM)
