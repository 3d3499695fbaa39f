"""How estimates of tokens compare with what deployments count, and what an uncounted call cost, about."""

from collections.abc import Sequence

from msgspec.structs import replace

from bot.domain.prompts import Image, Message, Prompt
from bot.domain.turns import Deployment, Turn, Usage
from bot.llm.catalog.catalog import usd
from bot.llm.routing.continuation import CHARACTERS_PER_TOKEN


class Calibration:
    """What is learnt of each deployment, from its answers to this process and from a conversation's turns."""

    def __init__(self) -> None:
        self._factors: dict[str, float] = {}

    def learn(self, messages: Sequence[Message], estimate: int, usage: Usage) -> None:
        """Compare what was counted with what was estimated; pictures are counted too differently."""
        pictured = any(isinstance(part, Image) for message in messages for part in message.parts)
        if pictured or usage.estimated or not usage.input_tokens or not estimate:
            return
        seen = min(max(usage.input_tokens / estimate, 0.4), 2.0)
        known = self._factors.get(usage.deployment, seen)
        # More than was thought counts at once, less by and by: too long a prompt is refused.
        self._factors[usage.deployment] = seen if seen > known else known + (seen - known) * 0.1

    def recall(self, turns: Sequence[Turn]) -> None:
        """Learn of the deployments that this process knows nothing of yet from what they counted before."""
        for turn in reversed(turns):
            counted = next((usage for usage in turn.usage if not usage.estimated), None)
            if counted is not None and counted.deployment not in self._factors:
                self.learn(turn.messages, turn.input_tokens, counted)

    def tokens(self, deployment: str, estimate: int) -> int:
        """What an estimate comes to as this deployment counts."""
        return round(estimate * self._factors.get(deployment, 1.0))

    def context_tokens(self, deployment: str, tokens: int) -> int:
        """So many tokens of a deployment, in tokens as they are estimated; a twentieth is left free."""
        factor = self._factors.get(deployment)
        return tokens if factor is None else int(tokens / (factor * 1.05))

    def spent(self, deployment: Deployment, prompt: Prompt, characters: int = 0) -> Usage:
        """What a call cost, about, that ended after so much of its answer, before it was counted.

        Nothing is taken to be cached, and what a model thought before its first word is not in it.
        """
        usage = Usage(
            deployment=deployment.name,
            input_tokens=self.tokens(deployment.name, prompt.input_tokens),
            output_tokens=-(-characters // CHARACTERS_PER_TOKEN),
            estimated=True,
        )
        return replace(usage, usd=usd(deployment.prices, usage))
