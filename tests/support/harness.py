"""A worker at work for tests: over a real Redis, with an adapter that can be read and a scripted model."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
from cryptography.fernet import Fernet
from msgspec.structs import replace
from pydantic import SecretStr

from bot.conversation.commands.command import CommandServices
from bot.conversation.engine import Engine
from bot.conversation.personal_data import PersonalData
from bot.conversation.preferences import Preferences
from bot.conversation.summarizer import Summarizer
from bot.domain import permissions
from bot.domain.adapter import Receipt
from bot.domain.events import Event, MessageReceived
from bot.domain.limits import read
from bot.domain.participation import DEFAULT_MODE, ParticipationMode
from bot.domain.prompts import Capability, Example, Image, Match, Prompt, Template
from bot.domain.turns import Deployment, Turn, Usage
from bot.files.attachments import AttachmentReader
from bot.generation.model_info import ModelInfo
from bot.generation.prompt_builder import TokenBudget
from bot.generation.prompt_sources import PromptSources
from bot.generation.tool_calls import ToolSet
from bot.generation.turn_builder import ToolCallAllowance
from bot.llm.protocol import Model
from bot.llm.tokens.counter import TokenCounter
from bot.storage.conversations.confirmations import Confirmations
from bot.storage.conversations.search import ConversationSearch
from bot.storage.conversations.summaries import SummaryStore
from bot.storage.conversations.turns import Turns
from bot.storage.embedded.compaction import Compaction
from bot.storage.erasure.organisations import Organisations
from bot.storage.erasure.people import Erasure
from bot.storage.erasure.tenants import Tenants
from bot.storage.live.live_view import LiveView
from bot.storage.prompts.preferences import PreferenceStore
from bot.storage.queue.inbox import Inbox
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.storage.redis.secrets import SecretStore
from bot.storage.usage.charges import Charges
from bot.storage.usage.quota import QuotaLedger
from bot.tools.registry import Tool
from bot.worker.uninstall import Uninstaller
from bot.worker.worker import Worker, WorkerLimits
from tests.support.fake_adapter import FakeAdapter, ScriptedModel
from tests.support.noting import NotingModel
from tests.support.patience import PATIENCE_S

CONVERSATION = "test:room"

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


class HarnessSources:
    """Templates of a harness, with their own examples and nothing else. Implements PromptSources."""

    def __init__(self, harness: "Harness") -> None:
        self._harness = harness

    def templates(self, received: MessageReceived | None = None) -> tuple[Template, ...]:
        return self._harness.templates

    async def examples(self, template: Template, question: str, notes: list[str]) -> tuple[Example, ...]:
        return template.examples

    async def passages(self, template: Template, question: str, notes: list[str]) -> tuple[str, ...]:
        return ()

    async def image(self, conversation: str, ref: str) -> Image | None:
        return await self._harness.turns.image(conversation, ref)


class HarnessModels(ModelInfo):
    """Deployments of a harness, with prices and sizes that a test can foresee."""

    def __init__(self, harness: "Harness") -> None:
        self._harness = harness

    @property
    def model(self) -> Model:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._harness.gateway or NotingModel(self._harness.model)

    def chat_deployments(self) -> tuple[Deployment, ...]:
        return tuple(one for one in self._harness.deployments if one.capability == "chat")

    def cheap_deployment(self) -> str | None:
        return None

    def is_served(self, template: Template) -> bool:
        return True

    def token_budget(self, template: Template, sticky: str = "") -> TokenBudget:
        return TokenBudget(context_tokens=self._harness.context_tokens, output_tokens=100)

    def counter(self, capability: Capability, deployment: str | None = None) -> TokenCounter:
        return self._harness.counter

    def family(self, template: Template) -> str | None:
        return self._harness.family

    def accepts_images(self, template: Template) -> bool:
        return self._harness.accepts_images

    def image_tokens(self, prompt: Prompt) -> int:
        return self._harness.picture_tokens

    def expected(self, prompt: Prompt) -> Usage:
        return Usage(deployment="test", input_tokens=prompt.input_tokens)

    def estimate_usd(self, prompt: Prompt) -> float | None:
        if prompt.template == "summary@parley":
            return 0.0
        return 0.02 if prompt.capability == "image" else 0.01


class Harness:
    """A worker at work over a real Redis, a room and a puppet."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.adapter = FakeAdapter()
        self.files = AttachmentReader()
        self.model = ScriptedModel()
        self.gateway: Model | None = None  # answers in the puppet's place
        self.turns = Turns(redis)
        self.charges = Charges(redis, ConversationSearch(redis, 3600))
        self.ledger = QuotaLedger(redis, self.charges)
        self.context_tokens = 8000
        self.counter = TokenCounter()
        self.memory = SummaryStore(redis, 3600)
        self.attempts = 3
        self.default_mode: ParticipationMode = DEFAULT_MODE
        self.family: str | None = "gpt-image-1"
        self.picture_tokens = 0
        self.allowance = ToolCallAllowance()
        self.accepts_images = False
        self.templates: tuple[Template, ...] = (ASSISTANT, DRAW)
        self.tools: Mapping[str, Tool] = {"dice": Tool(dice)}
        self.built_in = False  # the tools about Parley itself, which most tests leave out of their prompts
        self.operators: set[str] = set()
        self.permitted = ""  # changes to the table of permissions
        self.deployments: tuple[Deployment, ...] = ()
        self.lease_s = 30.0
        self.inbox = Inbox(redis, lease_s=self.lease_s, limit=20, retention_s=3600)
        self.secret = Fernet.generate_key()
        self.secret_store = SecretStore(redis, SecretStr(self.secret.decode()), Path())
        self.sources: PromptSources = HarnessSources(self)
        self.model_info = HarnessModels(self)
        self.erasure = Erasure(redis, self.secret_store, Compaction(redis, embedded=False))

    def limited(self, limits: str) -> QuotaLedger:
        """A ledger with these limits."""
        return QuotaLedger(self.redis, self.charges, read(limits))

    @property
    def preferences(self) -> Preferences:
        return Preferences(
            self.sources,
            self.model_info,
            PreferenceStore(self.redis),
            default_mode=self.default_mode,
            permissions=permissions.read(self.permitted, self.operators),
        )

    @property
    def personal_data(self) -> PersonalData:
        return PersonalData(
            preferences=self.preferences,
            ledger=self.ledger,
            turns=self.turns,
            confirmations=Confirmations(self.redis),
            erasure=self.erasure,
            organisations=Organisations(self.redis),
        )

    def engine(self) -> Engine:
        """A new engine over these services."""
        self.summarizer = Summarizer(self.model_info, self.memory, self.ledger)
        return Engine(
            model_info=self.model_info,
            sources=self.sources,
            commands=CommandServices(
                sources=self.sources,
                model_info=self.model_info,
                preferences=self.preferences,
                personal_data=self.personal_data,
            ),
            ledger=self.ledger,
            summarizer=self.summarizer,
            tools=ToolSet(functions=self.tools, built_in=self.built_in, limits=self.allowance),
            files=self.files,
        )

    def worker(self, drain_s: float) -> Worker:
        return Worker(
            inbox=self.inbox,
            engine=self.engine(),
            charges=self.charges,
            uninstaller=Uninstaller(
                Tenants(self.redis, ConversationSearch(self.redis, 3600)),
                Compaction(self.redis, embedded=False),
            ),
            live_view=LiveView(self.redis),
            adapters={"test": self.adapter},
            limits=WorkerLimits(concurrency=4, attempts=self.attempts, lease_s=self.lease_s, drain_s=drain_s),
        )

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
        """Asks more and more rarely, so that a long wait does not take the time of what it waits for."""
        pause_s = 0.002
        async with asyncio.timeout(PATIENCE_S):
            while True:
                answer = test()
                if answer if isinstance(answer, bool) else await answer:
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(1.25 * pause_s, 0.05)

    async def idle(self) -> bool:
        due = await self.inbox.due()
        return all(item.in_ms < 0 for item in due)

    async def age(self, turn: str, by: timedelta = timedelta(hours=2)) -> None:
        """Let a stored turn be older; turns are kept for an hour here."""
        name = keys.of("turns", CONVERSATION)
        for place, old in enumerate(await self.turns.turns(CONVERSATION)):
            if old.id == turn:
                aged = replace(old, began_at=old.began_at - by, ended_at=old.ended_at - by)
                await self.redis.call("LSET", name, place, msgspec.json.encode(aged))

    async def answer(self, *events: Event) -> tuple[Turn, ...]:
        """Accept these, let a worker answer all of them, and return the turns."""
        await self.accept(*events)
        async with self.working():
            await self.until(self.idle)
        return await self.turns.turns(CONVERSATION)
