"""Slack and Teams as senders that insist: what is not acknowledged is delivered again, and again."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import cast

import aiohttp
from aiohttp import web

from tests.chaos.talks import NAME
from tests.simulators import azure_wire
from tests.simulators.azure import AzureSimulator
from tests.simulators.slack import Kind as Fault
from tests.simulators.slack import SlackSimulator
from tests.simulators.slack_courier import Delivery, Payload
from tests.simulators.slack_methods import Args
from tests.simulators.teams import BOT, Activity, TeamsSimulator
from tests.simulators.teams import Delivery as Answered

AGAIN_S = 0.4
DELIVERIES = 200
"""Of one event, at most: a platform gives up in the end, and then nobody was promised anything."""


def act_of(event: Payload) -> str:
    """What is equal for every delivery of the same act: a message, its change, its end, a stop."""
    match event.get("type"), event.get("subtype"):
        case _, "message_changed":
            return f"edit {event['message']['ts']} {event['message']['edited']['ts']}"
        case _, "message_deleted":
            return f"deletion {event['deleted_ts']}"
        case "agent_session_stopped", _:
            return f"stop {event['streaming_message_ts'][0]}"
        case _:
            return str(event["ts"])


class Azure(AzureSimulator):
    """Counts by the name of a question how often a model answered it whole, which has to be paid for.

    `calls` and `tokens` are of all calls that it processed; of one that was cut off, the tokens of the prompt and of
    what was generated until then.
    """

    def __init__(self) -> None:
        super().__init__(first_s=0.05, interval_s=0.04)
        self.whole: Counter[str] = Counter()
        self.calls = self.tokens = 0

    async def _stream(
        self, request: web.Request, deployment: str, events: Iterable[bytes], lead: int
    ) -> web.StreamResponse:
        broken, every, sent = bool(self._due(deployment)), tuple(events), list[bytes]()
        usage = azure_wire.usage_in(b"".join(every))
        self.calls += 1
        self.tokens += int(usage.get("prompt_tokens") or usage.get("input_tokens") or 0)
        whole = False
        try:
            response = await super()._stream(request, deployment, _noted(every, sent), lead)
            whole = not broken
        finally:
            answered = int(usage.get("completion_tokens") or usage.get("output_tokens") or 0)
            self.tokens += answered if whole else azure_wire.tokens_sent(sent)
        if whole:
            self.whole.update((await _names(request))[-1:])
        return response

    async def _draw(self, request: web.Request) -> web.StreamResponse:
        response = await super()._draw(request)
        if isinstance(response, web.Response) and response.body:
            usage = azure_wire.usage_in(cast("bytes", response.body))
            self.calls += 1
            self.tokens += int(usage["input_tokens"]) + int(usage["output_tokens"])
        return response


def _noted(events: Iterable[bytes], sent: list[bytes]) -> Iterator[bytes]:
    """The events, each of which is added to those that were sent when it is asked for."""
    for event in events:
        sent.append(event)
        yield event


async def _names(request: web.Request) -> list[str]:
    if request.content_type == "multipart/form-data":
        return NAME.findall(str((await request.post()).get("prompt")))
    return NAME.findall((await request.read()).decode())


class Slack(SlackSimulator):
    """Notes when each act was acknowledged first; and by person the last slash command, with its answer.

    Slack delivers no command and no press of a button again: people repeat those themselves. `unheard` is how
    many words for one person alone were shown without an answer to the bot. With `refuses`, some threads refuse
    messages with blocks, or everything, as the field `refused` of their first message says.
    """

    def __init__(self) -> None:
        super().__init__(retry_pauses_s=[AGAIN_S] * DELIVERIES)
        self.acked: dict[str, float] = {}
        self.commands: dict[str, tuple[str, int | None]] = {}
        self.unheard = 0
        self.refuses = False
        self.refusal = self._refuse

    async def _fault_of(self, method: str, request: web.BaseRequest) -> web.Response | Fault | None:
        fault = await super()._fault_of(method, request)
        alone = ("chat.postEphemeral", "chat.postMessage") if self.refuses else ("chat.postEphemeral",)
        self.unheard += fault == "drop_after" and method in alone
        return fault

    def _refuse(self, method: str, args: Args) -> str | None:
        if not self.refuses or not method.startswith("chat.") or method == "chat.postEphemeral":
            return None
        channel, messages = str(args.get("channel")), self.workspace.messages
        message = messages.get((channel, str(args.get("ts")))) or args
        match messages.get((channel, str(message.get("thread_ts"))), {}).get("refused"):
            case "blocks" if args.get("blocks"):
                return "invalid_blocks"
            case "place" if method in ("chat.startStream", "chat.postMessage"):
                return "restricted_action_thread_locked"
            case _:
                return None

    async def hand_over(
        self, kind: str, payload: Payload, body: str, event_id: str, retry: int = 0
    ) -> Delivery:
        """One attempt."""
        delivery = await super().hand_over(kind, payload, body, event_id, retry)
        if kind == "slash_commands":
            self.commands[payload["user_id"]] = (payload["trigger_id"], delivery.status)
        elif kind == "events_api" and delivery.status == 200:
            self.acked.setdefault(act_of(payload["event"]), time.time())
        return delivery

    async def acked_at(self, act: str) -> float | None:
        """When an act was acknowledged first, waiting for that as long as it is delivered."""
        for _ in range(DELIVERIES):
            if act in self.acked:
                return self.acked[act]
            await asyncio.sleep(AGAIN_S / 2)
        return None

    @property
    def statuses(self) -> list[int | None]:
        """What the bot answered, delivery by delivery."""
        return [delivery.status for delivery in self.deliveries]


class Teams(TeamsSimulator):
    """Delivers until it is thanked, `times` times, and notes when it was first, by the activity's id.

    `unheard` are the messages that came to be by calls whose answers said otherwise, or never arrived.
    """

    def __init__(self) -> None:
        super().__init__(authenticate=False)
        self.acked: dict[str, float] = {}
        self.statuses: list[int] = []
        self.times = 1
        self.unheard: set[str] = set()

    async def deliver(self, activity: Activity, times: int = 1, token: str | None = None) -> Answered:
        """Side by side, as often as it takes."""
        return (await asyncio.gather(*(self._insist(activity) for _ in range(self.times))))[0]

    async def _insist(self, activity: Activity) -> Answered:
        answered = Answered(0, "", activity)
        for _ in range(DELIVERIES):
            try:
                async with asyncio.timeout(3):
                    answered = Answered(*await self.post(json.dumps(activity), {}), activity)
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            self.statuses.append(answered.status)
            if answered.status == 200:
                self.acked.setdefault(_act(activity), time.time())
                break
            await asyncio.sleep(AGAIN_S)
        return answered

    def acked_at(self, answered: Answered) -> float | None:
        """When what was answered like this was acknowledged first."""
        return self.acked.get(_act(answered.activity))

    async def _serve(
        self, request: web.Request, act: Callable[[str, str, Activity], web.Response]
    ) -> web.Response:
        made: list[str] = []

        def noting(conversation: str, id: str, activity: Activity) -> web.Response:
            before = len(self.messages.get(conversation, ()))
            response = act(conversation, id, activity)
            made.extend(
                item.id for item in self.messages.get(conversation, [])[before:] if item.sender == BOT
            )
            return response

        response = await super()._serve(request, noting)
        if response.status >= 300:
            self.unheard.update(made)
        return response


def _act(activity: Activity) -> str:
    """A message keeps its id when it is edited or deleted."""
    return f"{activity['type']} {activity['id']} {activity['timestamp']}"
