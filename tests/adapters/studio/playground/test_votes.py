"""Answers side by side: which is better, and what the votes add up to."""

import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from bot.storage.conversations.votes import Votes
from bot.storage.redis import keys
from tests.adapters.studio.conftest import Whole
from tests.adapters.studio.playground.test_playground import open_playground, say

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_vote_is_given_changed_and_counted_once(page: Page, whole: Whole) -> None:
    await whole.services.storage.redis.call("DEL", keys.VOTES)
    await open_playground(page, whole)
    ballot = page.get_by_role("group", name="Which answer is better?")
    await expect(ballot).to_be_hidden()
    await page.get_by_role("button", name="Compare").click()
    await page.get_by_label("System message").fill("Answer in one word.")
    await expect(ballot.get_by_role("button", name="A", exact=True)).to_be_disabled()
    await say(page, "What is 41 + 1?")
    await expect(page.locator(".cost")).to_have_count(2)
    await ballot.get_by_role("button", name="A", exact=True).click()
    await expect(page.locator("#votes")).to_contain_text("Saved. See Feedback.")
    better = ballot.get_by_role("button", name="B", exact=True)
    await better.click()
    await expect(better).to_have_attribute("aria-pressed", "true")
    await expect(better).to_be_focused()
    await page.goto(f"{whole.url}/studio/feedback")
    templates = page.locator("section", has=page.get_by_role("heading", name="Templates"))
    winner = templates.get_by_role("row", name=re.compile(r"assistant@unsaved-[0-9a-f]{8} 1 0 0 0 1"))
    await expect(winner).to_be_visible()
    await expect(templates.get_by_role("row", name=re.compile("0 0 1 0 1"))).to_be_visible()
    await expect(page.get_by_role("heading", name="Deployments")).to_have_count(0)
    (vote,) = await Votes(whole.services.storage.redis).all()
    assert [side.deployment for side in vote.sides] == ["demo-chat", "demo-chat"]


@pytest.mark.parametrize(
    "change",
    [
        {"comparison": "short"},
        {"choice": "d"},
        {"choice": "c"},
        {"sides": []},
        {"sides": [{"setup": {"template": "assistant"}, "served": "x"}]},
        {"more": 1},
    ],
)
async def test_an_invalid_vote_is_refused(page: Page, whole: Whole, change: dict[str, Any]) -> None:
    side = {"setup": {"template": "assistant"}, "served": "demo-chat"}
    body = {"comparison": "0" * 32, "choice": "a", "sides": [side, side], **change}
    answer = await page.request.post(
        f"{whole.url}/studio/playground/vote", data=body, headers={"X-Parley": "studio"}
    )
    assert answer.status == 400
    assert (await answer.json())["words"].endswith(".")
