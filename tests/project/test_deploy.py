"""The files to deploy with and the operator's documents agree with the program."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.domain import telemetry
from tests.project.test_project import names

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
NEEDED_S = 20
"""PARLEY_DRAIN_S; whoever stops a process must wait longer."""


def test_every_metric_is_documented() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", text, re.MULTILINE)
    explained = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    there: dict[str, tuple[str, tuple[str, ...]]] = {}
    for collector in set(telemetry.registry._names_to_collectors.values()):  # pyright: ignore[reportPrivateUsage]
        (metric,) = collector.collect()
        there[metric.name] = (metric.type, tuple(getattr(collector, "_labelnames", ())))
    assert explained == there


def test_alerts_name_metrics_that_exist() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    rules = yaml.safe_load(block)["groups"][0]["rules"]
    known = set(telemetry.registry._names_to_collectors)  # pyright: ignore[reportPrivateUsage]
    used = {name for rule in rules for name in re.findall(r"parley_\w+", rule["expr"])}
    assert used <= known


@pytest.mark.parametrize(
    "path", ["compose.yaml", "deploy/azure/main.bicep", "deploy/systemd/parley.service", "docs/operations.md"]
)
def test_settings_that_are_named_exist(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    named = set(
        re.findall(r"\b(?:PARLEY|SLACK|AZURE_OPENAI)_[A-Z_]+[A-Z]\b|\bMicrosoftApp\w+|\bREDIS_URL\b", text)
    )
    assert named, "the test looks for something"
    assert named <= names()


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def test_the_redis_of_compose_keeps_what_was_acknowledged() -> None:
    command = " ".join(compose()["services"]["redis"]["command"])
    for option in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"):
        assert option in command


def test_compose_runs_web_and_worker_without_privileges() -> None:
    for name in ("web", "worker"):
        service = compose()["services"][name]
        assert service["command"] == [name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert int(service["stop_grace_period"].removesuffix("s")) > NEEDED_S
    assert all("127.0.0.1:" in port for port in compose()["services"]["web"]["ports"]), (
        "TLS is in front of it"
    )


def test_chart_values_match_the_schema_and_are_used() -> None:
    import json

    import fastjsonschema

    chart = DEPLOY / "helm" / "parley"
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    fastjsonschema.compile(json.loads((chart / "values.schema.json").read_text(encoding="utf-8")))(values)
    templates = "".join(path.read_text(encoding="utf-8") for path in (chart / "templates").iterdir())
    unused = [name for name in values if f".Values.{name}" not in templates and name not in ("web", "worker")]
    assert unused == []
    assert values["worker"]["terminationGracePeriodSeconds"] > NEEDED_S


def test_autoscaling_reads_the_backlog_metric() -> None:
    for path in ("helm/parley/templates/autoscaling.yaml", "azure/main.bicep"):
        assert "parley_backlog_conversations" in (DEPLOY / path).read_text(encoding="utf-8")


def test_the_systemd_unit_waits_for_the_drain() -> None:
    unit = (DEPLOY / "systemd" / "parley.service").read_text(encoding="utf-8")
    options = dict(
        line.split("=", 1) for line in unit.splitlines() if "=" in line and not line.startswith("#")
    )
    assert int(options["TimeoutStopSec"]) > NEEDED_S
    assert options["KillMode"] == "mixed"
    assert options["DynamicUser"] == "yes"
