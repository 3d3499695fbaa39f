"""Answers questions about the current deployments: token budget and price of a prompt, available models."""

from dataclasses import replace

from bot.domain.limits import Limits
from bot.domain.prompts import Capability, Prompt, Template
from bot.domain.turns import Deployment, Purpose, Usage
from bot.generation.prompt_builder import TokenBudget
from bot.llm.catalog.catalog import families
from bot.llm.openai import images
from bot.llm.protocol import Model
from bot.llm.routing.candidates import most
from bot.llm.routing.router import Gateway
from bot.llm.tokens.counter import TokenCounter
from bot.llm.tokens.estimator import Vocabulary
from bot.storage.usage.quota import Estimate, estimate

_ANSWER_TOKENS = 4000
_REASONED_TOKENS = 16_000
"""Default for max output tokens where a limit counts tokens or money, which an endless answer would exceed.
Reasoning models use most of it before the first word.
"""


class ModelInfo:
    """Reads the gateway at each call, because deployments can change while a process runs.

    `model` calls these deployments.
    """

    def __init__(self, gateway: Gateway, limits: Limits | None = None) -> None:
        self.model: Model = gateway
        self._gateway = gateway
        self.limit(limits or Limits())

    def limit(self, limits: Limits) -> None:
        """Bound answers from now on where these limits count tokens or money."""
        self._budgeted = any(limit.measure != "requests" for limit in limits.every)

    def deployments(self) -> tuple[Deployment, ...]:
        """All deployments, of all capabilities."""
        return self._gateway.every()

    def chat_deployments(self) -> tuple[Deployment, ...]:
        return self._gateway.deployments("chat")

    def comparable_deployments(self) -> tuple[str, ...]:
        """The names of the chat deployments, without duplicates."""
        return tuple(dict.fromkeys(each.name for each in self.chat_deployments()))

    def cheap_deployment(self) -> str | None:
        """The tag `cheap` if a chat deployment has it. (The router warns about names that no deployment has.)"""
        return "cheap" if any("cheap" in each.tags for each in self.chat_deployments()) else None

    def is_served(self, template: Template) -> bool:
        """Whether a deployment has the capability that the template needs."""
        return bool(self._gateway.deployments(template.capability))

    def token_budget(self, template: Template, sticky: str = "") -> TokenBudget:
        """The budget of the deployment that will be called first for this conversation.

        If it fails and all others are smaller, the gateway raises TooLong and the prompt is rebuilt.
        """
        first = self._gateway.next_asked(template.capability, template.deployment, sticky)
        if first is None:
            return TokenBudget(context_tokens=8192, output_tokens=1024)
        budget = TokenBudget(
            context_tokens=first.context_tokens,
            output_tokens=first.output_tokens,
            counter=self.counter(template.capability, template.deployment),
        )
        if not self._budgeted or template.capability != "chat":
            return budget
        family = families().get(first.family)
        reasons = family is not None and "temperature" in family.refuses
        most = _REASONED_TOKENS if reasons else _ANSWER_TOKENS
        return replace(budget, answer_tokens=min(most, first.output_tokens or most))

    def counter(self, capability: Capability, deployment: str | None = None) -> TokenCounter:
        """Counts the tokens of a prompt for the deployments that may answer; `deployment` is a name or tag."""
        available = self._gateway.deployments(capability, deployment)
        unknown = families()["unknown-chat"]
        found = [families().get(each.family, unknown) for each in available if each.family != "demo"]
        if not found:
            return TokenCounter()
        vocabularies: tuple[Vocabulary | None, ...] = tuple(
            dict.fromkeys(family.vocabulary for family in found)
        )
        return TokenCounter(vocabularies, tuple(dict.fromkeys(family.image_tokens for family in found)))

    def family(self, template: Template) -> str | None:
        """The model family of the first deployment that can serve a template; None if there is none."""
        available = self._gateway.deployments(template.capability, template.deployment)
        return available[0].family if available else None

    def accepts_images(self, template: Template) -> bool:
        """Whether all deployments that may answer have vision, as all known families do."""
        available = self._gateway.deployments("chat", template.deployment)
        return bool(available) and all(each.family not in ("unknown-chat", "demo") for each in available)

    def estimate(self, prompt: Prompt) -> Estimate:
        """About the most that a prompt can use."""
        return estimate(prompt, self.estimate_usd(prompt), self.image_tokens(prompt))

    def expected(self, prompt: Prompt) -> Usage:
        """What a call with a prompt uses if it is interrupted half-way."""
        return self._gateway.expected(prompt)

    def purpose(self, prompt: Prompt) -> Purpose:
        """What a call with a prompt is made for, if nothing else is stated."""
        return "answer" if prompt.capability == "chat" else "edit" if prompt.edits else "image"

    def image_tokens(self, prompt: Prompt) -> int:
        """About the most tokens that the images of a prompt can cost; 0 if they are priced per image."""
        if prompt.capability != "image":
            return 0
        available = self._gateway.deployments("image", prompt.deployment)
        return max((images.most(prompt, each).output_tokens for each in available), default=0)

    def estimate_usd(self, prompt: Prompt) -> float | None:
        """About the most that a prompt can cost at the costliest deployment that may answer it.

        None if the price of any that may answer is unknown; 0 if there is none, because then nothing is called.
        """
        available = self._gateway.deployments(prompt.capability, prompt.deployment)
        costs = [_most_usd(prompt, deployment) for deployment in available]
        return None if None in costs else max((cost or 0.0 for cost in costs), default=0.0)


def _most_usd(prompt: Prompt, deployment: Deployment) -> float | None:
    """About the most that a prompt can cost at a deployment."""
    if prompt.capability == "image":
        return images.most(prompt, deployment).usd
    return most(deployment, prompt).usd
