"""Describes typed Python functions to a model as tools, and runs the model's calls."""

import asyncio
import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

import msgspec

from bot.domain.errors import BotError, ConfigError, Refused, StateUnavailable
from bot.domain.prompts import ToolCall, ToolResult, ToolSpec
from bot.domain.turns import CheckResult

log = logging.getLogger(__name__)

Function = Callable[..., Coroutine[Any, Any, object]]
"""Returns text, or a value that is encoded as JSON."""
_TIMEOUT_S = 30.0
GROUP = "parley.tools"
DRAW = "draw"
"""The built-in tool for images, created for each turn (`bot.generation.images`)."""
BUILT_IN = (DRAW, "usage", "reset", "forget", "stop", "summarise", "choose_prompt", "choose_model")
"""Names of built-in tools; those beside `draw` are in `bot.conversation.builtin_tools`. A template's own tool with
such a name is offered instead.
"""
_LONGEST = 20_000  # characters of a result that go to the model
_GRACE_S = 2.0
"""How long to wait for a cancelled tool before it is abandoned."""

_abandoned: set[asyncio.Future[object]] = set()
"""Tools that ignored their cancellation; the event loop itself keeps only weak references."""

Paid = TypeVar("Paid", bound=Function)


def paid(usd: float) -> Callable[[Paid], Paid]:
    """Set the price of a call in US dollars, which is reserved before the tool runs.

    Raises ValueError if the price is not a positive, finite number.
    """
    if not (math.isfinite(usd) and usd > 0):
        raise ValueError(f"the price of a tool must be a positive number of dollars, not {usd}")

    def mark(function: Paid) -> Paid:
        setattr(function, _PRICE, usd)
        return function

    return mark


_PRICE = "parley_usd"


class Tool:
    """A function with typed parameters, described to the model by `description` or the first line of its docstring.

    `usd` is the price of a call; 0 if it is free or reserves its cost itself. Raises TypeError, with the
    reason, for a function that can't be described to a model.
    """

    def __init__(
        self,
        function: Function,
        name: str | None = None,
        *,
        description: str | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self.function = function
        self._timeout_s = timeout_s
        self.usd: float = getattr(function, _PRICE, 0.0)
        self.name = name or getattr(function, "__name__", "tool")
        parameters = inspect.signature(function, eval_str=True).parameters.values()
        for parameter in parameters:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise TypeError(f"its parameter {parameter.name} can't be passed by name")
            if parameter.annotation is parameter.empty:
                raise TypeError(f"its parameter {parameter.name} has no type")
        description = description or (inspect.getdoc(function) or "").partition("\n")[0]
        if not description:
            raise TypeError("it has no docstring; add one that tells the model what the tool does")
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
            (parameter.name, parameter.annotation)
            if parameter.default is parameter.empty
            else (parameter.name, parameter.annotation, parameter.default)
            for parameter in parameters
        ]
        self._arguments = msgspec.defstruct(self.name, fields, kw_only=True, forbid_unknown_fields=True)
        definitions = msgspec.json.schema(self._arguments)["$defs"]
        schema = definitions.pop(self.name)
        if definitions:
            schema["$defs"] = definitions
        self.spec = ToolSpec(name=self.name, description=description, schema=schema)

    async def run(self, call: ToolCall) -> ToolResult:
        """Call the function. Never raises: errors become failed results that the model can read."""
        try:
            arguments = msgspec.json.decode(call.arguments or "{}", type=self._arguments)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            why = "they are nested too deeply" if isinstance(error, RecursionError) else str(error)
            return ToolResult(id=call.id, text=f"Invalid arguments: {why}", failed=True)
        try:
            found = await _within(self.function(**msgspec.structs.asdict(arguments)), self._timeout_s)
            answer = found if isinstance(found, str) else msgspec.json.encode(found).decode()
        except _ToolTimeout:
            return ToolResult(id=call.id, text=f"No result within {self._timeout_s:.0f} s.", failed=True)
        except (ConfigError, StateUnavailable) as error:  # internal details, not for the model
            log.error("The tool %s is unavailable: %s", self.name, error)
            return ToolResult(id=call.id, text="The tool is unavailable at the moment.", failed=True)
        except BotError as error:
            return ToolResult(id=call.id, text=_bounded(str(error)), failed=True)
        except Exception:
            log.exception("The tool %s failed", self.name)
            return ToolResult(id=call.id, text="The tool failed.", failed=True)
        return ToolResult(id=call.id, text=_bounded(answer))


class _ToolTimeout(Exception):
    """A tool exceeded its time limit."""


async def _within(work: Coroutine[Any, Any, object], seconds: float) -> object:
    """The result of the work. Raises _ToolTimeout, even if the work ignores its cancellation, and
    RuntimeError if it cancelled itself.
    """
    task = asyncio.create_task(work)
    timed_out = False
    try:
        timed_out = not (await asyncio.wait({task}, timeout=seconds))[0]
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_GRACE_S)
        if not task.done():
            log.error("A tool ignores its cancellation: %s", getattr(work, "__qualname__", work))
            _abandoned.add(task)
            task.add_done_callback(_abandoned.discard)
    if timed_out:
        raise _ToolTimeout
    if task.cancelled():
        raise RuntimeError("the tool cancelled itself")
    return task.result()


def _bounded(text: str) -> str:
    """Limit the length and replace lone surrogates, which can't be encoded."""
    left_out = len(text) - _LONGEST
    text = text[:_LONGEST].encode("utf-8", "replace").decode("utf-8")
    return f"{text}\n[{left_out} more characters were left out]" if left_out > 0 else text


@cache
def installed() -> dict[str, Tool]:
    """The tools of installed packages: the entry points of the group `parley.tools`, by name.

    Raises ConfigError if one is not a typed async function, or if two have the same name.
    """
    found: dict[str, Tool] = {}
    for entry in entry_points(group=GROUP):
        try:
            function = entry.load()
            if not inspect.iscoroutinefunction(function):
                raise TypeError("it is not an async function")
            if entry.name == DRAW or entry.name in found:
                raise TypeError("there is another tool with that name")
            found[entry.name] = Tool(function, entry.name)
        except Exception as error:  # third-party code
            raise ConfigError(f"The tool {entry.name} ({entry.value}) can't be used: {error}") from error
    return found


def check() -> CheckResult:
    """The line of `parley check` that lists the tools for templates. Raises ConfigError."""
    listed = [
        f"{', '.join(BUILT_IN)}: built in",
        *(f"{name}: {tool.spec.description}" for name, tool in installed().items()),
    ]
    return CheckResult(level="ok", subject="tools", words="; ".join(listed))


async def run_all(
    tools: Mapping[str, Tool], calls: Sequence[ToolCall], pay: Callable[[Tool], Awaitable[None]] | None = None
) -> list[ToolResult]:
    """Run the calls concurrently; returns the results in the order of the calls.

    `pay` reserves the price of a tool before it runs; if it raises Refused, the call fails with that text.
    """

    async def run_one(call: ToolCall) -> ToolResult:
        tool = tools.get(call.name)
        if tool is None:
            return ToolResult(id=call.id, text=f"There is no tool {call.name[:64]!r}.", failed=True)
        if pay is not None and tool.usd:
            try:
                await pay(tool)
            except Refused as refusal:
                return ToolResult(id=call.id, text=str(refusal), failed=True)
        return await tool.run(call)

    return list(await asyncio.gather(*map(run_one, calls)))
