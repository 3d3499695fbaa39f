"""Tools: discovery in packages, schemas, calls and their results."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from msgspec.structs import replace

from bot.app.prompt_files import read_prompts
from bot.domain.errors import ConfigError, NotAllowed
from bot.domain.prompts import Prompt, ToolCall, ToolResult
from bot.domain.turns import Delta
from bot.tools import registry
from bot.tools.registry import Tool
from tests.support.acts import received
from tests.support.fake_adapter import words
from tests.support.harness import ASSISTANT, Harness
from tests.support.patience import PATIENCE_S

GOOD = '''
async def hours(place: str, day: str = "today") -> str:
    """When an office is open."""
    return f"{place}: 8 to 18, {day}"
'''
Package = Callable[..., Path]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Installs a package with tools as pip does: a module, and metadata with entry points."""

    def install(source: str, entries: str = "hours = acme_tools:hours", name: str = "acme_tools") -> Path:
        site = tmp_path / name
        profile = site / f"{name}-1.0.dist-info"
        profile.mkdir(parents=True)
        (site / f"{name}.py").write_text(source)
        (profile / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (profile / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{entries}\n")
        monkeypatch.setattr(sys, "path", [str(site), *sys.path])
        registry.installed.cache_clear()
        return site

    yield install
    registry.installed.cache_clear()
    for module in [one for one in sys.modules if one.startswith(("acme_tools", "other_tools"))]:
        del sys.modules[module]


def call(name: str, **arguments: object) -> ToolCall:
    return ToolCall(id="c", name=name, arguments=json.dumps(arguments))


# ------------------------------------------------------------------ packages


async def test_a_package_brings_a_tool(package: Package, harness: Harness) -> None:
    package(GOOD)
    assert (
        registry.check().words == f"{', '.join(registry.BUILT_IN)}: built in; hours: When an office is open."
    )
    harness.tools = registry.installed()
    harness.templates = (replace(ASSISTANT, tools=("hours",)),)

    def script(prompt: Prompt) -> list[Delta | Exception]:
        last = prompt.messages[-1].parts[0]
        if isinstance(last, ToolResult):
            return words(last.text)
        return [Delta(call=call("hours", place="Bern")), *words(finish="tool_calls")]

    harness.model.script = script
    await harness.answer(received("When can I come?", event="a"))
    assert [spec.name for spec in harness.model.prompts[0].tools] == ["hours"]
    assert harness.adapter.texts == ["Bern: 8 to 18, today"]
    harness.templates = (replace(ASSISTANT, tools=()),)
    harness.model.script = lambda prompt: words(f"{len(prompt.tools)} tools")
    await harness.answer(received("And now?", event="b"))
    assert harness.adapter.texts[-1] == "0 tools"


def test_parley_check_lists_the_tools_of_packages(package: Package, tmp_path: Path) -> None:
    site = package(GOOD)
    environment = {**os.environ, "PYTHONPATH": str(site), "PARLEY_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-m", "bot", "check"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert "hours: When an office is open." in done.stdout


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("def hours(place: str) -> str: 'x'", "it is not an async function"),
        ("async def hours(place) -> str: 'x'", "its parameter place has no type"),
        ("async def hours(place: str) -> str: return ''", "it has no docstring"),
        ("async def hours(*places: str) -> str: 'x'", "its parameter places can't be passed by name"),
        ("import nothing_like_this", "No module named 'nothing_like_this'"),
        ("def other(): ...", "has no attribute 'hours'"),
    ],
)
def test_an_invalid_tool_stops_startup(package: Package, source: str, why: str) -> None:
    package(source)
    with pytest.raises(ConfigError, match=rf"The tool hours \(acme_tools:hours\) can't be used: .*{why}"):
        registry.installed()


@pytest.mark.parametrize("name", ["draw", "hours"])
def test_two_tools_of_one_name_stop_startup(package: Package, name: str) -> None:
    package(GOOD)
    package(GOOD, f"{name} = other_tools:hours", "other_tools")
    with pytest.raises(ConfigError, match="another tool with that name"):
        registry.installed()


def test_a_template_may_name_installed_tools_only(package: Package, tmp_path: Path) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    head = "---\nname: A\nmetadata: {parley: {match: {default: true}, tools: [hours]}}\n---\n"
    (folder / "a.prompty").write_text(f"{head}system:\nBe kind.\n")
    registry.installed.cache_clear()
    with pytest.raises(ConfigError, match="hours"):
        read_prompts(folder)
    package(GOOD)
    read_prompts(folder)


# ------------------------------------------------------------------ calls


class Place(msgspec.Struct):
    city: str


async def find(
    place: Place, count: Annotated[int, msgspec.Meta(ge=1, le=5, description="How many")] = 1
) -> list[str]:
    """Find offices."""
    return [place.city] * count


async def boom() -> str:
    """Fail."""
    raise RuntimeError("a secret")


async def never() -> str:
    """Wait."""
    await asyncio.Event().wait()
    return ""


async def closed() -> str:
    """Refuse."""
    raise NotAllowed("There is no office in Basel.")


async def long() -> str:
    """Talk."""
    return "x" * 30_000


def test_the_schema_has_types_bounds_and_descriptions() -> None:
    schema = Tool(find).spec.schema
    assert schema["properties"]["count"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 5,
        "description": "How many",
        "default": 1,
    }
    assert (schema["required"], schema["additionalProperties"]) == (["place"], False)
    assert schema["$defs"]["Place"]["required"] == ["city"]


@pytest.mark.parametrize(
    ("tool", "arguments", "text", "failed"),
    [
        (find, {"place": {"city": "Bern"}, "count": 2}, '["Bern","Bern"]', False),
        (find, {"place": {"city": "Bern"}, "count": 9}, "Invalid arguments", True),
        (find, {"place": {"city": "Bern"}, "colour": 1}, "Invalid arguments", True),
        (find, {}, "Invalid arguments", True),
        (boom, {}, "The tool failed.", True),
        (closed, {}, "There is no office in Basel.", True),
        (never, {}, "No result within 0 s.", True),
        (long, {}, "[10000 more characters were left out]", False),
    ],
)
async def test_the_model_gets_the_result_of_a_call(
    tool: Any, arguments: dict[str, object], text: str, failed: bool
) -> None:
    result = await Tool(tool, timeout_s=0.05).run(call("x", **arguments))
    assert text in result.text
    assert result.failed is failed
    assert "secret" not in result.text


async def test_calls_run_concurrently_and_unknown_ones_fail() -> None:
    met = asyncio.Barrier(2)

    async def meet() -> str:
        """Meet."""
        await met.wait()
        return "met"

    tool = Tool(meet, timeout_s=5)
    results = await registry.run_all({"meet": tool}, [call("meet"), call("gone"), call("meet")])
    assert [one.text for one in results] == ["met", "There is no tool 'gone'.", "met"]


async def test_after_five_rounds_the_model_must_answer(harness: Harness) -> None:
    def script(prompt: Prompt) -> list[Delta | Exception]:
        if prompt.tools:
            return [Delta(call=call("dice", sides=6)), *words(finish="tool_calls")]
        return words("enough")

    harness.model.script = script
    await harness.answer(received("roll"))
    assert [bool(prompt.tools) for prompt in harness.model.prompts] == [True] * 4 + [False]
    assert harness.adapter.texts == ["enough"]


def rolling(prompt: Prompt) -> list[Delta | Exception]:
    """Writes text, calls the tool `dice`, and quotes the result."""
    last = prompt.messages[-1].parts[0]
    if isinstance(last, ToolResult):
        return words(f"It shows {last.text}.")
    return [Delta(text="Let me roll it. "), Delta(call=call("dice", sides=6)), *words(finish="tool_calls")]


async def test_each_round_is_reserved_with_tool_results(harness: Harness) -> None:
    harness.ledger = harness.limited("person: $0.025/day")  # each call may take $0.01
    harness.model.script = rolling
    (turn,) = await harness.answer(received("roll a die"))
    first, second = harness.model.prompts
    assert second.input_tokens > first.input_tokens
    assert turn.reply.text.startswith("Let me roll it. It shows 6 of 6.")


async def test_a_budget_spent_between_rounds_ends_the_answer(harness: Harness) -> None:
    harness.ledger = harness.limited("person: $0.015/day")
    harness.model.script = rolling
    (turn,) = await harness.answer(received("roll a die"))
    assert len(harness.model.prompts) == 1
    assert (turn.outcome, len(turn.usage)) == ("answered", 1)
    assert turn.reply.text.startswith("Let me roll it.\n\n_Your budget for today")


async def test_without_any_text_the_refusal_is_the_answer(harness: Harness) -> None:
    harness.ledger = harness.limited("person: $0.015/day")
    harness.model.script = lambda prompt: rolling(prompt)[1:]
    (turn,) = await harness.answer(received("roll a die"))
    assert (turn.outcome, len(turn.usage)) == ("refused", 1)
    assert turn.reply.text.startswith("Your budget for today")
