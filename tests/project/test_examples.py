"""What stands in examples/ is loaded by the code that loads it for users."""

import importlib.util
import tomllib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from bot.app.prompt_files import read_prompts
from bot.domain.prompts import ToolCall
from bot.tools.registry import GROUP, Tool

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_example_prompts_load() -> None:
    found = {one.name: one for one in read_prompts(EXAMPLES / "prompts").templates}
    assert sorted(found) == ["assistant", "minutes", "poster"]
    assert found["assistant"].match.default
    assert found["minutes"].match.commands == ("minutes",)
    assert len(found["minutes"].examples) == 1
    assert found["poster"].capability == "image"


async def test_the_example_tool_runs() -> None:
    project = tomllib.loads((EXAMPLES / "tools" / "pyproject.toml").read_text(encoding="utf-8"))
    ((name, entry),) = project["project"]["entry-points"][GROUP].items()
    module, _, attribute = entry.partition(":")
    spec = importlib.util.spec_from_file_location(module, EXAMPLES / "tools" / f"{module}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    function: Callable[..., Coroutine[Any, Any, object]] = getattr(loaded, attribute)
    tool = Tool(function, name)
    result = await tool.run(ToolCall(id="1", name=name, arguments='{"place": "Bern", "day": "weekend"}'))
    assert result.text == "Bern: closed"
    assert not result.failed


def test_the_tools_document_shows_the_example() -> None:
    code = (EXAMPLES / "tools" / "acme_tools.py").read_text(encoding="utf-8")
    _, _, function = code.partition("\n\n\n")
    document = (EXAMPLES.parent / "docs" / "tools.md").read_text(encoding="utf-8")
    assert function.strip() in document
