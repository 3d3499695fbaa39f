"""Publications reach people: a process with its library and a worker."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from bot.app.prompt_files import read_prompts
from bot.app.services import Services, open_services
from bot.app.settings import Settings
from bot.domain.errors import TemplateError
from bot.domain.prompts import Example
from bot.domain.publications import Trial
from tests.support.acts import received
from tests.support.fake_adapter import FakeAdapter
from tests.support.patience import PATIENCE_S

MOTTO = """---
description: Says a motto
metadata: {parley: {match: {commands: [motto]}}}
---
system:
You say mottos.

user:
for Monday

assistant:
%s
"""


@pytest.fixture
async def services(folder: Path) -> AsyncGenerator[Services]:
    settings = Settings(_env_file=None)  # pyright: ignore[reportCallIssue]
    async with open_services(settings, folder=folder) as services:
        yield services


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


UNANSWERED = "I'm only the demo model"
"""Without the prompt, it is a question like any other."""


async def ask(services: Services, text: str, event: str, channel: str = "") -> str:
    """The answer of a worker."""
    room, stop = FakeAdapter(), asyncio.Event()
    work = asyncio.create_task(services.worker([room]).run(stop))
    await services.intake.accept(received(text, event=event, conversation=f"test:{event}", channel=channel))
    await until(lambda: room.replies)
    stop.set()
    await work
    return room.replies[-1].text


async def test_people_get_what_is_published(services: Services) -> None:
    publish = services.library.publisher
    assert UNANSWERED in await ask(services, "/motto for Monday", "e1")
    await publish.publish("motto", MOTTO % "Begin slowly.", author="Ada", reason="wanted")
    assert (await ask(services, "/motto for Monday", "e2")).startswith("Begin slowly.")
    assert "`/motto …` says a motto" in await ask(services, "help", "e3")
    await publish.publish(
        "motto", MOTTO % "Begin at once.", author="Bob", reason="try", trial=Trial(channels=("C1",))
    )
    assert (await ask(services, "/motto for Monday", "e4", "C2")).startswith("Begin slowly.")
    assert (await ask(services, "/motto for Monday", "e5", "C1")).startswith("Begin at once.")
    await publish.roll_back("motto", 0, author="Ada", reason="enough")
    assert UNANSWERED in await ask(services, "/motto for Monday", "e6", "C1")
    turns = [one for at in (2, 5) for one in await services.storage.turns.turns(f"test:e{at}")]
    assert len({turn.template for turn in turns}) == 2
    assert all(turn.template.startswith("motto@") for turn in turns)


async def test_an_accepted_example_is_used_next(services: Services) -> None:
    library = services.library
    support = next(one for one in library.registry.templates() if one.name == "support")
    pair = Example(user="The coffee machine blinks red.", assistant="Empty its tray.")
    await library.publisher.change_pool("support", added=[pair], author="Ada", reason="asked often")
    chosen = await library.choose_why(support, "Why does the coffee machine blink red?")
    assert (chosen[0].example, chosen[0].why) == (pair, "similar to the question")
    assert chosen[0].similarity is not None
    assert 0.3 < chosen[0].similarity < 1
    assert (await library.rank("support", "coffee machine"))[0][0] == pair
    assert pair in await library.choose(support, "Why does the coffee machine blink red?", [])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("tools: [hammer]", "there is no tool 'hammer'"),
        ("knowledge: [handbook]", "there is no knowledge/handbook.md"),
        ("match: {commands: [help]}", "/help is a built-in command"),
    ],
)
async def test_tools_and_knowledge_are_checked_everywhere(
    services: Services, tmp_path: Path, fields: str, words: str
) -> None:
    text = f"---\nmetadata: {{parley: {{{fields}}}}}\n---\nHi.\n"
    with pytest.raises(TemplateError, match=words):
        await services.library.publisher.publish("mine", text, author="Ada", reason="why")
    (tmp_path / "mine.prompty").write_text(text)
    (tmp_path / "zz.prompty").write_text("---\nmetadata: {parley: {match: {default: true}}}\n---\nHi.\n")
    with pytest.raises(TemplateError, match=words):
        read_prompts(tmp_path)
