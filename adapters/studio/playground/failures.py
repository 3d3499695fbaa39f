"""What the playgrounds say when a model fails: words for everybody, and the cause for operators."""

import math
from typing import Any

from aiohttp import web

from adapters.studio.auth.guard import person_of
from bot.domain.errors import BotError, ConfigError, Refused, TemplateError, Unavailable

_FOR_EDITORS = (Refused, TemplateError)
"""Errors whose text is for the person at the page: editors write templates."""


def failed_frame(request: web.Request, error: BotError) -> dict[str, Any]:
    """The last line of a stream: why there is no answer and, if an operator asked, what caused it."""
    frame = {"kind": "failed", "words": failure_words(error)}
    return {**frame, "cause": str(error)} if _shows_cause(request, error) else frame


def explained(request: web.Request, error: BotError, choice: bool = True) -> str:
    """The same as one text. Without `choice`, the page has no deployments to choose from."""
    words = failure_words(error, choice)
    return f"{words} Cause: {error}" if _shows_cause(request, error) else words


def failure_words(error: BotError, choice: bool = True) -> str:
    """What failed in a person's words, and what to do. The text of other errors is for those who can mend it."""
    if isinstance(error, _FOR_EDITORS):
        return str(error)
    if isinstance(error, ConfigError):
        other = "Choose another deployment, or ask" if choice else "Ask"
        return f"The model didn’t accept this request. {other} an operator to check it."
    wait_s = error.retry_after_s if isinstance(error, Unavailable) else None
    wait = f" in {math.ceil(wait_s)} s" if wait_s else " in a minute"
    other = ", or choose another deployment" if choice else ""
    return f"The model isn’t available at the moment. Try again{wait}{other}."


def _shows_cause(request: web.Request, error: BotError) -> bool:
    return person_of(request).role == "operator" and not isinstance(error, _FOR_EDITORS)
