"""Removes invalid values from Slack's payloads: a field of the wrong type or length counts as missing."""

import math
import re
from typing import Any, cast

from adapters.slack.payloads import Payload

_ID = re.compile(r"[!-9;-~]{1,255}")
"""A Slack id or API name: printable ASCII without spaces or colons, because our ids join them with colons."""
_TIMESTAMP = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?")
_URL = re.compile(r"https?://[!-~]{1,4096}")

_KINDS = {
    "id": (
        *("type", "subtype", "id", "command", "callback_id", "action_id", "trigger_id", "event_id", "tab"),
        *("team_id", "enterprise_id", "user_id", "channel_id", "bot_id", "api_app_id", "channel_type"),
        *("user_team", "app_installed_team_id", "context_team_id", "context_enterprise_id", "mimetype"),
        "function_execution_id",
    ),
    "timestamp": ("ts", "thread_ts", "event_ts", "deleted_ts", "action_ts", "message_ts"),
    "url": ("response_url", "url_private", "url_private_download"),
    "text": (
        *("text", "name", "title", "username", "user_name", "real_name", "display_name", "channel_name"),
        *("value", "private_metadata", "challenge"),
    ),
    "object": (
        *("event", "message", "previous_message", "container", "view", "edited", "user_profile", "tokens"),
        *("bot_profile", "item", "assistant_thread", "function_data"),
    ),
    "object or id": ("team", "user", "channel", "enterprise"),
    "objects": ("authorizations", "actions", "files", "response_urls"),
}
_KIND = {name: kind for kind, names in _KINDS.items() for name in names}
_WITH_IDS = ("event", "message", "previous_message")
_MAX_LEVELS = 4


def tidy(payload: Payload, levels: int = _MAX_LEVELS) -> Payload:
    """The payload without invalid values. Blocks and unknown fields stay as they are."""
    if levels == 0:
        return {}
    tidied: Payload = {}
    for name, value in payload.items():
        if (kept := _kept(name, value, levels)) is not None:
            tidied[name] = _ids_only(kept) if name in _WITH_IDS else kept
    return tidied


def _kept(name: str, value: Any, levels: int) -> Any:
    """The value if it is of the kind that `name` should have, else None."""
    match _KIND.get(name):
        case None:
            return value
        case "id":
            return value if isinstance(value, str) and _ID.fullmatch(value) else None
        case "timestamp":
            return _timestamp(value)
        case "url":
            return value if isinstance(value, str) and _URL.fullmatch(value) else None
        case "text":
            return value if isinstance(value, str) else None
        case "object or id" if isinstance(value, str):
            return _kept("id", value, levels)
        case "objects":
            items = cast("list[Any]", value) if isinstance(value, list) else []
            return [kept for item in items if (kept := _object(item, levels)) is not None]
        case _:
            return _object(value, levels)


def _ids_only(event: Payload) -> Payload:
    """Replace users, channels and teams by their ids; a few kinds of events hold them as objects.

    What `user_change` tells is the object.
    """
    if event.get("type") == "user_change":
        return event
    for name in _KINDS["object or id"]:
        if isinstance(event.get(name), dict):
            event[name] = event[name].get("id", "")
    return event


def _object(value: Any, levels: int) -> Payload | None:
    return tidy(cast("Payload", value), levels - 1) if isinstance(value, dict) else None


def _timestamp(value: Any) -> str | None:
    """A timestamp as a string; numbers are accepted, too."""
    if isinstance(value, float) and math.isfinite(value):
        value = f"{value:.6f}"
    elif isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and _TIMESTAMP.fullmatch(value) else None
