"""The playground, as a person uses it: edit, try, look at what is sent, compare, share."""

import json
import re

import pytest
from playwright.async_api import Page, expect

from tests.adapters.studio.conftest import Whole

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


HEADS = ["Purpose", "Deployment", "Input + output tokens", "Cost"]


async def open_playground(page: Page, whole: Whole, rest: str = "") -> None:
    await page.goto(f"{whole.url}/studio/playground{rest}")
    await expect(page.locator("body[data-ready]")).to_be_visible()


async def say(page: Page, text: str) -> None:
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")


async def test_the_menu_leads_to_the_playground_and_back(page: Page, whole: Whole) -> None:
    await page.goto(whole.url)
    await page.get_by_role("link", name="Playground").click()
    await expect(page.get_by_role("heading", name="Playground")).to_be_visible()
    await expect(page.get_by_role("link", name="Playground")).to_have_attribute("aria-current", "page")
    await page.get_by_role("link", name="Chat").click()
    await expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()


async def test_an_answer_shows_its_deployment_and_prompt(page: Page, whole: Whole) -> None:
    await open_playground(page, whole)
    await say(page, "What is 12 * 12?")
    await expect(page.locator(".answer")).to_contain_text("144")
    await expect(page.locator(".cost")).to_contain_text("demo")
    await page.get_by_role("button", name="View prompt").click()
    sent = page.locator("#sent")
    await expect(sent.get_by_role("heading")).to_have_text("Prompt of this answer")
    await expect(sent.locator("li[data-role=user]").last).to_contain_text("What is 12 * 12?")
    await expect(sent.locator("li[data-role=system]")).to_contain_text("You are talking with the user")


async def test_the_cost_shows_each_call(page: Page, whole: Whole) -> None:
    """They were only in “What was sent”, not where a person looks for the cost."""
    await open_playground(page, whole)
    await say(page, "What is 13 * 13?")
    calls = page.get_by_role("region", name="Calls of this answer")
    await expect(page.locator("summary.cost")).to_contain_text("demo")
    await expect(calls).to_be_hidden()
    await page.locator("summary.cost").click()
    await expect(calls.get_by_role("columnheader")).to_have_text(HEADS)
    await expect(calls.locator("tbody tr").first.locator("td")).to_have_text(
        ["Playground", "demo-chat", re.compile(r"^[\d,]+ \+ [\d,]+$"), "free"]
    )


async def test_the_prompt_is_previewed_while_typing(page: Page, whole: Whole) -> None:
    await open_playground(page, whole)
    await page.get_by_role("tab", name="Prompt").click()
    await page.get_by_label("Message", exact=True).fill("a question not yet asked")
    last = page.locator("#sent .messages li").last
    await expect(last).to_contain_text("a question not yet asked")
    await expect(page.locator("#weight")).to_contain_text(re.compile(r"about [\d,]+ tokens"))


async def test_an_example_changes_the_answer(page: Page, whole: Whole) -> None:
    await open_playground(page, whole)
    await page.get_by_role("button", name="Add example").click()
    await page.get_by_label("Example 1: User").fill("zorblax?")
    await expect(page.locator("#examples output")).to_have_text("incomplete")
    await page.get_by_label("Example 1: Assistant").fill("A zorblax is a blue gadget.")
    await expect(page.locator("#examples output")).to_have_text(re.compile(r"\d+ tokens"))
    await say(page, "zorblax?")
    await expect(page.locator(".answer")).to_contain_text("A zorblax is a blue gadget.")


async def test_examples_are_put_in_order_by_keyboard(page: Page, whole: Whole) -> None:
    await open_playground(page, whole)
    for number in (1, 2):
        await page.get_by_role("button", name="Add example").click()
        await page.get_by_label(f"Example {number}: User").fill(f"question {number}")
    await page.get_by_role("button", name="Move example 2 up").press("Enter")
    await expect(page.get_by_label("Example 1: User")).to_have_value("question 2")
    await page.get_by_role("button", name="Remove example 1").press("Enter")
    await expect(page.get_by_label("Example 1: User")).to_have_value("question 1")
    await expect(page.locator("#examples li")).to_have_count(1)


async def test_a_placeholder_becomes_a_variable(page: Page, whole: Whole) -> None:
    await open_playground(page, whole)
    await page.get_by_label("System message").fill("You speak for {{company}}. Today is {{date}}.")
    await page.get_by_label("company").fill("Contoso")
    await expect(page.locator("#variables label")).to_have_count(1)
    await page.get_by_role("tab", name="Prompt").click()
    await expect(page.locator("#sent li[data-role=system]")).to_contain_text(
        re.compile(r"You speak for Contoso\. Today is \w+day 2")
    )


async def test_a_message_is_edited_and_an_answer_regenerated(page: Page, whole: Whole) -> None:
    await open_playground(page, whole)
    await say(page, "What is 2 + 2?")
    await expect(page.locator(".cost")).to_have_count(1)
    await say(page, "What is 3 + 4?")
    await expect(page.locator(".answer")).to_have_count(2)
    await expect(page.locator(".answer").last).to_contain_text("7")
    await page.locator("article").first.hover()
    await page.get_by_role("button", name="Edit message").first.click()
    await page.locator(".editor textarea").fill("What is 5 + 6?")
    await page.get_by_role("button", name="Save and resend").first.click()
    await expect(page.locator(".answer")).to_have_count(1)
    await expect(page.locator(".answer")).to_contain_text("11")


async def test_two_set_ups_answer_side_by_side(page: Page, whole: Whole) -> None:
    await open_playground(page, whole)
    await page.get_by_role("button", name="Compare").click()
    await page.get_by_label("Template").select_option("translate")
    await say(page, "What is 6 * 7?")
    first, second = page.locator(".side").first, page.locator(".side").last
    await expect(first.locator(".answer")).to_contain_text("42")
    await expect(second.get_by_text("B · translate")).to_be_visible()
    await expect(second.get_by_role("button", name="Copy answer")).to_be_visible()
    await page.get_by_role("button", name="Close configuration B").click()
    await expect(page.locator(".side")).to_have_count(1)


async def test_a_link_carries_the_whole_set_up(page: Page, whole: Whole) -> None:
    await open_playground(page, whole)
    await page.get_by_label("System message").fill("Speak like a pirate. Ünïcödé too.")
    await page.get_by_role("button", name="Copy link").click()
    await expect(page.get_by_text("Copied")).to_be_visible()
    link = page.url
    await page.evaluate("localStorage.clear()")
    await page.goto("about:blank")
    await page.goto(link)
    await expect(page.get_by_label("System message")).to_have_value("Speak like a pirate. Ünïcödé too.")


async def test_the_configuration_survives_a_reload_until_reset(page: Page, whole: Whole) -> None:
    await open_playground(page, whole)
    await page.get_by_label("System message").fill("Half a thought")
    await page.reload()
    await expect(page.get_by_label("System message")).to_have_value("Half a thought")
    await page.get_by_role("button", name="Reset to template").click()
    await expect(page.get_by_label("System message")).to_have_value(re.compile("You are Parley"))


async def test_view_code_shows_python_and_curl(page: Page, whole: Whole) -> None:
    await open_playground(page, whole)
    await page.get_by_label("Temperature", exact=True).fill("0.3")
    await page.get_by_label("Message", exact=True).fill("It's a 'quoted' question")
    await page.get_by_role("button", name="View code").click()
    body = page.locator("#code-body")
    await expect(body).to_contain_text("temperature=0.3")
    source = await body.locator("pre").inner_text()
    compile(source, "view code", "exec")
    await page.get_by_role("button", name="curl").click()
    await expect(body).to_contain_text('"temperature": 0.3')


async def test_a_stopped_answer_keeps_its_text(page: Page, whole: Whole) -> None:
    await open_playground(page, whole)
    await say(page, "Tell me about the demo " * 60)
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator(".answer em").last).to_have_text("Stopped.")
    await expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()


async def test_a_configuration_of_a_missing_template_is_dropped(page: Page, whole: Whole) -> None:
    await open_playground(page, whole)
    old = json.dumps([{"template": "no-such", "system": "x", "examples": []}])
    await page.evaluate(
        "old => localStorage.setItem(`parley.playground.${document.body.dataset.person}`, old)", old
    )
    await page.reload()
    await expect(page.get_by_label("Template")).to_have_value("assistant")
