"""Tools that a model may call: typed Python functions with a docstring, and the words they answer."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import msgspec

from bot.errors import BotError, ConfigError
from bot.types import Finding, ToolCall, ToolResult, ToolSpec

log = logging.getLogger(__name__)

Function = Callable[..., Awaitable[object]]
"""Answers with text, or with what becomes JSON."""
_TIMEOUT_S = 30.0
GROUP = "parley.tools"
DRAW = "draw"
"""The tool that the engine makes anew for each turn (`bot.drawing`)."""
_LONGEST = 20_000  # characters of a tool's answer that go to the model


class Tool:
    """A function as the model sees it. Its parameters are typed, its docstring's first line describes it.

    Raises TypeError, in words, for one that can't be described to a model.
    """

    def __init__(self, function: Function, name: str | None = None, *, timeout_s: float = _TIMEOUT_S) -> None:
        self.function = function
        self._timeout_s = timeout_s
        self.name = name or getattr(function, "__name__", "tool")
        parameters = inspect.signature(function, eval_str=True).parameters.values()
        for one in parameters:
            if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD, one.POSITIONAL_ONLY):
                raise TypeError(f"its parameter {one.name} can't be given by name")
            if one.annotation is one.empty:
                raise TypeError(f"its parameter {one.name} has no type")
        described = inspect.getdoc(function)
        if not described:
            raise TypeError("it has no docstring to tell the model what it is for")
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
            (one.name, one.annotation)
            if one.default is one.empty
            else (one.name, one.annotation, one.default)
            for one in parameters
        ]
        self._arguments = msgspec.defstruct(self.name, fields, kw_only=True, forbid_unknown_fields=True)
        definitions = msgspec.json.schema(self._arguments)["$defs"]
        shape = definitions.pop(self.name)
        if definitions:
            shape["$defs"] = definitions
        self.spec = ToolSpec(name=self.name, description=described.splitlines()[0], schema=shape)

    async def run(self, call: ToolCall) -> ToolResult:
        """Call the function. Never raises: what goes wrong is told to the model in words."""
        try:
            arguments = msgspec.json.decode(call.arguments or "{}", type=self._arguments)
            work = self.function(**msgspec.structs.asdict(arguments))
            found: object = await asyncio.wait_for(work, self._timeout_s)
            answer = found if isinstance(found, str) else msgspec.json.encode(found).decode()
        except msgspec.MsgspecError as error:
            return ToolResult(id=call.id, text=f"These arguments do not fit: {error}", failed=True)
        except TimeoutError:
            return ToolResult(id=call.id, text=f"No answer within {self._timeout_s:.0f} s.", failed=True)
        except BotError as error:
            return ToolResult(id=call.id, text=str(error), failed=True)
        except Exception:
            log.exception("The tool %s failed", self.name)
            return ToolResult(id=call.id, text="The tool failed.", failed=True)
        if len(answer) > _LONGEST:
            answer = f"{answer[:_LONGEST]}\n[{len(answer) - _LONGEST} more characters are left out]"
        return ToolResult(id=call.id, text=answer)


@cache
def installed() -> dict[str, Tool]:
    """The tools that packages bring along under the entry point group `parley.tools`, by the entry's name.

    Raises ConfigError for one that is no typed async function, and for two of one name.
    """
    found: dict[str, Tool] = {}
    for entry in entry_points(group=GROUP):
        try:
            function = entry.load()
            if not inspect.iscoroutinefunction(function):
                raise TypeError("it is no async function")
            if entry.name == DRAW or entry.name in found:
                raise TypeError("there is another tool of that name")
            found[entry.name] = Tool(function, entry.name)
        except Exception as error:  # anything may go wrong in somebody else's package
            raise ConfigError(f"The tool {entry.name} ({entry.value}) can't be used: {error}") from error
    return found


def check() -> Finding:
    """The line of `parley check` that lists the tools: what templates may name. Raises ConfigError."""
    listed = [f"{DRAW}: built in", *(f"{name}: {one.spec.description}" for name, one in installed().items())]
    return Finding(level="ok", subject="tools", words="; ".join(listed))


async def run_all(tools: Mapping[str, Tool], calls: list[ToolCall]) -> list[ToolResult]:
    """Run the calls side by side; the results are in the order of the calls."""

    async def one(call: ToolCall) -> ToolResult:
        tool = tools.get(call.name)
        if tool is None:
            return ToolResult(id=call.id, text=f"There is no tool {call.name!r}.", failed=True)
        return await tool.run(call)

    return list(await asyncio.gather(*map(one, calls)))
