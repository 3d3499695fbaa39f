"""Takes the pictures of the studio in docs/, from `parley serve` with the built-in demo model.

python -m tests.screenshots docs
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright, expect

from tests.support.processes import free_port, listening, run

ROOT = Path(__file__).parents[1]
_FLAGS = ["--no-sandbox", "--disable-gpu"]
_PATIENCE_MS = 20_000
_CHATS = (
    ("My name is Ada, and I plan the office move.",),
    ("/support Nobody can hear me in the call.",),
    ("list: milk, bread, tea",),
    ("/translate to German: Could you send me the figures by Friday?", "/image a red bicycle"),
)
_RULES = "You answer for the front desk of {{company}}.\nBe brief and friendly."
_EXAMPLE = "How do I reset my badge?", "At the front desk, **before 17:00**. Bring your old badge."
_VERSIONS = (
    ("Three to six steps", "Three to five steps", "People stop reading after five steps", "all"),
    ("somebody who isn't technical", "somebody new to the settings", "Plainer words", "percent"),
)


async def take(folder: Path) -> None:
    """All pictures, each from the state that the one before left."""
    expect.set_options(timeout=_PATIENCE_MS)
    found = await asyncio.create_subprocess_exec(
        str(ROOT / ".ci" / "browser.sh"), stdout=asyncio.subprocess.PIPE
    )
    path, _ = await found.communicate()
    port = free_port()
    with tempfile.TemporaryDirectory() as data:
        env = {"PORT": str(port), "PARLEY_DATA_DIR": data, "PYTHONPATH": str(ROOT)}
        async with run([sys.executable, "-m", "bot", "serve"], env), async_playwright() as playwright:
            await listening(port)
            browser = await playwright.chromium.launch(executable_path=path.decode().strip(), args=_FLAGS)
            url = f"http://127.0.0.1:{port}"
            await _chat(await _page(browser), url, folder / "studio.png")
            await _playground(await _page(browser), url, folder / "playground.png")
            await _prompt(await _page(browser, dark=True), url, folder / "prompts.png")
            await browser.close()


async def _page(browser: Browser, *, dark: bool = False) -> Page:
    context = await browser.new_context(
        viewport={"width": 1240, "height": 960},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(_PATIENCE_MS)
    return await context.new_page()


async def _say(page: Page, text: str, answers: int) -> None:
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Copy answer")).to_have_count(answers)


async def _chat(page: Page, url: str, path: Path) -> None:
    for texts in _CHATS:
        await page.goto(url)
        for count, text in enumerate(texts, 1):
            await _say(page, text, count)
    await expect(page.locator(".answer img").last).to_be_visible()
    await page.screenshot(path=path)


async def _playground(page: Page, url: str, path: Path) -> None:
    await page.goto(f"{url}/studio/playground")
    await expect(page.locator("body[data-ready]")).to_be_visible()
    await page.get_by_label("System message").fill(_RULES)
    await page.get_by_label("company").fill("Contoso")
    await page.get_by_role("button", name="Add example").click()
    await page.get_by_label("Example 1: User").fill(_EXAMPLE[0])
    await page.get_by_label("Example 1: Assistant").fill(_EXAMPLE[1])
    for count, text in enumerate((_EXAMPLE[0], "What is 15% of 240?"), 1):
        await _say(page, text, count)
    await expect(page.locator(".cost")).to_have_count(2)
    await page.locator("#setup").evaluate("panel => panel.scrollTo(0, 0)")
    await page.screenshot(path=path)


async def _prompt(page: Page, url: str, path: Path) -> None:
    for before, after, reason, audience in _VERSIONS:
        await page.goto(f"{url}/studio/playground?template=support")
        await expect(page.locator("body[data-ready]")).to_be_visible()
        rules = page.get_by_label("System message")
        await rules.fill((await rules.input_value()).replace(before, after))
        await page.get_by_role("button", name="Publish…").click()
        await page.get_by_label("Reason").fill(reason)
        await page.get_by_label("Audience").select_option(audience)
        await page.get_by_role("button", name="Publish", exact=True).click()
        await expect(page.locator("#banner")).to_contain_text("is published")
    await page.goto(f"{url}/studio/prompts/support")
    await page.get_by_text("Changes").first.click()
    await page.screenshot(path=path)


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1])))
