"""How Slack hands events over: signed, by HTTP or Socket Mode, again when nobody took them."""

import asyncio
import hashlib
import hmac
import io
import json
import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from tests.simulators.slack_methods import Workspace
from tests.support.patience import PATIENCE_S

Payload = dict[str, Any]

DELIVERY_TIMEOUT_S = 30.0  # Slack itself waits for 3 s; a busy machine is no reason to deliver again
RETRY_PAUSES_S = (0.0, 60.0, 300.0)


@dataclass
class Delivery:
    """One attempt to hand over a payload; `status` is None when there was no answer."""

    event_id: str
    retry: int
    status: int | None
    body: str = ""


class Courier:
    """Delivers for one workspace to one app.

    `times` is how often each event is delivered, `shuffle` mixes the deliveries of one act.
    """

    def __init__(self, workspace: Workspace, signing_secret: str, retry_pauses_s: Sequence[float]) -> None:
        self.workspace, self.signing_secret = workspace, signing_secret
        self.bot_url = ""
        self.deliveries: list[Delivery] = []
        self.times = 1
        self.delivery_timeout_s = DELIVERY_TIMEOUT_S
        self.shuffle: random.Random | None = None
        self.retry_pauses_s = tuple(retry_pauses_s)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()
        self._sockets: list[web.WebSocketResponse] = []
        self.disconnecting = ""  # the reason for which each new Socket Mode connection is ended
        self._acks: dict[str, asyncio.Future[Payload]] = {}

    async def connect(self) -> None:
        """Get ready to deliver."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=DELIVERY_TIMEOUT_S), connector=aiohttp.TCPConnector(limit=0)
        )

    async def disconnect(self) -> None:
        """Deliver nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for socket in self._sockets:
            await socket.close()
        await self._session.close()

    async def until(self, condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> None:
        """Wait until `condition` holds; it is looked at whenever something happened here."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def envelope(self, event: Payload, event_id: str = "") -> Payload:
        """An event as the Events API wraps it."""
        return {
            "token": "retired",
            "team_id": self.workspace.team,
            "api_app_id": "A0SIM",
            "event": event,
            "type": "event_callback",
            "event_id": event_id or f"Ev{uuid.uuid4().hex[:10].upper()}",
            "event_time": int(float(event.get("event_ts") or 0)),
            "authorizations": [
                {
                    "enterprise_id": None,
                    "team_id": self.workspace.team,
                    "user_id": self.workspace.bot_user,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
            "is_ext_shared_channel": False,
        }

    async def deliver(self, events: Sequence[Payload]) -> list[Delivery]:
        """Hand events over, each `times` times, in order or shuffled."""
        envelopes = [self.envelope(event) for event in events]
        attempts = [(envelope, retry) for retry in range(self.times) for envelope in envelopes]
        if self.shuffle:
            self.shuffle.shuffle(attempts)
        handing_over = [
            self.hand_over("events_api", e, msgspec.json.encode(e).decode(), e["event_id"], retry)
            for e, retry in attempts
        ]
        return list(await asyncio.gather(*handing_over))

    async def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        """Send anything to the app, well signed or not."""
        async with self._session.post(self.bot_url, data=io.BytesIO(body), headers=headers) as response:
            return response.status, await response.text()

    def signed(self, body: bytes, at_s: float | None = None, retry: int = 0) -> dict[str, str]:
        """The headers that Slack would send with `body`."""
        timestamp = str(int(time.time() if at_s is None else at_s))
        base = b"v0:" + timestamp.encode() + b":" + body
        signature = hmac.new(self.signing_secret.encode(), base, hashlib.sha256).hexdigest()
        mime = "application/json" if body.startswith(b"{") else "application/x-www-form-urlencoded"
        headers = {
            "Content-Type": mime,
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": f"v0={signature}",
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        }
        if retry:
            headers |= {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": "http_timeout"}
        return headers

    async def deliver_change(self, channel: str, subtype: str, **more: Any) -> None:
        event = {
            "type": "message",
            "subtype": subtype,
            "hidden": True,
            "channel": channel,
            "ts": self.workspace.ts(),
        }
        event |= {"channel_type": "im" if channel.startswith("D") else "channel", "event_ts": event["ts"]}
        await self.deliver([event | more])

    async def hand_over(
        self, kind: str, payload: Payload, body: str, event_id: str, retry: int = 0
    ) -> Delivery:
        """One attempt; a failed one is repeated later, as Slack does."""
        try:
            if self._sockets:
                status, answer = await self._by_socket(kind, payload, retry)
            else:
                raw = body.encode()
                status, answer = await self.post(raw, self.signed(raw, retry=retry))
        except (aiohttp.ClientError, TimeoutError, OSError):
            status, answer = None, ""
        delivery = Delivery(event_id, retry, status, answer)
        self.deliveries.append(delivery)
        self._changed.set()
        if status != 200 and kind == "events_api" and retry < len(self.retry_pauses_s):
            self.later(self._again(self.retry_pauses_s[retry], kind, payload, body, event_id, retry + 1))
        return delivery

    async def _again(self, pause_s: float, *attempt: Any) -> None:
        await asyncio.sleep(pause_s)
        await self.hand_over(*attempt)

    def later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -------------------------------------------------------------- Socket Mode

    async def _by_socket(self, kind: str, payload: Payload, retry: int) -> tuple[int, str]:
        envelope_id = str(uuid.uuid4())
        envelope = {
            "envelope_id": envelope_id,
            "type": kind,
            "payload": payload,
            "accepts_response_payload": True,
        }
        envelope |= {"retry_attempt": retry, "retry_reason": "timeout" if retry else ""}
        self._acks[envelope_id] = asyncio.get_running_loop().create_future()
        await self._sockets[-1].send_json(envelope)
        async with asyncio.timeout(self.delivery_timeout_s):
            ack = await self._acks[envelope_id]
        received = ack.get("payload")
        return 200, json.dumps(received) if received else ""

    async def socket(self, request: web.BaseRequest) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(
            {"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A0SIM"}}
        )
        if self.disconnecting:
            for _ in range(3):
                await socket.send_json({"type": "disconnect", "reason": self.disconnecting})
            return socket
        self._sockets.append(socket)
        self._changed.set()
        async for message in socket:
            ack: Payload = json.loads(message.data) if message.type == aiohttp.WSMsgType.TEXT else {}
            if (waiting := self._acks.pop(ack.get("envelope_id", ""), None)) and not waiting.done():
                waiting.set_result(ack)
        if socket in self._sockets:
            self._sockets.remove(socket)
        return socket

    async def end_connections(self, how: str) -> None:
        """Slack refreshes connections now and then, closes them, or the network cuts them off."""
        for socket in list(self._sockets):
            self._sockets.remove(socket)
            if how == "refreshed":
                await socket.send_json({"type": "disconnect", "reason": "refresh_requested"})
            elif how == "closed":
                self.later(socket.close())
            elif (transport := socket.get_extra_info("socket")) is not None:
                transport.shutdown(2)

    @property
    def connected(self) -> bool:
        """Whether the app holds a Socket Mode connection."""
        return bool(self._sockets)
