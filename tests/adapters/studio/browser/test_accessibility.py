"""Everybody can use the pages: axe finds nothing serious, the first view is small, nothing jumps."""

import asyncio
import re
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.async_api import Page, expect

from tests.adapters.studio.conftest import Whole
from tests.adapters.studio.pages.test_conversations import ask
from tests.adapters.studio.playground.test_playground import open_playground, say

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
PATHS = (
    "/",
    "/studio/playground",
    "/studio/images",
    "/studio/embeddings",
    "/studio/log",
    "/studio/feedback",
    "/studio/prompts",
    "/studio/prompts/translate",
    "/studio/channels",
    "/studio/evaluations",
    "/studio/usage",
    "/studio/deployments",
)
LIVE = "/studio/live"
"""Holds a stream open: it never comes to rest."""
MOST_FIRST_BYTES = 200_000


async def faults(page: Page) -> list[str]:
    """What axe finds serious or critical, with the element; it runs beside the page's own policy."""
    session: Any = await page.context.new_cdp_session(page)
    script = await asyncio.to_thread(AXE.read_text)
    await session.send("Runtime.evaluate", {"expression": script})
    answer: dict[str, Any] = await session.send(
        "Runtime.evaluate",
        {"expression": "axe.run()", "awaitPromise": True, "returnByValue": True},
    )
    await session.detach()
    return [
        f"{found['id']}: {node['html'][:150]}"
        for found in answer["result"]["value"]["violations"]
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious_on_any_page(page: Page, whole: Whole, scheme: str) -> None:
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await ask(page, whole, "What is 31 * 3?")
    found = {"answer": await faults(page)}
    for path in (*PATHS, LIVE):
        await page.goto(whole.url + path)
        await expect(page.locator("#title")).to_be_visible()
        found[path] = await faults(page)
    await page.goto(f"{whole.url}/studio/log")
    await page.locator(".list a").first.click()
    found["conversation"] = await faults(page)
    assert {where: what for where, what in found.items() if what} == {}


async def test_axe_finds_nothing_in_a_busy_playground(page: Page, whole: Whole) -> None:
    await open_playground(page, whole)
    await page.get_by_role("button", name="Add example").click()
    await page.get_by_role("button", name="Compare").click()
    await say(page, "What is 37 * 3?")
    await expect(page.locator(".cost")).to_have_count(2)
    assert await faults(page) == []
    await page.get_by_role("tab", name="Prompt").click()
    await expect(page.locator("#sent li").first).to_be_visible()
    assert await faults(page) == []
    await page.get_by_role("button", name="View code").click()
    assert await faults(page) == []


async def test_pages_load_small_and_without_layout_shift(fresh_page: Page, whole: Whole) -> None:
    page, sizes = fresh_page, list[int]()

    async def weigh(response: Any) -> None:
        if response.ok:  # a redirect has no body
            sizes.append(len(await response.body()))

    page.on("response", weigh)
    await page.add_init_script(
        "globalThis.jumped = 0; new PerformanceObserver((list) => {"
        " for (const entry of list.getEntries()) globalThis.jumped += entry.value;"
        "}).observe({ type: 'layout-shift', buffered: true })"
    )
    for path in PATHS:
        sizes.clear()
        await page.goto(whole.url + path, wait_until="networkidle")
        assert 0 < sum(sizes) < MOST_FIRST_BYTES, path
        assert await page.evaluate("() => globalThis.jumped") < 0.05, path


async def test_the_whole_menu_is_reached_by_keyboard(page: Page, whole: Whole) -> None:
    await page.goto(f"{whole.url}/studio/usage")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    links = page.get_by_role("navigation", name="Pages").get_by_role("link")
    for place in range(await links.count()):
        await page.keyboard.press("Tab")
        await expect(links.nth(place)).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/studio/deployments$"))


async def test_no_page_is_wider_than_a_phone(page: Page, whole: Whole) -> None:
    await page.set_viewport_size({"width": 390, "height": 800})
    for path in (*PATHS, LIVE):
        await page.goto(whole.url + path)
        await expect(page.locator("#title")).to_be_visible()
        width = await page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= 390, path


async def test_a_playground_at_work_fits_a_phone(page: Page, whole: Whole) -> None:
    await page.set_viewport_size({"width": 390, "height": 800})
    await open_playground(page, whole)
    await page.get_by_role("button", name="Compare").click()
    await say(page, "What is 41 * 3?")
    await expect(page.locator(".cost")).to_have_count(2)
    assert await page.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert await faults(page) == []
    await page.get_by_role("button", name="Show configuration").click()
    assert await faults(page) == []
    assert await page.evaluate("() => document.documentElement.scrollWidth") <= 390
