"""Calibrates token estimates by what deployments count, and estimates the cost of uncounted calls."""

from collections.abc import Sequence

from msgspec.structs import replace

from bot.domain.prompts import Image, Message, Prompt
from bot.domain.turns import Deployment, Turn, Usage
from bot.llm.catalog.cost import usd
from bot.llm.routing.continuation import CHARACTERS_PER_TOKEN


class Calibration:
    """A factor per deployment, learnt from its answers to this process and from stored turns."""

    def __init__(self) -> None:
        self._factors: dict[str, float] = {}

    def learn(self, messages: Sequence[Message], estimate: int, usage: Usage) -> None:
        """Compare counted with estimated tokens, except for prompts with images, which are counted differently."""
        pictured = any(isinstance(part, Image) for message in messages for part in message.parts)
        if pictured or usage.estimated or not usage.input_tokens or not estimate:
            return
        seen = min(max(usage.input_tokens / estimate, 0.4), 2.0)
        known = self._factors.get(usage.deployment, seen)
        # Increases apply at once, decreases gradually, because too long prompts are refused.
        self._factors[usage.deployment] = seen if seen > known else known + (seen - known) * 0.1

    def recall(self, turns: Sequence[Turn]) -> None:
        """Learn from stored turns about deployments that this process has not used yet."""
        for turn in reversed(turns):
            counted = next((usage for usage in turn.usage if not usage.estimated), None)
            if counted is not None and counted.deployment not in self._factors:
                self.learn(turn.messages, turn.input_tokens, counted)

    def tokens(self, deployment: str, estimate: int) -> int:
        """An estimate in tokens of this deployment."""
        return round(estimate * self._factors.get(deployment, 1.0))

    def context_tokens(self, deployment: str, tokens: int) -> int:
        """Tokens of a deployment in estimated tokens, minus a margin of 5 %."""
        factor = self._factors.get(deployment)
        return tokens if factor is None else int(tokens / (factor * 1.05))

    def spent(self, deployment: Deployment, prompt: Prompt, characters: int = 0) -> Usage:
        """The estimated usage of a call that ended after `characters` of its answer without being counted.

        It assumes no cached tokens, and excludes reasoning tokens.
        """
        usage = Usage(
            deployment=deployment.name,
            input_tokens=self.tokens(deployment.name, prompt.input_tokens),
            output_tokens=-(-characters // CHARACTERS_PER_TOKEN),
            estimated=True,
        )
        cost = usd(deployment.prices, usage)
        return replace(usage, usd=cost, price="" if cost is None else deployment.prices.id)
