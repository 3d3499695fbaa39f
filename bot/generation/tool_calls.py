"""Runs the tool calls of one answer within its limits, and says what was not run."""

import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field

from msgspec.structs import replace

from bot.domain.errors import BudgetSpent, RateLimited
from bot.domain.prompts import Message, ToolCall, ToolResult
from bot.domain.turns import Usage
from bot.generation.reservations import Reservations
from bot.generation.turn_builder import ToolCallAllowance, TurnBuilder
from bot.tools.registry import Tool, run_all

_UNFIT = re.compile(r"[^a-zA-Z0-9_-]")
_NAME_CHARACTERS = 64  # OpenAI refuses a longer name, and other characters, also in what it wrote itself


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSet:
    """The tools that are installed, by name, and the limits of every answer."""

    functions: Mapping[str, Tool]
    limits: ToolCallAllowance = field(default_factory=ToolCallAllowance)

    def allowance(self) -> ToolCallAllowance:
        """What a new answer may do."""
        return copy(self.limits)


class ToolCalls:
    """The tool calls of one answer. `tools` are those that the model was told of."""

    def __init__(self, tools: Mapping[str, Tool], builder: TurnBuilder, reservations: Reservations) -> None:
        self._tools = tools
        self._builder = builder
        self._reservations = reservations
        self._outstanding = 0

    async def run(self, calls: Sequence[ToolCall], dropped: int = 0) -> tuple[Message, ...]:
        """Run the calls of one round as far as the limits allow; the messages that tell the model.

        `dropped` counts further calls of the same round of which nothing is known. Each call gets a result,
        whether it ran or not: a request that leaves one out is refused.
        """
        calls = _fit(calls)
        allowance = self._builder.allowance
        allowed = allowance.begin_round(len(calls))
        results = await run_all(self._tools, calls[:allowed], self._pay)
        left_out = len(calls) - allowed + dropped
        self._outstanding = max(left_out, self._outstanding - allowed)
        most = f"{allowance.per_round} tool calls per round and {allowance.per_answer} per answer"
        why = f"not run: at most {most}"
        if dropped:
            why += f"; {dropped} more calls of this round were dropped"
        results += [ToolResult(id=call.id, text=why, failed=True) for call in calls[allowed:]]
        asked = Message(role="assistant", parts=tuple(calls))
        return (asked, *(Message(role="tool", parts=(result,)) for result in results))

    def note(self) -> None:
        """Note in the draft what the person has to know: what was left out, and what was refused."""
        builder, allowance = self._builder, self._builder.allowance
        if self._outstanding:
            builder.notes.append(
                f"Some of this was left out: {self._outstanding} more tool calls were wanted, but at most "
                f"{allowance.per_round} run at a time and {allowance.per_answer} in one answer. Ask for the "
                "rest in a new message."
            )
        if allowance.refusal:
            builder.notes.append(allowance.refusal)

    async def _pay(self, tool: Tool) -> None:
        try:
            await self._reservations.spend(self._builder, tool.usd)
        except (RateLimited, BudgetSpent) as refusal:
            self._builder.allowance.refuse(refusal)
            raise
        self._builder.usage.append(Usage(deployment=f"tool {tool.name}", usd=tool.usd))


def _fit(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """The calls with ids that differ, and names that may be sent back to the model."""
    seen: set[str] = set()
    fit: list[ToolCall] = []
    for number, call in enumerate(calls):
        id = call.id if call.id and call.id not in seen else f"{call.id or 'call'}_{number}"
        seen.add(id)
        fit.append(replace(call, id=id, name=_UNFIT.sub("_", call.name[:_NAME_CHARACTERS]) or "unnamed"))
    return fit
