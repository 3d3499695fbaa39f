"""Reserves tokens and money for an answer before the model is called."""

from collections.abc import Sequence

from bot.domain.events import MessageReceived
from bot.domain.prompts import Prompt
from bot.domain.turns import Usage
from bot.generation.model_info import ModelInfo
from bot.generation.turn_builder import TurnBuilder
from bot.storage.usage.charges import channel_of, charge_of
from bot.storage.usage.quota import Estimate, QuotaLedger


class Reservations:
    """Reserves against rate limits and budgets. Its methods raise Refused and StateUnavailable."""

    def __init__(self, ledger: QuotaLedger, model_info: ModelInfo) -> None:
        self._ledger = ledger
        self._model_info = model_info

    async def reserve(self, builder: TurnBuilder, *prompts: Prompt, more: bool = False) -> None:
        """Reserve for these prompts; `more` adds to the turn's reservation.

        If a budget is nearly used up, a note is added to the answer.
        """
        info, calls = self._model_info, builder.calls
        expected = [calls.expected(info.expected(each), info.purpose(each)) for each in prompts]
        await self._reserve(builder, [info.estimate(each) for each in prompts], expected, more=more)

    async def spend(self, builder: TurnBuilder, usd: float) -> None:
        """Reserve the price of a tool call, in US dollars."""
        await self._reserve(builder, [Estimate(usd=usd)], (), more=True)

    async def may_spend(self, received: MessageReceived) -> bool:
        """Whether no limit of the sender, the channel or the tenant is used up; nothing is reserved."""
        found = await self._ledger.limit_status(received.user, channel_of(received))
        return all(status.left for status in found)

    async def _reserve(
        self, builder: TurnBuilder, estimates: Sequence[Estimate], expected: Sequence[Usage], *, more: bool
    ) -> None:
        charge = charge_of(
            builder.received,
            builder.event,
            builder.template,
            builder.calls,
            expected=expected,
            payer=builder.payer,
        )
        notice = await self._ledger.reserve(charge, estimates, more=more)
        builder.reserved = True
        builder.notes += [notice] if notice else []
