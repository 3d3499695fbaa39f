"""A conversation is shared by link: explicitly, for reading only, and until its owner stops."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, CookieJar, web
from pydantic import SecretStr

from adapters.studio import StudioAdapter
from adapters.studio.auth.guard import Guard
from bot.domain.events import MessageReceived
from bot.domain.prompts import Image
from bot.domain.turns import Reply
from bot.storage.redis.client import Redis
from bot.storage.studio.shared_links import SharedLinks
from tests.adapters.studio.conftest import red_picture
from tests.adapters.studio.stand_ins import MemoryFeed, MemoryHistory, MemorySessions, ScriptedEngine
from tests.support.patience import PATIENCE_S

C, M = "c" * 32, "a" * 32
TALK = f"/studio/conversations/{C}"
WRITE = {"X-Parley": "studio"}


class Sharing:
    """A studio with two people; what Ada asks is answered with a picture."""

    def __init__(self, url: str, history: MemoryHistory) -> None:
        self.url = url
        self.history = history
        self.ada, self.bob = (ClientSession(url, cookie_jar=CookieJar(unsafe=True)) for _ in range(2))

    async def begin(self) -> None:
        for http, name in ((self.ada, "Ada"), (self.bob, "Bob")):
            await http.post("/studio/sign-in", data={"token": "the viewer's long token", "name": name})
        await self.ada.post(f"{TALK}/messages", json={"id": M, "text": "<b>a cat</b>"}, headers=WRITE)
        async with asyncio.timeout(PATIENCE_S):
            while not self.history.kept[f"studio:{C}"]:  # noqa: ASYNC110 - the engine has no event for it
                await asyncio.sleep(0.01)

    async def share(self, http: ClientSession, shared: bool = True) -> tuple[int, str]:
        answer = await http.post(f"{TALK}/link", json={"shared": shared}, headers=WRITE)
        return answer.status, (await answer.json()).get("link", "")


def _answer(received: MessageReceived) -> Reply:
    image = Image(mime="image/png", ref="0af3", alt="a cat")
    return Reply(text="<script>alert(1)</script> **Here.**", images=(image,), rate=True)


@pytest.fixture
async def sharing(redis: Redis) -> AsyncIterator[Sharing]:
    history = MemoryHistory()
    history.images[f"studio:{C}", "0af3"] = Image(mime="image/png", data=red_picture(), ref="0af3")
    engine = ScriptedEngine(_answer, history)
    guard = Guard({"viewer": SecretStr("the viewer's long token")}, sessions=MemorySessions())
    links = SharedLinks(redis, life_s=60)
    adapter = engine.adapter = StudioAdapter(MemoryFeed(), history, guard, links=links)
    app = web.Application()
    app.add_routes(adapter.routes(engine.accept))
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made = Sharing(f"http://127.0.0.1:{runner.addresses[0][1]}", history)
    await made.begin()
    yield made
    await made.ada.close()
    await made.bob.close()
    await engine.end()
    await adapter.__aexit__(None, None, None)
    await runner.cleanup()


async def test_a_link_lets_others_read_and_no_more(sharing: Sharing) -> None:
    """Field fault 118: sharing is explicit and read-only, and the page says with whom."""
    assert (await (await sharing.ada.get(TALK)).json())["link"] == ""
    assert await sharing.share(sharing.bob) == (404, "")
    status, link = await sharing.share(sharing.ada)
    assert status == 200
    assert (await (await sharing.ada.get(TALK)).json())["link"] == link
    page = await (await sharing.bob.get(link)).text()
    assert "Ada shares this conversation by link" in page
    assert "&lt;b&gt;a cat&lt;/b&gt;" in page
    assert "<strong>Here.</strong>" in page
    assert "<script>alert" not in page
    assert f'src="{link}/images/0af3"' in page
    assert (await sharing.bob.get(f"{link}/images/0af3")).content_type == "image/png"
    for path in ("", "/events", "/images/0af3"):
        assert (await sharing.bob.get(TALK + path)).status == 404, "the link opens nothing else"
    body = {"id": "d" * 32, "text": "mine"}
    assert (await sharing.bob.post(f"{TALK}/messages", json=body, headers=WRITE)).status == 404
    assert "You share this conversation by link" in await (await sharing.ada.get(link)).text()


async def test_a_link_ends_when_its_owner_stops(sharing: Sharing) -> None:
    """Field fault 118: sharing is revocable, and a new link is another one."""
    _, link = await sharing.share(sharing.ada)
    assert await sharing.share(sharing.bob, False) == (404, "")
    assert (await sharing.bob.get(link)).status == 200
    assert await sharing.share(sharing.ada, False) == (200, "")
    for path in (link, f"{link}/images/0af3", link.replace(C, "d" * 32), link[:-1]):
        assert (await sharing.bob.get(path)).status == 404
    _, again = await sharing.share(sharing.ada)
    assert again != link
    assert (await sharing.bob.get(link)).status == 404
