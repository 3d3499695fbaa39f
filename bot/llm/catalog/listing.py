"""Tables of deployments for operators."""

from collections.abc import Iterable, Sequence

from bot.domain.turns import Deployment
from bot.llm.catalog.catalog import host_of
from bot.llm.catalog.deployments import DeploymentConfig
from bot.llm.catalog.probe import ProbeResult


def listed(config: DeploymentConfig) -> str:
    """A table of deployments, and the routing policy."""
    head = ("NAME", "FOR", "MODEL", "AT", "ORDER", "CONTEXT", "$ PER MILLION TOKENS", "LIMITS", "TAGS")
    rows = [_row(deployment) for deployment in config.deployments]
    hedge = f"; hedged after {config.hedge_ms} ms without a first token" if config.hedge_ms else ""
    return f"{_table(head, rows)}\n\npolicy: {config.policy}{hedge}"


def trials(probes: Sequence[ProbeResult]) -> str:
    """A table of probe results, and hints below it."""
    head = ("NAME", "FOR", "AT", "HEALTH", "FIRST TOKEN", "PRICE")
    rows = [
        (
            probe.deployment.name,
            probe.deployment.capability,
            host_of(probe.deployment.endpoint) or "built-in",
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


def _row(deployment: Deployment) -> tuple[str, ...]:
    model = deployment.model or f"({deployment.family})"
    host = host_of(deployment.endpoint) or "built-in"
    return (
        deployment.name,
        deployment.capability,
        model,
        f"{host} ({deployment.region})" if deployment.region else host,
        f"{deployment.order}, weight {deployment.weight}"
        if deployment.weight != 1
        else str(deployment.order),
        " + ".join(str(tokens) for tokens in (deployment.context_tokens, deployment.output_tokens) if tokens),
        _prices(deployment),
        _limits(deployment),
        " ".join(deployment.tags),
    )


def _prices(deployment: Deployment) -> str:
    """Input / cached input / output, or per image; a question mark is an unknown price."""
    prices = deployment.prices
    if deployment.capability == "image" and prices.image_usd is not None:
        return f"{_dollars(prices.image_usd)} per image"
    if deployment.capability == "image" and prices.pictures:
        return f"{min(prices.pictures.values()):g} to {max(prices.pictures.values()):g} per image"
    output = prices.output_usd
    if deployment.capability == "image" and prices.image_output_usd is not None:
        output = prices.image_output_usd
    cached = prices.input_usd if prices.cached_usd is None else prices.cached_usd
    parts = [prices.input_usd, cached, output][: 1 if deployment.capability == "embedding" else None]
    tiers = "".join(
        f"; above {tier.tokens:,}: {_dollars(tier.input_usd)} / {_dollars(tier.output_usd)}"
        for tier in prices.above
    )
    return " / ".join(map(_dollars, parts)) + tiers + (" (ceiling)" if prices.has_ceiling else "")


def _dollars(usd: float | None) -> str:
    return "?" if usd is None else f"{usd:g}"


def _limits(deployment: Deployment) -> str:
    limits = ((deployment.requests_per_minute, "requests/min"), (deployment.tokens_per_minute, "tokens/min"))
    return ", ".join(f"{limit} {what}" for limit, what in limits if limit)


def _price(result: ProbeResult) -> str:
    if result.first_s is None:
        return "-"
    if result.usd is None:
        return "unknown"
    if result.usd < 1e-6:
        return "< $0.000001" if result.usd else "free"
    return f"${result.usd:.6f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
