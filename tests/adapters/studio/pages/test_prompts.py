"""Publishing from the playground, versions and roll-back, import and export of set-ups."""

import asyncio
import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from playwright.async_api import Page, expect

from bot.prompts.editing import PromptEditor
from tests.adapters.studio.conftest import Complaints, Whole
from tests.adapters.studio.playground.test_playground import open_playground, say

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_published_prompt_applies_until_reverted(page: Page, whole: Whole) -> None:
    await open_playground(page, whole, "?template=summarise")
    await page.get_by_role("button", name="Add example").click()
    last = await page.locator("#examples li").count()
    await page.get_by_label(f"Example {last}: User").fill("quuxify?")
    await page.get_by_label(f"Example {last}: Assistant").fill("Quuxified by the studio.")
    await page.get_by_role("button", name="Publish…").click()
    await page.get_by_label("Reason").fill("People ask about quux")
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.locator("#banner")).to_contain_text("is published for everyone")

    await page.goto(whole.url)
    await say(page, "/summarise quuxify?")
    await expect(page.locator(".answer")).to_contain_text("Quuxified by the studio.")

    await page.goto(f"{whole.url}/studio/prompts")
    await page.get_by_role("link", name="summarise").click()
    await expect(page.locator(".versions")).to_contain_text("People ask about quux")
    await page.get_by_text("Changes").click()
    await expect(page.locator(".versions .h-gi").filter(has_text="Quuxified")).to_be_visible()
    await page.get_by_role("button", name="Revert to file").click()
    await expect(page.locator(".versions")).to_contain_text("reverted to file")
    await expect(page.locator(".column > .body")).not_to_contain_text("Quuxified")
    await page.goto(whole.url)
    await say(page, "/summarise quuxify?")
    await expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    await expect(page.locator(".answer")).not_to_contain_text("Quuxified")


async def test_publishing_requires_a_reason(page: Page, whole: Whole, complaints: Complaints) -> None:
    await open_playground(page, whole)
    await page.get_by_label("System message").fill("Hello {{")
    await page.get_by_role("button", name="Publish…").click()
    await page.get_by_label("Reason").fill(" ")
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.locator("#publish-words")).not_to_be_empty()
    complaints.clear()


async def test_an_azure_setup_is_imported_and_exported(page: Page, whole: Whole, tmp_path: Path) -> None:
    setup = {
        "systemPrompt": "You are Xbot.",
        "fewShotExamples": [{"userInput": "Hi", "chatbotResponse": "Hello from Xbot"}],
        "chatParameters": {"temperature": 0.4, "pastMessagesToInclude": 6, "maxResponseLength": 350},
        "savedBy": "a field that only Azure knows",
    }
    file = tmp_path / "setup.json"
    file.write_text(json.dumps(setup))
    await open_playground(page, whole)
    await page.locator("#file").set_input_files(file)
    await expect(page.get_by_label("System message")).to_have_value("You are Xbot.")
    await expect(page.get_by_label("Example 1: Assistant")).to_have_value("Hello from Xbot")
    await expect(page.get_by_label("Temperature", exact=True)).to_have_value("0.4")
    await expect(page.get_by_label("Past messages included")).to_have_value("6")
    async with page.expect_download() as coming:
        await page.get_by_label("Export").select_option("json")
    exported = json.loads(await asyncio.to_thread(Path(await (await coming.value).path()).read_text))
    assert exported["systemPrompt"] == "You are Xbot."
    assert exported["fewShotExamples"] == setup["fewShotExamples"]
    assert exported["chatParameters"]["temperature"] == 0.4
    assert exported["savedBy"] == setup["savedBy"]


async def test_an_invalid_setup_file_is_refused(
    page: Page, whole: Whole, tmp_path: Path, complaints: Complaints
) -> None:
    (tmp_path / "x.json").write_text("[1, 2")
    await open_playground(page, whole)
    await page.locator("#file").set_input_files(tmp_path / "x.json")
    await expect(page.locator("#banner")).to_be_visible()
    complaints.clear()


async def test_a_prompty_is_imported_with_its_pool(page: Page, whole: Whole, tmp_path: Path) -> None:
    text = """---
description: From a file
metadata:
  parley:
    pool: support
    shots: 2
---
system:
Be brief.
"""
    file = tmp_path / "mine.prompty"
    await asyncio.to_thread(file.write_text, text)
    await open_playground(page, whole, "?template=summarise")
    await page.locator("#file").set_input_files(file)
    await expect(page.get_by_label("System message")).to_have_value("Be brief.")
    await expect(page.locator("#about")).to_have_text("From a file · 2 nearest of the pool “support”")
    await page.get_by_label("Message", exact=True).fill("The office Wi-Fi is gone")
    await page.get_by_role("tab", name="Prompt").click()
    # The system message, the examples in one message, who asks, and the question.
    await expect(page.locator("#sent li")).to_have_count(4)
    async with page.expect_download() as coming:
        await page.get_by_role("tab", name="Configuration").click()
        await page.get_by_label("Export").select_option("prompty")
    exported = await asyncio.to_thread(Path(await (await coming.value).path()).read_text)
    assert "pool: support" in exported
    assert "description: From a file" in exported


async def test_a_file_naming_a_missing_pool_is_refused(
    page: Page, whole: Whole, tmp_path: Path, complaints: Complaints
) -> None:
    file = tmp_path / "mine.prompty"
    await asyncio.to_thread(file.write_text, "---\nmetadata: {parley: {pool: gone, shots: 1}}\n---\nHi.\n")
    await open_playground(page, whole)
    await page.locator("#file").set_input_files(file)
    await expect(page.locator("#banner")).to_contain_text("the pool “gone”, which does not exist here")
    complaints.clear()


async def test_publishing_warns_before_overwriting_a_newer_version(page: Page, whole: Whole) -> None:
    await open_playground(page, whole, "?template=translate")
    await page.get_by_label("System message").fill("Translate into verse.")
    theirs = whole.services.library.registry.active("translate").template
    assert theirs is not None
    theirs = replace(theirs, system="Translate into prose.")
    await PromptEditor(whole.services.library).publish(theirs, author="Bob", reason="Prose is plainer")
    await page.get_by_role("button", name="Publish…").click()
    await page.get_by_label("Reason").fill("Verse")
    await page.get_by_role("button", name="Publish", exact=True).click()
    told = page.locator("#publish-words")
    await expect(told).to_contain_text("by Bob, “Prose is plainer”")
    counts = whole.services.library.registry.active("translate").template
    assert counts is not None
    assert counts.system == theirs.system
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.locator("#banner")).to_contain_text("is published for everyone")

    await page.get_by_role("button", name="Publish…").click()
    await page.get_by_label("Reason").fill("Once more: nobody was faster")
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.locator("#banner")).to_contain_text("is published for everyone")
    await page.get_by_role("link", name="View versions").click()
    await page.get_by_role("button", name="Revert to file").click()
    await expect(page.locator(".versions")).to_contain_text("reverted to file")


async def test_ending_a_trial_keeps_the_active_version(page: Page, whole: Whole) -> None:
    press = PromptEditor(whole.services.library)
    template = whole.services.library.registry.active("translate").template
    assert template is not None
    kept = replace(template, system="Translate plainly.")
    await press.publish(kept, author="Bob", reason="Plainer")
    await press.publish(replace(template, system="Sing."), author="Bob", reason="Song", percent=10)
    await page.goto(f"{whole.url}/studio/prompts/translate")
    await expect(page.locator(".versions .tag.warm")).to_have_text("trial")
    await page.get_by_role("button", name="End trial").click()
    await expect(page.locator(".versions .tag.warm")).to_have_count(0)
    held = whole.services.library.registry.active("translate")
    assert held.trial is None
    assert held.template is not None
    assert held.template.system == kept.system
    await page.get_by_role("button", name="Revert to file").click()
    await expect(page.locator(".versions")).to_contain_text("reverted to file")
