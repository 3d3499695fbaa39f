"""The Playground's own page in Chromium: whether people see what Parley sends, and pictures of it."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import FloatRect, Page, Route, async_playwright, expect

ROOT = Path(__file__).parents[2]
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
_PATIENCE_MS = 30_000


async def _browser() -> str:
    """The path of a Chromium."""
    found = await asyncio.create_subprocess_exec(str(ROOT / ".ci" / "browser.sh"), stdout=-1)
    path, _ = await found.communicate()
    assert found.returncode == 0, "no browser"
    return path.decode().strip()


async def _refuse(route: Route) -> None:
    await route.abort()


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Page]:
    """The page, in the personal chat."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=await _browser(), args=_FLAGS)
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        # The page asks a server of its maker for fonts.
        await page.route(lambda asked: "127.0.0.1" not in asked, _refuse)
        await page.goto(url)
        await expect(page.get_by_text("Type a message").first).to_be_visible(timeout=_PATIENCE_MS)
        yield page
        await browser.close()


async def say(page: Page, text: str) -> None:
    """Write something, as a person does."""
    box = page.locator("[contenteditable=true]").first
    await box.click()
    await box.press_sequentially(text)
    await page.locator('button[title="Send Message"], button[aria-label="Send Message"]').last.click()


async def picture(page: Page, name: str, height: int) -> None:
    """Keep what is seen now, where PARLEY_PICTURES names a folder."""
    if folder := os.environ.get("PARLEY_PICTURES"):
        conversation: FloatRect = {"x": 331, "y": 49, "width": 618, "height": height}
        await page.screenshot(path=Path(folder) / f"{name}.png", clip=conversation)


async def look(url: str) -> list[str]:
    """What a person does on the page, and what was seen."""
    seen: list[str] = []
    async with opened(url) as page:
        await say(page, "usage")
        await expect(page.get_by_text("This month").last).to_be_visible(timeout=_PATIENCE_MS)
        await say(page, "What is 12 * (3 + 4)?")
        await expect(page.locator("strong", has_text="84").last).to_be_visible(timeout=_PATIENCE_MS)
        await say(page, "What date is it in 100 days?")
        again = page.get_by_role("button", name="Try again")
        await expect(again.last).to_be_visible(timeout=_PATIENCE_MS)
        await expect(page.get_by_text("AI generated").last).to_be_visible(timeout=_PATIENCE_MS)
        await picture(page, "teams-answer", 740)
        seen.append("on the page: a table, bold words, an answer with its label and its buttons")
        await say(page, "settings")
        save = page.get_by_role("button", name="Save").last
        await expect(save).to_be_visible(timeout=_PATIENCE_MS)
        await picture(page, "teams-settings", 694)
        await save.click()
        await expect(page.get_by_text("Saved.").last).to_be_visible(timeout=_PATIENCE_MS)
        seen.append("on the page: a card, and the same card in its place, saved")
    return seen
