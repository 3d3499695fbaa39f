"""Examples from a pool, in the playground."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.adapters.studio.browser.test_accessibility import faults
from tests.adapters.studio.conftest import Whole
from tests.adapters.studio.playground.test_playground import open_playground

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_examples_come_from_a_pool_the_nearest_first(page: Page, whole: Whole) -> None:
    await open_playground(page, whole)
    await page.get_by_label("Message", exact=True).fill("The office Wi-Fi is gone")
    await page.get_by_role("button", name="Add from pool…").click()
    items = page.locator("#pool-list li")
    await expect(items.first).to_contain_text("similarity")
    await expect(items.first).to_contain_text("Wi-Fi")
    assert await faults(page) == []
    first = await items.first.locator("b").inner_text()
    await items.first.get_by_role("button").press("Enter")
    await expect(items.first.get_by_role("button")).to_be_disabled()
    await page.get_by_label("Similar to").fill("")
    await expect(items.first).not_to_contain_text("similarity")
    await page.keyboard.press("Escape")
    await expect(page.get_by_label("Example 1: User")).to_have_value(first)
    await expect(page.locator("#examples output")).to_have_text(re.compile(r"\d+ tokens"))
