"""The platform, the inbox and the prompts of the test: where equal ids are told apart by their conversation alone."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from bot.domain.adapter import StillServed
from bot.domain.events import Address, AppUninstalled, Attachment, MessageReceived, PostedMessage
from bot.domain.prompts import Example, Match, Template
from bot.domain.turns import Deployment, Reply
from bot.files.attachments import AttachmentReader
from bot.files.frames import ExtractedText, ScaledImage
from bot.files.process_pool import ProcessPool
from bot.generation.prompt_builder import TokenBudget
from bot.knowledge.retrieval import retrieve
from bot.prompts.library import PromptLibrary
from bot.prompts.publisher import Publisher
from bot.prompts.registry import TemplateRegistry
from bot.prompts.review import ProposalReview
from bot.storage.prompts.proposals import Proposals
from bot.storage.prompts.versions import Versions
from bot.storage.queue.inbox import Claim, CommitRequest, Inbox
from bot.storage.redis.client import Redis
from bot.tools.registry import DRAW
from tests.support.fake_adapter import FakeAdapter
from tests.support.harness import ASSISTANT, Harness, HarnessModels, HarnessSources
from tests.support.harness import DRAW as IMAGE

SMALL = "support"
"""The template with a small context window, so that its conversations are summarised."""
SMALL_TOKENS = 7900
MODELS = ("small", "large")
MOST_EXAMPLES = 5


class Platform(FakeAdapter):
    """Shows replies by conversation and post. Implements KnowsInstallations."""

    def __init__(self) -> None:
        super().__init__()
        self.replied: dict[tuple[str, str], Reply] = {}
        self.served: frozenset[str] = frozenset()

    async def open(self, address: Address, begun: PostedMessage | None, retry: bool) -> PostedMessage:
        return begun or PostedMessage(
            id=f"post of {address.event}", data={"conversation": address.conversation}
        )

    async def update(self, post: PostedMessage, text: str) -> bool:
        return True

    async def close(self, post: PostedMessage, reply: Reply) -> PostedMessage:
        self.replied[post.data["conversation"], post.id] = reply
        return post

    async def fetch(self, attachment: Attachment) -> bytes:
        return attachment.data["bytes"].encode("latin-1")

    async def still_served(self, removal: AppUninstalled) -> StillServed:
        return StillServed(self.served)


class WatchedInbox(Inbox):
    """Tells when an event has ended."""

    ended: dict[tuple[str, str], asyncio.Future[None]]

    async def commit(self, claim: Claim, request: CommitRequest) -> None:
        await super().commit(claim, request)
        if claim.event is not None:
            waiting = self.ended.pop((claim.conversation, claim.event.id), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)


class ReadersHere(ProcessPool):
    """Reads files in this process: the pool of processes is tested elsewhere, and takes seconds to start."""

    def warm(self) -> None: ...

    async def read(self, data: bytes, mime: str, text_bytes: int) -> ScaledImage | ExtractedText:
        if mime.startswith("image/"):
            return ScaledImage(mime, data)
        return ExtractedText(data.decode(), len(data))


class Models(HarnessModels):
    """One template has a small context window."""

    def token_budget(self, template: Template, sticky: str = "") -> TokenBudget:
        tokens = SMALL_TOKENS if template.name == SMALL else 20_000
        return TokenBudget(context_tokens=tokens, output_tokens=100)


@dataclass(frozen=True, slots=True)
class House:
    """The prompt of a tenant: its name, and the canaries in its system message and its passage."""

    tenant: str
    system: str
    passage: str

    @property
    def name(self) -> str:
        return f"house-{self.tenant.lower()}"

    @property
    def pool(self) -> str:
        return f"pool-{self.tenant.lower()}"

    @property
    def template(self) -> Template:
        return Template(
            name=self.name,
            digest=self.tenant.lower().rjust(12, "0"),
            system=f"You work for {self.system}.",
            pool=self.pool,
            shots=MOST_EXAMPLES + 1,
            knowledge=(self.name,),
            tools=(DRAW,),
        )


class Sources(HarnessSources):
    """The templates, pools and passages of all tenants, as a process has them. Implements PromptSources."""

    def __init__(self, harness: Harness, houses: Sequence[House], redis: Redis) -> None:
        super().__init__(harness)
        versions = Versions(redis)
        small = Template(name=SMALL, digest="2" * 12, system="You support {{user_name}}.", match=Match())
        registry = TemplateRegistry(
            [ASSISTANT, small, IMAGE, *(house.template for house in houses)],
            {house.pool: () for house in houses},
            versions,
        )
        publisher, proposals = Publisher(registry, versions), Proposals(redis)
        self.library = PromptLibrary(
            registry=registry,
            publisher=publisher,
            review=ProposalReview(proposals, registry, publisher),
            proposals=proposals,
            texts={house.name: (f"The office dog is called {house.passage}.",) for house in houses},
            embed=self._embed,
        )

    async def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, 0.0] for _ in texts]

    def templates(self, received: MessageReceived | None = None) -> tuple[Template, ...]:
        return tuple(self.library.registry.templates(received))

    async def examples(self, template: Template, question: str, notes: list[str]) -> tuple[Example, ...]:
        return tuple(await self.library.choose(template, question, notes))

    async def passages(self, template: Template, question: str, notes: list[str]) -> tuple[str, ...]:
        return await retrieve(template, self.library.texts, question, self._embed, notes)


def chat_model(name: str) -> Deployment:
    """A deployment that people may choose."""
    return Deployment(
        name=name,
        capability="chat",
        model=name,
        family="gpt-4o",
        endpoint="https://localhost",
        wire="offline",
        context_tokens=20_000,
        output_tokens=100,
    )


def isolated_harness(redis: Redis, houses: Sequence[House], operator: str) -> Harness:
    """A harness with all that the operations need."""
    harness = Harness(redis)
    harness.adapter = Platform()
    inbox = WatchedInbox(
        redis, lease_s=harness.lease_s, limit=20, retention_s=3600, tenant_limit=10_000, window=400, keep=400
    )
    inbox.ended = {}
    harness.inbox = inbox
    harness.files = AttachmentReader(ReadersHere())
    harness.model_info = Models(harness)
    harness.sources = Sources(harness, houses, redis)
    harness.deployments = tuple(chat_model(name) for name in MODELS)
    harness.operators = {operator}
    harness.accepts_images = harness.built_in = True
    return harness
