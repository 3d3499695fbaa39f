"""Usage, the deployments, and what each role may see."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from adapters.studio.pages.usage import PAGE_ROWS, chart
from bot.domain.events import User
from bot.domain.turns import Usage
from bot.storage.usage.charges import charge_of
from bot.storage.usage.latency import Latency
from bot.storage.usage.reports import UsageReports, UsageRow, UsageTotals
from tests.adapters.studio.conftest import PATIENCE_S, Complaints, Whole, whole_parley
from tests.adapters.studio.pages.test_conversations import ask
from tests.adapters.studio.playground.test_playground import open_playground, say
from tests.support.acts import received
from tests.support.charges import called

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DAY = date(2026, 11, 22)

TOKENS = {
    "parley_studio_token": "the operator's long token",
    "parley_studio_editor_token": "the editor's long token",
    "parley_studio_viewer_token": "the viewer's long token",
}


@pytest_asyncio.fixture(loop_scope="session")
async def locked(tmp_path: Path) -> AsyncIterator[Whole]:
    """A Parley whose studio is open to three kinds of people."""
    async with whole_parley(tmp_path, **TOKENS) as running:
        yield running


async def sign_in(page: Page, whole: Whole, role: str) -> None:
    await page.goto(whole.url)
    await page.get_by_label("Your name").fill("Ada")
    await page.get_by_label("Token").fill(f"the {role}'s long token")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#who")).to_contain_text(f"Ada {role.capitalize()}")


async def test_an_answer_and_a_trial_are_booked(page: Page, whole: Whole) -> None:
    await ask(page, whole, "What is 23 * 3?")
    await open_playground(page, whole)
    await say(page, "What is 29 * 3?")
    await expect(page.locator(".cost")).to_be_visible()
    people = page.locator(".grids section", has=page.get_by_role("heading", name="People"))
    async with asyncio.timeout(PATIENCE_S):  # an answer is shown a moment before it is booked
        await page.goto(f"{whole.url}/studio/usage?by=turns")
        while not await people.filter(has_text="studio/").count():
            await page.reload()
    await expect(page.get_by_role("img", name="Answers by day")).to_be_visible()
    await expect(people).not_to_contain_text("studio/playground")
    templates = page.locator(".grids section", has=page.get_by_role("heading", name="Templates"))
    await expect(templates).to_contain_text("assistant")


async def test_deployment_latency_is_charted_by_the_hour(page: Page, locked: Whole) -> None:
    await sign_in(page, locked, "operator")
    await page.goto(f"{locked.url}/studio/deployments")
    await expect(page.get_by_text("No requests in the last 24 hours")).to_have_count(3)
    elsewhere = Latency(locked.services.storage.redis)
    async with elsewhere.keeping():
        elsewhere.took("first_delta_seconds", "demo-chat", 0.4)
        elsewhere.took("call_seconds", "demo-chat", 2.0)
    await page.get_by_role("link", name="7 days").click()
    await expect(page.get_by_role("img", name="Time to first token, by the hour")).to_be_visible()
    await expect(page.get_by_role("img", name="Total time, by the hour")).to_be_visible()
    await expect(page.get_by_text("No requests in the last 7 days")).to_have_count(2)


async def test_each_deployment_is_tried_by_a_click(page: Page, whole: Whole) -> None:
    await page.goto(f"{whole.url}/studio/deployments")
    await expect(page.locator(".versions > li")).to_have_count(3)
    await page.get_by_role("button", name="Test all").click()
    await expect(page.locator(".alert.ok")).to_have_count(3)


async def test_a_viewer_sees_totals_but_no_people(page: Page, locked: Whole, complaints: Complaints) -> None:
    await sign_in(page, locked, "viewer")
    links = page.get_by_role("navigation", name="Pages").get_by_role("link")
    await expect(links).to_have_text(["Chat", "Prompts", "Channels", "Evaluations", "Usage", "Deployments"])
    await say(page, "What is 2 + 3?")
    await expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    templates = page.get_by_role("heading", name="Templates")
    async with asyncio.timeout(PATIENCE_S):  # an answer is shown a moment before it is booked
        await page.goto(f"{locked.url}/studio/usage")
        while not await templates.count():
            await page.reload()
    await expect(templates).to_be_visible()
    await expect(page.get_by_role("heading", name="People")).to_have_count(0)
    await page.goto(f"{locked.url}/studio/evaluations")
    await expect(page.get_by_text("No runs yet. Editors can start a run")).to_be_visible()
    await expect(page.get_by_role("button", name="Run")).to_have_count(0)
    for path in ("log", "feedback", "playground"):
        await page.goto(f"{locked.url}/studio/{path}")
        await expect(page.get_by_text("You signed in with the viewer token")).to_be_visible()
    complaints.clear()


async def test_an_editor_cannot_read_conversations(page: Page, locked: Whole, complaints: Complaints) -> None:
    await sign_in(page, locked, "editor")
    await expect(page.get_by_role("link", name="Conversations")).to_have_count(0)
    await open_playground(page, locked)
    await page.goto(f"{locked.url}/studio/log")
    await expect(page.get_by_text("This requires the operator role")).to_be_visible()
    complaints.clear()


async def test_an_operator_signs_out(page: Page, locked: Whole) -> None:
    await sign_in(page, locked, "operator")
    await expect(page.get_by_role("link", name="Conversations")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await page.goto(locked.url)
    await expect(page.get_by_label("Token")).to_be_visible()


async def test_a_chart_without_prices_has_no_top() -> None:
    free = UsageRow(day=DAY, kind="day", name="", totals=UsageTotals(turns=3, unpriced=3))
    assert chart([free], DAY, 7, "cost")["top"] == ""
    assert chart([free], DAY, 7, "turns")["top"] == "3"


async def test_unknown_prices_are_shown_and_people_paged(
    page: Page, locked: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals = UsageTotals(turns=1, tokens=9, unpriced=1)
    people = [f"t/person{number:03d}" for number in range(PAGE_ROWS + 5)]
    found = [UsageRow(day=DAY, kind="person", name=name, totals=totals) for name in people]
    found.append(UsageRow(day=DAY, kind="day", name="", totals=totals))

    async def lines(_: UsageReports, first: date, last: date) -> list[UsageRow]:
        return found

    monkeypatch.setattr(UsageReports, "rows", lines)
    await sign_in(page, locked, "operator")
    await page.goto(f"{locked.url}/studio/usage")
    await expect(page.locator(".tiles")).to_contain_text("unknown (1 call)")
    await expect(page.get_by_text("none with a known price")).to_be_visible()
    await page.get_by_role("link", name=f"All {PAGE_ROWS + 5}").click()
    await expect(page.locator(".bars tbody tr")).to_have_count(PAGE_ROWS)
    await page.get_by_role("link", name="Next").click()
    await expect(page.locator(".bars tbody th")).to_have_text(people[PAGE_ROWS:])
    await page.get_by_role("link", name="Show all tables").click()
    await expect(page.locator(".bars tbody tr")).to_have_count(10)


async def test_operators_see_which_limits_are_reached(page: Page, tmp_path: Path) -> None:
    """Issue 14."""
    async with whole_parley(
        tmp_path, **TOKENS, parley_limits="tenant: 5 requests/day, $20/month, 1M tokens/day"
    ) as parley:
        asked = received(event="e1", user=User(id="U1", tenant="T0SIM"))
        charges, dollars = parley.services.storage.charges, Usage(deployment="d", usd=17.0)
        await charges.book(charge_of(asked, "e1", "assistant", called(dollars, attempt="e1"), turns=5))
        await sign_in(page, parley, "operator")
        await page.goto(f"{parley.url}/studio/usage?days=7")
        alerts = page.locator(".alert")
        await expect(alerts).to_have_count(2)
        await expect(alerts.first).to_contain_text(
            "A limit of the organisation T0SIM is used up: 5 of 5 questions a day (100%). It resets on"
        )
        await expect(alerts.last).to_contain_text("is nearly used up: $17.00 of $20.00 a month (85%)")
        await page.get_by_role("button", name="Sign out").click()
        await sign_in(page, parley, "editor")
        await page.goto(f"{parley.url}/studio/usage")
        await expect(page.locator(".tiles")).to_be_visible()
        await expect(alerts).to_have_count(0)
