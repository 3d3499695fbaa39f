"""Evaluations in the studio: run, watched, read case by case."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from bot.domain.errors import BotError
from bot.domain.events import now
from bot.evals import runner
from bot.evals.results import Result, Run, RunStore
from bot.evals.runner import EvalRunner
from bot.prompts.loader import FOLDER
from tests.adapters.studio.browser.test_accessibility import faults
from tests.adapters.studio.conftest import PATIENCE_S, Whole


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_a_run_is_started_watched_and_read(page: Page, whole: Whole) -> None:
    await page.goto(whole.url)
    await page.get_by_role("link", name="Evaluations").click()
    for name in ("assistant", "summarise", "support"):
        await page.get_by_label(name, exact=True).uncheck()
    await page.get_by_role("button", name="Run").click()
    await expect(page.get_by_role("progressbar")).to_be_visible()
    await expect(page.get_by_role("heading", name="Evaluation", exact=True)).to_be_visible()
    await expect(page.get_by_text("active versions · started by the studio's operator")).to_be_visible()
    await expect(page.get_by_role("row", name="translate demo-chat 3/3 100 %")).to_be_visible()
    await page.locator("summary", has_text="into the language that was named").click()
    case = page.locator("details[open]")
    await expect(case.locator(".question")).to_contain_text("Could you send me the figures by Friday?")
    await expect(case.locator(".answer")).to_contain_text("Freitag")
    await page.get_by_role("link", name="All runs").click()
    await expect(page.get_by_role("row", name="translate 3/3 no earlier run")).to_be_visible()
    await page.goto(f"{whole.url}/studio/usage?by=tokens")
    await expect(page.get_by_role("row", name=re.compile(r"evaluation \d"))).to_be_visible()
    await expect(page.get_by_role("row", name="studio/").first).to_be_visible()  # whoever ran it pays
    await expect(page.get_by_role("row", name="studio/evaluation")).to_be_hidden()


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_what_failed_stands_first_with_the_reason(page: Page, whole: Whole) -> None:
    def result(case: str, *failures: str) -> Result:
        return Result(
            case=case,
            template="assistant",
            version="assistant@000000000000",
            deployment="",
            question="Why?",
            answer="Because **so**.",
            failures=failures,
            seconds=0.5,
        )

    archive = RunStore(whole.services.settings.parley_data_dir / "evaluations")
    archive.save(Run(at=now(), files=("mine.yaml",), results=(result("mine:b"), result("mine:a"))))
    last = Run(at=now(), files=("mine.yaml",), results=(result("mine:a"), result("mine:b", "does not sing")))
    archive.save(last)
    await page.goto(f"{whole.url}/studio/evaluations")
    await expect(page.get_by_role("row", name="mine 1/2 1 broken")).to_be_visible()
    await page.goto(f"{whole.url}/studio/evaluations/{last.id}")
    await expect(page.get_by_text("2 of 2 cases passed then, 1 pass now")).to_be_visible()
    first = page.locator("main details").first
    await expect(first).to_have_attribute("open", "")
    await expect(first).to_contain_text("does not sing")
    await expect(first.locator("summary")).to_contain_text("broken")
    assert await faults(page) == []
    await page.set_viewport_size({"width": 390, "height": 800})
    assert await page.evaluate("() => document.documentElement.scrollWidth") <= 390


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_a_run_that_is_stopped_keeps_nothing(page: Page, whole: Whole) -> None:
    folder = whole.services.settings.parley_data_dir / "evaluations"
    body: dict[str, Any] = {"files": ["../secret.yaml"]}
    answer = await page.request.post(
        f"{whole.url}/studio/evaluations", data=body, headers={"X-Parley": "studio"}
    )
    assert "Choose at least one" in await answer.text()
    before = list(folder.glob("*.json"))
    await page.goto(f"{whole.url}/studio/evaluations")
    await page.get_by_role("button", name="Run").click()
    await expect(page.get_by_role("progressbar")).to_be_visible()
    await page.get_by_role("button", name="Stop").click()
    await expect(page.get_by_role("alert")).to_contain_text("The results were discarded")
    await expect(page.get_by_role("button", name="Run")).to_be_visible()
    assert list(folder.glob("*.json")) == before


@pytest.mark.asyncio(loop_scope="session")
async def test_evaluation_runs_are_single_and_limited(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = EvalRunner(
        context=whole.services.eval_context,
        folder=FOLDER / "evaluations",
        run_store=RunStore(tmp_path),
        ledger=whole.services.storage.ledger,
    )
    begun = asyncio.Event()

    def done(answered: int, of: int, failed: int) -> None:
        begun.set()

    running = asyncio.create_task(one.run(["translate.yaml"], "demo-chat", author="Ada", done=done))
    async with asyncio.timeout(PATIENCE_S):
        await begun.wait()
    with pytest.raises(BotError, match="Another evaluation is running"):
        await one.run(["translate.yaml"], "", author="Ada", done=done)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    monkeypatch.setattr(runner, "MOST_ANSWERS", 1)
    with pytest.raises(BotError, match="This run would have 3 answers; the limit is 1"):
        await one.run(["translate.yaml"], "", author="Ada", done=done)
    assert await one.reports() == []
