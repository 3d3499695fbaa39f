"""From the studio to the people: what is published, given or imported there is what Slack's people get."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.adapters.studio.conftest import PATIENCE_S
from tests.simulators.slack import SlackSimulator
from tests.support.processes import free_port, listening, run

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

GENERAL = "C0GENERAL"
PARLEY = str(Path(sys.executable).with_name("parley"))


@dataclass
class Street:
    """A real `parley serve` with its studio, and a simulated Slack on the other side."""

    url: str
    slack: SlackSimulator

    async def answer(self, text: str, channel: str = GENERAL) -> str:
        """What Ada reads after she has asked."""
        ts = await self.slack.say(channel, "U0ADA", f"<@{self.slack.workspace.bot_user}> {text}")
        await self.slack.until(
            lambda: any(one.get("metadata") for one in self.slack.thread(channel, ts) if one.get("bot_id")),
            PATIENCE_S,
        )
        return "\n".join(self.slack.answers(channel, ts))

    async def playground(self, page: Page, template: str) -> None:
        await page.goto(f"{self.url}/studio/playground?template={template}")
        await expect(page.locator("body[data-ready]")).to_be_visible()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def street(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Street]:
    port = free_port()
    async with SlackSimulator() as slack:
        slack.workspace.people["U0ADA"] = "Ada"
        env = {
            "PORT": str(port),
            "PARLEY_DATA_DIR": str(tmp_path_factory.mktemp("street")),
            "PARLEY_LOG_LEVEL": "warning",
            "SLACK_BOT_TOKEN": slack.bot_token,
            "SLACK_SIGNING_SECRET": slack.signing_secret,
            "SLACK_API_URL": slack.api_url,
        }
        async with run([PARLEY, "serve"], env):
            await listening(port)
            slack.bot_url = f"http://127.0.0.1:{port}/slack/events"
            yield Street(f"http://127.0.0.1:{port}", slack)


async def add_example(page: Page, user: str, assistant: str) -> None:
    await page.get_by_role("button", name="Add example").click()
    last = await page.locator("#examples > li").count()
    await page.get_by_label(f"Example {last}: User").fill(user)
    await page.get_by_label(f"Example {last}: Assistant").fill(assistant)


async def publish(page: Page, reason: str) -> None:
    await page.get_by_role("button", name="Publish…").click()
    await page.get_by_label("Reason").fill(reason)
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.locator("#banner")).to_contain_text("is published for everyone")


async def test_a_published_prompt_reaches_slack_until_reverted(page: Page, street: Street) -> None:
    assert "blue gadget" not in await street.answer("zorblax?")
    await street.playground(page, "assistant")
    await add_example(page, "zorblax?", "A zorblax is a blue gadget.")
    await publish(page, "People ask about zorblaxes")
    assert "A zorblax is a blue gadget." in await street.answer("zorblax?")

    await page.get_by_role("link", name="View versions").click()
    await page.get_by_role("button", name="Revert to file").click()
    await expect(page.locator(".versions")).to_contain_text("reverted to file")
    assert "blue gadget" not in await street.answer("zorblax?")

    await page.get_by_role("button", name=re.compile("Publish version")).click()
    assert "A zorblax is a blue gadget." in await street.answer("zorblax?")
    await page.get_by_role("button", name="Revert to file").click()


async def test_an_azure_setup_answers_in_slack(page: Page, street: Street, tmp_path: Path) -> None:
    setup = {
        "systemPrompt": "You are the concierge.",
        "fewShotExamples": [{"userInput": "Where is the pool?", "chatbotResponse": "On the roof."}],
        "chatParameters": {"deploymentName": "", "temperature": 0.2, "topProbablities": 0.9},
    }
    file = tmp_path / "concierge.json"
    await asyncio.to_thread(file.write_text, json.dumps(setup))
    await street.playground(page, "support")
    await page.locator("#file").set_input_files(file)
    await expect(page.get_by_label("System message")).to_have_value("You are the concierge.")
    await page.get_by_role("button", name="Publish…").click()
    await page.get_by_role("textbox", name="Name", exact=True).fill("concierge")
    await page.get_by_label("Reason").fill("From Azure OpenAI Studio")
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.locator("#banner")).to_contain_text("“concierge” is published")
    assert "On the roof." in await street.answer("/concierge Where is the pool?")


async def test_a_template_is_assigned_to_each_audience(page: Page, street: Street) -> None:
    await street.playground(page, "summarise")
    await add_example(page, "quuxify?", "Quuxified, in one line.")
    await publish(page, "Quux")
    who = f"{street.url}/studio/prompts/summarise"
    assert "Quuxified" not in await street.answer("quuxify?")
    channel = f"channel {street.slack.workspace.team} {GENERAL}"
    async with asyncio.timeout(PATIENCE_S):  # known once what it cost is settled, just after the answer
        await page.goto(who)
        while not await page.locator(f"option[value='{channel}']").count():
            await page.reload()
    await expect(page.get_by_text("Not assigned yet")).to_be_visible()

    await page.get_by_label("Assign to").select_option(channel)
    await page.get_by_role("button", name="Assign", exact=True).click()
    row = page.locator(".bound li")
    await expect(row).to_contain_text(f"channel {GENERAL}")
    assert "Quuxified" in await street.answer("quuxify?")
    await row.get_by_role("button", name="Remove").click()
    await expect(row).to_have_count(0)
    assert "Quuxified" not in await street.answer("quuxify?")

    await page.get_by_label("Assign to").select_option(f"person {street.slack.workspace.team} U0ADA")
    await page.get_by_role("button", name="Assign", exact=True).click()
    await expect(row).to_contain_text("person Ada (U0ADA)")
    assert "Quuxified" in await street.answer("quuxify?")
    await page.locator(".bound").get_by_role("button", name="Remove").click()

    await page.get_by_text("Not listed?").click()
    await page.get_by_label("Workspace or organization").fill(street.slack.workspace.team)
    await page.get_by_role("button", name="Assign", exact=True).click()
    await expect(row).to_contain_text("everyone in")
    assert "Quuxified" in await street.answer("quuxify?")
    assert "Done" in await street.answer("prompt assistant")
    assert "Quuxified" not in await street.answer("quuxify?"), "a channel's own choice goes before"
    assert "Done" in await street.answer("prompt default")
    assert "Quuxified" in await street.answer("quuxify?")
    await page.locator(".bound").get_by_role("button", name="Remove").click()
    await expect(row).to_have_count(0)

    await page.goto(f"{street.url}/studio/usage?by=turns")
    people = page.locator(".grids section", has=page.get_by_role("heading", name="People"))
    await expect(people).to_contain_text(f"Ada {street.slack.workspace.team}/U0ADA")
    assert "Quuxified" not in await street.answer("quuxify?")
