"""Slack's limits: what a message may hold, and how often a method may be called."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

MARKDOWN_TEXT_LIMIT = 12_000
STREAM_LIMIT = 13_200  # slackapi/bolt-js#2509
UPDATE_TEXT_LIMIT = 4_000
POST_TEXT_LIMIT = 40_000
BLOCKS_LIMIT = 50

# Calls, and the seconds in which so many are let through (docs.slack.dev/apis/web-api/rate-limits).
SLACK_LIMITS: dict[str, tuple[int, float]] = {
    "chat.startStream": (20, 60.0),
    "chat.stopStream": (20, 60.0),
    "chat.appendStream": (100, 60.0),
    "chat.update": (50, 60.0),
    "chat.delete": (50, 60.0),
    "chat.postMessage": (1, 1.0),
    "chat.postEphemeral": (100, 60.0),
    "conversations.history": (50, 60.0),
    "conversations.replies": (50, 60.0),
    "users.info": (100, 60.0),
}

Args = Mapping[str, Any]


def units(text: str) -> int:
    """Characters as Slack counts them."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def content_error(args: Args, text_limit: int) -> str | None:
    """The error code for what a message may not hold, or None."""
    text, blocks, markdown = args.get("text"), args.get("blocks"), args.get("markdown_text")
    if markdown is not None and (text or blocks):
        return "markdown_text_conflict"
    if not (text or blocks or markdown):
        return "no_text"
    if units(markdown or "") > MARKDOWN_TEXT_LIMIT or units(text or "") > text_limit:
        return "msg_too_long"
    return blocks_error(blocks) if blocks else None


def blocks_error(blocks: Sequence[Mapping[str, Any]]) -> str | None:
    """`invalid_blocks` and the like, or None."""
    if len(blocks) > BLOCKS_LIMIT:
        return "msg_blocks_too_many"
    if sum(units(block.get("text", "")) for block in blocks if block["type"] == "markdown") > 12_000:
        return "msg_blocks_too_long"
    return None if all(map(_block_is_valid, blocks)) else "invalid_blocks"


def _block_is_valid(block: Mapping[str, Any]) -> bool:
    elements = block.get("elements", [])
    match block.get("type"):
        case "markdown":
            return units(block["text"]) > 0
        case "section":
            return 0 < units(block["text"]["text"]) <= 3_000
        case "context":
            return 0 < len(elements) <= 10 and all(units(e.get("text", "")) <= 3_000 for e in elements)
        case "context_actions":
            return 0 < len(elements) <= 5 and all(map(_feedback_is_valid, elements))
        case "actions":
            return 0 < len(elements) <= 25 and all(map(_button_is_valid, elements))
        case "image" | "divider" | "header":
            return True
        case _:
            return False


def _feedback_is_valid(element: Mapping[str, Any]) -> bool:
    buttons = [element["positive_button"], element["negative_button"]]
    return element["type"] == "feedback_buttons" and all(
        units(button["text"]["text"]) <= 75 and units(button["value"]) <= 2_000 for button in buttons
    )


def _button_is_valid(element: Mapping[str, Any]) -> bool:
    fits = units(element["text"]["text"]) <= 75 and units(element.get("value", "")) <= 2_000
    return element["type"] == "button" and fits and units(element["action_id"]) <= 255


class RateLimits:
    """Counts calls in sliding windows; posting counts by channel."""

    def __init__(self, limits: Mapping[str, tuple[int, float]]) -> None:
        self.limits = dict(limits)
        self._calls: dict[str, deque[float]] = {}

    def retry_after_s(self, method: str, channel: str) -> float | None:
        """None lets the call through; else the seconds to wait."""
        if method not in self.limits:
            return None
        most, window_s = self.limits[method]
        calls = self._calls.setdefault(method + channel if method == "chat.postMessage" else method, deque())
        now = time.monotonic()
        while calls and now - calls[0] >= window_s:
            calls.popleft()
        if len(calls) >= most:
            return window_s - (now - calls[0])
        calls.append(now)
        return None
