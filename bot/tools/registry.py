"""Tools that a model may call: typed Python functions with a docstring, and the words they answer."""

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
"""Answers with text, or with what becomes JSON."""
_TIMEOUT_S = 30.0
GROUP = "parley.tools"
DRAW = "draw"
"""The tool that the engine makes anew for each turn (`bot.generation.image_generation`)."""
_LONGEST = 20_000  # characters of a tool's answer that go to the model
_GRACE_S = 2.0
"""How long a tool that is cancelled may take to end; one that does not end is left to itself."""

_abandoned: set[asyncio.Future[object]] = set()
"""Tools that did not end when they were cancelled: the loop itself holds tasks only weakly."""

Paid = TypeVar("Paid", bound=Function)


def paid(usd: float) -> Callable[[Paid], Paid]:
    """Mark a tool whose every call costs so many US dollars, which are reserved before it runs.

    Raises ValueError for a price that is not a positive, finite number.
    """
    if not (math.isfinite(usd) and usd > 0):
        raise ValueError(f"the price of a tool is a positive number of dollars, not {usd}")

    def mark(function: Paid) -> Paid:
        setattr(function, _PRICE, usd)
        return function

    return mark


_PRICE = "parley_usd"


class Tool:
    """A function as the model sees it. Its parameters are typed, its docstring's first line describes it.

    `usd` is what a call costs, 0 for one that costs nothing or pays for itself. Raises TypeError, in words,
    for a function that can't be described to a model.
    """

    def __init__(self, function: Function, name: str | None = None, *, timeout_s: float = _TIMEOUT_S) -> None:
        self.function = function
        self._timeout_s = timeout_s
        self.usd: float = getattr(function, _PRICE, 0.0)
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
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            why = "they are nested too deeply" if isinstance(error, RecursionError) else str(error)
            return ToolResult(id=call.id, text=f"These arguments do not fit: {why}", failed=True)
        try:
            found = await _within(self.function(**msgspec.structs.asdict(arguments)), self._timeout_s)
            answer = found if isinstance(found, str) else msgspec.json.encode(found).decode()
        except _ToolTimeout:
            return ToolResult(id=call.id, text=f"No answer within {self._timeout_s:.0f} s.", failed=True)
        except (ConfigError, StateUnavailable) as error:  # about this installation, nothing for the model
            log.error("The tool %s can't be used: %s", self.name, error)
            return ToolResult(id=call.id, text="The tool can't be used at the moment.", failed=True)
        except BotError as error:
            return ToolResult(id=call.id, text=_bounded(str(error)), failed=True)
        except Exception:
            log.exception("The tool %s failed", self.name)
            return ToolResult(id=call.id, text="The tool failed.", failed=True)
        return ToolResult(id=call.id, text=_bounded(answer))


class _ToolTimeout(Exception):
    """A tool took longer than it may."""


async def _within(work: Coroutine[Any, Any, object], seconds: float) -> object:
    """What the work returns. Raises _Late after so many seconds, also where the work ignores that it is
    cancelled, and RuntimeError where it cancelled itself.
    """
    task = asyncio.create_task(work)
    late = False
    try:
        late = not (await asyncio.wait({task}, timeout=seconds))[0]
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_GRACE_S)
        if not task.done():
            log.error("A tool goes on although it was cancelled: %s", getattr(work, "__qualname__", work))
            _abandoned.add(task)
            task.add_done_callback(_abandoned.discard)
    if late:
        raise _ToolTimeout
    if task.cancelled():
        raise RuntimeError("the tool cancelled itself")
    return task.result()


def _bounded(text: str) -> str:
    """What the model may read: not too long, and nothing that can't be sent (half of a character)."""
    left_out = len(text) - _LONGEST
    text = text[:_LONGEST].encode("utf-8", "replace").decode("utf-8")
    return f"{text}\n[{left_out} more characters are left out]" if left_out > 0 else text


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


def check() -> CheckResult:
    """The line of `parley check` that lists the tools: what templates may name. Raises ConfigError."""
    listed = [f"{DRAW}: built in", *(f"{name}: {one.spec.description}" for name, one in installed().items())]
    return CheckResult(level="ok", subject="tools", words="; ".join(listed))


async def run_all(
    tools: Mapping[str, Tool], calls: Sequence[ToolCall], pay: Callable[[Tool], Awaitable[None]] | None = None
) -> list[ToolResult]:
    """Run the calls side by side; the results are in the order of the calls.

    `pay` reserves what a tool costs before it runs; the model is told where that is refused.
    """

    async def one(call: ToolCall) -> ToolResult:
        tool = tools.get(call.name)
        if tool is None:
            return ToolResult(id=call.id, text=f"There is no tool {call.name[:64]!r}.", failed=True)
        if pay is not None and tool.usd:
            try:
                await pay(tool)
            except Refused as refusal:
                return ToolResult(id=call.id, text=str(refusal), failed=True)
        return await tool.run(call)

    return list(await asyncio.gather(*map(one, calls)))
