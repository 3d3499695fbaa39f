"""What is streamed in Teams is recorded before it is shown, so that another process can continue it."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

import msgspec
import pytest
from msgspec.structs import replace

from bot.domain.errors import StateUnavailable
from bot.domain.events import MessageReceived, PostedMessage
from bot.domain.prompts import Prompt
from bot.domain.turns import Delta, Reply
from bot.storage.queue.inbox import Claim
from bot.storage.redis import keys
from tests.adapters.teams.conftest import Rig, rigged
from tests.support.fake_adapter import FakeAdapter
from tests.support.harness import CONVERSATION, Harness

CHAT = "a:alice"


async def asked(harness: Harness, rig: Rig) -> MessageReceived:
    """A question in Teams, stored for the worker of the harness."""
    received = await rig.asked(CHAT)
    harness.adapter = cast("FakeAdapter", rig.adapter)
    received = replace(received, address=replace(received.address, conversation=CONVERSATION))
    await harness.accept(received)
    return received


async def lease_of(harness: Harness) -> PostedMessage:
    """What a worker would continue if this one were killed now."""
    post: bytes = await harness.redis.call("HGET", keys.of("lease", CONVERSATION), "post")
    return msgspec.json.decode(post, type=PostedMessage)


class Teller:
    """A model that writes these texts, each after `next` is set, and then falls silent."""

    def __init__(self, harness: Harness, *texts: str) -> None:
        self.next = asyncio.Event()
        self._texts = texts
        harness.model.script = self

    async def __call__(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        for text in self._texts:
            await self.next.wait()
            self.next.clear()
            yield Delta(text=text)
        await asyncio.Event().wait()


@pytest.mark.parametrize("final", ["Once upon a time there was a king.", "There was a king."])
async def test_a_kill_between_update_and_response(harness: Harness, final: str) -> None:
    """Field fault 74: the record lagged behind what Teams had, so the answer had to be posted again."""
    async with rigged() as rig:
        received = await asked(harness, rig)
        send = rig.adapter._connector.send  # pyright: ignore[reportPrivateUsage]
        left: list[PostedMessage] = []
        teller = Teller(harness, "Once upon ", "a time ", "there was ")

        async def sending(place: Any, activity: dict[str, Any], attempts: int = 5) -> str:
            id = await send(place, activity, attempts)
            if activity.get("channelData", {}).get("streamType") == "streaming":
                left.append(await lease_of(harness))  # Teams has the text, and its response is on its way
            teller.next.set()
            return id

        rig.adapter._connector.send = sending  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
        async with harness.working(drain_s=0):
            await harness.until(lambda: len(left) == 3)
        other = await rig.restart()
        opened = await other.open(received.address, left[-1], retry=True)
        closed = await other.close(opened, Reply(text=final))
        (message,) = rig.teams.answers(CHAT)
    assert message.frames[3] == "Once upon a time there was"
    assert (message.text, message.state) == (final, "whole")
    assert closed.id == left[-1].id, "the same message, not another one"


async def test_what_is_not_recorded_is_not_shown(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 74: while Redis is away, the next text waits; afterwards it contains what was left out."""
    hold, away = harness.inbox.hold, asyncio.Event()

    async def holding(claim: Claim, post: PostedMessage | None = None, *, alone: bool | None = None) -> str:
        if post is not None and "upon" in str(post.data):
            away.set()
            if "king" not in str(post.data):
                raise StateUnavailable("Redis is away")
        return await hold(claim, post, alone=alone)

    monkeypatch.setattr(harness.inbox, "hold", holding)
    async with rigged() as rig:
        await asked(harness, rig)
        teller = Teller(harness, "Once upon a time ", "there was a king ")
        async with harness.working(drain_s=0):
            teller.next.set()
            await harness.until(away.is_set)
            (message,) = rig.teams.answers(CHAT)
            assert message.state == "informative"
            teller.next.set()
            await rig.teams.until(lambda: message.state == "streaming")
    assert message.frames[1] == "Once upon a time there was a king"
