"""Runs the tool calls of one answer within its limits and reports those that were not run."""

import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field

from msgspec.structs import replace

from bot.domain.errors import BudgetSpent, RateLimited
from bot.domain.prompts import Message, ToolCall, ToolResult
from bot.domain.turns import Usage
from bot.domain.words import trn
from bot.generation.reservations import Reservations
from bot.generation.turn_builder import ToolCallAllowance, TurnBuilder
from bot.tools.registry import Tool, run_all

_INVALID = re.compile(r"[^a-zA-Z0-9_-]")
_NAME_CHARACTERS = 64  # OpenAI rejects longer names and other characters, even if its model wrote them


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSet:
    """The installed tools by name, and the limits for each answer.

    `built_in`: the tools about Parley itself are offered, too, as in conversations with people.
    """

    functions: Mapping[str, Tool]
    built_in: bool = True
    limits: ToolCallAllowance = field(default_factory=ToolCallAllowance)

    def allowance(self) -> ToolCallAllowance:
        return copy(self.limits)


class ToolCalls:
    """The tool calls of one answer. `tools` are those offered to the model, by name."""

    def __init__(self, tools: Mapping[str, Tool], builder: TurnBuilder, reservations: Reservations) -> None:
        self._tools = tools
        self._builder = builder
        self._reservations = reservations
        self._not_run = 0

    async def run(self, calls: Sequence[ToolCall], dropped: int = 0) -> tuple[Message, ...]:
        """Run the calls of one round within the limits; returns the calls and results as messages.

        `dropped` is the number of further calls of this round that were not kept. Every call gets a result,
        because the API rejects a request in which one is missing.
        """
        calls = _valid(calls)
        allowance = self._builder.allowance
        allowed = allowance.begin_round(len(calls))
        results = await run_all(self._tools, calls[:allowed], self._pay)
        left_out = len(calls) - allowed + dropped
        self._not_run = max(left_out, self._not_run - allowed)  # a model may ask for the rest again
        most = f"{allowance.per_round} tool calls per round and {allowance.per_answer} per answer"
        why = f"not run: at most {most}"
        if dropped:
            why += f"; {dropped} more calls of this round were dropped"
        results += [ToolResult(id=call.id, text=why, failed=True) for call in calls[allowed:]]
        requested = Message(role="assistant", parts=tuple(calls))
        return (requested, *(Message(role="tool", parts=(result,)) for result in results))

    def note(self) -> None:
        """Add notes on calls that were not run or refused, for the person."""
        builder, allowance = self._builder, self._builder.allowance
        if self._not_run:
            builder.notes.append(
                trn(
                    "This answer may be incomplete: {count} tool call was not run. The limits are {round} at a time "
                    "and {answer} per answer. Ask for the rest in a new message.",
                    "This answer may be incomplete: {count} tool calls were not run. The limits are {round} at a time "
                    "and {answer} per answer. Ask for the rest in a new message.",
                    self._not_run,
                    round=allowance.per_round,
                    answer=allowance.per_answer,
                )
            )
        if allowance.refusal:
            builder.notes.append(allowance.refusal)

    async def _pay(self, tool: Tool) -> None:
        price = Usage(deployment=f"tool {tool.name}", usd=tool.usd)
        try:
            await self._reservations.spend(self._builder, price)
        except (RateLimited, BudgetSpent) as refusal:
            self._builder.allowance.refuse(refusal)
            raise
        self._builder.calls.paid(price)


def _valid(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """The calls with unique ids and with names that the API accepts."""
    seen: set[str] = set()
    valid: list[ToolCall] = []
    for number, call in enumerate(calls):
        id = call.id if call.id and call.id not in seen else f"{call.id or 'call'}_{number}"
        seen.add(id)
        valid.append(replace(call, id=id, name=_INVALID.sub("_", call.name[:_NAME_CHARACTERS]) or "unnamed"))
    return valid
