"""The SDK is used without its types, which can be used all the same."""

import re
import sys
from pathlib import Path

from tests.support.processes import Process, start

ROOT = Path(__file__).parents[3]

SCRIPT = """
import sys
import bot.llm.openai.client
assert "openai.types.responses.response" not in sys.modules
assert "openai.types.beta" not in sys.modules
import openai
assert not hasattr(openai.types, "nothing")
assert openai.types.chat.ChatCompletion.__name__ == "ChatCompletion"
from openai.types.responses import Response
assert Response.model_fields["id"].annotation is str
client = openai.AsyncOpenAI(api_key="key")
assert client.chat.completions.create and client.images.generate and client.responses.create
"""


async def test_types_are_imported_when_used_first() -> None:
    """They took half of the processor time that a process needs before it listens."""
    process: Process = await start([sys.executable, "-c", SCRIPT], {})
    assert await process.wait() == 0


def test_one_module_imports_the_sdk() -> None:
    """Another one could import it earlier, with all its types."""
    importing = re.compile(r"^\s*(import openai|from openai[\w.]* import)", re.MULTILINE)
    found = [
        path for path in (ROOT / "bot").rglob("*.py") if importing.search(path.read_text(encoding="utf-8"))
    ]
    assert [path.name for path in found] == ["openai_sdk.py"]
