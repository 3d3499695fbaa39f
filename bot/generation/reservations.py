"""Reserves tokens and money for an answer before the model is called."""

from collections.abc import Sequence

from bot.domain.prompts import Prompt
from bot.domain.turns import Purpose, Usage
from bot.generation.model_info import ModelInfo
from bot.generation.turn_builder import TurnBuilder
from bot.storage.usage.charges import Charge, charge_of
from bot.storage.usage.quota import Estimate, QuotaLedger
from bot.storage.usage.reserver import LedgerReserver, estimate


class Reservations:
    """Reserves against rate limits and budgets. Its methods raise Refused and StateUnavailable."""

    def __init__(self, ledger: QuotaLedger, model_info: ModelInfo) -> None:
        self._ledger = ledger
        self._model_info = model_info

    def begin(self, builder: TurnBuilder) -> None:
        """From now on, each call of the turn that is not part of a reservation makes its own before it is sent."""
        builder.calls.reserver = TurnReserver(self._ledger, builder)

    async def reserve(
        self, builder: TurnBuilder, *prompts: Prompt, more: bool = False, later: Sequence[Prompt] = ()
    ) -> None:
        """Reserve for these prompts, which are sent at once, and for those that are sent `later`.

        `more` adds to the turn's reservation. If a budget is nearly used up, a note is added to the answer.
        """
        info, every = self._model_info, (*prompts, *later)
        kinds: list[Purpose] = [info.purpose(each) for each in every]
        with builder.calls.announced(kinds, [info.expected(each) for each in prompts]):
            await self._reserve(builder, [info.estimate(each) for each in every], more=more)

    async def spend(self, builder: TurnBuilder, usage: Usage) -> None:
        """Reserve the price of a tool call, which begins at once."""
        with builder.calls.announced(["tool"], [usage]):
            await self._reserve(builder, [Estimate(usd=usage.usd)], more=True)

    async def _reserve(self, builder: TurnBuilder, estimates: Sequence[Estimate], *, more: bool) -> None:
        await TurnReserver(self._ledger, builder).add(estimates, more=more)
        builder.reserved = True


class TurnReserver(LedgerReserver):
    """Reserves for a turn."""

    def __init__(self, ledger: QuotaLedger, builder: TurnBuilder) -> None:
        super().__init__(ledger, builder.calls, self._charge_now)
        self._builder = builder

    async def reserve(self, most: Usage) -> None:
        """Before the question itself, which counts as a request, only what its prompt needs is embedded."""
        await self.add([estimate(most)], more=True, ahead=not self._builder.reserved)

    async def add(self, estimates: Sequence[Estimate], *, more: bool, ahead: bool = False) -> None:
        """Reserve; a warning is added to the notes of the answer."""
        notice = await self.reserve_all(estimates, more=more, ahead=ahead, told=not ahead)
        self._builder.held = True
        self._builder.notes += [notice] if notice else []

    def _charge_now(self) -> Charge:
        builder = self._builder
        return charge_of(
            builder.received, builder.event, builder.template, builder.calls, payer=builder.payer
        )
