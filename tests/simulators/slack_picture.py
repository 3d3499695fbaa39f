"""Draws docs/slack-answer.png: a rich answer as the adapter sends it, on the simulator's page.

python -m tests.simulators.slack_picture docs/slack-answer.png
"""

import asyncio
import sys
from pathlib import Path

from playwright.async_api import async_playwright

from adapters.slack.adapter import SlackAdapter
from bot.domain.turns import Reply, Source
from tests.adapters.slack.conftest import Engine, FakeAdapter, listening, new_adapter
from tests.simulators.slack import SlackSimulator

BROWSER = Path(__file__).parents[2] / ".ci" / "browser.sh"
CHANNEL = "C0GENERAL"
QUESTION = "<@U0BOT> what is left to do before the release?"
ANSWER = """## Before the release

Two things are **open**, and one has _no owner_ [1]:

- [x] Release notes
- [ ] Load test
    1. Start two workers
    2. Run `make bench`
- [ ] Certificate

| What | Who | Until |
|---|---|---|
| Load test | Bob | **Tuesday** |
| Certificate | nobody | Friday |

> Nothing goes out on a Friday afternoon.

```sh
make bench   # turns per second, CPU per turn
```

The [release checklist](https://intranet.example.com/release) has the rest."""
SOURCES = (Source(title="Release checklist", url="https://intranet.example.com/release"),)


async def draw(path: Path) -> None:
    """Ask, answer, and keep what the page shows."""
    async with SlackSimulator() as slack, new_adapter(slack) as adapter:
        await _answer(slack, adapter)
        found = await asyncio.create_subprocess_exec(str(BROWSER), stdout=asyncio.subprocess.PIPE)
        browser, _ = await found.communicate()
        async with async_playwright() as playwright:
            chromium = await playwright.chromium.launch(
                executable_path=browser.decode().strip(), args=["--no-sandbox", "--disable-gpu"]
            )
            page = await chromium.new_page(viewport={"width": 760, "height": 100})
            await page.goto(f"{slack.workspace.origin}/_control/page")
            await page.screenshot(path=path, full_page=True)
            await chromium.close()


async def _answer(slack: SlackSimulator, adapter: SlackAdapter) -> None:
    engine = Engine()
    runner, slack.bot_url = await listening(adapter, engine)
    room = FakeAdapter(slack, adapter, engine)
    received = await room.asked(QUESTION, CHANNEL)
    reply = Reply(text=ANSWER, sources=SOURCES, rate=True, generated=True)
    await adapter.close(await room.open(received), reply)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(draw(Path(sys.argv[1])))
