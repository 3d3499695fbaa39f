"""local-slack's own page in Chromium: whether people see what Parley sends, and pictures of it."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import FloatRect, Page, async_playwright, expect

from tests.emulators.local_slack import Fields, LocalSlack

ROOT = Path(__file__).parents[2]
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
_PATIENCE_MS = 30_000


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Page]:
    """The page, as Alice sees it."""
    found = await asyncio.create_subprocess_exec(str(ROOT / ".ci" / "browser.sh"), stdout=-1)
    path, _ = await found.communicate()
    assert found.returncode == 0, "no browser"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path.decode().strip(), args=_FLAGS)
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        await page.goto(url)
        yield page
        await browser.close()


async def look(slack: LocalSlack) -> list[str]:
    """What a person does on the page, and what was seen.

    The page knows neither `markdown` nor `context_actions` blocks: of answers it shows the other buttons.
    """
    seen: list[str] = []
    async with opened(slack.base) as page:
        await page.get_by_text("repl").first.click()
        for words in ("Try again", "What did you send?"):
            await expect(page.get_by_role("button", name=words).first).to_be_visible(timeout=_PATIENCE_MS)
        seen.append("on the page: an answer's buttons")
        await page.locator("button.sidebar-item", has_text="parley").last.click()
        await expect(page.get_by_text("Your data")).to_be_visible(timeout=_PATIENCE_MS)
        prompts = page.locator("select", has=page.locator("option", has_text="translate"))
        await prompts.last.select_option(label="translate")
        await slack.until("the choice in a home tab", lambda: _chosen(slack) == "=translate")
        await prompts.last.select_option(label="Automatic")
        await slack.until("the choice taken back", lambda: _chosen(slack) == "=")
        seen.append("on the page: a home tab, a choice that was made there, and taken back")
        if folder := os.environ.get("PARLEY_PICTURES"):
            home: FloatRect = {"x": 220, "y": 44, "width": 700, "height": 560}
            await page.screenshot(path=Path(folder) / "slack-home.png", clip=home)
    return seen


def _chosen(slack: LocalSlack) -> str:
    """What the home tab that was published last says of the template."""
    views: list[Fields] = [args["view"] for method, args, _ in slack.calls if method == "views.publish"]
    menus = [block["accessory"] for block in views[-1]["blocks"] if "accessory" in block] if views else []
    return str(menus[0]["initial_option"]["value"]) if menus else ""
