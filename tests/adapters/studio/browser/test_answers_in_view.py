"""What a person sees of an answer while it grows, when it fails, and in scripts from right to left."""

from collections.abc import Sequence

import pytest
from playwright.async_api import Page, Route, expect

from bot.domain.events import MessageReceived
from bot.domain.turns import Reply
from tests.adapters.studio.browser.test_chat import say
from tests.adapters.studio.conftest import Studio, Whole
from tests.adapters.studio.playground.test_playground import open_playground

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LINES = "".join(f"<p>line {number}</p>" for number in range(200))


def echo(received: MessageReceived) -> Reply:
    return Reply(text=received.text, rate=True)


def frames(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


async def answers(page: Page, body: str) -> None:
    """Let the playground get these frames for whatever is asked."""

    async def fulfil(route: Route) -> None:
        await route.fulfill(status=200, content_type="application/x-ndjson", body=body)

    await page.route("**/studio/playground/try", fulfil)


async def test_one_can_scroll_up_while_an_answer_grows(page: Page, whole: Whole) -> None:
    """Field fault 88: also by less than a screen; at the end again, the answer is followed again."""
    await open_playground(page, whole)
    rest = '"text":"x","answer":"x","sent":null,"cost":"","served":"demo-chat"'
    await answers(page, frames(f'{{"kind":"done","post":"","html":"{LINES}",{rest}}}'))
    await page.get_by_label("Message", exact=True).fill("long")
    await page.keyboard.press("Enter")
    thread = page.locator(".thread")
    await expect(thread.get_by_text("line 199")).to_be_in_viewport()
    grow = "turns => turns.append(Object.assign(document.createElement('p'), { textContent: 'more' }))"
    for up in (30, 400, 3000):
        await thread.hover()
        before = await thread.evaluate("box => box.scrollTop")
        await page.mouse.wheel(0, -up)
        await page.wait_for_function(
            "before => document.querySelector('.thread').scrollTop < before", arg=before
        )
        place = await thread.evaluate("box => new Promise(f => setTimeout(() => f(box.scrollTop), 300))")
        await page.locator(".turns").evaluate(grow)
        await page.evaluate("() => new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))")
        assert abs(await thread.evaluate("box => box.scrollTop") - place) < 2
    await thread.evaluate("box => { box.scrollTop = box.scrollHeight; }")
    await page.evaluate("() => new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))")
    await page.locator(".turns").evaluate(grow)
    await expect(page.get_by_text("more").last).to_be_in_viewport()


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("שלום עולם", (".question p", ".body p")),
        ("# שלום\n\nhello", (".body h1",)),
        ("- שלום\n- world", (".body ul", ".body li")),
        ("| א | ב |\n|---|---|\n| ג | ד |", (".body table", ".body th", ".body td")),
        ("> مرحبا بالعالم", (".body blockquote",)),
        ("1. مرحبا", (".body ol",)),
        ("سلام دنیا", ("#title", "#conversations button")),
        ("ܫܠܡܐ", (".body p",)),
    ],
)
async def test_right_to_left_text_is_laid_out_so(
    page: Page, served: Studio, text: str, places: Sequence[str]
) -> None:
    """Field fault 88."""
    served.engine.script = echo
    await page.goto(served.url)
    await say(page, text)
    await expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    for place in places:
        await expect(page.locator(place).first).to_have_css("direction", "rtl")
    box = page.get_by_label("Message", exact=True)
    await box.fill("שלום")
    await expect(box).to_have_css("direction", "rtl")
    await box.fill("hello")
    await expect(box).to_have_css("direction", "ltr")


async def test_examples_and_instructions_have_their_direction(page: Page, whole: Whole) -> None:
    """Field fault 88."""
    await open_playground(page, whole)
    await page.get_by_role("button", name="Add example").click()
    for label in ("System message", "Example 1: User", "Example 1: Assistant"):
        await page.get_by_label(label).fill("שלום {{שם}}")
        await expect(page.get_by_label(label)).to_have_css("direction", "rtl")


async def test_a_slow_answer_says_that_it_is_coming(fresh_page: Page, whole: Whole) -> None:
    """Field fault 89."""
    page = fresh_page
    await page.clock.install()
    await open_playground(page, whole)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    await page.route("**/studio/playground/try", hold)
    await page.get_by_label("Message", exact=True).fill("anybody there?")
    await page.keyboard.press("Enter")
    await expect(page.locator(".dots")).to_be_visible()
    await page.clock.run_for(5_000)
    await expect(page.locator(".dots .note")).to_have_text("Waiting for the model…")
    await page.clock.run_for(12_000)
    await expect(page.locator(".dots .note")).to_contain_text("Still waiting for the model: 17 s.")


async def test_a_failed_answer_can_be_retried(page: Page, served: Studio) -> None:
    """Field fault 89: the failure has a Retry button, also after a reload."""
    replies = [Reply(text="Sorry, I can't answer this.", failed=True), Reply(text="Here you are.", rate=True)]

    def next_reply(_: MessageReceived) -> Reply:
        return replies[0]

    served.engine.script = next_reply
    await page.goto(served.url)
    await say(page, "What is new?")
    await expect(page.locator(".answer.failed")).to_contain_text("I can't answer this")
    del replies[0]
    await page.get_by_role("button", name="Retry").click()
    await expect(page.locator(".answer")).to_contain_text("Here you are.")
    await expect(page.locator("article")).to_have_count(1)


async def test_the_playground_tells_what_failed(page: Page, whole: Whole) -> None:
    """Field fault 89: in a person's words, with the cause beside it."""
    await open_playground(page, whole)
    cause = "The deployment 'gpt-4o' at x.openai.azure.com failed with status 500"
    failed = f'{{"kind":"failed","words":"The model isn’t available at the moment.","cause":"{cause}"}}'
    await answers(page, frames(failed))
    await page.get_by_label("Message", exact=True).fill("hello")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert").filter(has_text="Not answered.")).to_contain_text(
        "isn’t available"
    )
    await expect(page.locator(".cause")).to_contain_text("failed with status 500")
    await expect(page.get_by_role("button", name="Retry")).to_be_visible()
