"""Twenty thousand odd requests to every route: none is answered with 5xx, none leaves an error behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.storage.queue.dead_letters import DeadLetterQueue
from tests.fuzz import values
from tests.fuzz.bombardment import bombard
from tests.fuzz.requests import JSON
from tests.fuzz.target import EXPECTED, Complaints, Target, listening, running

pytestmark = [
    pytest.mark.fuzz,
    pytest.mark.asyncio(loop_scope="module"),  # a loop of its own: others leave tasks behind on theirs
    pytest.mark.timeout(900),
]

SHARES, IN_EACH, BY_HYPOTHESIS, RAW = 8, 2250, 1000, 1000


@dataclass
class Heard:
    """An application, and what was complained of since the last test."""

    target: Target
    complaints: Complaints


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def heard(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Heard]:
    async with listening() as complaints, running(tmp_path_factory.mktemp("fuzz")) as target:
        yield Heard(target, complaints)


@pytest.mark.parametrize("seed", range(SHARES))
async def test_no_mutated_request_causes_a_5xx_or_error(heard: Heard, seed: int) -> None:
    """Field faults 56 and 93: mutations of recorded payloads, odd headers, paths, queries and forms."""
    before = sum(heard.target.statuses.values())
    faults = await bombard(heard.target, heard.complaints, IN_EACH, seed)
    assert not faults, "\n".join(map(str, faults))
    assert sum(heard.target.statuses.values()) - before > 0.95 * IN_EACH
    assert await heard.target.is_well()


@settings(
    max_examples=BY_HYPOTHESIS,
    deadline=None,
    database=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(random=st.randoms(use_true_random=False))
async def test_hypothesis_finds_no_failing_request(heard: Heard, random: Random) -> None:
    """Field fault 56: the same requests as hypothesis draws, and makes small where one fails."""
    request = heard.target.maker.request(random)
    status = await heard.target.send(request)
    received, heard.complaints.heard = heard.complaints.heard, []
    assert status < 500 or status == 501, request
    assert not received, (request, received)


async def test_every_route_is_tried(heard: Heard) -> None:
    paths = {path for _, path in heard.target.maker.routes}
    assert {"/slack/events", "/api/messages", "/healthz", "/studio/sign-in", "/"} <= paths
    assert {"/studio/conversations/{id}/messages", "/studio/sign-in/return", "/studio/live/events"} <= paths
    assert len(heard.target.maker.routes) > 50


async def test_most_requests_reach_the_code_behind_the_routes(heard: Heard) -> None:
    """Without this the fuzzing could be turned away at the door, and find nothing for that reason."""
    random, reached = Random(1), 0
    for path in ("/slack/events", "/api/messages", "/studio/conversations/{id}/messages", "/studio/prompts"):
        method = "GET" if path.endswith("prompts") else "POST"
        statuses = [
            await heard.target.send(heard.target.maker.request(random, (method, path))) for _ in range(30)
        ]
        reached += sum(status < 300 for status in statuses)
    assert reached > 50


# ------------------------------------------------------------------ below HTTP


def raw(random: Random, request: bytes) -> bytes:
    """What is hardly HTTP, or none at all."""
    head, _, body = request.partition(b"\r\n\r\n")
    chunk = b"%x\r\n%s\r\n" % (len(body), body)
    chunked = head.replace(b"Content-Length:", b"X:") + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    match random.randrange(12):
        case 0:
            return random.randbytes(random.randrange(1, 3000))
        case 1:
            return values.spoiled(request, random)
        case 2:
            return request * random.choice((2, 50))
        case 3:
            return request[: random.randrange(len(request))]
        case 4:
            return chunked + chunk + b"0\r\n\r\n"
        case 5:
            return chunked + random.choice(
                (b"zz\r\n", b"-1\r\n", b"f" * 40 + b"\r\n", b"5\r\nab\r\n0\r\n\r\n", chunk)
            )
        case 6:
            return head + b"\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + body
        case 7:
            return b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"
        case 8:
            return b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * random.choice((10, 200, 20_000)) + b"\r\n"
        case 9:
            return b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 100_000
        case 10:
            return random.choice(
                (b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01" * 90, b"\0" * 99)
            )
        case _:
            return head.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\nUpgrade: websocket\r\n\r\n" + body


async def exchange(target: Target, data: bytes) -> bytes:
    """What is answered at once to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    answer = b""
    with suppress(ConnectionError, TimeoutError):
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(100_000), 0.2)
    writer.close()
    return answer


async def test_invalid_http_causes_no_server_error(heard: Heard) -> None:
    """Field fault 93: garbage, pipelined requests, broken chunks, endless lines."""
    random = Random(93)
    for number in range(0, RAW, 10):
        sent = [raw(random, heard.target.maker.request(random)) for _ in range(10)]
        answers = await asyncio.gather(*(exchange(heard.target, data) for data in sent))
        for data, answer in zip(sent, answers, strict=True):
            assert b"HTTP/1.1 50" not in answer.replace(b"HTTP/1.1 501", b""), (data[:2000], answer[:500])
        if number % 200 == 0:
            await heard.target.forget()
    assert await heard.target.is_well()
    assert heard.complaints.heard == []


# ------------------------------------------------------------------ behind the routes


async def test_accepted_events_can_be_answered(tmp_path: Path) -> None:
    """Field fault 56: an odd event that was accepted is no dead letter because it can't be read."""
    random = Random(56)
    async with listening() as complaints, running(tmp_path, worker=True) as target:
        for _ in range(200):
            changes = random.choice((0, 1, 1, 2))
            if random.random() < 0.5:
                path, (kind, body) = "/slack/events", target.maker.slack(random, changes)
            else:
                path, kind = "/api/messages", JSON
                body = values.encoded(target.maker.teams(random, changes), random)
            await target.send(target.maker.post(path, kind, body))
        await target.done()
        reasons = [
            one.reason for one in (await DeadLetterQueue(target.services.storage.redis).all()).values()
        ]
    assert [one for one in reasons if not any(words in one for words in EXPECTED)] == []
    assert complaints.heard == []
