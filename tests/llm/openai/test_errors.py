"""Every exception of the packages below has its place among the house's errors."""

import inspect
import json
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import azure.core.exceptions
import azure.identity
import httpx2
import openai
import openai.lib.azure
import pytest

from bot.domain.errors import BotError, ConfigError, ContentFiltered, ModelUnavailable, NotAllowed, TooLong
from bot.llm.demo.model import deployments
from bot.llm.openai.errors import (
    AWAY,
    SETTINGS,
    SIGN_IN,
    STATUS,
    judge,
    mapped,
    refusal,
)
from bot.llm.protocol import DeploymentBroken, RequestRejected

RECORDED = Path(__file__).parents[2] / "recorded" / "azure"
DEPLOYMENT = deployments()[0]
REQUEST = httpx2.Request("POST", "http://127.0.0.1/")

# Bases that are never raised themselves: mapping them would make the search below find nothing.
ROOTS = {openai.OpenAIError, openai.APIError, azure.core.exceptions.AzureError, httpx2.HTTPError}

# Raised only by parts of the SDKs that Parley doesn't use.
NEVER_MET = {
    "SubjectTokenProviderError",  # workload identity of OpenAI's own platform
    "MutuallyExclusiveAuthError",  # two credentials given at once: a mistake in clients.py, found at start
    "_AmbiguousModuleClientUsageError",  # the module-level client
    "WSMessageTypeError",  # WebSockets
}
PACKAGES = [openai, openai.lib.azure, httpx2, azure.core, azure.identity, aiohttp.client_exceptions]


def exceptions_of(package: ModuleType) -> Iterator[type[Exception]]:
    """The exception classes that a package exports, or defines in its modules about errors."""
    inside = pkgutil.iter_modules(getattr(package, "__path__", []), f"{package.__name__}.")
    modules = [package, *(import_module(info.name) for info in inside if "exception" in info.name)]
    owner = package.__name__.partition(".")[0]
    for module in modules:
        for _, found in inspect.getmembers(module, inspect.isclass):
            if issubclass(found, Exception) and found.__module__.startswith(owner):
                yield found


LISTED = (*AWAY, *SIGN_IN, *SETTINGS, *STATUS)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_every_exception_of_the_packages_is_mapped(package: ModuleType) -> None:
    found = set(exceptions_of(package))
    assert len(found) >= 2
    judged = {kind for kind in found - ROOTS if not issubclass(kind, Warning)}
    unmapped = {kind.__name__ for kind in judged if not issubclass(kind, LISTED)} - NEVER_MET
    assert unmapped == set(), "say in bot/llm/openai/errors.py whom it concerns"


def made(kind: type[Exception]) -> Exception:
    """An exception of this kind, however its constructor looks."""
    if issubclass(kind, openai.APIStatusError):
        status = getattr(kind, "status_code", 500)
        response = httpx2.Response(status if isinstance(status, int) else 500, request=REQUEST)
        words = () if kind is openai.OAuthError else ("x",)
        return kind(*words, response=response, body=None)
    error = kind.__new__(kind)
    error.args = ("x",)
    return error


@pytest.mark.parametrize("kind", LISTED, ids=lambda kind: kind.__name__)
def test_every_sdk_error_is_mapped(kind: type[Exception]) -> None:
    error = mapped(made(kind), DEPLOYMENT)
    expected = {
        AWAY: ModelUnavailable,
        SIGN_IN: DeploymentBroken,
        SETTINGS: ConfigError,
        STATUS: ModelUnavailable,
    }
    assert any(kind in group and isinstance(error, expected[group]) for group in expected)


def test_own_errors_stay_unchanged() -> None:
    error = NotAllowed("no")
    assert mapped(error, DEPLOYMENT) is error


def test_what_nobody_foresaw_is_for_the_operator() -> None:
    assert type(mapped(ZeroDivisionError("x"), DEPLOYMENT)) is ConfigError


# ------------------------------------------------------------------ by status and body


def answered(status: int, body: Any, headers: dict[str, str] | None = None) -> BotError:
    """What a response becomes, by way of the SDK's own exceptions."""
    response = httpx2.Response(status, request=REQUEST, headers=headers or {}, json=body)
    client = openai.AsyncOpenAI(api_key="x", base_url="http://127.0.0.1/")
    error = client._make_status_error_from_response(response)  # pyright: ignore[reportPrivateUsage]
    return mapped(error, DEPLOYMENT)


def recorded(name: str) -> Any:
    return json.loads((RECORDED / name).read_bytes())


def test_recorded_refusals_become_what_they_are() -> None:
    assert isinstance(answered(429, recorded("rate_limited.json"), {"retry-after": "17"}), ModelUnavailable)
    assert isinstance(answered(404, recorded("deployment_not_found.json")), DeploymentBroken)
    assert isinstance(answered(400, recorded("context_length_exceeded.json")), TooLong)
    assert isinstance(answered(400, recorded("unsupported_parameter.json")), RequestRejected)


def test_a_blocked_question_names_its_categories() -> None:
    """Field note 30."""
    error = answered(400, recorded("blocked_prompt.json"))
    assert isinstance(error, ContentFiltered)
    assert error.categories == ("an attempt to bypass the rules", "violence")
    assert "question" in str(error)


@pytest.mark.parametrize(
    "code", ["content_filter", "contentFilter", "content_policy_violation", "moderation_blocked"]
)
def test_all_filter_codes_of_images_are_recognised(code: str) -> None:
    assert isinstance(answered(400, {"error": {"code": code, "message": "no"}}), ContentFiltered)


def test_a_blocklist_is_a_category_too() -> None:
    results = {"custom_blocklists": {"filtered": True, "details": [{"filtered": True, "id": "x"}]}}
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": results}
    error = answered(400, {"error": {"code": "content_filter", "message": "no", "innererror": inner}})
    assert isinstance(error, ContentFiltered)
    assert "blocklist" in str(error)


@pytest.mark.parametrize("status", [408, 409, 424, 500, 502, 503, 504])
def test_temporary_errors_are_waited_out(status: int) -> None:
    error = answered(status, {"error": {"code": "x", "message": "x"}}, {"retry-after": "3"})
    assert isinstance(error, ModelUnavailable)
    assert error.retry_after_s == 3


@pytest.mark.parametrize("status", [401, 404, 410])
def test_a_retired_deployment_is_not_rate_limiting(status: int) -> None:
    """Field note 35."""
    assert isinstance(answered(status, {"error": {"code": "x", "message": "x"}}), DeploymentBroken)


@pytest.mark.parametrize(
    ("status", "code", "message", "words"),
    [
        (401, "401", "Access denied due to invalid subscription key", "did not accept the key"),
        (
            403,
            "PermissionDenied",
            "The principal lacks the required data action",
            "Request access to this model",
        ),
        (
            404,
            "DeploymentNotFound",
            "The API deployment does not exist",
            "Check the name in the Azure portal",
        ),
        (
            404,
            "model_not_found",
            "The model `gpt-4` does not exist or you do not have access",
            "no access to it",
        ),
        (404, "model_not_found", "The model `gpt-3.5-turbo-0301` has been deprecated", "is retired"),
        (404, "404", "Resource not found", "OPENAI_API_VERSION"),
        (410, "Gone", "x", "is retired"),
        (400, "ModelDeprecated", "x", "is retired"),
        (429, "insufficient_quota", "You exceeded your current quota", "no quota left"),
    ],
)
def test_permanent_errors_are_config_errors(status: int, code: str, message: str, words: str) -> None:
    """Field note 35."""
    error = answered(status, {"error": {"code": code, "message": message}})
    assert isinstance(error, DeploymentBroken)
    assert words in str(error)


def test_money_that_ran_out_is_not_throttling() -> None:
    body = {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}
    assert isinstance(answered(429, body), DeploymentBroken)


def test_an_oversized_body_is_too_long() -> None:
    assert isinstance(answered(413, "Request Entity Too Large"), TooLong)


def test_other_errors_are_shortened_for_the_operator() -> None:
    error = answered(422, {"error": {"code": "x", "message": "y" * 1000}})
    assert isinstance(error, RequestRejected)
    assert len(str(error)) < 500


SAYS = (
    "why was that model deprecated?",
    "Our old model does not support tools",
    "Why is max_tokens unsupported?",
)


def echoes(text: str) -> list[Any]:
    """Errors that repeat a person's words: of pydantic as JSON and as text, of others in a message."""
    kind = {"type": "string_type", "loc": ["body", "messages", 1], "msg": "Input should be a valid string"}
    part = [{"type": "text", "text": text}]
    detail = [{**kind, "input": part, "ctx": {"given": text}, "url": "https://errors.pydantic.dev/2"}]
    shown = f"Input should be a valid string [type=string_type, input_value={part}, input_type=list]"
    return [
        {"detail": detail},
        {"error": {"message": str(detail), "code": 422}},
        {"error": {"message": json.dumps({"detail": detail})}},
        {"error": {"message": f"1 validation error for Message\ncontent\n  {shown}"}},
        {"error": {"message": f"Invalid message: {text!r}"}},
        json.dumps({"detail": detail}),
        str(detail),
    ]


@pytest.mark.parametrize("text", SAYS)
def test_an_echo_of_the_request_means_nothing(text: str) -> None:
    """Field faults 61, 67: what a person wrote is not what the service says, and is not logged."""
    sent: dict[str, Any] = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
        "tools": [{}],
        "max_tokens": 9,
    }
    for body in echoes(text):
        response = httpx2.Response(422, json=body, request=REQUEST)
        judgement = judge(openai.APIStatusError(f"Error: {body}", response=response, body=body), sent, ())
        assert (judgement.row.name, judgement.lesson) == ("rejected", None), body
        assert text not in str(refusal(judgement, DEPLOYMENT))
