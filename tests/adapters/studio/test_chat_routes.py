"""What the studio's routes take, what they refuse, and in which words."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, CookieJar
from PIL import Image as Pictures
from pydantic import SecretStr

from adapters.shared.markdown import tidy
from adapters.studio.adapter import WHOLE_EVERY
from adapters.studio.auth.guard import COOKIE, Guard
from adapters.studio.auth.login_throttle import WRONG_TOKENS_PER_MINUTE
from adapters.studio.chat.frames import done_frame, past_turn, render
from adapters.studio.chat.growing_text import GrowingHtml
from adapters.studio.chat.requests import MAX_BODY_BYTES, MAX_TEXT
from adapters.studio.pages import chat
from bot.domain.errors import NotAllowed
from bot.domain.events import (
    Address,
    Attachment,
    FeedbackGiven,
    MessageEdited,
    MessageReceived,
    PostedMessage,
    StopRequested,
    User,
    now,
)
from bot.domain.prompts import Image
from bot.domain.turns import Reply
from bot.worker import outcomes
from tests.adapters.studio.conftest import PATIENCE_S, Studio, start
from tests.adapters.studio.stand_ins import MemorySessions

C = "c" * 32
M = "a" * 32
TOKEN = "a token of some length"
WRITE = {"X-Parley": "studio"}


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        yield session


def room(studio: Studio, rest: str = "", conversation: str = C) -> str:
    return f"{studio.url}/studio/conversations/{conversation}{rest}"


async def say(http: ClientSession, studio: Studio, text: str, id: str = M) -> ClientResponse:
    return await http.post(room(studio, "/messages"), json={"id": id, "text": text}, headers=WRITE)


async def refused(response: ClientResponse, status: int) -> str:
    """The words of a refusal, which are there whatever the status."""
    assert response.status == status
    words = (await response.json())["words"]
    assert isinstance(words, str)
    assert words.endswith(".")
    return words


@asynccontextmanager
async def frames(http: ClientSession, studio: Studio, after: str = "") -> AsyncGenerator[AsyncIterator[Any]]:
    """The live feed, as (id, frame)."""
    headers = {"Last-Event-ID": after} if after else {}

    async def read(response: ClientResponse) -> AsyncIterator[Any]:
        id = ""
        async for line in response.content:
            if line.startswith(b"id: "):
                id = line[4:].strip().decode()
            elif line.startswith(b"data: "):
                yield id, json.loads(line[6:])

    async with http.get(room(studio, "/events"), headers=headers) as response:
        assert response.content_type == "text/event-stream"
        assert "Content-Security-Policy" in response.headers
        yield read(response)


async def whole_answer(http: ClientSession, studio: Studio) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S), frames(http, studio) as event_stream:
        async for _, frame in event_stream:
            if frame["kind"] == "done":
                return frame
    raise AssertionError("the feed ended early")


async def test_a_message_is_recorded_under_its_sender(http: ClientSession, studio: Studio) -> None:
    response = await say(http, studio, "/image a red bicycle")
    assert response.status == 202
    (received,) = studio.engine.events
    assert isinstance(received, MessageReceived)
    assert (received.id, received.text, received.direct) == (f"studio:{C}:{M}", "/image a red bicycle", True)
    assert received.address.conversation == f"studio:{C}"
    assert received.user == User(id=received.address.owner, tenant="studio")
    assert len(received.user.id) == 32


async def test_a_resent_message_is_shown_once(http: ClientSession, studio: Studio) -> None:
    await say(http, studio, "once")
    assert await (await say(http, studio, "once")).json() == {"receipt": "duplicate"}
    await whole_answer(http, studio)
    kinds = [json.loads(frame)["kind"] for frame in studio.event_stream.frames[f"studio:{C}"]]
    assert kinds.count("said") == kinds.count("open") == kinds.count("done") == 1


async def test_the_feed_resumes_after_the_last_frame(http: ClientSession, studio: Studio) -> None:
    await say(http, studio, "words")
    await whole_answer(http, studio)
    async with frames(http, studio) as event_stream:
        seen = [await anext(event_stream) for _ in range(3)]
    assert seen[0][1] == {"kind": "said", "event": M, "at": seen[0][1]["at"], "text": "words"}
    async with frames(http, studio, after=seen[0][0]) as event_stream:
        assert [await anext(event_stream) for _ in range(2)] == seen[1:]


async def test_text_frames_add_up_to_the_html(http: ClientSession, studio: Studio) -> None:
    await say(http, studio, "😀 **bold** and `code` 😀")
    done = await whole_answer(http, studio)
    shown = "".encode("utf-16-le")
    for frame in map(json.loads, studio.event_stream.frames[f"studio:{C}"]):
        if frame["kind"] == "text":
            shown = shown[: frame["keep"] * 2] + frame["html"].encode("utf-16-le")
    text = shown.decode("utf-16-le")
    assert text.startswith('<p dir="auto">You said: <strong>😀')
    assert done["html"].startswith(text[:30])


async def test_kept_html_is_counted_in_utf_16_units() -> None:
    growth = GrowingHtml()
    shown = b""
    for text in ("😀 ab", "😀 abc", "😀 abc\n\n**😀", "😀 abc\n\n**😀** d\n\n# e\n", "😀", "😀 f"):
        keep, html = await growth.html(text) or pytest.fail("The HTML has changed.")
        shown = shown[: keep * 2] + html.encode("utf-16-le")
        assert shown.decode("utf-16-le") == render(tidy(text))
        assert await growth.html(text) is None
        assert await growth.html(text, whole=True) == (0, render(tidy(text)))


def test_aligned_columns_need_no_inline_style() -> None:
    html = render("| a | b |\n|---|--:|\n| 1 | 2 |")
    assert 'class="right">2</td>' in html
    assert "style=" not in html


async def test_history_is_safe_html_with_images(
    http: ClientSession, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = Reply(
        text="<script>alert(1)</script> **kept**",
        images=(Image(mime="image/png", ref="0af3", alt="a cat"),),
        rate=True,
    )

    def script(received: MessageReceived) -> Reply:
        return reply

    studio.engine.script = script
    studio.history.images[f"studio:{C}", "0af3"] = Image(mime="image/png", data=b"PNG", ref="0af3")
    await say(http, studio, "hello")
    await whole_answer(http, studio)
    (turn,) = (await (await http.get(room(studio))).json())["turns"]
    assert turn["asked"]["text"] == "hello"
    assert "<script" not in turn["closed"]["html"]
    assert "<strong>kept</strong>" in turn["closed"]["html"]
    (image,) = turn["closed"]["images"]
    assert image["alt"] == "a cat"
    picture = await http.get(studio.url + image["src"])
    assert (picture.content_type, await picture.read()) == ("image/png", b"PNG")
    monkeypatch.setattr("adapters.studio.pages.chat.PICTURE_PATIENCE_S", 0.01)
    await refused(await http.get(room(studio, "/images/0af3", "d" * 32)), 404)


async def test_an_image_request_waits_for_its_turn(
    http: ClientSession, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "PICTURE_PATIENCE_S", PATIENCE_S)
    asking = asyncio.create_task(http.get(room(studio, "/images/late")))
    await studio.history.asked.wait()
    studio.history.images[f"studio:{C}", "late"] = Image(mime="image/png", data=b"PNG", ref="late")
    async with asyncio.timeout(PATIENCE_S):
        assert await (await asking).read() == b"PNG"


@pytest.mark.parametrize("mime", ["text/html", "image/svg+xml"])
async def test_nothing_but_a_picture_is_served_as_one(http: ClientSession, studio: Studio, mime: str) -> None:
    studio.history.images[f"studio:{C}", "x"] = Image(mime=mime, data=b"<script>", ref="x")
    await refused(await http.get(room(studio, "/images/x")), 404)


async def test_stop_rating_and_edit_become_events(http: ClientSession, studio: Studio) -> None:
    await say(http, studio, "helo")
    await whole_answer(http, studio)
    edit = {"id": "e" * 32, "target": M, "text": "hello"}
    assert (await http.post(room(studio, "/edit"), json=edit, headers=WRITE)).status == 202
    assert (await http.post(room(studio, "/stop"), json={"id": "d" * 32}, headers=WRITE)).status == 202
    body = {"id": "b" * 32, "post": f"{C}.{M}", "good": False, "comment": "too long"}
    assert (await http.post(room(studio, "/rating"), json=body, headers=WRITE)).status == 202
    _, edited, stopped, rated = studio.engine.events
    assert isinstance(edited, MessageEdited)
    assert (edited.target, edited.text) == (f"studio:{C}:{M}", "hello")
    assert isinstance(stopped, StopRequested)
    assert isinstance(rated, FeedbackGiven)
    assert (rated.post, rated.good, rated.comment) == (f"{C}.{M}", False, "too long")
    body["post"] = f"{'d' * 32}.{M}"
    await refused(await http.post(room(studio, "/rating"), json=body, headers=WRITE), 400)


async def test_what_the_store_says_reaches_the_person(http: ClientSession, studio: Studio) -> None:
    studio.engine.away = True
    assert "unavailable" in await refused(await say(http, studio, "x"), 503)
    studio.engine.away, studio.engine.busy = False, True
    assert "waiting" in await refused(await say(http, studio, "x"), 429)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"id": "short", "text": "x"}',
        b'{"id": "%s\\n", "text": "x"}' % M.encode(),
        b'{"id": "%s", "text": "  \\n "}' % M.encode(),
        b'{"id": "%s", "text": 1}' % M.encode(),
        b'{"id": "%s", "text": "x", "more": 1}' % M.encode(),
    ],
)
async def test_malformed_messages_are_refused_in_words(
    http: ClientSession, studio: Studio, body: bytes
) -> None:
    headers = {**WRITE, "Content-Type": "application/json"}
    await refused(await http.post(room(studio, "/messages"), data=body, headers=headers), 400)
    assert studio.engine.events == []


async def test_malformed_ids_are_refused(http: ClientSession, studio: Studio) -> None:
    await refused(await http.get(room(studio, conversation="C" * 32)), 400)
    await refused(await http.get(room(studio, "/events?after=%2A")), 400)


async def test_oversized_messages_are_refused(http: ClientSession, studio: Studio) -> None:
    assert f"{MAX_TEXT:,}" in await refused(await say(http, studio, "x" * (MAX_TEXT + 1)), 413)
    await refused(await say(http, studio, "x" * MAX_BODY_BYTES), 413)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    headers = {**WRITE, "Content-Type": "application/json"}
    response = await http.post(room(studio, "/messages"), data=endless(), headers=headers)
    await refused(response, 413)
    assert studio.engine.events == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {**WRITE, "Origin": "https://elsewhere.example"},
        {**WRITE, "Origin": "null"},
        {**WRITE, "Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_other_sites_can_not_write(
    http: ClientSession, studio: Studio, headers: dict[str, str]
) -> None:
    body = {"id": M, "text": "x"}
    await refused(await http.post(room(studio, "/messages"), json=body, headers=headers), 403)
    assert studio.engine.events == []


@pytest.mark.parametrize(
    "host", ["parley.example", "127.0.0.1.evil.example", "10.0.0.7", "", "[", "localhost.:x"]
)
async def test_without_a_token_only_loopback_names_are_answered(
    http: ClientSession, studio: Studio, host: str
) -> None:
    response = await http.get(studio.url, headers={"Host": host})
    assert response.status in (400, 403)


async def test_without_a_token_proxied_requests_are_refused(http: ClientSession, studio: Studio) -> None:
    headers = {"X-Forwarded-For": "203.0.113.9"}
    response = await http.get(studio.url, headers=headers)
    assert response.status == 403
    assert "the machine that it runs on" in await response.text()
    await refused(await http.get(room(studio), headers=headers), 403)


async def test_every_answer_carries_the_content_policy(http: ClientSession, studio: Studio) -> None:
    for path in ("/", "/studio/static/studio.js", f"/studio/conversations/{C}", "/studio/sign-in"):
        response = await http.get(studio.url + path)
        assert response.status == 200
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert "unsafe" not in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_an_unchanged_page_is_304(http: ClientSession, studio: Studio) -> None:
    first = await http.get(studio.url)
    again = await http.get(studio.url, headers={"If-None-Match": first.headers["ETag"]})
    assert again.status == 304


async def test_the_page_is_small_and_self_contained(http: ClientSession, studio: Studio) -> None:
    total = 0
    for path in (
        "/",
        *(f"/studio/static/{n}" for n in ("studio.css", "studio.js", "turn_view.js", "api.js")),
    ):
        body = await (await http.get(studio.url + path)).text()
        total += len(body)
        assert "https://" not in body
    assert total < 64_000


@pytest.fixture
async def locked() -> AsyncIterator[Studio]:
    running = await start(TOKEN)
    yield running
    await running.stop()


async def test_with_a_token_strangers_must_sign_in(http: ClientSession, locked: Studio) -> None:
    page = await http.get(locked.url, allow_redirects=False)
    assert (page.status, page.headers["Location"]) == (303, "/studio/sign-in")
    for path in ("", "/events", "/images/x"):
        await refused(await http.get(room(locked, path)), 401)
    await refused(await say(http, locked, "x"), 401)
    assert locked.engine.events == []


async def test_the_token_opens_the_studio_from_any_host(http: ClientSession, locked: Studio) -> None:
    response = await http.post(locked.url + "/studio/sign-in", data={"token": TOKEN}, allow_redirects=False)
    cookie = response.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
    assert TOKEN not in cookie.value
    assert (await http.get(locked.url, headers={"Host": "parley.example"})).url.path == "/"
    assert (await say(http, locked, "x")).status == 202


@pytest.mark.parametrize("value", ["", "1", "99999999999", "99999999999.00", "²", "9" * 400, "99999999999.é"])
async def test_a_made_up_cookie_opens_nothing(http: ClientSession, locked: Studio, value: str) -> None:
    await refused(await http.get(room(locked), headers={"Cookie": f"{COOKIE}={value}"}), 401)


async def test_expired_and_outdated_cookies_are_refused(
    http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = MemorySessions()
    locked = await start(TOKEN, sessions=sessions)
    other = await start("another token of some length", sessions=sessions)
    data = {"token": TOKEN}
    response = await http.post(locked.url + "/studio/sign-in", data=data, allow_redirects=False)
    cookie = {"Cookie": f"{COOKIE}={response.cookies[COOKIE].value}"}
    await refused(await http.get(room(other), headers=cookie), 401)
    assert (await http.get(room(locked), headers=cookie)).status == 200
    later = now() + timedelta(days=1)
    monkeypatch.setattr("bot.storage.studio.sessions.now", lambda: later)
    await refused(await http.get(room(locked), headers=cookie), 401)
    for studio in (locked, other):
        await studio.stop()


async def test_tokens_can_not_be_tried_without_end(http: ClientSession, locked: Studio) -> None:
    for _ in range(WRONG_TOKENS_PER_MINUTE):
        response = await http.post(locked.url + "/studio/sign-in", data={"token": "guess"})
        assert response.status == 401
        assert "The token is incorrect." in await response.text()
    response = await http.post(locked.url + "/studio/sign-in", data={"token": TOKEN})
    assert response.status == 429


async def test_the_server_can_stop_while_pages_are_open(http: ClientSession, studio: Studio) -> None:
    listening = asyncio.create_task(studio.adapter.listen(studio.engine.accept))
    async with asyncio.timeout(PATIENCE_S), frames(http, studio) as event_stream:
        listening.cancel()
        assert [frame async for frame in event_stream] == []
        await refused(await http.get(room(studio, "/events")), 503)


async def test_check_says_who_can_come_in() -> None:
    async def words(token: str | None) -> tuple[str, str]:
        (finding,) = await Guard({"operator": SecretStr(token) if token else None}).check()
        return finding.level, finding.words

    assert await words(None) == (
        "ok",
        "accepts only loopback requests; set PARLEY_STUDIO_TOKEN to allow sign-in from elsewhere",
    )
    assert (await words("short"))[0] == "warning"
    assert (await words(TOKEN))[0] == "ok"


async def test_files_are_refused_in_words(studio: Studio) -> None:
    with pytest.raises(NotAllowed, match="Paste the text"):
        await studio.adapter.fetch(Attachment(id="f", name="f.txt", mime="text/plain"))


async def test_open_streams_end_when_the_studio_closes(http: ClientSession, studio: Studio) -> None:
    async with asyncio.timeout(PATIENCE_S), frames(http, studio) as event_stream:
        await studio.adapter.__aexit__(None, None, None)
        assert [frame async for frame in event_stream] == []


async def test_a_long_answer_carries_everything_now_and_then(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The feed keeps only the newest frames: a page that comes late finds a whole one among them."""
    monkeypatch.setattr("adapters.studio.adapter.FRAME_INTERVAL_S", 0.0)
    post = PostedMessage(id=f"{C}.{M}", data={"conversation": f"studio:{C}", "message": M})
    shown = studio.event_stream.frames[f"studio:{C}"]
    async with asyncio.timeout(PATIENCE_S):
        for length in range(1, WHOLE_EVERY + 2):
            await studio.adapter.update(post, "word " * length)
            await studio.event_stream.grown(f"studio:{C}", length)
    keeps = [json.loads(frame)["keep"] for frame in shown]
    assert [number for number, keep in enumerate(keeps) if keep == 0] == [0, WHOLE_EVERY]


async def test_a_partial_image_is_sent_small(studio: Studio) -> None:
    address = Address(conversation=f"studio:{C}", event=f"studio:{C}:{M}", data={"message": M})
    post = await studio.adapter.open(address, None, False)
    half = io.BytesIO()
    Pictures.new("RGB", (1536, 1024), "#abc").save(half, "PNG")
    await studio.adapter.show_partial_image(post, Image(mime="image/png", data=half.getvalue(), alt="a cat"))
    await studio.adapter.show_partial_image(post, Image(mime="image/png", data=b"no picture", alt="a cat"))
    _, frame = studio.event_stream.frames[address.conversation]
    sketch = json.loads(frame)
    assert {name: sketch[name] for name in ("kind", "alt", "width", "height")} == {
        "kind": "sketch",
        "alt": "a cat",
        "width": 1536,
        "height": 1024,
    }
    data = base64.b64decode(sketch["src"].removeprefix("data:image/jpeg;base64,"))
    assert Pictures.open(io.BytesIO(data)).size == (512, 341)


@pytest.mark.parametrize(("causes", "shown"), [(True, "status 500 (InternalError)"), (False, "")])
async def test_only_operators_see_why_it_failed(causes: bool, shown: str) -> None:
    """Field fault 89: the cause is in the history of operators, and never in the stream."""
    user = User(id="me", tenant="studio", name="Me")
    address = Address(conversation="studio:c", event="studio:c:e", data={"message": "e"})
    received = MessageReceived(id="studio:c:e", address=address, user=user, at=now(), text="Hi")
    reply = Reply(text="Sorry.", failed=True)
    turn = outcomes.failed(received, reply, "status 500 (InternalError)")
    past = await past_turn("studio:c", turn, user, causes=causes)
    assert past.closed.failed
    assert past.closed.cause == shown
    assert "500" not in str(await done_frame("studio:c", "e", "p", 0, reply))
