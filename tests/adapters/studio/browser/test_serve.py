"""The studio as one starts it: `parley serve` with nothing set up, and a browser."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.adapters.studio.conftest import PATIENCE_S

WIDTH = "image => image.decode().then(() => image.naturalWidth)"

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """Where a fresh Parley shows its studio; it is ended politely, and must end by itself."""
    settings = {"PORT": "0", "PARLEY_DATA_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "serve", stdout=asyncio.subprocess.PIPE, env=settings
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := re.search(rb"studio +(http://\S+)", await process.stdout.readline())):
                assert process.returncode is None
        yield found[1].decode()
    finally:
        process.terminate()
        async with asyncio.timeout(PATIENCE_S):
            await process.communicate()
    assert process.returncode == 0


async def test_a_person_talks_to_the_demo_model(page: Page, address: str) -> None:
    await page.goto(address)
    box = page.get_by_label("Message", exact=True)
    await box.fill("Hello, who are you?")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    await expect(page.locator(".answer")).to_contain_text("demo model")

    await box.fill("/image a red bicycle")
    await page.keyboard.press("Enter")
    picture = page.get_by_role("img", name="a red bicycle")
    assert await picture.evaluate(WIDTH) > 100

    await page.reload()
    await expect(page.locator(".question p")).to_have_text(["Hello, who are you?", "/image a red bicycle"])
    await expect(page.locator(".answer").first).to_contain_text("demo model")
    assert await picture.evaluate(WIDTH) > 100
