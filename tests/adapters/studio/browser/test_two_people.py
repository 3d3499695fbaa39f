"""Two people at one studio, each in a browser of their own: what they see of each other, and delete."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.adapters.studio.browser.test_accessibility import faults
from tests.adapters.studio.browser.test_chat import say
from tests.adapters.studio.conftest import Whole, new_tab, whole_parley

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TOKENS = {
    "parley_studio_token": "the operator's long token",
    "parley_studio_viewer_token": "the viewer's long token",
}


@pytest_asyncio.fixture(loop_scope="session")
async def locked(tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole_parley(tmp_path, **TOKENS) as running:
        yield running


@asynccontextmanager
async def browsing(chromium: Browser) -> AsyncGenerator[Page]:
    """A browser that nobody has used before."""
    page = await new_tab(chromium)
    yield page
    await page.context.close()


async def sign_in(page: Page, whole: Whole, role: str, name: str, to: str = "/") -> None:
    await page.goto(whole.url + to)
    await page.get_by_label("Your name").fill(name)
    await page.get_by_label("Token").fill(f"the {role}'s long token")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#who")).to_contain_text(name)


async def ask(page: Page, text: str, answers: int) -> None:
    await say(page, text)
    await expect(page.get_by_role("button", name="Copy answer")).to_have_count(answers)


async def test_people_see_and_delete_only_their_own(chromium: Browser, locked: Whole) -> None:
    """Field faults 81 and 118: a viewer's "Forget!" deleted the operator's chats, which all could read."""
    async with browsing(chromium) as olga, browsing(chromium) as vic:
        await sign_in(olga, locked, "operator", "Olga")
        await ask(olga, "the operator's secret", 1)
        chat = olga.url.rpartition("/")[2]
        await sign_in(vic, locked, "viewer", "Vic")
        await expect(vic.get_by_text("secret")).to_have_count(0)
        await vic.goto(f"{locked.url}/{chat}")
        await expect(vic.locator("#banner")).to_contain_text("someone else")
        await expect(vic.locator(".question")).to_have_count(0)

        await ask(vic, "Forget!", 1)
        await expect(vic.get_by_role("dialog")).to_have_count(0)
        await ask(vic, "forget me", 2)
        box = vic.get_by_role("dialog", name="Delete all your data?")
        await expect(box).to_contain_text("1 conversation, 1 answer, 0 images")
        await expect(vic.get_by_role("button", name="Cancel")).to_be_focused()
        assert await faults(vic) == []
        await vic.keyboard.press("Escape")
        await expect(box).to_be_hidden()
        await expect(vic.locator(".question")).to_have_count(2)

        await say(vic, "forget me")
        await box.get_by_role("button", name="Delete").click()
        await expect(vic.locator(".answer").last).to_contain_text("I deleted 1 answer")
        await expect(vic.locator(".question")).to_have_count(1)
        await expect(vic.locator("#conversations li")).to_have_count(0)

        await olga.reload()
        await expect(olga.locator(".question p")).to_have_text(["the operator's secret"])
        await expect(olga.locator("#conversations li")).to_have_count(1)


async def test_one_browser_lists_each_persons_own_conversations(chromium: Browser, locked: Whole) -> None:
    """Field fault 118: two people on one browser saw each other's chats."""
    async with browsing(chromium) as page:
        await sign_in(page, locked, "viewer", "Ada")
        await ask(page, "a question of Ada's", 1)
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Your name")).to_have_value("Ada")
        assert await faults(page) == []
        await sign_in(page, locked, "viewer", "Bob")
        await expect(page.locator("#conversations li")).to_have_count(0)
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_role("button", name="Remove Bob from this browser").click()
        await expect(page.get_by_label("Your name")).to_have_value("")


async def test_a_name_is_changed_in_the_menu(chromium: Browser, locked: Whole) -> None:
    async with browsing(chromium) as page:
        await sign_in(page, locked, "viewer", "Ada")
        await ask(page, "hello", 1)
        before = page.url
        await page.get_by_text("Change your name").click()
        await page.get_by_label("Your name").fill("Ada Lovelace")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#who b")).to_have_text("Ada Lovelace")
        await expect(page.locator(".question p")).to_have_text(["hello"])
        assert page.url == before


async def test_an_older_list_keeps_only_own_conversations(chromium: Browser, locked: Whole) -> None:
    async with browsing(chromium) as page:
        await sign_in(page, locked, "viewer", "Ada")
        await ask(page, "mine", 1)
        mine = page.url.rpartition("#")[2]
        listed: list[dict[str, Any]] = [
            {"id": id, "title": id, "at": 1, "pending": {}} for id in (mine, "e" * 32)
        ]
        await page.evaluate(
            "old => { localStorage.clear(); localStorage.setItem('parley.conversations', old) }",
            json.dumps(listed),
        )
        await page.goto(locked.url)
        await expect(page.locator("#conversations li")).to_have_count(1)
        assert await page.locator("#conversations li").get_attribute("data-id") == mine
