"""What the worker learns of a delivery in Teams that fails: whether to wait, and what is shown already."""

import asyncio

import pytest

from adapters.teams.api.connector import TeamsRejected
from bot.domain.adapter import STREAMED
from bot.domain.errors import PlatformUnavailable
from bot.domain.turns import Reply
from tests.adapters.teams.conftest import Rig
from tests.simulators.teams import Fault

LONG = "\n\n".join(f"Paragraph {number}: " + "words and more words " * 60 for number in range(60))


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        (0, False),  # no connection
        (400, True),
        (401, False),  # the token is renewed, or the operator renews the secret
        (403, True),
        (404, True),
        (408, False),
        (409, True),
        (412, False),  # msteams-docs: retry
        (413, True),
        (429, False),
        (500, False),  # BotFramework-Services#200: random
        (502, False),
        (503, False),
        (504, False),
    ],
)
def test_what_waiting_can_mend(status: int, permanent: bool) -> None:
    """Field fault 128: an outage is waited for, a refusal is not."""
    assert TeamsRejected(status, "Code", "words").permanent is permanent


async def test_a_partial_answer_is_known_elsewhere(rig: Rig) -> None:
    """Field fault 75: the rest of an answer follows, its beginning is not sent again by another process."""
    received = await rig.asked("19:a@thread.v2", mention=True)
    post = await rig.adapter.open(received.address, None, retry=False)
    sent = 0
    send = rig.adapter._connector.send  # pyright: ignore[reportPrivateUsage]

    async def failing(place: object, activity: dict[str, object], attempts: int = 5) -> str:
        nonlocal sent
        sent += activity["type"] == "message"
        if sent == 2:
            raise TeamsRejected(503, "", "")
        return await send(place, activity, attempts)  # pyright: ignore[reportArgumentType]

    rig.adapter._connector.send = failing  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    with pytest.raises(PlatformUnavailable) as raised:
        await rig.adapter.close(post, Reply(text=LONG))
    begun = raised.value.post
    assert begun is not None
    other = await rig.restart()
    await other.close(await other.open(received.address, begun, retry=True), Reply(text=LONG))
    shown = "\n".join(message.text for message in rig.teams.answers("19:a@thread.v2"))
    assert [shown.count(f"Paragraph {number}:") for number in range(60)] == [1] * 60


async def test_what_was_streamed_is_in_the_post(rig: Rig) -> None:
    """Field fault 74: whoever completes a stream knows its text, and turns do not keep it."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    assert rig.adapter.streamed(post) is None
    await rig.adapter.update(post, "Once upon a time there was ")
    await rig.teams.until(lambda: rig.teams.answers("a:alice")[0].state == "streaming")
    while (begun := rig.adapter.streamed(post)) is None:  # noqa: ASYNC110 - the response is on its way
        await asyncio.sleep(0.01)
    assert begun.data[STREAMED].startswith("Once upon a time")
    rig.teams.faults.append(Fault(status=500, times=99))
    with pytest.raises(PlatformUnavailable) as raised:
        await rig.adapter.close(post, Reply(text="Once upon a time there was a king."))
    assert raised.value.post is not None
    assert STREAMED in raised.value.post.data
    rig.teams.faults.clear()
    other = await rig.restart()
    opened = await other.open(received.address, begun, retry=True)
    done = await other.close(opened, Reply(text="Once upon a time there was a king."))
    assert STREAMED not in done.data
    assert rig.teams.answers("a:alice")[-1].text.endswith("a king.")
