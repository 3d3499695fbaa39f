"""Maps failures of model calls to Parley's errors, by the table in bot/llm/failures/errors.yaml."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple, cast

import aiohttp
import httpx2
from azure.core import exceptions as azure

from bot.domain.errors import BotError, ConfigError, ContentFiltered, ModelUnavailable, NotAllowed, TooLong
from bot.domain.turns import Deployment
from bot.domain.words import marked
from bot.llm.catalog.catalog import DEFAULT_KEY_ENV, host_of
from bot.llm.failures.lessons import Lesson, lesson
from bot.llm.failures.reply import ErrorReply, reply_of
from bot.llm.failures.table import ErrorRow, row_of
from bot.llm.failures.waits import asked_s
from bot.llm.openai.chat_request import OPTIONAL
from bot.llm.openai.content_filter import blocked, results_of
from bot.llm.openai_sdk import openai
from bot.llm.protocol import DeploymentBroken, RequestRejected, ServiceFault

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

# Failures before anything was sent.
UNSENT: tuple[type[Exception], ...] = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.InvalidURL,
    httpx2.UnsupportedProtocol,
    azure.ClientAuthenticationError,
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

# Errors with a status, which the table judges.
STATUS: tuple[type[Exception], ...] = (openai.APIStatusError,)

_SIGN_IN_REST_S = 60.0
_TIMEOUT = 408
_TEXT_CHARACTERS = 16
"""Shorter texts of a request may be words of the service, too."""
_TOO_LONG = marked("Your message is too long for the model. Please shorten it.")


class Judgement(NamedTuple):
    """The row of an error, and what it teaches about the deployment, if it is about a parameter."""

    row: ErrorRow
    reply: ErrorReply
    lesson: Lesson | None = None


def judge(error: openai.APIStatusError, sent: Mapping[str, Any], known: Collection[str]) -> Judgement:
    """What a refusal of the request `sent` means; `known` is what the deployment is known to refuse."""
    request_texts = {*_texts([sent.get(name) for name in ("messages", "input", "prompt")])}
    reply = reply_of(error.status_code, error.body, error.response.headers, error.message, request_texts)
    learnt: list[Lesson] = []

    def accepts(row: ErrorRow) -> bool:
        if row.learn is None:
            return True
        if found := lesson(row.learn, reply, sent, OPTIONAL, known):
            learnt.append(found)
        return bool(learnt)

    row = row_of(reply, accepts)
    return Judgement(row, reply, learnt[0] if row.learn else None)


def _texts(value: object) -> Iterator[str]:
    """The texts in a part of a request."""
    if isinstance(value, str):
        if len(value) >= _TEXT_CHARACTERS:
            yield value
    elif isinstance(value, dict | list):
        items = (
            cast("dict[str, object]", value).values()
            if isinstance(value, dict)
            else cast("list[object]", value)
        )
        for item in items:
            yield from _texts(item)


def mapped(error: Exception, deployment: Deployment) -> BotError:
    """Parley's error for any exception of a call to this deployment."""
    if isinstance(error, BotError):
        return error
    found = _mapped(error, deployment)
    found.unprocessed = found.unprocessed or isinstance(error.__cause__ or error, UNSENT)
    return found


def _mapped(error: Exception, deployment: Deployment) -> BotError:
    where = _where(deployment)
    if isinstance(error, SIGN_IN):
        return DeploymentBroken(
            f"Authentication with Entra failed for the {where}: {_first_line(error)} "
            f"Run `az login`, give the bot a managed identity with the role Cognitive Services OpenAI User, "
            f"or set {deployment.key_env or DEFAULT_KEY_ENV}.",
            _SIGN_IN_REST_S,
        )
    if isinstance(error, openai.APIStatusError):
        return refusal(judge(error, {}, ()), deployment)
    if isinstance(error, SETTINGS):
        return ConfigError(f"The {where} can't be used: {type(error).__name__}: {_first_line(error)}")
    if isinstance(error, AWAY):
        return ModelUnavailable(f"The {where} can't be reached ({type(error).__name__})")
    if isinstance(error, openai.APIError):
        return in_stream(error.body, deployment=deployment)
    return ConfigError(f"The {where} failed: {type(error).__name__}: {_first_line(error)}")


def refusal(
    judgement: Judgement, deployment: Deployment | None, what: str = "question", *, begun: bool = False
) -> BotError:
    """Parley's error for an error of the service; `what` the filter stopped, if it did. `begun`: in a stream, where
    the request itself was accepted.

    What Azure processed is charged, also if the answer is 400 because of the content filter or the length of the
    prompt, or 408: https://learn.microsoft.com/azure/foundry/openai/how-to/manage-costs
    """
    error = _refusal(judgement, deployment, what, begun=begun)
    processed = begun or judgement.row.means in ("filtered", "too_long") or judgement.reply.status == _TIMEOUT
    error.unprocessed = not processed
    return error


def _refusal(judgement: Judgement, deployment: Deployment | None, what: str, *, begun: bool) -> BotError:
    row, reply, _ = judgement
    if row.means == "filtered":
        error = blocked(what, results_of(reply.body))
        return ContentFiltered(row.person, error.categories, error.notes) if row.person else error
    if row.means == "too_long":
        return TooLong(row.person or _TOO_LONG, *_tokens(reply))
    if row.next == "nowhere":
        return NotAllowed(row.person)
    key = (deployment.key_env if deployment else "") or DEFAULT_KEY_ENV
    code = (reply.codes[0] if reply.codes else "") or "no reason given"
    told = row.operator or "rejected the request ({status} {code})"
    told = told.format(status=reply.status or "in the stream", code=code, key=key)
    words = f"The {_where(deployment)} {told}"
    full = f"{words.rstrip('.')}. It said: {reply.message[:300]}" if reply.message else words
    if row.fault in ("deployment", "credential"):
        return DeploymentBroken(full, row.rest_s or 0.0)
    if row.fault in ("request", "parameter"):
        return RequestRejected(full, row.person)
    wait_s = asked_s(reply.headers, reply.text)
    wait_s = row.rest_s if wait_s is None else wait_s
    return ModelUnavailable(words, wait_s) if row.means == "busy" or begun else ServiceFault(words, wait_s)


def in_stream(error: object, what: str = "answer", deployment: Deployment | None = None) -> BotError:
    """The error for an `error` object in a stream of an answer, or of another `what`."""
    reply = reply_of(0, error)
    row = row_of(reply, lambda row: row.learn is None)
    return refusal(Judgement(row, reply), deployment, what, begun=True)


_NUMBERS = (
    re.compile(r"token count of (?P<asked>\d+) exceeds the limit of (?P<limit>\d+)", re.IGNORECASE),
    re.compile(r"(?P<asked>\d+) tokens > (?P<limit>\d+)", re.IGNORECASE),
    re.compile(r"limit:? (?P<limit>\d+),? requested:? (?P<asked>\d+)", re.IGNORECASE),
    re.compile(r"prompt length is (?P<limit>\d+)\b.{0,40}contains (?P<asked>\d+)", re.IGNORECASE),
    re.compile(r"token count is (?P<asked>\d+)\b.{0,40}up to (?P<limit>\d+)", re.IGNORECASE),
    re.compile(r"length of (?P<asked>\d+)\b.{0,40}\bof (?P<limit>\d+)", re.IGNORECASE),
    re.compile(r"tokens \((?P<asked>\d+)\) exceed\w* .{0,40}?(?P<limit>\d+)", re.IGNORECASE),
)
_LIMIT = re.compile(
    r"(?:maximum context length is|configured limit of|context (?:window|size|length) (?:of|is)) (\d+)",
    re.IGNORECASE,
)
_ASKED = re.compile(
    r"(?:resulted in|requested|request has|contains) (?:about |at least )?(\d+) (?:input )?tokens"
)


def _tokens(reply: ErrorReply) -> tuple[int | None, int | None]:
    """The limit and the size of a request that is too long, as far as they are told."""
    limit, asked = reply.body.get("n_ctx"), reply.body.get("n_prompt_tokens")
    if isinstance(limit, int) and isinstance(asked, int):
        return limit, asked
    text = reply.text.replace(",", "") if re.search(r"\d,\d{3}\b", reply.text) else reply.text
    for pattern in _NUMBERS:
        if found := pattern.search(text):
            return int(found["limit"]), int(found["asked"])
    limits, sizes = _LIMIT.search(text), _ASKED.search(text)
    return (int(limits[1]) if limits else None), (int(sizes[1]) if sizes else None)


def _where(deployment: Deployment | None) -> str:
    return (
        f"deployment {deployment.name!r} at {host_of(deployment.endpoint)}"
        if deployment
        else "model's deployment"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
