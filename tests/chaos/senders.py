"""Slack and Teams as senders that insist: what is not acknowledged is delivered again, and again."""

import asyncio
import json
import time

import aiohttp

from tests.simulators.slack import SlackSimulator
from tests.simulators.slack_courier import Delivery, Payload
from tests.simulators.teams import Activity, TeamsSimulator
from tests.simulators.teams import Delivery as Answered

AGAIN_S = 0.4
DELIVERIES = 200
"""Of one event, at most: a platform gives up in the end, and then nobody was promised anything."""


class Slack(SlackSimulator):
    """Notes when each message was acknowledged first, by its ts."""

    def __init__(self) -> None:
        super().__init__(retry_pauses_s=[AGAIN_S] * DELIVERIES)
        self.acked: dict[str, float] = {}

    async def hand_over(
        self, kind: str, payload: Payload, body: str, event_id: str, retry: int = 0
    ) -> Delivery:
        """One attempt."""
        delivery = await super().hand_over(kind, payload, body, event_id, retry)
        if delivery.status == 200:
            self.acked.setdefault(payload["event"]["ts"], time.time())
        return delivery

    @property
    def statuses(self) -> list[int | None]:
        """What the bot answered, delivery by delivery."""
        return [delivery.status for delivery in self.deliveries]


class Teams(TeamsSimulator):
    """Delivers until it is thanked, `times` times, and notes when it was first, by the activity's id.

    `answers_lost` is how many calls of the bot were carried out without an answer, at most.
    """

    def __init__(self) -> None:
        super().__init__(authenticate=False)
        self.acked: dict[str, float] = {}
        self.statuses: list[int] = []
        self.times = 1
        self.answers_lost = 0

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
                self.acked.setdefault(activity["id"], time.time())
                break
            await asyncio.sleep(AGAIN_S)
        return answered
