"""Probes a deployment with one small call: health, latency, price."""

import base64
import math
import time
from typing import Protocol, runtime_checkable

from msgspec.structs import replace

from bot.domain.errors import BotError, ModelUnavailable
from bot.domain.events import Frozen
from bot.domain.prompts import Image, Message, Parameters, Prompt, Text, ToolSpec, say
from bot.domain.turns import CheckResult, Deployment, Usage
from bot.llm.catalog.catalog import host_of
from bot.llm.protocol import EmptyAnswer, Model

# a grey square of 8 by 8 pixels
_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIAQAAAADsdIMmAAAADElEQVR42mMIZUCBABVQAqmbqVBZAAAAAElFTkSuQmCC"
)

PING = Prompt(
    template="check",
    capability="chat",
    # what a real turn sends, because some models refuse one of it, or their combination
    messages=(say("system", "Answer with one word, and do not use tools."), say("user", "ping")),
    tools=(
        ToolSpec(
            name="ping",
            description="Answers a ping.",
            schema={"type": "object", "properties": {"text": {"type": "string"}}},
        ),
    ),
    # reasoning models reject limits below 16 tokens
    parameters=Parameters(max_output_tokens=16),
)


def _ping(deployment: Deployment) -> Prompt:
    """The test request: with an image if the model's family is known, as all of those see images."""
    if deployment.family.startswith("unknown") or deployment.wire == "offline":
        return PING
    pictured = Message(role="user", parts=(Text(text="ping"), Image(mime="image/png", data=_PNG)))
    return replace(PING, messages=(PING.messages[0], pictured))


@runtime_checkable
class Checkable(Protocol):
    """A model with a health check."""

    async def check(self) -> CheckResult:
        """Check whether it answers. Never raises."""
        ...


class ProbeResult(Frozen):
    """The result of a probe: `first_s` is the time to the first token, or to a complete answer of another kind.

    `usd` is the price of the call. `None` means unknown, or no answer.
    """

    deployment: Deployment
    finding: CheckResult
    first_s: float | None = None
    usd: float | None = None


async def probe(deployment: Deployment, model: Model) -> ProbeResult:
    """Request a word or a vector; image deployments are only checked, because images cost too much. Never raises."""
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
            async for delta in model.chat(_ping(deployment)):
                first_s = first_s or time.monotonic() - began
                usage = delta.usage or usage
    except EmptyAnswer as error:
        usage = error.usage
    except BotError as error:
        return ProbeResult(deployment=deployment, finding=unwell(deployment, error))
    return ProbeResult(
        deployment=deployment,
        finding=well(deployment),
        first_s=first_s or time.monotonic() - began,
        usd=usage.usd if usage else None,
    )


def well(deployment: Deployment) -> CheckResult:
    """The result of a deployment that answered."""
    host = host_of(deployment.endpoint)
    words = f"answers at {host}" if host else "the built-in demo model answers"
    return CheckResult(level="ok", subject=f"deployment {deployment.name}", words=words)


def unwell(deployment: Deployment, error: BotError) -> CheckResult:
    """The result of a deployment that failed, with what to do."""
    subject = f"deployment {deployment.name}"
    if isinstance(error, ModelUnavailable) and error.retry_after_s is not None:
        words = (
            f"{error} ({math.ceil(error.retry_after_s)} s): its rate limit is reached. If this persists, raise the "
            "limit in the Azure portal, and set requests_per_minute and tokens_per_minute."
        )
        return CheckResult(level="warning", subject=subject, words=words)
    if isinstance(error, ModelUnavailable):
        words = f"{error}; if this persists, check the endpoint and the network"
        return CheckResult(level="error", subject=subject, words=words)
    return CheckResult(level="error", subject=subject, words=str(error))
