"""Runs random operations, those of different tenants at the same time, and compares what happens with the oracle."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bot.app.intake import Intake
from bot.app.settings import Settings
from bot.domain.adapter import Receipt
from bot.domain.events import Address, Attachment, Event, MessageReceived, QuotedMessage, now
from bot.domain.publications import Place as Assigned
from bot.domain.turns import Reply
from bot.storage.erasure.organisations import Organisations
from bot.storage.prompts.preferences import PreferenceStore
from bot.storage.redis.client import Redis
from tests.isolation.checks import CheckingModel
from tests.isolation.doubles import SMALL, House, Platform, Sources, WatchedInbox, isolated_harness
from tests.isolation.oracle import Expectation, Oracle, Said
from tests.isolation.scan import canaries_in
from tests.isolation.world import OPERATOR, WORKSPACES, Canaries, Person, Place, people, places

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Operation:
    """Who does what, where; `dice` decides the rest."""

    kind: str
    place: Place
    person: Person
    dice: random.Random
    number: int


class Act(Protocol):
    """Does an operation, and compares what happens with the oracle."""

    async def __call__(self, run: "Run", operation: Operation, /) -> None: ...


@dataclass(frozen=True)
class Kind:
    """A kind of operation, how often it is done, and whether nothing else happens meanwhile."""

    name: str
    act: Act
    weight: int
    alone: bool = False


@dataclass
class Report:
    """What was done. `refused` counts, by kind, what the table did not allow."""

    seed: int
    done: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[str] = field(default_factory=Counter[str])
    prompts: int = 0
    summaries: int = 0
    scans: int = 0
    differences: list[str] = field(default_factory=list[str])


class Run:
    """One run over an empty Redis."""

    def __init__(self, redis: Redis, seed: int) -> None:
        canaries = Canaries()
        self.report = Report(seed)
        self.people = people(canaries)
        self.oracle = Oracle(canaries, self.people)
        self.places = {tenant.id: places(tenant, self.people[tenant.id]) for tenant in WORKSPACES}
        houses = [House(tenant, *words) for tenant, words in self.oracle.house.items()]
        self.houses = {house.tenant: house for house in houses}
        self.harness = isolated_harness(redis, houses, OPERATOR)
        self.model = self.harness.model = CheckingModel(self.oracle)
        self.redis = redis
        self.platform, self.sources, self.inbox = self._doubles()
        self.intake = Intake(
            Settings.model_construct(parley_while_answering="queue"),
            self.inbox,
            self.harness.engine(),
            organisations=Organisations(redis),
        )
        self._ids: Counter[str] = Counter()

    def _doubles(self) -> tuple[Platform, Sources, WatchedInbox]:
        harness = self.harness
        assert isinstance(harness.adapter, Platform)
        assert isinstance(harness.sources, Sources)
        assert isinstance(harness.inbox, WatchedInbox)
        return harness.adapter, harness.sources, harness.inbox

    # ------------------------------------------------------------------ events

    def next_id(self, tenant: str) -> str:
        """The id of an event, equal in all tenants."""
        self._ids[tenant] += 1
        return f"m{self._ids[tenant]}"

    async def send(self, event: Event) -> Receipt:
        """Hand in an event, and wait until a worker has ended it."""
        key = (event.address.conversation, event.id)
        ended = self.inbox.ended[key] = asyncio.get_running_loop().create_future()
        receipt = await self.intake.accept(event)
        if receipt != "accepted":
            self.inbox.ended.pop(key, None)
            return receipt
        async with asyncio.timeout(PATIENCE_S):
            await ended
        return receipt

    def message(self, operation: Operation, text: str) -> MessageReceived:
        """A message of the person to the bot."""
        place = operation.place
        id = self.next_id(place.tenant)
        self.oracle.gone.discard(operation.person.name)
        return MessageReceived(
            id=id,
            address=Address(conversation=place.conversation, event=id),
            user=operation.person.user,
            at=now(),
            text=text,
            channel=place.channel,
            direct=place.direct,
            threaded=place.threaded,
        )

    def reply_to(self, message: Event) -> Reply | None:
        """What was shown for it."""
        return self.platform.replied.get((message.address.conversation, f"post of {message.id}"))

    async def command(self, operation: Operation, text: str) -> str:
        """Send a command; the text of the reply."""
        message = self.message(operation, text)
        await self.send(message)
        reply = self.reply_to(message)
        return reply.text if reply is not None else ""

    def differ(self, operation: Operation, sentence: str) -> None:
        """Note a difference."""
        person = operation.person
        self.model.differ(f"{person.id} ({person.role}) in {operation.place.conversation}: {sentence}")

    def expect_refusal(self, operation: Operation, text: str, allowed: bool, row: str) -> None:
        """Compare a reply with the table, and count refusals."""
        refused = text.startswith(("Only ", "Apps and webhooks"))
        if refused == allowed:
            self.differ(
                operation, f"{row} is {'' if allowed else 'not '}allowed, and the reply is {text[:90]!r}."
            )
        self.report.refused[operation.kind] += not allowed

    def expects(self, said: Said, *own: str, summarises: bool = False, waits: bool = False) -> Expectation:
        """What the next prompt for a question may and must hold."""
        oracle, person, place = self.oracle, said.person, said.place
        template = oracle.template(person, place)
        must = {said.asked, *own, *oracle.said_before(said)} - oracle.gone
        if template.startswith("house"):
            must |= oracle.of_house(place.tenant)
        expected = Expectation(
            said=said,
            answer=oracle.new(person),
            may=oracle.visible(person, place) | must | (said.words - oracle.gone),
            must=must,
            template=template,
            deployment=oracle.chosen(person, place, "model"),
            summarises=summarises,
            waits=waits,
        )
        self.model.expected = {**self.model.expected, said.asked: expected}
        return expected

    # ------------------------------------------------------------------ tenants

    async def install(self, tenant: str) -> None:
        """Assign a tenant its own prompt, and a channel of it one with a small context window, as administrators do."""
        store, channel = PreferenceStore(self.redis), self.places[tenant][0].channel
        await store.bind(Assigned(tenant=tenant), self.houses[tenant].name, "somebody")
        await store.bind(Assigned(tenant=tenant, scope="channel", id=channel), SMALL, "somebody")
        self.oracle.choices[tenant, channel]["prompt"] = SMALL
        self.oracle.installed(tenant)

    async def scan(self, after: str) -> None:
        """Look through all of Redis."""
        await self.harness.summarizer.settled()
        await self.sources.library.registry.refresh()
        self.report.scans += 1
        self.model.check_scan(await canaries_in(self.redis, self.harness.secret), after)


def attachment(canary: str, *, picture: bool) -> Attachment:
    """A file with this word in it; its id is that of others, too."""
    data = f"\x89PNG\r\n\x1a\n{canary}" if picture else f"The file says {canary}."
    name, mime = ("chart.png", "image/png") if picture else ("notes.txt", "text/plain")
    return Attachment(id="F1", name=name, mime=mime, size_bytes=len(data), data={"bytes": data})


def quote(person: Person, canary: str) -> QuotedMessage:
    """What another person wrote elsewhere."""
    return QuotedMessage(
        author=person.name,
        by=person.id,
        text=f"the launch code for tomorrow is {canary} as agreed",
        at=now(),
        kind="forwarded",
    )


class Rounds:
    """Operations in rounds: one in each of some tenants, or a single one that ends data."""

    def __init__(self, run: Run, kinds: Sequence[Kind], seed: int) -> None:
        self._run = run
        self._kinds = {kind.name: kind for kind in kinds}
        self._weights = [kind.weight for kind in kinds]
        self._random = random.Random(seed)

    async def play(self, operations: int) -> Report:
        """Run this many operations. Differences begin with the seed and the number of the operation."""
        run = self._run
        async with run.harness.working():
            for tenant in WORKSPACES:
                await run.install(tenant.id)
            number = 0
            while number < operations:
                chosen = self._choose(number)[: operations - number]
                number += len(chosen)
                await self._round(chosen)
            await run.harness.summarizer.settled()
            await run.scan("the last operation")
            self._collect([])
        run.report.prompts, run.report.summaries = run.model.checked, run.model.summaries
        return run.report

    def _choose(self, number: int) -> list[Operation]:
        dice, chosen = self._random, list[Operation]()
        for tenant in dice.sample(WORKSPACES, k=dice.randint(3, len(WORKSPACES))):
            kind = dice.choices(list(self._kinds.values()), self._weights)[0]
            person = dice.choice(self._run.people[tenant.id])
            place = dice.choice([one for one in self._run.places[tenant.id] if _enters(person, one)])
            each = Operation(
                kind.name, place, person, random.Random(dice.getrandbits(32)), number + len(chosen)
            )
            if kind.alone:
                return [Operation(kind.name, place, person, each.dice, number)]
            chosen.append(each)
        return chosen

    async def _round(self, chosen: Sequence[Operation]) -> None:
        results = await asyncio.gather(
            *(self._kinds[one.kind].act(self._run, one) for one in chosen), return_exceptions=True
        )
        for operation, result in zip(chosen, results, strict=True):
            self._run.report.done[operation.kind] += 1
            if isinstance(result, TimeoutError):
                self._run.differ(operation, "the operation never ended.")
            elif isinstance(result, BaseException):
                raise result
        await self._run.harness.summarizer.settled()
        self._run.model.expected = {}
        self._collect(chosen)

    def _collect(self, chosen: Sequence[Operation]) -> None:
        """Add the differences of a round to the report, with what was done in it."""
        report, model = self._run.report, self._run.model
        numbers = f"{chosen[0].number} to {chosen[-1].number}" if chosen else "the end"
        kinds = ", ".join(f"{one.kind} in {one.place.tenant}" for one in chosen)
        report.differences += [
            f"seed {report.seed}, operations {numbers} ({kinds}): {sentence}"
            for sentence in model.differences
        ]
        model.differences.clear()


def _enters(person: Person, place: Place) -> bool:
    """A one-to-one chat is its person's alone."""
    return not place.direct or place.channel == f"D{person.id}"
