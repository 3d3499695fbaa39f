"""Set-ups that are saved on the server: by name, for oneself or for all editors, behind a link."""

import asyncio
import re

import pytest
from aiohttp import ClientSession
from playwright.async_api import Page, Route, expect

from tests.adapters.studio.browser.test_accessibility import faults
from tests.adapters.studio.conftest import Complaints, Whole
from tests.adapters.studio.playground.test_playground import open_playground

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PATH = "/studio/playground/saved"


async def test_a_stale_list_takes_no_clicks(page: Page, whole: Whole) -> None:
    """A new name that was begun in the old list was lost when the new one came."""
    await open_playground(page, whole)
    await page.get_by_role("button", name="Saved", exact=True).click()
    await page.get_by_label("Save current configurations as").fill("Pirates")
    await page.keyboard.press("Enter")
    sheet = page.locator("#saved")
    await page.get_by_role("button", name="Saved", exact=True).click()
    await expect(sheet.locator("li")).to_have_count(1)
    await page.keyboard.press("Escape")
    asked, go = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        asked.set()
        await go.wait()
        await route.continue_()

    await page.route(f"**{PATH}", hold)
    await page.get_by_role("button", name="Saved", exact=True).click()
    await asked.wait()
    await expect(sheet.locator("li")).to_have_count(0)
    go.set()
    await expect(sheet.locator("li")).to_have_count(1)
    await sheet.get_by_role("button", name="Delete “Pirates”").click()
    await sheet.get_by_role("button", name="Delete", exact=True).click()
    await expect(sheet.get_by_text("Nothing saved yet")).to_be_visible()


async def test_a_configuration_is_saved_opened_renamed_and_deleted(page: Page, whole: Whole) -> None:
    await open_playground(page, whole)
    system, sheet = page.get_by_label("System message"), page.locator("#saved")
    await system.fill("Speak like a pirate.")
    await page.get_by_role("button", name="Compare").click()
    await page.get_by_role("button", name="Saved", exact=True).click()
    await expect(sheet.get_by_text("Nothing saved yet")).to_be_visible()
    assert await faults(page) == []
    await page.get_by_label("Save current configurations as").fill("Pirates")
    await page.keyboard.press("Enter")
    await expect(page.locator("#banner")).to_contain_text("Saved as “Pirates”. Only you can open it.")

    await page.evaluate("localStorage.clear()")
    await open_playground(page, whole)
    await expect(system).not_to_have_value("Speak like a pirate.")
    await page.get_by_role("button", name="Saved", exact=True).click()
    assert await faults(page) == []
    await expect(sheet.locator("li .note")).to_contain_text("the studio's operator")
    await sheet.get_by_role("button", name="Pirates", exact=True).click()
    await expect(system).to_have_value("Speak like a pirate.")
    await expect(page.locator(".side")).to_have_count(2)

    await system.fill("Speak like a sailor.")
    await page.get_by_role("button", name="Saved", exact=True).click()
    await expect(page.get_by_label("Save current configurations as")).to_have_value("Pirates")
    await page.get_by_role("button", name="Replace").click()
    await page.get_by_role("button", name="Saved", exact=True).click()
    await sheet.get_by_role("button", name="Rename “Pirates”").click()
    await page.get_by_label("New name of “Pirates”").fill("Sailors")
    await page.keyboard.press("Enter")
    await sheet.get_by_role("button", name="Share “Sailors”").click()
    await expect(sheet.locator("li .note")).to_contain_text("shared with all editors")
    await sheet.get_by_role("button", name="Copy link to “Sailors”").click()
    id = await sheet.locator("li").get_attribute("data-id")

    await page.evaluate("localStorage.clear()")
    await open_playground(page, whole, f"?saved={id}")
    await expect(system).to_have_value("Speak like a sailor.")
    await expect(page).to_have_url(re.compile("/studio/playground$"))
    await page.get_by_role("button", name="Saved", exact=True).click()
    await sheet.get_by_role("button", name="Delete “Sailors”").click()
    await sheet.get_by_role("button", name="Delete for everyone").click()
    await expect(sheet.get_by_text("Nothing saved yet")).to_be_visible()


async def test_a_link_to_what_is_deleted_says_so(page: Page, whole: Whole, complaints: Complaints) -> None:
    await open_playground(page, whole, "?saved=0123")
    await expect(page.locator("#banner")).to_have_text(re.compile("doesn't exist or belongs to someone else"))
    complaints.clear()


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "setups": []},
        {"name": "x", "setups": [{"template": "assistant"}] * 4},
        {"name": "x", "setups": [{"template": "assistant", "unknown": 1}]},
        {"name": "", "setups": [{"template": "assistant"}]},
        {"name": "x" * 81, "setups": [{"template": "assistant"}]},
    ],
)
async def test_what_is_no_set_up_is_not_saved(whole: Whole, body: object) -> None:
    async with ClientSession(headers={"X-Parley": "studio"}) as http:
        response = await http.post(whole.url + PATH, json=body)
        assert response.status in (400, 409)
        assert (await response.json())["words"]
        assert (await (await http.get(whole.url + PATH)).json())["saved"] == []
