"""Maps failures of model calls to Parley's errors, with messages for people and operators."""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import httpx2
import openai
from azure.core import exceptions as azure

from bot.domain.errors import BotError, ConfigError, ModelUnavailable, TooLong
from bot.domain.events import now
from bot.domain.turns import Deployment
from bot.llm.catalog.catalog import host_of
from bot.llm.openai.content_filter import blocked, is_filter, record, results_of
from bot.llm.protocol import DeploymentBroken, ServiceFault

# Temporary errors of networks and services.
AWAY: tuple[type[Exception], ...] = (
    openai.APIConnectionError,
    openai.APITimeoutError,
    openai.APIResponseValidationError,
    openai.WebSocketConnectionClosedError,
    openai.WebSocketQueueFullError,
    httpx2.RequestError,
    httpx2.StreamError,
    httpx2.HTTPStatusError,
    aiohttp.ClientError,
    azure.ServiceRequestError,
    azure.ServiceResponseError,
    azure.HttpResponseError,
    azure.StreamConsumedError,
    azure.StreamClosedError,
    azure.ResponseNotReadError,
    TimeoutError,
    OSError,
)

# Authentication failures; other deployments may have their own credentials.
SIGN_IN: tuple[type[Exception], ...] = (
    azure.ClientAuthenticationError,
    openai.OAuthError,
)

# Configuration errors, which an operator must fix.
SETTINGS: tuple[type[Exception], ...] = (
    openai.LengthFinishReasonError,
    openai.ContentFilterFinishReasonError,
    openai.InvalidWebhookSignatureError,
    httpx2.InvalidURL,
    httpx2.CookieConflict,
    httpx2.UnsupportedProtocol,
    azure.SerializationError,
    azure.DeserializationError,
)

# Errors with a status, handled by `_by_status`.
STATUS: tuple[type[Exception], ...] = (openai.APIStatusError,)


def mapped(error: Exception, deployment: Deployment) -> BotError:
    """Parley's error for any exception of a call to this deployment."""
    if isinstance(error, BotError):
        return error
    where = f"deployment {deployment.name!r} at {host_of(deployment.endpoint)}"
    if isinstance(error, SIGN_IN):
        return DeploymentBroken(
            f"Authentication with Entra failed for the {where}: {_first_line(error)} "
            f"Run `az login`, give the bot a managed identity with the role Cognitive Services OpenAI User, "
            f"or set {deployment.key_env or 'AZURE_OPENAI_API_KEY'}."
        )
    if isinstance(error, openai.APIStatusError):
        return _by_status(error, deployment, where)
    if isinstance(error, SETTINGS):
        return ConfigError(f"The {where} can't be used: {type(error).__name__}: {_first_line(error)}")
    if isinstance(error, AWAY):
        return ModelUnavailable(f"The {where} can't be reached ({type(error).__name__})")
    if isinstance(error, openai.APIError):
        return in_stream(error.body)
    return ConfigError(f"The {where} failed: {type(error).__name__}: {_first_line(error)}")


def _by_status(error: openai.APIStatusError, deployment: Deployment, where: str) -> BotError:
    status, body = error.status_code, record(error.body)
    code = str(body.get("code") or "")
    message = str(body.get("message") or error.message)
    if status == 429 and code != "insufficient_quota":
        wait_s = retry_after_s(error.response.headers)
        return ModelUnavailable(f"The {where} is rate-limited", 1.0 if wait_s is None else wait_s)
    if status in (408, 409, 424, 425) or status >= 500:
        return ServiceFault(f"The {where} failed with status {status}", retry_after_s(error.response.headers))
    if broken := _broken(status, code, message, deployment):
        return DeploymentBroken(f"The {where} {broken} It said: {message[:300]}")
    return _refused(status, code, message, body, where)


_RETIRED = ("ModelDeprecated", "model_deprecated", "DeploymentRetired", "ModelRetired")
_RETIRED_WORDS = re.compile(r"\b(deprecated|retired)\b", re.IGNORECASE)


def _broken(status: int, code: str, message: str, deployment: Deployment) -> str:
    """The permanent problem of a deployment, and what to do; empty if there is none."""
    if status == 401:
        key = deployment.key_env or "AZURE_OPENAI_API_KEY"
        return f"did not accept the key. Check {key} and that the key belongs to this endpoint."
    if status == 403:
        return (
            "denied access. Request access to this model, or check the role of the identity "
            "(Cognitive Services OpenAI User) and the network rules of the resource."
        )
    if status == 410 or code in _RETIRED or (status == 404 and _RETIRED_WORDS.search(message)):
        return "is retired. Deploy a newer model and put its name in the settings."
    if code == "insufficient_quota":
        return "has no quota left. Raise the quota or the billing limit."
    if status == 404:
        if code == "model_not_found" and "access" in message:
            return "does not exist, or this key has no access to it. Check the name and the permissions."
        if code in ("DeploymentNotFound", "model_not_found"):
            return "does not exist. Check the name in the Azure portal; a new one takes up to 5 minutes."
        return "was not found. Check the endpoint and OPENAI_API_VERSION."
    return ""


def _refused(status: int, code: str, message: str, body: dict[str, Any], where: str) -> BotError:
    if is_filter(code, body):
        return blocked("question", results_of(body))
    too_long = code in ("context_length_exceeded", "string_above_max_length")
    if status == 413 or too_long or "maximum context length" in message:
        words = "Your message is too long for the model. Please shorten it."
        return TooLong(words, _number(_LIMIT, message), _number(_ASKED, message))
    return ConfigError(f"The {where} rejected the request ({status} {code[:100]}): {message[:300]}")


_LIMIT = re.compile(r"(?:maximum context length is|configured limit of) (\d+) tokens")
_ASKED = re.compile(r"(?:resulted in|requested) (?:about )?(\d+) tokens")


def _number(pattern: re.Pattern[str], message: str) -> int | None:
    found = pattern.search(message)
    return int(found[1]) if found else None


def in_stream(error: object, what: str = "answer") -> BotError:
    """The error for an `error` object in a stream of an answer, or of another `what`."""
    body = record(error)
    code = str(body.get("code") or body.get("type") or "")
    if is_filter(code, body):
        return blocked(what, results_of(body))
    if code == "context_length_exceeded":
        return TooLong("The answer exceeds the model's context. Please shorten your message.")
    return ModelUnavailable(f"The model's {what} broke off ({code[:100] or 'no reason given'})")


# ------------------------------------------------------------------ waiting


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The wait requested by a response: `retry-after-ms`, else `retry-after` in seconds or as a date."""
    milliseconds, value = headers.get("retry-after-ms", ""), headers.get("retry-after", "")
    for text, unit in ((milliseconds, 0.001), (value, 1.0)):
        with suppress(ValueError):
            return _wait_s(float(text) * unit)
    try:
        return _wait_s((parsedate_to_datetime(value) - now()).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _wait_s(asked_s: float) -> float | None:
    """A valid wait, capped at a day."""
    return min(max(0.0, asked_s), _LONGEST_WAIT_S) if math.isfinite(asked_s) else None


_LONGEST_WAIT_S = 86_400.0


_SPAN = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?")


def spent_for_s(headers: Mapping[str, str]) -> float:
    """Seconds until a used-up rate limit resets; 0 if it is not used up.

    OpenAI sends `x-ratelimit-reset-tokens: 6m0s`, others plain seconds; without the header, a second is
    assumed. https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
    """
    longest = 0.0
    for kind in ("requests", "tokens"):
        if headers.get(f"x-ratelimit-remaining-{kind}", "").strip() in ("0", "-1"):
            longest = max(longest, _span_s(headers.get(f"x-ratelimit-reset-{kind}", "")) or 1.0)
    return longest


def _span_s(text: str) -> float:
    with suppress(ValueError):
        return _wait_s(float(text)) or 0.0
    found = _SPAN.fullmatch(text.strip())
    if not found:
        return 0.0
    with suppress(ValueError):  # "1.2.3s"
        parts = zip(found.groups(), (3600, 60, 1, 0.001), strict=True)
        return _wait_s(sum(float(part or 0) * unit for part, unit in parts)) or 0.0
    return 0.0


# ------------------------------------------------------------------ parameters


_QUOTED = re.compile(
    r"(?:Unrecognized request arguments? supplied|Unknown parameter|Unsupported parameter):\s*'?([\w.]+)"
)
_REFUSAL_CODES = ("unsupported_parameter", "unsupported_value", "unknown_parameter", "invalid_value")


def refused_parameter(error: openai.BadRequestError) -> str | None:
    """The parameter that the model refused with a 400; old API versions only name it in the message."""
    body = record(error.body)
    if body.get("code") in _REFUSAL_CODES and isinstance(body.get("param"), str):
        return str(body["param"]).partition(".")[0]
    found = _QUOTED.search(str(body.get("message") or ""))
    return found[1].partition(".")[0] if found else None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
