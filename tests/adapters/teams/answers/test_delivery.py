"""What the worker learns of a delivery in Teams that fails: whether to wait, and what is shown already."""

import asyncio
import json

import pytest

from adapters.teams.api.connector import TeamsRejected
from bot.domain.adapter import STREAMED
from bot.domain.errors import PlatformUnavailable
from bot.domain.prompts import Image
from bot.domain.turns import Reply, Source
from tests.adapters.teams.answers.test_stream import noise
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


BLOCKED = {"subCode": "MessageWritesBlocked", "details": "Thread is blocked from message writes."}


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"errorCode": 209, "message": json.dumps(BLOCKED, indent=2)}, "MessageWritesBlocked", "is blocked"),
        ({"errorCode": 209, "message": BLOCKED}, "MessageWritesBlocked", "is blocked"),
        ({"error": {"code": "BotDisabledByUser", "message": "Disabled"}}, "BotDisabledByUser", "Disabled"),
        ({"error": "Forbidden"}, "", "Forbidden"),
        ({"message": "Authorization has been denied."}, "", "has been denied"),
        ({"errorCode": 1, "message": "{ no JSON"}, "", "{ no JSON"),
        ({}, "", ""),
    ],
)
async def test_a_refusal_in_any_shape_is_known(
    rig: Rig, body: dict[str, object], code: str, words: str
) -> None:
    """Field fault 128: that a person has blocked the bot is not tried for hours, and the dead letter says so."""
    received = await rig.asked("19:a@thread.v2", mention=True)
    post = await rig.adapter.open(received.address, None, retry=False)
    rig.teams.faults.append(Fault(status=403, on="message", times=9, body=body))
    with pytest.raises(TeamsRejected) as raised:
        await rig.adapter.close(post, Reply(text="Because."))
    error = raised.value
    assert (error.code, error.permanent) == (code, True)
    assert words in error.words
    assert (error.retry_after_s is not None) is (code != "")


SOURCED = Reply(
    text="Because **it** is so.",
    rate=True,
    generated=True,
    sources=(Source(title="The handbook", url="https://example.com/handbook"), Source(title="A note")),
    images=(Image(mime="image/png", data=noise(8), alt="A dot"),),
)


@pytest.mark.parametrize("times", [1, 2])
async def test_a_refused_part_is_left_out(rig: Rig, times: int) -> None:
    """Field faults 50, 75: Teams gives no reason for some refusals; the answer arrives in a simpler form."""
    received = await rig.asked("19:a@thread.v2", mention=True)
    post = await rig.adapter.open(received.address, None, retry=False)
    rig.teams.faults.append(Fault(status=400, on="message", times=times, words="Unknown"))
    done = await rig.adapter.close(post, SOURCED)
    (shown,) = rig.teams.answers("19:a@thread.v2")
    assert shown.text.startswith("Because **it** is so.")
    assert "[The handbook](https://example.com/handbook)" in shown.text
    assert "2. A note" in shown.text
    assert "entities" not in shown.activity
    assert ("Teams didn't accept the image" in shown.text) is (times == 2)
    assert ("attachments" in shown.activity) is (times == 1)
    assert await rig.adapter.close(done, SOURCED) == done


@pytest.mark.parametrize("times", [1, 2])
async def test_a_refused_stream_is_simplified_too(rig: Rig, times: int) -> None:
    """Field faults 50, 74: the final message of a stream was refused, and then its edits, as it was still open."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    rig.teams.faults.append(Fault(status=400, times=times, words="Unknown"))
    await rig.adapter.close(post, SOURCED)
    (shown,) = rig.teams.answers("a:alice")
    assert (shown.state, shown.edits) == ("whole", 0)
    assert shown.text.startswith("Because **it** is so.")
    assert "[The handbook]" in shown.text
    assert ("Teams didn't accept the image" in shown.text) is (times == 2)


@pytest.mark.parametrize(
    ("status", "code"), [(413, "MessageSizeTooBig"), (400, "BadSyntax"), (403, "MessageSizeTooBig")]
)
async def test_a_refused_update_leaves_no_open_stream(rig: Rig, status: int, code: str) -> None:
    """Field fault 74: after a refused update the answer was to be edited, but the stream was still open."""
    received = await rig.asked("a:alice")
    post = await rig.adapter.open(received.address, None, retry=False)
    await rig.adapter.update(post, "Once upon a time there was ")
    await rig.teams.until(lambda: rig.teams.answers("a:alice")[0].state == "streaming")
    rig.teams.faults.append(Fault(status=status, on="stream", code=code))
    await rig.adapter.update(post, "Once upon a time there was a king who ")
    await rig.teams.until(lambda: not rig.teams.faults)
    await rig.adapter.close(post, Reply(text="Once upon a time there was a king who lived.", generated=True))
    (shown,) = rig.teams.answers("a:alice")
    assert (shown.text, shown.state) == ("Once upon a time there was a king who lived.", "whole")


async def test_a_message_that_stays_refused_is_given_up(rig: Rig) -> None:
    """Field fault 50: after the simplest form there is nothing left to try."""
    received = await rig.asked("19:a@thread.v2", mention=True)
    post = await rig.adapter.open(received.address, None, retry=False)
    rig.teams.faults.append(Fault(status=400, on="message", times=99))
    with pytest.raises(TeamsRejected):
        await rig.adapter.close(post, SOURCED)
    assert rig.teams.faults[0].times == 96


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "ServiceError", "Unknown"),
        (404, "ActivityNotFoundInConversation", "no"),
        (404, "NotFound", "no"),
    ],
)
async def test_a_deleted_answer_is_posted_again(rig: Rig, status: int, code: str, words: str) -> None:
    """Field fault 75: Teams tells in several ways that a message to update is no longer there."""
    received = await rig.asked("19:a@thread.v2", mention=True)
    post = await rig.adapter.open(received.address, None, retry=False)
    done = await rig.adapter.close(post, Reply(text="First."))
    rig.teams.faults.append(Fault(status=status, on="put", code=code, words=words))
    again = await rig.adapter.open(received.address, done, retry=False)
    await rig.adapter.close(again, Reply(text="Second."))
    assert [message.text for message in rig.teams.answers("19:a@thread.v2")] == ["First.", "Second."]


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


async def test_an_operator_is_told_in_their_chat(rig: Rig) -> None:
    """Teams has no chat with somebody who has never written."""
    chat = await rig.asked("a:alice")
    assert await rig.adapter.tell(chat.user, chat.address, "n1", lambda: "**80 %** are used")
    assert [message.text for message in rig.teams.answers("a:alice")] == ["**80 %** are used"]
    group = await rig.asked("19:group@thread.v2", mention=True)
    assert not await rig.adapter.tell(chat.user, group.address, "n1", lambda: "80 %")
    assert not await rig.adapter.tell(chat.user, None, "n1", lambda: "80 %")
