"""Conversations and feedback, as an operator reads them."""

import asyncio
import re

import pytest
from playwright.async_api import Page, expect

from tests.adapters.studio.conftest import PATIENCE_S, Whole
from tests.adapters.studio.playground.test_playground import say

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def ask(page: Page, whole: Whole, text: str) -> None:
    await page.goto(whole.url)
    await say(page, text)
    await expect(page.get_by_role("button", name="Good answer")).to_be_visible()


async def search(page: Page, whole: Whole, words: str) -> None:
    await page.goto(f"{whole.url}/studio/log")
    await page.get_by_label("Search").fill(words)
    await page.keyboard.press("Enter")


async def found(page: Page, whole: Whole, words: str) -> None:
    """Search until it is listed: an answer is shown a moment before it is."""
    async with asyncio.timeout(PATIENCE_S):
        await search(page, whole, words)
        await expect(page).to_have_url(re.compile(r"\?q="))
        while not await page.locator(".list li").count():
            await page.reload()


async def test_search_finds_a_conversation_and_its_prompt(
    page: Page, whole: Whole, caplog: pytest.LogCaptureFixture
) -> None:
    await ask(page, whole, "What is 17 * 3? Porcupine.")
    await found(page, whole, "porcuPINE")
    await expect(page.locator(".list li")).to_have_count(1)
    with caplog.at_level("INFO", logger="adapters.studio.pages.conversations"):
        await page.get_by_role("link", name="What is 17 * 3? Porcupine.").click()
        await expect(page.locator(".record .answer")).to_contain_text("51")
    assert "was read in the studio" in caplog.text
    assert "orcupine" not in caplog.text
    await page.get_by_role("link", name="View prompt").click()
    await expect(page.locator(".messages li[data-role=system]").first).to_contain_text("You are Parley")
    await expect(page.locator(".messages li[data-role=user]").last).to_contain_text("Porcupine")


async def test_a_conversation_lists_the_calls(page: Page, whole: Whole) -> None:
    await ask(page, whole, "What is 23 * 3? Pangolin.")
    await found(page, whole, "pangolin")
    await page.get_by_role("link", name="What is 23 * 3? Pangolin.").click()
    calls = page.get_by_role("region", name="Calls of this answer")
    await expect(calls).to_be_hidden()
    await page.get_by_text("1 call", exact=True).click()
    await expect(calls.locator("tbody tr td:nth-child(2)")).to_have_text(["demo-chat"])
    await expect(calls.locator("tbody tr td").last).to_have_text("free")


async def test_words_that_nobody_said_are_not_found(page: Page, whole: Whole) -> None:
    await search(page, whole, "xylophonist")
    await expect(page.get_by_text("No results for “xylophonist”")).to_be_visible()


async def test_a_good_answer_becomes_an_example_after_review(page: Page, whole: Whole) -> None:
    await ask(page, whole, "What is 19 * 3? Armadillo.")
    await page.get_by_role("button", name="Good answer").click()
    await expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    record = page.locator(".record").filter(has_text="Armadillo")
    async with asyncio.timeout(PATIENCE_S):
        await page.goto(f"{whole.url}/studio/feedback?rated=good")
        while not await record.count():
            await page.reload()
    await record.get_by_role("button", name="Propose as example").click()
    await page.get_by_label("Assistant").fill("Fifty-seven, said the armadillo.")
    await page.get_by_role("button", name="Accept").click()
    await expect(page.get_by_text("To review")).to_have_count(0)
    pool = whole.services.library.registry.pools()["support"]
    assert any(one.assistant == "Fifty-seven, said the armadillo." for one in pool)


async def test_a_refused_command_is_listed_as_refused(page: Page, whole: Whole) -> None:
    await ask(page, whole, "What is 21 * 3? Ocelot.")
    await say(page, "/prompt ocelot")
    await expect(page.locator(".answer").last).to_contain_text("There is no")
    await found(page, whole, "/prompt ocelot")
    note = page.locator(".list li .note").first
    await expect(note).to_contain_text("studio · /prompt · 2 turns")
    await page.locator(".list a").first.click()
    await expect(page.locator(".tag.bad")).to_have_text("refused: not allowed")


async def test_bad_ratings_are_listed_apart(page: Page, whole: Whole) -> None:
    await page.goto(f"{whole.url}/studio/feedback?rated=bad")
    await expect(page.get_by_role("link", name="Bad")).to_have_attribute("aria-current", "true")


async def test_an_answer_is_watched_while_it_is_written(
    page: Page, whole: Whole, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="adapters.studio.pages.live"):
        await page.goto(f"{whole.url}/studio/log")
        await page.get_by_role("link", name="In progress").click()
        await expect(page.get_by_text("No answers in progress")).to_be_visible()
    assert "were watched in the studio" in caplog.text
    asker = await page.context.new_page()
    await asker.goto(whole.url)
    await say(asker, "Tell me about pangolins.")
    row = page.locator("#scenes li").filter(has_text="Tell me about pangolins.")
    await expect(row).to_contain_text("assistant · demo-chat")
    await expect(row.locator("pre")).to_contain_text("demo model")
    await expect(row).to_contain_text("Finished after")
    await asker.close()
    await row.get_by_role("link", name="Open conversation").click()
    await expect(page.locator(".record .question")).to_contain_text("Tell me about pangolins.")


async def test_images_are_thumbnails_and_opening_is_logged(
    page: Page, whole: Whole, caplog: pytest.LogCaptureFixture
) -> None:
    await ask(page, whole, "/image a yellow kite")
    await found(page, whole, "yellow kite")
    await page.get_by_role("link", name="yellow kite").click()
    picture = page.get_by_role("list", name="Images in the answer").get_by_role("img")
    width = "image => image.decode().then(() => image.naturalWidth)"
    assert 0 < await picture.evaluate(width) <= 320
    link = page.get_by_role("list", name="Images in the answer").get_by_role("link")
    with caplog.at_level("INFO", logger="adapters.studio.pages.conversations"):
        answer = await page.request.get(whole.url + (await link.get_attribute("href") or ""))
    assert answer.headers["content-type"] == "image/png"
    assert "a picture of studio:" in caplog.text
    assert (await page.request.get(f"{whole.url}/studio/pictures?conversation=x&ref=y")).status == 404
