"""What the deployments that serve now mean for a prompt: its token budget, its price, what can be chosen."""

from collections.abc import Sequence
from dataclasses import replace

from bot.domain.limits import Limits
from bot.domain.prompts import Prompt, Template
from bot.domain.turns import Deployment, Turn
from bot.generation.prompt_builder import TokenBudget
from bot.llm.catalog.catalog import families
from bot.llm.openai import images
from bot.llm.protocol import Model
from bot.llm.routing.router import Gateway
from bot.storage.usage.quota import OUTPUT_TOKENS

_ANSWER_TOKENS = 4000
_REASONED_TOKENS = 16_000
"""What an answer may have where a budget counts its tokens or its price, and its template doesn't say: a
budget holds only as far as an answer ends. Models that reason spend most of it before the first word.
"""


class ModelInfo:
    """Reads the gateway at each call, because deployments come and go while a process runs.

    `model` answers by those deployments. `counts` says that tokens are counted with the model's vocabulary.
    """

    def __init__(self, gateway: Gateway, limits: Limits | None = None, *, counts: bool = False) -> None:
        self.model: Model = gateway
        self._gateway = gateway
        self._counts = counts
        self._budgeted = any(one.measure != "requests" for one in (limits or Limits()).every)

    def deployments(self) -> tuple[Deployment, ...]:
        """Every deployment, of every capability."""
        return self._gateway.every()

    def chat_deployments(self) -> tuple[Deployment, ...]:
        """The chat deployments."""
        return self._gateway.deployments("chat")

    def comparable_deployments(self) -> tuple[str, ...]:
        """The names of the chat deployments, each once: what can be compared."""
        return tuple(dict.fromkeys(one.name for one in self.chat_deployments()))

    def cheap_deployment(self) -> str | None:
        """The wish for a cheap deployment, where one has that tag: what nobody answers to is warned of."""
        return "cheap" if any("cheap" in one.tags for one in self.chat_deployments()) else None

    def is_served(self, template: Template) -> bool:
        """Whether anything serves what a template needs."""
        return bool(self._gateway.deployments(template.capability))

    def token_budget(self, template: Template, sticky: str = "") -> TokenBudget:
        """What the deployment takes that will be asked for this conversation.

        Where that one can't answer and all others take less, the gateway says so, and there is a second try.
        """
        first = self._gateway.next_asked(template.capability, template.deployment, sticky)
        if first is None:
            return TokenBudget(context_tokens=8192, output_tokens=1024)
        context = self._gateway.calibration.context_tokens(first.name, first.context_tokens)
        budget = TokenBudget(context_tokens=context, output_tokens=first.output_tokens)
        if not self._budgeted or template.capability != "chat":
            return budget
        family = families().get(first.family)
        reasons = family is not None and "temperature" in family.refuses
        most = _REASONED_TOKENS if reasons else _ANSWER_TOKENS
        return replace(budget, answer_tokens=min(most, first.output_tokens or most))

    def recall_counts(self, turns: Sequence[Turn]) -> None:
        """What the turns of a conversation weighed, where this process knows no better: they may have been
        weighed by their bytes, and are no measure of what is counted.
        """
        if not self._counts:
            self._gateway.calibration.recall(turns)

    def family(self, template: Template) -> str | None:
        """The family of the first deployment that may serve a template; None when nothing does."""
        available = self._gateway.deployments(template.capability, template.deployment)
        return available[0].family if available else None

    def accepts_images(self, template: Template) -> bool:
        """Whether every deployment that may answer is of a known family: those of today all see pictures."""
        available = self._gateway.deployments("chat", template.deployment)
        return bool(available) and all(one.family not in ("unknown-chat", "demo") for one in available)

    def image_tokens(self, prompt: Prompt) -> int:
        """The tokens that the pictures of a prompt take at most, about; 0 where each has a price."""
        available = (
            self._gateway.deployments("image", prompt.deployment) if prompt.capability == "image" else ()
        )
        return images.most(prompt, available[0]).output_tokens if available else 0

    def estimate_usd(self, prompt: Prompt) -> float | None:
        """What a prompt will cost at most, about; `None` when the price is unknown."""
        available = self._gateway.deployments(prompt.capability, prompt.deployment)
        if not available:
            return None
        prices = available[0].prices
        if prompt.capability == "image":
            return images.most(prompt, available[0]).usd
        if prices.input_usd is None or prices.output_usd is None:
            return None
        output = prompt.parameters.max_output_tokens or OUTPUT_TOKENS
        return (prompt.input_tokens * prices.input_usd + output * prices.output_usd) / 1_000_000
