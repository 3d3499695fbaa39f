"""What the operator sees: structured logs with a turn's id on each line, and Prometheus metrics."""

import logging
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from bot.domain.turns import Turn

registry = CollectorRegistry()

EVENTS = Counter(
    "parley_events", "Events, by what became of them.", ("adapter", "receipt"), registry=registry
)
TURNS = Counter("parley_turns", "Turns, by outcome.", ("adapter", "outcome"), registry=registry)
TOKENS = Counter(
    "parley_tokens", "Tokens, by deployment and kind.", ("deployment", "kind"), registry=registry
)
MICRODOLLARS = Counter(
    "parley_microdollars", "Known cost in millionths of a US dollar.", ("deployment",), registry=registry
)
RETRIES = Counter("parley_retries", "Events put back to wait, by reason.", ("reason",), registry=registry)
LEASES_LOST = Counter(
    "parley_leases_lost", "Turns dropped: another worker had taken over.", registry=registry
)
DEAD_LETTERS = Counter("parley_buried", "Events given up after the last attempt.", registry=registry)
BACKLOG = Gauge(
    "parley_backlog_conversations",
    "Conversations that are due and that no worker has taken. NaN while Redis is away.",
    registry=registry,
)
BACKLOG_SECONDS = Gauge(
    "parley_backlog_oldest_seconds",
    "For how long the conversation that is due longest has waited. NaN while Redis is away.",
    registry=registry,
)
REDIS_RESTARTS = Counter(
    "parley_redis_restarts",
    "Times that the embedded Redis was away and was started again.",
    registry=registry,
)
RUNNING = Gauge("parley_turns_running", "Turns being answered in this process.", registry=registry)
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
ACCEPT_SECONDS = Histogram(
    "parley_accept_seconds",
    "From parsed request to written down.",
    ("adapter",),
    registry=registry,
    buckets=_SECONDS,
)
WAIT_SECONDS = Histogram(
    "parley_wait_seconds",
    "From what the person did to a worker taking it.",
    registry=registry,
    buckets=_SECONDS,
)
FIRST_SECONDS = Histogram(
    "parley_first_text_seconds",
    "From taking an event to its first text.",
    registry=registry,
    buckets=_SECONDS,
)
TURN_SECONDS = Histogram(
    "parley_turn_seconds",
    "From taking an event to its turn being written.",
    registry=registry,
    buckets=_SECONDS,
)
DEPLOYMENT_FAILURES = Counter(
    "parley_deployment_failures",
    "Calls that a deployment did not answer.",
    ("deployment",),
    registry=registry,
)
DEPLOYMENT_SECONDS = Histogram(
    "parley_deployment_seconds",
    "Of a call: to its first delta, to its end; and how long a deployment was left alone.",
    ("deployment", "stretch"),
    registry=registry,
    buckets=_SECONDS,
)
CONNECTIONS = Gauge("parley_http_connections", "Open connections to the web server.", registry=registry)
CONNECTIONS_CLOSED = Counter(
    "parley_http_connections_closed",
    "Connections that the web server closed or refused, by reason.",
    ("reason",),
    registry=registry,
)
METRICS_TYPE = CONTENT_TYPE_LATEST


@dataclass(slots=True)
class AnswerProgress:
    """What can be seen of an answer while it is written, kept by whoever works on it."""

    template: str = ""
    deployment: str = ""
    text: str = ""


progress: ContextVar[AnswerProgress | None] = ContextVar("sight", default=None)
"""That of the running answer, in a worker."""


def report_progress(*, template: str = "", deployment: str = "") -> None:
    """Let those who look see who answers; deployments that step in are added."""
    if (seen := progress.get()) is None:
        return
    seen.template = template or seen.template
    if deployment and deployment not in seen.deployment.split(", "):
        seen.deployment = ", ".join(filter(None, (seen.deployment, deployment)))


def backlog(conversations: float, oldest_s: float) -> None:
    """Set the gauges of the backlog; NaN where it is not known."""
    BACKLOG.set(conversations)
    BACKLOG_SECONDS.set(oldest_s)


def open_files_limit() -> int:
    """How many files and connections this process may have open: RLIMIT_NOFILE, at most 65,536."""
    if sys.platform == "win32":
        return 8192
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 65_536 if soft == resource.RLIM_INFINITY else min(soft, 65_536)


def metrics() -> bytes:
    """The metrics in Prometheus' text format."""
    return generate_latest(registry)


def count(turn: Turn) -> None:
    """Count a written turn and what it cost."""
    TURNS.labels(turn.received.address.adapter, turn.outcome).inc()
    TURN_SECONDS.observe((turn.ended_at - turn.began_at).total_seconds())
    for usage in turn.usage:
        TOKENS.labels(usage.deployment, "input").inc(usage.input_tokens)
        TOKENS.labels(usage.deployment, "cached").inc(usage.cached_tokens)
        TOKENS.labels(usage.deployment, "output").inc(usage.output_tokens)
        if usage.usd is not None:
            MICRODOLLARS.labels(usage.deployment).inc(usage.usd * 1_000_000)


def deployment(measure: str, name: str, value: float) -> None:
    """Take down a measure of the gateway: first_delta_seconds, call_seconds, failures or rest_seconds."""
    if measure == "failures":
        DEPLOYMENT_FAILURES.labels(name).inc(value)
        return
    DEPLOYMENT_SECONDS.labels(name, measure.removesuffix("_seconds")).observe(value)
    if measure == "first_delta_seconds":
        report_progress(deployment=name)


def bind(**fields: str) -> None:
    """Put these fields on every log line of the running task."""
    structlog.contextvars.bind_contextvars(**fields)


def start_logging(style: Literal["text", "json"], level: str) -> None:
    """Send every logger of the process, ours and the libraries', to standard error in one form.

    Libraries that log whole requests at INFO are held at WARNING: what people write stays out of the logs.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                last,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("slack_bolt", "slack_sdk", "botbuilder", "botframework", "openai", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("azure", "msal", "aiohttp.access", "asyncio", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
