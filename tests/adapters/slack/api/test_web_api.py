"""Results of Web API calls, and rate limits."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from pydantic import SecretStr

from adapters.slack.api.web_api import SlackRateLimited, SlackRejected, SlackUnsure, WebApi, new_session


class Answers:
    """A server that returns prepared responses in order."""

    def __init__(self) -> None:
        self.prepared: list[web.Response] = []
        self.asked = 0

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.asked += 1
        return self.prepared.pop(0)


@pytest.fixture
async def answers() -> AsyncIterator[tuple[WebApi, Answers]]:
    prepared = Answers()
    runner = web.ServerRunner(web.Server(prepared.handle, access_log=None), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with new_session() as session:
        yield (
            WebApi(session, SecretStr("xoxb"), f"http://127.0.0.1:{runner.addresses[0][1]}/api"),
            prepared,
        )
    await runner.cleanup()


Api = tuple[WebApi, Answers]


def limited(retry_after: str) -> web.Response:
    return web.Response(status=429, headers={"Retry-After": retry_after})


async def test_ok_false_with_status_200_is_rejected(answers: Api) -> None:
    """Field note 09."""
    api, server = answers
    server.prepared = [web.json_response({"ok": False, "error": "channel_not_found"})]
    with pytest.raises(SlackRejected) as caught:
        await api.call("chat.postMessage", {"channel": "C1"}, patience_s=5)
    assert caught.value.code == "channel_not_found"
    assert server.asked == 1, "what is refused is not asked for again"


@pytest.mark.parametrize(
    "response",
    [
        {"status": 502, "text": "<html>"},
        {"status": 200, "text": "<html>"},
        {"status": 200, "text": '["a list"]'},
        {"status": 200, "text": '{"ok": false, "error": "internal_error"}'},
    ],
)
async def test_no_usable_response_is_unsure(answers: Api, response: dict[str, int | str]) -> None:
    api, server = answers
    server.prepared = [web.Response(**response)]  # pyright: ignore[reportArgumentType]
    with pytest.raises(SlackUnsure):
        await api.call("chat.update", {"channel": "C1"})


async def test_a_limited_method_is_not_called_meanwhile(answers: Api) -> None:
    api, server = answers
    server.prepared = [limited("600"), web.json_response({"ok": True})]
    for _ in range(3):
        with pytest.raises(SlackRateLimited) as caught:
            await api.call("chat.update", {"channel": "C1"})
        assert 0 < (caught.value.retry_after_s or 0) <= 600
    assert server.asked == 1
    assert await api.call("chat.delete", {"channel": "C1"}) == {"ok": True}


@pytest.mark.parametrize(("retry_after", "wait_s"), [("7", 7), ("0.5", 0.5), ("soon", 1)])
async def test_a_rate_limit_says_how_long_to_wait(answers: Api, retry_after: str, wait_s: float) -> None:
    api, server = answers
    server.prepared = [limited(retry_after)]
    with pytest.raises(SlackRateLimited) as caught:
        await api.call("chat.update", {"channel": "C1"})
    assert caught.value.retry_after_s == wait_s


async def test_posting_is_limited_by_channel(answers: Api) -> None:
    api, server = answers
    server.prepared = [limited("9"), web.json_response({"ok": True})]
    with pytest.raises(SlackRateLimited):
        await api.call("chat.postMessage", {"channel": "C1"})
    assert await api.call("chat.postMessage", {"channel": "C2"}) == {"ok": True}


async def test_patience_retries_limits_and_failures(answers: Api) -> None:
    api, server = answers
    ok = web.json_response({"ok": True, "x": 1})
    server.prepared = [limited("0.01"), web.Response(status=500), ok]
    assert await api.call("chat.update", {"channel": "C1"}, patience_s=5) == {"ok": True, "x": 1}


async def test_ratelimited_in_the_body_is_a_limit_too(answers: Api) -> None:
    api, server = answers
    server.prepared = [web.json_response({"ok": False, "error": "ratelimited"}, headers={"Retry-After": "3"})]
    with pytest.raises(SlackRateLimited):
        await api.call("chat.startStream", {"channel": "C1"})


async def test_an_unreachable_host_is_unsure() -> None:
    async with new_session() as session:
        with pytest.raises(SlackUnsure, match="ClientConnector"):
            await WebApi(session, SecretStr("xoxb"), "http://127.0.0.1:9/api/").call("auth.test", {})
