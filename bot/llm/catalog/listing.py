"""Deployments as tables, for the operator."""

from collections.abc import Iterable, Sequence

from bot.domain.turns import Deployment
from bot.llm.catalog.catalog import host_of
from bot.llm.catalog.deployments import DeploymentConfig
from bot.llm.catalog.probe import ProbeResult


def listed(config: DeploymentConfig) -> str:
    """One line for each deployment, and how they share the work."""
    head = ("NAME", "FOR", "MODEL", "AT", "ORDER", "CONTEXT", "$ PER MILLION TOKENS", "LIMITS", "TAGS")
    rows = [_row(deployment) for deployment in config.deployments]
    hedge = f"; a second is asked after {config.hedge_ms} ms of silence" if config.hedge_ms else ""
    return f"{_table(head, rows)}\n\npolicy: {config.policy}{hedge}"


def trials(probes: Sequence[ProbeResult]) -> str:
    """One line for each deployment, and below it what is to be done."""
    head = ("NAME", "FOR", "AT", "HEALTH", "FIRST TOKEN", "PRICE")
    rows = [
        (
            probe.deployment.name,
            probe.deployment.capability,
            host_of(probe.deployment.endpoint) or "here",
            probe.finding.level,
            "-" if probe.first_s is None else f"{probe.first_s:.2f} s",
            _price(probe),
        )
        for probe in probes
    ]
    notes = [
        f"{probe.deployment.name}: {probe.finding.words}" for probe in probes if probe.finding.level != "ok"
    ]
    return "\n\n".join([_table(head, rows), *notes])


def _row(one: Deployment) -> tuple[str, ...]:
    model = one.model or f"({one.family})"
    host = host_of(one.endpoint) or "here"
    return (
        one.name,
        one.capability,
        model,
        f"{host} ({one.region})" if one.region else host,
        f"{one.order}, weight {one.weight}" if one.weight != 1 else str(one.order),
        f"{one.context_tokens} + {one.output_tokens}" if one.output_tokens else str(one.context_tokens),
        _prices(one),
        _limits(one),
        " ".join(one.tags),
    )


def _prices(one: Deployment) -> str:
    """Input / cached input / output, and a picture; a question mark is a price that nobody knows."""
    prices = one.prices
    if one.capability == "image" and prices.image_usd is not None:
        return f"{_dollars(prices.image_usd)} a picture"
    parts = [prices.input_usd, prices.cached_usd, prices.output_usd]
    return " / ".join(map(_dollars, parts[:1] if one.capability == "embedding" else parts))


def _dollars(usd: float | None) -> str:
    return "?" if usd is None else f"{usd:g}"


def _limits(one: Deployment) -> str:
    limits = ((one.requests_per_minute, "requests/min"), (one.tokens_per_minute, "tokens/min"))
    return ", ".join(f"{limit} {what}" for limit, what in limits if limit)


def _price(one: ProbeResult) -> str:
    if one.first_s is None:
        return "-"
    if one.usd is None:
        return "unknown"
    if one.usd < 1e-6:
        return "< $0.000001" if one.usd else "free"
    return f"${one.usd:.6f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
