"""The table of errors: valid, reachable, and right about what services say."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.domain.errors import ConfigError
from bot.llm.failures import table
from bot.llm.failures.lessons import lesson
from bot.llm.failures.reply import ErrorReply, reply_of
from bot.llm.failures.table import ErrorRow, example_reply, row_of
from bot.llm.openai.chat_request import OPTIONAL

RAW: list[dict[str, Any]] = yaml.safe_load((Path(table.__file__).parent / "errors.yaml").read_text("utf-8"))
SENT: dict[str, Any] = {
    "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}],
    "tools": [{"type": "function", "function": {"name": "draw"}}],
    "max_tokens": 8192,
    "temperature": 0.7,
    "reasoning_effort": "low",
    "stream": True,
    "stream_options": {"include_usage": True},
}


def judged(reply: ErrorReply) -> ErrorRow:
    """The row of an error of the request SENT."""
    return row_of(reply, lambda row: row.learn is None or bool(lesson(row.learn, reply, SENT, OPTIONAL, ())))


@pytest.mark.parametrize("row", table.table(), ids=lambda row: row.name)
def test_every_row_is_reachable_by_its_example(row: ErrorRow) -> None:
    assert judged(example_reply(row)).name == row.name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fault": "weather"}, "weather"),
        ({"rest_s": 301}, "300"),
        ({"text": "("}, "invalid pattern"),
        ({"status": ["3xx"]}, "unknown status"),
        ({"learn": "tools"}, "needs `learn`"),
        ({"operator": ""}, "`operator` is missing"),
        ({"name": "busy"}, "twice"),
        ({"example": {"status": 200}}, "does not match"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_an_invalid_table_is_refused(change: dict[str, Any], words: str) -> None:
    raw = deepcopy(RAW)
    next(row for row in raw if row["name"] == "gone").update(change)
    with pytest.raises(ConfigError, match=words):
        table.read(raw)


def test_a_row_that_hides_another_is_refused() -> None:
    everything = {**deepcopy(RAW[-1]), "name": "everything"}
    with pytest.raises(ConfigError, match="everything takes its example"):
        table.read([everything, *RAW])
    with pytest.raises(ConfigError, match="must match everything"):
        table.read(RAW[:-1])


@pytest.mark.parametrize(
    ("status", "fault", "next_", "rests"),
    [
        (400, "request", "next_deployment", False),
        (401, "credential", "fresh_token", True),
        (402, "deployment", "next_deployment", True),
        (403, "request", "next_deployment", False),
        (404, "deployment", "next_deployment", True),
        (405, "request", "next_deployment", False),
        (408, "service", "next_deployment", False),
        (409, "service", "next_deployment", False),
        (413, "request", "nowhere", False),
        (418, "request", "next_deployment", False),
        (421, "deployment", "next_deployment", True),
        (422, "request", "next_deployment", False),
        (423, "deployment", "next_deployment", True),
        (429, "service", "next_deployment", True),
        (451, "request", "next_deployment", False),
        (499, "service", "next_deployment", False),
        (500, "service", "next_deployment", False),
        (529, "service", "next_deployment", False),
        (599, "service", "next_deployment", False),
        (0, "service", "next_deployment", False),
    ],
)
def test_unknown_errors_have_defaults_by_status(status: int, fault: str, next_: str, rests: bool) -> None:
    """Field faults 61, 62: most errors try the next deployment; one request's refusal makes none rest."""
    row = judged(reply_of(status, {"error": {"code": "zzz", "message": "zzz"}}))
    assert (row.fault, row.next, row.rest_s is not None) == (fault, next_, rests)


MEANT: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "wordings.yaml").read_text("utf-8"))


@pytest.mark.parametrize("said", MEANT, ids=lambda said: said["row"])
def test_what_services_say_is_understood(said: dict[str, Any]) -> None:
    """Field faults 57, 59, 61, 62, 67, 68: each is in wordings.yaml."""
    assert judged(reply_of(said["status"], said["body"])).name == said["row"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "x",
        None,
        [],
        5,
        {"error": {"error": {"error": {"error": {"message": "x"}}}}},
        {"error": [["x"]]},
        "[[" * 9999,
    ],
)
def test_bodies_of_any_shape_are_judged(body: Any) -> None:
    for status in (0, 400, 503):
        assert judged(reply_of(status, body))


@pytest.mark.parametrize(
    ("told", "status"),
    [("429", 429), (503, 503), ("000500" + "0" * 5000, 0), ("4" * 5000, 0), ("600", 0), ("٤٢٩", 0)],
)
def test_only_a_status_is_read_as_one(told: object, status: int) -> None:
    """Field fault 64: a number that is too long for Python's `int` is no error of the bot."""
    assert reply_of(0, {"statusCode": told, "message": "x"}).status == status
