"""Nothing that a person edits, types or compares in the playground gets lost, or means something else than it shows."""

import json
import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from bot.storage.conversations.votes import Votes
from tests.adapters.studio.conftest import Complaints, Whole
from tests.adapters.studio.playground.test_playground import open_playground, say

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PRECIOUS = "Answer like a pirate."


async def post(page: Page, whole: Whole, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    headers = {"X-Parley": "studio"}
    answer = await page.request.post(f"{whole.url}/studio/playground/{path}", data=body, headers=headers)
    return answer.status, await answer.json()


# ------------------------------------------------------------------ edits


async def test_another_template_asks_before_edits_go(page: Page, whole: Whole) -> None:
    """Field fault 85."""
    await open_playground(page, whole, "?template=assistant")
    system, template = page.get_by_label("System message"), page.get_by_label("Template")
    await template.select_option("translate")
    await expect(system).to_have_value(re.compile("translat"))
    await system.fill(PRECIOUS)
    await template.select_option("support")
    await expect(page.get_by_role("heading", name="Discard your changes?")).to_be_visible()
    await page.get_by_role("button", name="Cancel").click()
    await expect(template).to_have_value("translate")
    await expect(system).to_have_value(PRECIOUS)
    await template.select_option("support")
    await page.get_by_role("button", name="Discard changes").click()
    await expect(template).to_have_value("support")
    await page.keyboard.press("Escape")
    await page.locator("#tab-setup").focus()
    await page.locator("#add-example").focus()
    await page.keyboard.press("Control+z")
    await expect(system).to_have_value(PRECIOUS)
    await expect(template).to_have_value("translate")


async def test_changes_are_undone_in_their_order(page: Page, whole: Whole) -> None:
    """Field fault 85."""
    await open_playground(page, whole, "?template=assistant")
    system = page.get_by_label("System message")
    await system.fill(PRECIOUS)
    for number in (1, 2):
        await page.get_by_role("button", name="Add example").click()
        await page.get_by_label(f"Example {number}: User").fill(f"question {number}")
    await page.get_by_role("button", name="Remove example 1").click()
    await expect(page.locator("#examples li")).to_have_count(1)
    await page.keyboard.press("Control+z")
    await expect(page.locator("#examples li")).to_have_count(2)
    await expect(page.get_by_label("Example 1: User")).to_have_value("question 1")
    await expect(page.get_by_label("Example 2: User")).to_have_value("question 2")
    await expect(system).to_have_value(PRECIOUS)
    await page.keyboard.press("Control+Shift+z")
    await expect(page.locator("#examples li")).to_have_count(1)
    await page.get_by_role("button", name="Undo").click()
    await expect(page.locator("#examples li")).to_have_count(2)
    await system.focus()
    await page.keyboard.press("Control+z")
    await expect(system).not_to_have_value(PRECIOUS)
    await expect(page.get_by_label("Example 2: User")).to_have_value("question 2")


async def test_a_reset_can_be_undone(page: Page, whole: Whole) -> None:
    """Field fault 85."""
    await open_playground(page, whole, "?template=assistant")
    await page.get_by_label("System message").fill(PRECIOUS)
    await page.get_by_role("button", name="Reset to template").click()
    await expect(page.get_by_label("System message")).not_to_have_value(PRECIOUS)
    await page.get_by_role("button", name="Undo").click()
    await expect(page.get_by_label("System message")).to_have_value(PRECIOUS)


async def test_a_link_does_not_cost_edits(page: Page, whole: Whole) -> None:
    """Field fault 85."""
    await open_playground(page, whole, "?template=assistant")
    await page.get_by_label("System message").fill(PRECIOUS)
    await open_playground(page, whole, "?template=translate")
    await page.get_by_label("System message").fill("changed")
    await page.get_by_role("button", name="Restore my edits").click()
    await expect(page.get_by_label("System message")).to_have_value(PRECIOUS)


@pytest.mark.parametrize("path", ["", "/studio/playground"])
async def test_a_paste_that_is_too_long_loses_nothing(page: Page, whole: Whole, path: str) -> None:
    """Field fault 85."""
    await page.goto(f"{whole.url}{path}")
    await page.wait_for_load_state("networkidle")
    box, question = page.get_by_label("Message", exact=True), "So, what is the answer?"
    await box.fill("log " * 15_001 + question)
    await expect(page.get_by_role("alert").filter(has_text="Shorten it by")).to_contain_text(
        "60,027 characters"
    )
    await expect(page.locator("#send")).to_be_disabled()
    await page.keyboard.press("Enter")
    assert (await box.input_value()).endswith(question)
    await box.fill(question)
    await expect(page.locator("#too-long")).to_be_hidden()
    await expect(page.locator("#send")).to_be_enabled()


@pytest.mark.parametrize("path", ["", "/studio/playground"])
async def test_a_draft_survives_leaving_the_page(page: Page, whole: Whole, path: str) -> None:
    """Field fault 85."""
    await page.goto(f"{whole.url}{path}")
    await page.wait_for_load_state("networkidle")
    box = page.get_by_label("Message", exact=True)
    await box.fill("half a question")
    await page.goto(f"{whole.url}/studio/prompts")
    await page.goto(f"{whole.url}{path}")
    await expect(box).to_have_value("half a question")
    await page.wait_for_load_state("networkidle")
    await box.press("Enter")
    await expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    await page.goto(f"{whole.url}{path}")
    await page.wait_for_load_state("networkidle")
    await expect(box).to_have_value("")


# ------------------------------------------------------------------ comparisons


async def test_both_sides_have_the_same_history(page: Page, whole: Whole) -> None:
    """Field fault 86."""
    await open_playground(page, whole, "?template=assistant")
    await say(page, "What is 2 + 2?")
    await expect(page.locator(".cost")).to_have_count(1)
    await page.get_by_role("button", name="Compare").click()
    second = page.locator(".side").last
    await expect(second.locator(".question p")).to_have_text("What is 2 + 2?")
    await expect(second.locator(".answer")).to_contain_text("4")
    await expect(page.locator("#votes button").first).to_be_disabled()
    await say(page, "What is 3 + 4?")
    await expect(page.locator(".cost")).to_have_count(4)
    for side in (0, 1):
        await page.locator(".side").nth(side).get_by_role("button", name="View prompt").last.click()
        users = page.locator("#sent li[data-role=user]:not(:has(b:text('example')))")
        await expect(users).to_contain_text(["What is 2 + 2?", "What is 3 + 4?"])


async def test_a_changed_question_is_asked_on_both_sides(page: Page, whole: Whole) -> None:
    """Field fault 86."""
    await open_playground(page, whole, "?template=assistant")
    await page.get_by_role("button", name="Compare").click()
    await say(page, "What is 2 + 2?")
    await expect(page.locator(".cost")).to_have_count(2)
    await page.locator("article").first.hover()
    await page.get_by_role("button", name="Edit message").first.click()
    await page.locator(".editor textarea").fill("What is 5 + 6?")
    await page.get_by_role("button", name="Save and resend").click()
    await expect(page.locator(".question p")).to_have_text(["What is 5 + 6?"] * 2)
    await expect(page.locator(".answer").last).to_contain_text("11")


async def test_a_template_never_wins_against_itself(page: Page, whole: Whole) -> None:
    """Field fault 86."""
    one: dict[str, Any] = {"template": "assistant", "system": "Same words.", "deployment": ""}
    others: list[dict[str, Any]] = [
        one | {"deployment": "demo-chat"},
        one | {"base": "assistant@1234"},
        one | {"examples": [{"user": "half", "assistant": ""}]},
        one | {"deployment": "a-deployment-that-was-removed"},
        one | {"inputs": {"unused": "x"}},
        one | {"parameters": {}},
        one | {"past_messages": None},
        one | {"examples": [], "base": "x"},
    ]
    for number, other in enumerate(others):
        sides = [{"setup": one, "served": "small"}, {"setup": other, "served": "large"}]
        body = {"comparison": f"{number:032x}", "choice": "a", "sides": sides}
        assert (await post(page, whole, "vote", body))[0] == 200, other
    votes = [
        vote
        for vote in await Votes(whole.services.storage.redis).all()
        if vote.sides[0].deployment == "small"
    ]
    assert len(votes) == len(others)
    assert all(vote.sides[0].template == vote.sides[1].template for vote in votes)


# ------------------------------------------------------------------ what is published and sent


@pytest.mark.parametrize(
    ("system", "inputs", "missing"),
    [
        ("You speak for {{company}}.", {}, "{{company}} has no value"),
        ("You speak for {{company}}.", {"company": ""}, "{{company}} has no value"),
        ("You speak for {{company}}.", {"company": " \n"}, "{{company}} has no value"),
        ("You speak for {{ company }}.", {"other": "x"}, "{{company}} has no value"),
        ("{{a}} and {{b}} and {{date}}", {}, "{{a}}, {{b}} have no value"),
        ("{{a}} and {{b}}", {"a": "x"}, "{{b}} has no value"),
        ("{{a}} {{a}}", {}, "{{a}} has no value"),
        ("x\n\n{{user_name}}: {{tone}}", {"user_name": "x"}, "{{tone}} has no value"),
    ],
)
async def test_an_input_without_value_is_not_published(
    page: Page, whole: Whole, system: str, inputs: dict[str, str], missing: str
) -> None:
    """Field fault 87."""
    setup = {"template": "assistant", "system": system, "inputs": inputs}
    status, answer = await post(page, whole, "publish", {"setup": setup, "name": "hollow", "reason": "test"})
    assert status == 422
    assert missing in answer["words"]
    assert "Variables" in answer["words"]


@pytest.mark.parametrize("path", ["try", "look", "code", "publish"])
async def test_an_unknown_deployment_is_never_replaced(page: Page, whole: Whole, path: str) -> None:
    """Field fault 87."""
    setup = {"template": "assistant", "system": "Hi", "deployment": "gpt-of-elsewhere"}
    more = {"name": "elsewhere", "reason": "x"} if path == "publish" else {"question": "Hello"}
    status, answer = await post(page, whole, path, {"setup": setup, **more})
    assert status == 422
    assert "“gpt-of-elsewhere” doesn’t exist here" in answer["words"]


async def test_an_imported_unknown_deployment_must_be_chosen(
    page: Page, whole: Whole, complaints: Complaints
) -> None:
    """Field fault 87."""
    await open_playground(page, whole, "?template=assistant")
    setup: dict[str, Any] = {
        "systemPrompt": "Hi",
        "fewShotExamples": [],
        "chatParameters": {"deploymentName": "gpt-of-elsewhere"},
    }
    file = {"name": "s.json", "mimeType": "application/json", "buffer": json.dumps(setup).encode()}
    await page.locator("#file").set_input_files(files=[file])  # pyright: ignore[reportArgumentType]
    await expect(page.locator("#no-deployment")).to_contain_text("“gpt-of-elsewhere” doesn’t exist here")
    await expect(page.get_by_label("Deployment")).to_have_value("gpt-of-elsewhere")
    await say(page, "Hello")
    await expect(page.locator("#banner")).to_contain_text("Choose another one before you send")
    await expect(page.get_by_label("Message", exact=True)).to_have_value("Hello")
    await page.get_by_label("Deployment").select_option("demo-chat")
    await expect(page.locator("#no-deployment")).to_be_empty()
    await page.get_by_label("Message", exact=True).press("Enter")
    await expect(page.locator(".cost")).to_have_count(1)
    complaints.clear()


# ------------------------------------------------------------------ trials of new prompts


@pytest.mark.parametrize(
    ("name", "audience"), [("trial-a", {"percent": 100}), ("trial-b", {"channels": ["C0SALES1"]})]
)
async def test_a_trial_of_a_new_prompt_is_visible(
    page: Page, whole: Whole, name: str, audience: dict[str, Any]
) -> None:
    """Field fault 82."""
    setup = {"template": "assistant", "system": "Only a trial."}
    status, answer = await post(
        page, whole, "publish", {"setup": setup, "name": name, "reason": "try it", **audience}
    )
    assert status == 200
    assert f"/{name}" in answer["words"]
    await page.goto(f"{whole.url}/studio/prompts")
    await page.get_by_role("link", name=name).click()
    await expect(page.locator(".versions")).to_contain_text("try it")
    await expect(page.locator(".column > .body")).to_contain_text("Only a trial.")
    if "percent" in audience:
        await page.goto(whole.url)
        await say(page, "/help")
        await expect(page.locator(".answer").last).to_contain_text(f"/{name}")
        await say(page, f"/{name} What is 2 + 2?")
        await expect(page.locator(".answer").last).to_contain_text("4")
        await page.goto(f"{whole.url}/studio/prompts/{name}")
    await page.get_by_role("button", name="End trial").first.click()
    await expect(page.locator(".alert")).to_contain_text("isn’t used any more")
    await expect(page.get_by_role("button", name="Publish version")).to_be_visible()


@pytest.mark.parametrize("channels", [["#sales"], ["sales"], ["C0SALES1", "general"], [""], [" "]])
async def test_names_of_channels_are_refused(page: Page, whole: Whole, channels: list[str]) -> None:
    """Field fault 82: nothing is published, for anybody."""
    setup = {"template": "assistant", "system": "Only a trial."}
    body = {"setup": setup, "name": "nowhere", "reason": "try it", "channels": channels}
    status, answer = await post(page, whole, "publish", body)
    assert status in (409, 422)
    assert "channel" in answer["words"]
    assert (await page.request.get(f"{whole.url}/studio/prompts/nowhere")).status == 404
