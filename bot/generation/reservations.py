"""Reserves tokens and money for an answer before the model is called."""

from collections.abc import Sequence

from bot.domain.events import MessageReceived
from bot.domain.prompts import Prompt
from bot.generation.model_info import ModelInfo
from bot.generation.turn_builder import TurnBuilder
from bot.storage.usage.charges import channel_of
from bot.storage.usage.quota import Estimate, QuotaLedger, estimate


class Reservations:
    """Reserves against rate limits and budgets. Its methods raise Refused and StateUnavailable."""

    def __init__(self, ledger: QuotaLedger, model_info: ModelInfo) -> None:
        self._ledger = ledger
        self._model_info = model_info

    async def reserve(self, builder: TurnBuilder, *prompts: Prompt, more: bool = False) -> None:
        """Reserve for these prompts; `more` adds to the turn's reservation.

        If a budget is nearly used up, a note is added to the answer.
        """
        info = self._model_info
        estimates = [estimate(each, info.estimate_usd(each), info.image_tokens(each)) for each in prompts]
        await self._reserve(builder, estimates, more=more)

    async def spend(self, builder: TurnBuilder, usd: float) -> None:
        """Reserve the price of a tool call, in US dollars."""
        await self._reserve(builder, [Estimate(usd=usd)], more=True)

    async def may_spend(self, received: MessageReceived) -> bool:
        """Whether no limit of the sender, the channel or the tenant is used up; nothing is reserved."""
        found = await self._ledger.limit_status(received.user, channel_of(received))
        return all(status.left for status in found)

    async def _reserve(self, builder: TurnBuilder, estimates: Sequence[Estimate], *, more: bool) -> None:
        notice = await self._ledger.reserve(builder.received, builder.event, estimates, more=more)
        builder.reserved = True
        builder.notes += [notice] if notice else []
