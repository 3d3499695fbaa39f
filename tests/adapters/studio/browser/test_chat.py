"""A person at the studio: what they do, and what they see."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.adapters.studio.conftest import Complaints, Studio, start

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def say(page: Page, text: str) -> None:
    """Also on a page that a click has just opened: before its scripts are loaded, Enter only breaks the line."""
    box = page.get_by_label("Message", exact=True)
    await box.wait_for()
    await page.wait_for_load_state()
    await box.fill(text)
    await page.keyboard.press("Enter")


async def test_a_suggestion_is_sent_with_a_click(page: Page, served: Studio) -> None:
    await page.goto(served.url)
    await expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    await page.get_by_role("button", name="Create an image").click()
    await expect(page.get_by_role("img", name="a red bicycle")).to_be_visible()
    await expect(page.get_by_role("heading", name="What can I do for you?")).to_be_hidden()


async def test_a_typed_message_is_answered_while_one_reads(page: Page, served: Studio) -> None:
    served.engine.guard.clear()
    await page.goto(served.url)
    await say(page, "good morning")
    answer = page.locator(".answer")
    await expect(answer.locator("strong")).to_have_text("good morning")
    await expect(answer).to_have_attribute("aria-busy", "true")
    served.engine.guard.set()
    await expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    assert (await answer.inner_text()).count("You said: good morning.") == 1
    await expect(page.locator("#spoken")).to_contain_text("You said: good morning.")
    await expect(page.get_by_label("Message", exact=True)).to_be_focused()


async def test_a_reload_keeps_the_streaming_answer(page: Page, served: Studio) -> None:
    await page.goto(served.url)
    await say(page, "first")
    await expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    served.engine.guard.clear()
    await say(page, "second")
    await expect(page.locator(".writing strong")).to_have_text("second")
    await page.reload()
    await expect(page.locator(".question p")).to_have_text(["first", "second"])
    await expect(page.locator(".writing strong")).to_have_text("second")
    served.engine.guard.set()
    await expect(page.get_by_role("button", name="Copy answer")).to_have_count(2)
    await page.reload()
    await expect(page.locator(".question p")).to_have_text(["first", "second"])
    await expect(page.locator(".answer strong")).to_have_text(["first", "second"])


async def test_shift_enter_breaks_lines_and_escape_stops(page: Page, served: Studio) -> None:
    served.engine.guard.clear()
    await page.goto(served.url)
    box = page.get_by_label("Message", exact=True)
    await box.fill("one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("two")
    await page.keyboard.press("Enter")
    await expect(page.locator(".question p")).to_have_text("one\ntwo", use_inner_text=True)
    await expect(page.get_by_role("button", name="Stop")).to_be_enabled()
    await expect(page.locator(".writing")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator(".answer em")).to_have_text("Stopped.")
    await expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()


async def test_an_unsent_message_is_kept_and_retried(
    page: Page, served: Studio, complaints: Complaints
) -> None:
    served.engine.away = True
    await page.goto(served.url)
    await say(page, "precious words")
    await expect(page.get_by_role("alert")).to_contain_text("Storage is unavailable")
    await page.reload()
    await expect(page.locator(".question p")).to_have_text("precious words")
    served.engine.away = False
    await page.get_by_role("button", name="Retry").click()
    await expect(page.locator(".answer strong")).to_have_text("precious words")
    await expect(page.get_by_role("alert")).to_have_count(0)
    await expect(page.locator("article")).to_have_count(1)
    assert [text for text in complaints if "503" not in text] == []
    complaints.clear()


async def test_a_busy_conversation_keeps_the_message(
    page: Page, served: Studio, complaints: Complaints
) -> None:
    served.engine.busy = True
    await page.goto(served.url)
    await say(page, "one more")
    await expect(page.get_by_role("alert")).to_contain_text("Too many messages are waiting")
    await expect(page.locator(".question p")).to_have_text("one more")
    assert [text for text in complaints if "429" not in text] == []
    complaints.clear()


async def test_an_answer_resumes_after_a_lost_connection(
    page: Page, served: Studio, complaints: Complaints
) -> None:
    served.engine.guard.clear()
    await page.goto(served.url)
    await say(page, "hold on")
    await expect(page.locator(".writing strong")).to_have_text("hold on")
    await served.event_stream.leave()
    await expect(page.get_by_text("Connection lost")).to_be_visible()
    served.event_stream.away = False
    served.engine.guard.set()
    await expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    await expect(page.get_by_text("Connection lost")).to_be_hidden()
    assert (await page.locator(".answer").inner_text()).count("You said: hold on.") == 1
    complaints.clear()


async def test_a_late_frame_changes_nothing(page: Page, served: Studio) -> None:
    await page.goto(served.url)
    await say(page, "hello")
    await expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    ((channel, frames),) = served.event_stream.frames.items()
    late = next(frame for frame in frames if b'"kind":"text"' in frame)
    await served.event_stream.publish(channel, late)
    await say(page, "still there?")
    await expect(page.get_by_role("button", name="Copy answer")).to_have_count(2)
    await expect(page.locator("[aria-busy]")).to_have_count(0)


async def test_code_and_answers_are_copied(fresh_page: Page, served: Studio) -> None:
    page = fresh_page
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.goto(served.url)
    await say(page, "/code")
    await page.get_by_role("button", name="Copy answer").click()
    assert "```python" in await page.evaluate("navigator.clipboard.readText()")
    await page.get_by_role("button", name="Copy code").click()
    assert await page.evaluate("navigator.clipboard.readText()") == 'print("hello")\n'


async def test_a_rating_survives_a_reload(page: Page, served: Studio) -> None:
    await page.goto(served.url)
    await say(page, "rate me")
    good = page.get_by_role("button", name="Good answer")
    await good.click()
    await expect(good).to_have_attribute("aria-pressed", "true")
    await page.reload()
    await expect(good).to_have_attribute("aria-pressed", "true")


async def test_an_edited_message_is_answered_again_in_place(page: Page, served: Studio) -> None:
    """Field note 11: editing a question runs it again and edits its answer."""
    await page.goto(served.url)
    await say(page, "helo")
    await expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    await say(page, "second")
    await expect(page.get_by_role("button", name="Copy answer")).to_have_count(2)
    await page.get_by_role("button", name="Edit message").first.click()
    await page.keyboard.press("Escape")
    await expect(page.locator(".question p")).to_have_text(["helo", "second"])
    await page.get_by_role("button", name="Edit message").first.click()
    await page.locator("article textarea").fill("hello")
    await page.get_by_role("button", name="Save and resend").click()
    await expect(page.locator(".answer strong")).to_have_text(["hello", "second"])
    await expect(page.get_by_role("button", name="Copy answer")).to_have_count(2)
    await page.reload()
    await expect(page.locator(".question p")).to_have_text(["hello", "second"])
    await expect(page.locator(".answer strong")).to_have_text(["hello", "second"])


async def test_a_picture_opens_large_and_closes_again(page: Page, served: Studio) -> None:
    await page.goto(served.url)
    await say(page, "/image a lighthouse")
    await page.locator(".picture").click()
    large = page.get_by_role("dialog").get_by_role("img", name="a lighthouse")
    await expect(large).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(large).to_be_hidden()


async def test_conversations_are_listed_switched_and_removed(page: Page, served: Studio) -> None:
    await page.goto(served.url)
    await say(page, "about apples")
    await expect(page.locator(".answer strong")).to_have_text("about apples")
    await page.get_by_role("button", name="New chat").first.click()
    await say(page, "about pears")
    await expect(page.locator(".answer strong")).to_have_text("about pears")
    await page.get_by_role("button", name="about apples", exact=True).click()
    await expect(page.locator(".answer strong")).to_have_text("about apples")
    await page.go_back()
    await expect(page.locator(".answer strong")).to_have_text("about pears")
    await page.get_by_role("button", name="Remove “about pears”").click()
    await expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    await expect(page.locator("#conversations li")).to_have_count(1)


async def test_hostile_markup_is_shown_as_words(page: Page, served: Studio) -> None:
    await page.goto(served.url)
    await say(page, "<img src=x onerror=alert(1)><script>alert(2)</script>")
    await expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    await expect(page.locator(".answer strong")).to_contain_text("<script>alert(2)</script>")
    assert await page.locator("article img, article script").count() == 0


async def test_the_chat_fits_a_phone_screen(page: Page, served: Studio) -> None:
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.goto(served.url)
    await say(page, "/code")
    await expect(page.get_by_role("button", name="Copy code")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    await page.get_by_role("button", name="Open menu").click()
    await expect(page.get_by_role("button", name="New chat").first).to_be_in_viewport()
    await page.keyboard.press("Escape")
    await expect(page.locator("#rail")).not_to_have_class(re.compile("shown"))


@pytest_asyncio.fixture(loop_scope="session")
async def locked() -> AsyncIterator[Studio]:
    running = await start(token="a token of some length")
    yield running
    await running.stop()


async def test_with_a_token_one_signs_in_first(page: Page, locked: Studio, complaints: Complaints) -> None:
    await page.goto(locked.url)
    await page.get_by_label("Your name").fill("Ada")
    await page.get_by_label("Token").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_have_text("The token is incorrect.")
    assert [text for text in complaints if "401" not in text] == []
    complaints.clear()
    await page.get_by_label("Token").fill("a token of some length")
    await page.get_by_role("button", name="Sign in").click()
    await say(page, "I am in")
    await expect(page.locator(".answer strong")).to_have_text("I am in")
    await page.reload()
    await expect(page.locator(".answer strong")).to_have_text("I am in")


async def test_code_in_an_answer_is_coloured(page: Page, served: Studio) -> None:
    await page.goto(served.url)
    await say(page, "/code")
    text = page.locator(".code .h-s2")
    await expect(text).to_have_text('"hello"')
    colours = [await each.evaluate("e => getComputedStyle(e).color") for each in (text, page.locator("pre"))]
    assert colours[0] != colours[1]
