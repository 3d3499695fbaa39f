"""A thousand turns of 29 kinds against an oracle: what the simulated Azure served, priced by a table of its own."""

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Any, cast

import pytest
from aiohttp import web
from msgspec.structs import replace

from bot.domain.events import Event, User, now
from bot.domain.prompts import Match
from bot.domain.turns import Prices, Usage
from bot.llm.catalog.deployments import DeploymentConfig
from bot.llm.openai.model import Timeouts
from bot.llm.routing import attempts, router
from bot.llm.routing.circuit_breaker import CircuitBreaker
from bot.storage.usage import records
from bot.storage.usage.charges import Charge
from bot.storage.usage.reports import UsageReports, of_charge
from bot.tools.registry import Tool, paid
from bot.worker import worker
from tests.llm.conftest import KEY, deployment
from tests.simulators import azure_wire
from tests.simulators.azure import Answer, Asked, AzureSimulator, Fault
from tests.support.acts import edited, received
from tests.support.harness import ASSISTANT, DRAW, Harness, dice

pytestmark = pytest.mark.timeout(900)

TURNS = 1000
AT_ONCE = 100
PEOPLE = [User(id=f"person{number}", tenant="acme") for number in range(7)]
CHANNELS = ["", "C1", "C2"]
CHAT = {"a": (2.5, 1.25, 10.0), "b": (1.1, 0.275, 4.4)}
"""US dollars per million tokens: input, cached input, output."""
PICTURE_INPUT, TEXT_INPUT, PICTURE_OUTPUT, FLAT = 10.0, 5.0, 40.0, 0.04
TOLL = 0.0035
_NAME = re.compile(r"q(\d{4}) (\w+)")
_FAULT, _KIND = web.RequestKey("fault", Fault), web.RequestKey("kind", str)

# What happens to the n-th call for a question, by its kind; calls that are not named here succeed.
FAULTS: dict[str, dict[int, str]] = {
    "busy": {0: "rate_limited"},
    "broken": {0: "server_error"},
    "unauthorized": {0: "unauthorized", 1: "unauthorized"},
    "missing": {0: "deployment_not_found"},
    "filtered": {0: "blocked"},
    "too_long": {0: "too_long", 1: "too_long"},
    "dropped": {0: "dropped"},
    "malformed": {0: "malformed"},
    "stream_error": {0: "stream_error"},
    "dropped_twice": {0: "dropped", 1: "dropped"},
    "away": {0: "server_error", 1: "server_error", 2: "server_error"},
    "drawn_then_away": {2: "server_error", 3: "server_error", 4: "server_error"},
    "image_broken": {0: "server_error"},
}
KINDS = (
    *("plain", "long", "cached", "uncounted", "empty_once", "empty_twice", "tool", "two_tools", "toll"),
    *("draws", "compared", "image", "images", "flat_image", "edited", "command"),
    *FAULTS,
)


@dataclass(frozen=True)
class Served:
    """One call as the oracle sees it; `usd` is None if it was cut off, or not counted."""

    question: int
    deployment: str
    purpose: str
    usd: float | None


class Billing(AzureSimulator):
    """Notes what it served, and fails by the kind of the question."""

    def __init__(self) -> None:
        super().__init__()
        self.served: list[Served] = []
        self.asked_for: Counter[int] = Counter()
        self.answer = self._say

    def _admit(self, request: web.Request, asked: Asked) -> None:
        super()._admit(request, asked)
        question, kind = _named(asked.raw.decode(errors="replace") or str(asked.body.get("prompt")))
        number = self.asked_for[question]
        self.asked_for[question] += 1
        request[_KIND] = kind
        match FAULTS.get(kind, {}).get(number):
            case None:
                pass
            case "dropped" | "malformed" | "stream_error" as broken:
                request[_FAULT] = Fault(kind=broken)
            case refused:
                if refused in ("blocked", "too_long"):  # Azure processes, and charges, what it then refuses
                    self.served.append(Served(question, asked.deployment, "answer", None))
                self._strike(Fault(kind=cast("Any", refused), retry_after_s=0.01))

    def _say(self, messages: list[Any]) -> Answer:
        question, kind = _named(json.dumps(messages))
        called, text = self.asked_for[question], f"an answer to q{question:04} {kind}"
        done = messages[-1]["role"] == "tool"
        if kind in ("empty_once", "empty_twice") and called <= (1 if kind == "empty_once" else 2):
            return Answer(text="")
        tools = {
            "tool": ["dice"],
            "two_tools": ["dice", "dice"],
            "toll": ["toll"],
            "draws": ["draw"],
            "drawn_then_away": ["draw"],
        }
        if kind in tools and not done and called == 1:
            words = {
                "dice": {"sides": 6},
                "toll": {"question": question},
                "draw": {"prompt": f"q{question:04} {kind} a cat"},
            }
            return Answer(
                calls=tuple(
                    (f"c{number}", name, json.dumps(words[name])) for number, name in enumerate(tools[kind])
                )
            )
        return Answer(text=text * 50 if kind == "long" else text, chunks=4)

    async def _stream(
        self, request: web.Request, deployment: str, events: Iterable[bytes], lead: int
    ) -> web.StreamResponse:
        question, kind = _named((await request.read()).decode(errors="replace"))
        events = tuple(map(_cached, events) if kind == "cached" else events)
        if kind == "uncounted":
            events = tuple(
                event for event in events if b'"usage": {' not in event and b'"usage":{' not in event
            )
        fault = request.get(_FAULT)
        if fault is None:
            self._note(question, deployment, request.path, events)
            return await super()._stream(request, deployment, events, lead)
        self.served.append(Served(question, deployment, _purpose(request.path), None))
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for event in events[: lead + 2]:
            await response.write(event)
        await self._break(request, response, fault)
        return response

    async def _draw(self, request: web.Request) -> web.StreamResponse:
        response = await super()._draw(request)
        if isinstance(response, web.Response):
            question, _ = _named((await request.read()).decode(errors="replace"))
            made = json.loads(response.text or "")
            name = (
                str((await request.json())["model"]) if request.content_type == "application/json" else "pic"
            )
            name = request.match_info.get("deployment") or name
            usd = FLAT * len(made["data"]) if name == "flat" else _picture(made["usage"])
            self.served.append(Served(question, name, _purpose(request.path), usd))
        return response

    def _note(self, question: int, deployment: str, path: str, events: tuple[bytes, ...]) -> None:
        found = [usage for event in events if (usage := _usage(event))]
        usd = None
        if found:
            usd = _picture(found[-1]) if "/images/" in path else _chat(deployment, found[-1])
        self.served.append(Served(question, deployment, _purpose(path), usd))


def _named(text: str) -> tuple[int, str]:
    found = _NAME.findall(text)
    return (int(found[-1][0]), found[-1][1]) if found else (9999, "")


def _purpose(path: str) -> str:
    return "edit" if "/images/edits" in path else "image" if "/images/" in path else "answer"


def _usage(event: bytes) -> dict[str, Any]:
    for line in event.splitlines():
        if line.startswith(b"data: {"):
            return json.loads(line[6:]).get("usage") or {}
    return {}


def _cached(event: bytes) -> bytes:
    if not (usage := _usage(event)):
        return event
    whole = json.loads(event.splitlines()[0][6:])
    whole["usage"]["prompt_tokens_details"] = {"cached_tokens": usage["prompt_tokens"] // 3}
    return azure_wire.event(whole)


def _chat(name: str, usage: dict[str, Any]) -> float:
    full, cached, output = CHAT[name]
    of_cache = int((usage.get("prompt_tokens_details") or {"cached_tokens": 0})["cached_tokens"])
    prompt = (usage["prompt_tokens"] - of_cache) * full + of_cache * cached
    return (prompt + usage["completion_tokens"] * output) / 1e6


def _picture(usage: dict[str, Any]) -> float:
    details = usage["input_tokens_details"]
    text = usage["input_tokens"] - details["image_tokens"]
    drawn = usage["output_tokens"] * PICTURE_OUTPUT
    return (text * TEXT_INPUT + details["image_tokens"] * PICTURE_INPUT + drawn) / 1e6


def micro(usd: float) -> int:
    return math.floor(usd * 1_000_000 + 0.5)


TOLLS: list[int] = []
"""The questions for which the tool below ran: what it costs is known by nobody else."""


@paid(TOLL)
async def toll(question: int) -> str:
    """Something that costs money."""
    TOLLS.append(question)
    return "paid"


@pytest.fixture
async def azure() -> AsyncGenerator[Billing]:
    async with Billing() as simulator:
        yield simulator


def no_wait(_: CircuitBreaker) -> float:
    return 0.0


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment that fails for one question is asked for the next one, too, and attempts follow at once."""
    monkeypatch.setattr(CircuitBreaker, "wait_s", no_wait)
    monkeypatch.setattr(attempts, "PAUSE_S", 0.0)
    monkeypatch.setattr(worker, "_BACKOFF_S", (0.01,))


@pytest.fixture
async def parley(azure: Billing, harness: Harness) -> AsyncGenerator[Harness]:
    """A worker over two chat and two image deployments."""
    chats = [
        deployment(
            azure, name=name, order=order, prices=Prices(input_usd=full, cached_usd=cached, output_usd=output)
        )
        for order, (name, (full, cached, output)) in enumerate(CHAT.items())
    ]
    by_token = Prices(input_usd=TEXT_INPUT, image_input_usd=PICTURE_INPUT, output_usd=PICTURE_OUTPUT)
    images = [
        deployment(
            azure, name="pic", capability="image", family="gpt-image-1", tags=("tokens",), prices=by_token
        ),
        deployment(
            azure, name="flat", capability="image", family="gpt-image-1", prices=Prices(image_usd=FLAT)
        ),
    ]
    harness.deployments = (*chats, *images)
    harness.templates = (
        replace(ASSISTANT, tools=("dice", "draw", "toll"), deployment=None),
        replace(DRAW, deployment="pic"),
        replace(DRAW, name="flat", digest="2" * 12, match=Match(commands=("flat",)), deployment="flat"),
    )
    harness.tools = {"dice": Tool(dice), "toll": Tool(toll)}
    harness.ledger = harness.limited("person: $1000/month; channel: $1000/month; tenant: $5000/month")
    harness.context_tokens = 100_000
    TOLLS.clear()
    limits = Timeouts(first_token_s=20.0, between_tokens_s=20.0)
    config = DeploymentConfig(deployments=harness.deployments)
    async with router.connect(config, {"AZURE_OPENAI_API_KEY": KEY}, limits=limits) as gateway:
        harness.gateway = gateway
        yield harness


def person_of(number: int) -> User:
    return PEOPLE[number % len(PEOPLE)]


def channel_of(number: int) -> str:
    return CHANNELS[number % len(CHANNELS)]


def kind_of(number: int) -> str:
    return KINDS[number % len(KINDS)]


def template_of(number: int) -> str:
    return {"image": "draw", "images": "draw", "image_broken": "draw", "flat_image": "flat"}.get(
        kind_of(number), "assistant"
    )


def question(number: int) -> list[Event]:
    """What a person sends, in a conversation of its own."""
    kind, text = kind_of(number), f"q{number:04} {kind_of(number)}"
    beginning = {
        "compared": "/compare ",
        "image": "/image ",
        "images": "/image ",
        "image_broken": "/image ",
        "flat_image": "/flat ",
        "command": "/usage ",
    }.get(kind, "")
    conversation = f"test:{number}"
    asked = received(
        f"{beginning}{text}{' --2' if kind == 'images' else ''}",
        event=f"e{number}",
        conversation=conversation,
        user=person_of(number),
        channel=channel_of(number),
    )
    if kind != "edited":
        return [asked]
    change = edited(f"e{number}", f"{text} again", event=f"x{number}", conversation=conversation)
    return [asked, replace(change, user=person_of(number))]


async def charges_of(harness: Harness) -> list[Charge]:
    today = now().date()
    return [charge async for charge in records.charges(harness.redis, today, today)]


def estimated(charges: list[Charge]) -> list[tuple[Charge, Usage]]:
    return [(charge, one) for charge in charges for one in charge.usage if one.estimated]


async def test_every_total_equals_what_was_served(parley: Harness, azure: Billing) -> None:
    """Field faults 113, 115 and 117: to the micro-dollar, in every view, whatever failed on the way."""
    async with parley.working():
        for first in range(0, TURNS, AT_ONCE):
            for number in range(first, first + AT_ONCE):
                assert set(await parley.accept(*question(number))) == {"accepted"}
            await parley.until(parley.idle)
    await parley.charges.tidy()
    charges = await charges_of(parley)
    exact = [one for one in azure.served if one.usd is not None]
    open_calls = [one for one in azure.served if one.usd is None]
    assert len(estimated(charges)) == len(open_calls), "what was cut off is estimated, and marked so"
    assert {one.deployment for _, one in estimated(charges)} == {one.deployment for one in open_calls}

    expected: dict[tuple[str, str], int] = defaultdict(int)
    for one in exact:
        add(expected, one.question, one.deployment, one.purpose, micro(one.usd or 0.0))
    for number in TOLLS:
        add(expected, number, "tool toll", "tool", micro(TOLL))
    for charge, one in estimated(charges):  # their amounts are ours; that they are there was compared above
        assert one.usd is not None
        assert one.usd > 0
        add(
            expected,
            int(charge.conversation.partition(":")[2]),
            one.deployment,
            one.purpose or "",
            micro(one.usd),
        )

    today = now().date()
    rows = await UsageReports(parley.redis).rows(today, today)
    found = {(row.kind, row.name): row.totals.microdollars for row in rows if row.totals.microdollars}
    assert found == dict(expected)
    assert sorted(TOLLS) == [number for number in range(TURNS) if kind_of(number) == "toll"]
    assert sum(of_charge(charge).microdollars for charge in charges) == expected["day", ""]
    assert sum(row.totals.unpriced for row in rows) == 0
    assert sum(row.totals.turns for row in rows if row.kind == "deployment") == sum(
        row.totals.turns for row in rows if row.kind == "day"
    )
    for user in PEOPLE:
        own = await parley.ledger.spent(user.tenant, user.id, today, today)
        assert own.microdollars == expected["person", f"acme/{user.id}"]
        held = [status.used for status in await parley.ledger.limit_status(user, "")]
        assert held == [own.microdollars, expected["tenant", "acme"]], "nothing is reserved any more"


def add(
    expected: dict[tuple[str, str], int], number: int, deployment: str, purpose: str, amount: int
) -> None:
    channel = channel_of(number)
    for view in (
        ("day", ""),
        ("tenant", "acme"),
        ("person", f"acme/{person_of(number).id}"),
        ("channel", f"test {channel or 'direct'}"),
        ("template", template_of(number)),
        ("deployment", deployment),
        ("purpose", purpose),
    ):
        expected[view] += amount
