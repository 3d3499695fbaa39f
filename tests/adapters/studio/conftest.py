"""One Chromium for all browser tests, and a studio server for each test."""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from PIL import Image as Pictures
from PIL import ImageDraw
from playwright.async_api import Browser, ConsoleMessage, Error, Page, async_playwright, expect
from pydantic import SecretStr

from adapters.studio import StudioAdapter
from adapters.studio.auth.entra import Entra, Registration
from adapters.studio.auth.guard import Guard
from bot.app.server import find_adapters, web_app
from bot.app.services import Services, open_services
from bot.app.settings import Settings
from bot.domain.events import MessageReceived
from bot.domain.prompts import Image
from bot.domain.turns import Reply
from bot.storage.studio.sessions import Sessions
from tests.adapters.studio.stand_ins import MemoryFeed, MemoryHistory, MemorySessions, ScriptedEngine
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


LOOK: Any = {"viewport": {"width": 1180, "height": 800}, "reduced_motion": "reduce"}


expect.set_options(timeout=1000 * PATIENCE_S)


@dataclass
class Studio:
    """A running studio and what stands behind it."""

    url: str
    adapter: StudioAdapter
    engine: ScriptedEngine
    event_stream: MemoryFeed
    history: MemoryHistory
    stop: Callable[[], Awaitable[None]]


def red_picture() -> bytes:
    """A small PNG."""
    picture = Pictures.new("RGB", (96, 96), "#f4e9e7")
    ImageDraw.Draw(picture).ellipse((20, 20, 76, 76), outline="#c62828", width=6)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def script(received: MessageReceived) -> Reply:
    """What the engine of these tests answers."""
    if received.text.startswith("/image"):
        alt = received.text.removeprefix("/image ")
        return Reply(text="", images=(Image(mime="image/png", data=red_picture(), alt=alt),), rate=True)
    if received.text.startswith("/code"):
        return Reply(text='Here it is:\n\n```python\nprint("hello")\n```\n\nThat is all.', rate=True)
    return Reply(
        text=f"You said: **{received.text}**. " + "And the answer goes on for a while. " * 4, rate=True
    )


async def start(
    token: str | None = None,
    port: int = 0,
    registration: Registration | None = None,
    sessions: Sessions | None = None,
) -> Studio:
    """A studio on a free port of 127.0.0.1. Studios with the same `sessions` are processes of one Parley."""
    event_stream, history = MemoryFeed(), MemoryHistory()
    engine = ScriptedEngine(script, history)
    entra = Entra(registration) if registration else None
    guard = Guard({"operator": SecretStr(token) if token else None}, entra, sessions or MemorySessions())
    adapter = StudioAdapter(event_stream, history, guard)
    engine.adapter = adapter
    app = web.Application()
    app.add_routes(adapter.routes(engine.accept))
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    await adapter.__aenter__()

    async def stop() -> None:
        await engine.end()
        await adapter.__aexit__(None, None, None)
        await runner.cleanup()

    return Studio(f"http://127.0.0.1:{runner.addresses[0][1]}", adapter, engine, event_stream, history, stop)


@pytest.fixture
async def studio() -> AsyncIterator[Studio]:
    """A studio for this machine only."""
    running = await start()
    yield running
    await running.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def served() -> AsyncIterator[Studio]:
    """The same for browser tests, on the loop of the browser."""
    running = await start()
    yield running
    await running.stop()


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium, Chrome, or Playwright's own; a missing one fails with what to install."""
    found = await asyncio.create_subprocess_exec(str(ROOT / ".ci" / "browser.sh"), stdout=-1, stderr=-1)
    path, words = await found.communicate()
    if found.returncode:
        pytest.fail(words.decode(), pytrace=False)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path.decode().strip(), args=FLAGS)
        yield browser
        await browser.close()


class Complaints(list[str]):
    """What the page complains of; a test empties it of what it provoked."""


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


async def new_tab(chromium: Browser) -> Page:
    """A page of a browser that nobody has used before; what breaks its content policy is an error."""
    context = await chromium.new_context(**LOOK)
    context.set_default_timeout(1000 * PATIENCE_S)
    page = await context.new_page()
    await page.add_init_script(
        "addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.violatedDirective))"
    )
    return page


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def tabs(chromium: Browser) -> AsyncIterator[list[Page]]:
    """The page that tests use one after the other: a new one costs seconds of a core."""
    kept: list[Page] = []
    yield kept
    for page in kept:
        await page.context.close()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> None:
    """What a test's page is served by, before the page: one that outlives its server complains of that."""
    for name in ("served", "locked", "address"):
        if name in request.fixturenames:
            request.getfixturevalue(name)


@asynccontextmanager
async def without_complaints(page: Page, complaints: Complaints) -> AsyncGenerator[Page]:
    """Fail at the end when the page has logged an error or a warning."""

    def note(received: ConsoleMessage) -> None:
        if received.type in ("error", "warning"):
            complaints.append(received.text)

    def note_error(error: Error) -> None:
        complaints.append(str(error))

    page.on("console", note)
    page.on("pageerror", note_error)
    yield page
    page.remove_listener("console", note)
    page.remove_listener("pageerror", note_error)
    assert complaints == []


@pytest_asyncio.fixture(loop_scope="session")
async def page(
    chromium: Browser, tabs: list[Page], complaints: Complaints, server: None
) -> AsyncIterator[Page]:
    """A page that must not log an error, and must not break its own content policy; it remembers nothing."""
    if not tabs:
        tabs.append(await new_tab(chromium))
    page = tabs.pop()
    async with without_complaints(page, complaints):
        yield page
        await forget(page)
    tabs.append(page)  # only a page that ended well is used again


async def forget(page: Page) -> None:
    """Make the page as new."""
    await page.unroute_all()
    if page.url.startswith("http"):
        await page.evaluate("localStorage.clear(); sessionStorage.clear()")
    await page.goto("about:blank")
    await page.context.clear_cookies()
    await page.set_viewport_size(LOOK["viewport"])
    await page.emulate_media(color_scheme="light", reduced_motion=LOOK["reduced_motion"])


@pytest_asyncio.fixture(loop_scope="session")
async def fresh_page(chromium: Browser, complaints: Complaints, server: None) -> AsyncIterator[Page]:
    """The same for a test that changes what can't be changed back, such as the clock."""
    page = await new_tab(chromium)
    async with without_complaints(page, complaints):
        yield page
        await page.context.close()


@dataclass
class Whole:
    """A whole Parley in this process, with the demo model, and its address."""

    url: str
    services: Services


@asynccontextmanager
async def whole_parley(folder: Path, **changes: object) -> AsyncGenerator[Whole]:
    """Web server, worker and a Redis of their own, as `parley serve` puts them together."""
    settings = Settings(_env_file=None, parley_data_dir=folder, port=0, **changes)  # pyright: ignore
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings, folder=folder))
        adapters = [await stack.enter_async_context(one) for one in find_adapters(services)]
        until = asyncio.Event()
        work = asyncio.create_task(services.worker(adapters).run(until))
        runner = web.AppRunner(web_app(services, adapters), shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield Whole(f"http://127.0.0.1:{runner.addresses[0][1]}", services)
        finally:
            until.set()
            await work
            for adapter in adapters:
                await adapter.__aexit__(None, None, None)
            await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def whole(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Whole]:
    """One Parley for all tests of the pages: each test makes what it looks for."""
    # All tests are one person, who asks more in a minute than people do.
    limits = "person: 100000 requests/minute"
    async with whole_parley(tmp_path_factory.mktemp("whole"), parley_limits=limits) as running:
        yield running
