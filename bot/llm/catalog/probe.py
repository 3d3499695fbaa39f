"""One small call to a deployment: whether it answers, how soon, and at what price."""

import math
import time
from typing import Protocol, runtime_checkable

from bot.domain.errors import BotError, ModelUnavailable
from bot.domain.events import Frozen
from bot.domain.prompts import Parameters, Prompt, say
from bot.domain.turns import CheckResult, Deployment, Usage
from bot.llm.catalog.catalog import host_of
from bot.llm.protocol import Model

PING = Prompt(
    template="check",
    capability="chat",
    messages=(say("user", "ping"),),
    # reasoning models refuse a limit below 16 tokens
    parameters=Parameters(max_output_tokens=16),
)


@runtime_checkable
class Checkable(Protocol):
    """A model that can say how it is."""

    async def check(self) -> CheckResult:
        """Whether it answers; never raises."""
        ...


class ProbeResult(Frozen):
    """What came of it: `first_s` is until the first token, or until another answer was whole.

    `usd` is the price of the call. `None` is unknown, or that there was no answer.
    """

    deployment: Deployment
    finding: CheckResult
    first_s: float | None = None
    usd: float | None = None


async def probe(deployment: Deployment, model: Model) -> ProbeResult:
    """Ask for a word or a vector; a picture is too dear, so only whether one could be drawn. Never raises."""
    began = time.monotonic()
    if deployment.capability == "image":
        finding = well(deployment)
        if isinstance(model, Checkable) and deployment.wire != "offline":
            finding = await model.check()
        if finding.level == "error":
            return ProbeResult(deployment=deployment, finding=finding)
        return ProbeResult(deployment=deployment, finding=finding, first_s=time.monotonic() - began, usd=0.0)
    first_s: float | None = None
    usage: Usage | None = None
    try:
        if deployment.capability == "embedding":
            _, usage = await model.embed(["ping"])
        else:
            async for delta in model.chat(PING):
                first_s = first_s or time.monotonic() - began
                usage = delta.usage or usage
    except BotError as error:
        return ProbeResult(deployment=deployment, finding=unwell(deployment, error))
    return ProbeResult(
        deployment=deployment,
        finding=well(deployment),
        first_s=first_s or time.monotonic() - began,
        usd=usage.usd if usage else None,
    )


def well(deployment: Deployment) -> CheckResult:
    """It answered."""
    host = host_of(deployment.endpoint)
    words = f"answers at {host}" if host else "the built-in demo answers"
    return CheckResult(level="ok", subject=f"deployment {deployment.name}", words=words)


def unwell(deployment: Deployment, error: BotError) -> CheckResult:
    """It did not: what is the matter, and what to do."""
    subject = f"deployment {deployment.name}"
    if isinstance(error, ModelUnavailable) and error.retry_after_s is not None:
        words = (
            f"{error} ({math.ceil(error.retry_after_s)} s): it is there, but at its limits. Raise them in "
        )
        words += (
            "the Azure portal if this stays so, and state them as requests_per_minute and tokens_per_minute."
        )
        return CheckResult(level="warning", subject=subject, words=words)
    if isinstance(error, ModelUnavailable):
        words = f"{error}; if this stays so, check the endpoint and the way to it"
        return CheckResult(level="error", subject=subject, words=words)
    return CheckResult(level="error", subject=subject, words=str(error))
