"""Structured logs with a turn's id on each line, and Prometheus metrics."""

import logging
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
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

from bot.domain.turns import Turn, Usage

registry = CollectorRegistry()

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_counter, _gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
_histogram = partial(Histogram, registry=registry, buckets=_SECONDS)

EVENTS = _counter("parley_events", "Events received, by receipt.", ("adapter", "receipt"))
TURNS = _counter("parley_turns", "Turns, by outcome.", ("adapter", "outcome"))
TOKENS = _counter("parley_tokens", "Tokens, by deployment and kind.", ("deployment", "kind"))
MICRODOLLARS = _counter("parley_microdollars", "Known cost in millionths of a US dollar.", ("deployment",))
CALLS = _counter(
    "parley_calls",
    "Calls of models, by what they were for and how they ended.",
    ("deployment", "purpose", "outcome"),
)
IMAGES = _counter("parley_images", "Images generated.", ("deployment",))
UNPRICED = _counter("parley_unpriced_calls", "Calls whose price is unknown.", ("deployment",))
RESERVED = _counter("parley_reserved_microdollars", "Reserved before calls, in millionths of a US dollar.")
REFUSALS = _counter("parley_limit_refusals", "Questions refused by a limit.", ("scope", "measure", "period"))
LIMITS_REACHED = _counter(
    "parley_limits_reached",
    "Limits of tenants that reached a share of what they allow, in percent.",
    ("measure", "period", "percent"),
)
NAMES_UNRESOLVED = _gauge(
    "parley_limit_names_unresolved", "Names in limits that have no id, so that these limits don't apply."
)
RETRIES = _counter("parley_retries", "Events put back to wait, by reason.", ("reason",))
LEASES_LOST = _counter("parley_leases_lost", "Turns dropped because another worker had taken over.")
DEAD_LETTERS = _counter("parley_buried", "Events moved to the dead letters.")
BACKLOG = _gauge(
    "parley_backlog_conversations",
    "Conversations that are due and not claimed. NaN while Redis is unavailable.",
)
BACKLOG_SECONDS = _gauge(
    "parley_backlog_oldest_seconds",
    "Waiting time of the conversation that has been due longest. NaN while Redis is unavailable.",
)
REDIS_RESTARTS = _counter("parley_redis_restarts", "Restarts of the embedded Redis.")
RUNNING = _gauge("parley_turns_running", "Turns being answered in this process.")
ACCEPT_SECONDS = _histogram(
    "parley_accept_seconds", "From a parsed request to its stored event.", ("adapter",)
)
WAIT_SECONDS = _histogram("parley_wait_seconds", "From an event to its claim by a worker.")
FIRST_SECONDS = _histogram("parley_first_text_seconds", "From the claim of an event to its first text.")
TURN_SECONDS = _histogram("parley_turn_seconds", "From the claim of an event to its committed turn.")
DEPLOYMENT_FAILURES = _counter("parley_deployment_failures", "Failed calls of deployments.", ("deployment",))
DEPLOYMENT_SECONDS = _histogram(
    "parley_deployment_seconds",
    "Seconds to the first delta of a call, to its end, and of cool-downs.",
    ("deployment", "stretch"),
)
SKIPPED = _counter(
    "parley_model_output_skipped",
    "Parts of model output that could not be read, by what was skipped.",
    ("what",),
)
CONNECTIONS = _gauge("parley_http_connections", "Open connections to the web server.")
CONNECTIONS_CLOSED = _counter(
    "parley_http_connections_closed",
    "Connections that the web server closed or refused, by reason.",
    ("reason",),
)
METRICS_TYPE = CONTENT_TYPE_LATEST


@dataclass(slots=True)
class AnswerProgress:
    """The state of a running answer, for the live view."""

    template: str = ""
    deployment: str = ""
    text: str = ""


progress: ContextVar[AnswerProgress | None] = ContextVar("sight", default=None)
"""The progress of the answer that a task works on."""


def report_progress(*, template: str = "", deployment: str = "") -> None:
    """Record the template and the deployment of the running answer; fallback deployments are added."""
    if (answer := progress.get()) is None:
        return
    answer.template = template or answer.template
    if deployment and deployment not in answer.deployment.split(", "):
        answer.deployment = ", ".join(filter(None, (answer.deployment, deployment)))


def backlog(conversations: float, oldest_s: float) -> None:
    """Set the gauges of the backlog; NaN if unknown."""
    BACKLOG.set(conversations)
    BACKLOG_SECONDS.set(oldest_s)


def open_files_limit() -> int:
    """The maximum number of open files and connections: RLIMIT_NOFILE, at most 65,536."""
    if sys.platform == "win32":
        return 8192
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 65_536 if soft == resource.RLIM_INFINITY else min(soft, 65_536)


def metrics() -> bytes:
    """The metrics in Prometheus' text format."""
    return generate_latest(registry)


def count(turn: Turn) -> None:
    """Count a committed turn."""
    TURNS.labels(turn.received.address.adapter, turn.outcome).inc()
    TURN_SECONDS.observe((turn.ended_at - turn.began_at).total_seconds())


def called(calls: Sequence[Usage]) -> None:
    """Count calls of models, and what they cost."""
    for usage in calls:
        CALLS.labels(usage.deployment, usage.purpose or "answer", usage.outcome).inc()
        IMAGES.labels(usage.deployment).inc(usage.images)
        UNPRICED.labels(usage.deployment).inc(usage.usd is None)
        TOKENS.labels(usage.deployment, "input").inc(usage.input_tokens)
        TOKENS.labels(usage.deployment, "cached").inc(usage.cached_tokens)
        TOKENS.labels(usage.deployment, "output").inc(usage.output_tokens)
        if usage.usd is not None:
            MICRODOLLARS.labels(usage.deployment).inc(usage.usd * 1_000_000)


def deployment(measure: str, name: str, value: float) -> None:
    """Record a measure of the router: first_delta_seconds, call_seconds, failures or rest_seconds."""
    if measure == "failures":
        DEPLOYMENT_FAILURES.labels(name).inc(value)
        return
    DEPLOYMENT_SECONDS.labels(name, measure.removesuffix("_seconds")).observe(value)
    if measure == "first_delta_seconds":
        report_progress(deployment=name)


def bind(**fields: str) -> None:
    """Add these fields to every log line of the current task."""
    structlog.contextvars.bind_contextvars(**fields)


def start_logging(style: Literal["text", "json"], level: str) -> None:
    """Send all logs of the process to standard error in one format.

    Libraries that log whole requests at INFO are set to WARNING, to keep people's text out of the logs.
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
